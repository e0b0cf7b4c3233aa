"""PostgreSQL, where nobody waits up front: consumers and evaluators that meet at the same rows, step by step.

A rival's whole transaction is put between two statements of ours, or ours is held up until he is seen to wait.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import event, func, select

from alerts.delivery import Outbox
from app.database import tables
from app.database.alerts import SqlAlertStore
from app.database.engine import Database
from app.database.incidents import going_on
from app.database.outbox import SqlOutbox
from app.database.windows import SqlWindowStore
from consumers.days import Calendar
from consumers.errors import LostPosition, StorageBusy
from consumers.facts import Profile
from consumers.pipeline import Pipeline
from consumers.source import Chunk
from tests.contract.test_window_store_contract import NOW, login, windows

UTC = Calendar("UTC")
DAY = 20_454
PATIENCE = 60_000_000


@pytest.fixture
def database(postgres_migrated: str) -> Iterator[Database]:
    with contextlib.closing(Database(postgres_migrated)) as opened:
        yield opened


@pytest.fixture
def rival(postgres_migrated: str) -> Iterator[Database]:
    """The same database as another process has it."""
    with contextlib.closing(Database(postgres_migrated)) as opened:
        yield opened


@pytest.fixture
def waits(rival: Database) -> Callable[[Future[object]], None]:
    """A function that returns once somebody waits for a lock, or fails if the work ends without that."""

    def until_somebody_waits(work: Future[object]) -> None:
        deadline = time.monotonic() + 10
        wanted = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while True:
            with rival.read() as connection:
                if connection.exec_driver_sql(wanted).scalar():
                    return
            assert not work.done(), work.result()
            assert time.monotonic() < deadline
            threading.Event().wait(0.005)

    return until_somebody_waits


def handled(database: Database, partition: str, *bodies: bytes, start: int = 0, behind: bool = False) -> None:
    """One batch of one consumer."""
    after = start + len(bodies)
    batch = Chunk(partition, start, after, bodies, range(start, after), after + behind)
    Pipeline(SqlWindowStore(database, lambda: NOW), UTC, lane=lambda each: each).handle([batch], "test", NOW)


def before(database: Database, words: str, act: Callable[[], None]) -> None:
    """Let ``act`` happen once, just before ``database`` executes a statement with these words."""
    happened: list[str] = []

    def look(_connection, _cursor, statement, *_more):
        if words in statement and not happened:
            happened.append(statement)
            act()

    event.listen(database.engine, "before_cursor_execute", look)


def alerts(database: Database) -> SqlAlertStore:
    outbox: Outbox = SqlOutbox(database)
    return SqlAlertStore(database, outbox, lambda: NOW)


def taken(store: SqlAlertStore, limit: int = 100) -> dict[str, int]:
    """Each account that an evaluator takes, with the last day that its windows know of."""
    with store.transaction() as work:
        batch = work.touched(limit, PATIENCE, None)
        return seen(batch)


def seen(batch) -> dict[str, int]:
    days = [Profile.load(profile).last_day for profile in batch.rows.profiles]
    return dict(zip(batch.rows.account_ids, days, strict=True)) if len(batch) else {}


def marks(database: Database) -> set[tuple[str, str]]:
    query = select(tables.account.c.account_id, tables.touched.c.partition).join_from(
        tables.account, tables.touched
    )
    with database.read() as connection:
        return {tuple(row) for row in connection.execute(query)}


# --- two consumers


@pytest.mark.parametrize("step", ["FOR NO KEY UPDATE", "INSERT INTO account ", "account_window"])
def test_an_account_that_a_rival_makes_between_two_of_our_steps_keeps_his_windows(
    database: Database, rival: Database, step: str
) -> None:
    """Before we look for it, and after we found that nobody had it; once we have made it he can only wait."""
    if step == "account_window":
        with contextlib.closing(Database(str(rival.url), busy_timeout_s=0.1)) as hasty:

            def gives_up() -> None:
                with pytest.raises(StorageBusy):
                    handled(hasty, "his", login(1, user="his"))

            before(database, step, gives_up)
            handled(database, "ours", login(2, user="ours"))
        handled(rival, "his", login(1, user="his"))
    else:
        before(database, step, lambda: handled(rival, "his", login(1, user="his")))
        handled(database, "ours", login(2, user="ours"))

    logins, users, _, _ = windows(SqlWindowStore(database))
    assert logins == {DAY: 2}
    assert set(users) == {"his", "ours"}


def test_a_consumer_that_meets_an_account_being_made_waits_and_adds_to_it(
    database: Database, rival: Database, waits: Callable[[Future[object]], None]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with SqlWindowStore(database).transaction() as ours:
            ours.load(["acme"])
            his = pool.submit(handled, rival, "his", login(1, user="his"))
            waits(his)
            ours.advance([Chunk("ours", 0, 1, [b""], [0])], "test", 0)
        his.result(10)
    handled(database, "ours", login(2, user="ours"), start=1)
    assert windows(SqlWindowStore(database))[0] == {DAY: 2}


def test_of_two_that_begin_one_partition_at_once_the_second_loses_it_and_keeps_nothing(
    database: Database, rival: Database, waits: Callable[[Future[object]], None]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with SqlWindowStore(database).transaction() as ours:
            ours.advance([Chunk("p", 0, 1, [b""], [0])], "ours", 0)
            his = pool.submit(handled, rival, "p", login(1))
            waits(his)
        with pytest.raises(LostPosition):
            his.result(10)
    assert windows(SqlWindowStore(database)) is None
    assert SqlWindowStore(database).positions(["p"])["p"].next == 1


def test_the_same_incident_told_by_two_at_once_is_one(database: Database) -> None:
    start = threading.Barrier(4)

    def tell() -> None:
        start.wait()
        SqlWindowStore(database).incident("corrupt", "p", "offset 7")

    with ThreadPoolExecutor(4) as pool:
        for told in [pool.submit(tell) for _ in range(4)]:
            told.result()
    with database.read() as connection:
        assert len(going_on(connection)) == 1


def test_six_consumers_on_one_lane_and_the_same_accounts_count_every_event_once(
    postgres_migrated: str,
) -> None:
    """Each brings twenty events of its own and twenty that all bring, into accounts they share."""
    failures: list[BaseException] = []

    def consume(number: int) -> None:
        try:
            with contextlib.closing(Database(postgres_migrated, busy_timeout_s=60)) as own:
                pipeline = Pipeline(SqlWindowStore(own), UTC, lane=lambda _partition: "service")
                for turn in range(20):
                    bodies = [
                        login(f"{number}-{turn}", account=f"a{turn % 5}", user=f"u{number}"),
                        login(f"all-{turn}", account=f"a{(turn + 1) % 5}", user="everybody"),
                        login(f"all-{turn}-{number % 2}", account=f"a{(turn + 3) % 5}", user="half"),
                    ]
                    at = 3 * turn
                    batch = Chunk(f"p{number}", at, at + 3, bodies, range(at, at + 3))
                    while True:
                        try:
                            pipeline.handle([batch], "test", NOW)
                            break
                        except StorageBusy:  # a deadlock: the loop would come again as well
                            continue
        except BaseException as error:
            failures.append(error)

    consumers = [threading.Thread(target=consume, args=(number,)) for number in range(6)]
    for each in consumers:
        each.start()
    for each in consumers:
        each.join()

    assert failures == []
    with contextlib.closing(Database(postgres_migrated)) as database:
        counted = [windows(SqlWindowStore(database), f"a{number}")[0][DAY] for number in range(5)]
        with database.read() as connection:
            totals = dict(connection.execute(select(tables.counter.c.name, tables.counter.c.value)).all())
            segment = tables.seen_segment.c
            numbers = connection.execute(select(segment.seq, segment.batches).order_by(segment.seq)).all()
    assert sum(counted) == 6 * 20 + 20 + 40 == totals["accepted"]
    assert totals["duplicate"] == 6 * 60 - 180
    # Each batch's number is in one segment, and none is missing.
    assert [seq - batches for seq, batches in numbers] == [0, *(seq for seq, _ in numbers[:-1])]


# --- a consumer and an evaluator


def test_what_a_consumer_commits_before_the_account_is_locked_is_judged_with_its_mark(
    database: Database, rival: Database
) -> None:
    handled(rival, "p", login(1, day=1))
    before(database, "FOR NO KEY UPDATE", lambda: handled(rival, "p", login(2, day=5), start=1))
    assert taken(alerts(database)) == {"acme": DAY + 4}
    assert marks(database) == set()


def test_an_account_that_begins_to_wait_before_it_is_locked_is_left_with_its_marks(
    database: Database, rival: Database
) -> None:
    handled(rival, "p", login(1))
    before(database, "FOR NO KEY UPDATE", lambda: handled(rival, "slow", login(2), behind=True))
    assert taken(alerts(database)) == {}
    assert marks(database) == {("acme", "p"), ("acme", "slow")}
    SqlWindowStore(rival).caught_up(["slow"])
    assert set(taken(alerts(database))) == {"acme"}


def test_an_account_that_a_consumer_works_on_is_passed_by_and_found_again(
    database: Database, rival: Database
) -> None:
    handled(rival, "p", login(1), login(2, account="bolt"))
    with SqlWindowStore(rival).transaction() as work:
        work.load(["acme"])
        assert set(taken(alerts(database))) == {"bolt"}
    assert set(taken(alerts(database))) == {"acme"}


def test_a_consumer_that_comes_while_an_account_is_judged_waits_and_marks_it_anew(
    database: Database, rival: Database, waits: Callable[[Future[object]], None]
) -> None:
    handled(rival, "p", login(1, day=1))
    with ThreadPoolExecutor(1) as pool:
        with alerts(database).transaction() as work:
            assert seen(work.touched(10, PATIENCE, None)) == {"acme": DAY}
            his = pool.submit(handled, rival, "p", login(2, day=7), start=1)
            waits(his)
        his.result(10)
    assert marks(database) == {("acme", "p")}
    assert taken(alerts(database)) == {"acme": DAY + 6}


def test_a_sweep_waits_for_a_consumer_and_reads_what_he_wrote(
    database: Database, rival: Database, waits: Callable[[Future[object]], None]
) -> None:
    handled(rival, "p", login(1, day=1))

    def sweep() -> dict[str, int]:
        with alerts(database).transaction() as work:
            return seen(work.after(0, 10, PATIENCE, None))

    with ThreadPoolExecutor(1) as pool:
        with SqlWindowStore(rival).transaction() as work:
            state = work.load(["acme"])["acme"]
            swept = pool.submit(sweep)
            waits(swept)
            state.profile.last_day = DAY + 9
            work.save([state])
        assert swept.result(10) == {"acme": DAY + 9}


def test_a_sweep_does_not_end_where_a_page_of_accounts_has_just_begun_to_wait(
    database: Database, rival: Database
) -> None:
    handled(rival, "p", *(login(number, account=f"a{number}") for number in range(4)))

    def waiting() -> None:
        handled(rival, "slow", login("x", account="a0"), login("y", account="a1"), behind=True)

    before(database, "FOR NO KEY UPDATE", waiting)
    with alerts(database).transaction() as work:
        assert set(seen(work.after(0, 2, PATIENCE, None))) == {"a2", "a3"}


# --- two evaluators, and a person


def test_two_evaluators_share_the_marked_accounts(database: Database, rival: Database) -> None:
    handled(rival, "p", *(login(number, account=f"a{number}") for number in range(6)))
    with alerts(database).transaction() as one, alerts(rival).transaction() as other:
        first, second = seen(one.touched(3, PATIENCE, None)), seen(other.touched(100, PATIENCE, None))
    assert len(first) == len(second) == 3
    assert set(first) | set(second) == {f"a{number}" for number in range(6)}
    assert marks(database) == set()


def test_a_mark_by_hand_waits_for_the_judgement_that_goes_on_and_outlives_it(
    database: Database, rival: Database, waits: Callable[[Future[object]], None]
) -> None:
    handled(rival, "p", login(1))

    def by_hand(no: int) -> None:
        with alerts(rival).transaction() as work:
            work.touch([no])

    with ThreadPoolExecutor(1) as pool:
        with alerts(database).transaction() as work:
            (no,) = work.touched(10, PATIENCE, None).rows.nos
            hand = pool.submit(by_hand, no)
            waits(hand)
        hand.result(10)
    assert marks(database) == {("acme", "")}


def test_consumers_and_evaluators_at_once_lose_no_mark(postgres_migrated: str) -> None:
    """Whatever was judged last of an account was judged on the windows that its last event left."""
    judged: list[tuple[str, int]] = []
    over, failures = threading.Event(), []

    def consume(number: int) -> None:
        with contextlib.closing(Database(postgres_migrated, busy_timeout_s=60)) as own:
            for turn in range(25):
                body = login(f"{number}-{turn}", account=f"a{turn % 3}", user=f"u{number}", day=turn + 1)
                handled(own, f"p{number}", body, start=turn)

    def evaluate() -> None:
        with contextlib.closing(Database(postgres_migrated, busy_timeout_s=60)) as own:
            store = alerts(own)
            while True:
                last_round = over.is_set()
                with store.transaction() as work:
                    batch = work.touched(2, PATIENCE, None)
                    judged.extend(seen(batch).items())  # in the order of the locks
                if last_round and not len(batch):
                    return

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)

        return run

    consumers = [threading.Thread(target=guarded(lambda n=n: consume(n))) for n in range(3)]
    evaluators = [threading.Thread(target=guarded(evaluate)) for _ in range(3)]
    for each in (*consumers, *evaluators):
        each.start()
    for each in consumers:
        each.join()
    over.set()
    for each in evaluators:
        each.join()
    assert failures == []
    with contextlib.closing(Database(postgres_migrated)) as database:
        assert marks(database) == set()
        with database.read() as connection:
            days = dict(
                connection.execute(select(tables.account.c.account_id, tables.account.c.last_day)).all()
            )
            assert connection.scalar(select(func.count()).select_from(tables.touched)) == 0
    newest = {name: max(day for each, day in judged if each == name) for name in days}
    assert newest == days
    for name in days:  # never older windows after newer ones
        own = [day for each, day in judged if each == name]
        assert own == sorted(own)
