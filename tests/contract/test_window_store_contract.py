"""What every WindowStore promises, asked of the one in memory, SQLite and PostgreSQL: batches are all or nothing."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from app.database import dead_letters, positions, tables
from app.database.account_batches import held_partitions
from app.database.windows import SqlWindowStore
from consumers.days import Calendar
from consumers.dedup import Segment
from consumers.errors import DeadLettersUnwritable, LostPosition, StorageError
from consumers.loop import ConsumerLoop
from consumers.memory import MemorySource
from consumers.pipeline import LOCAL_LANE, Pipeline
from consumers.source import Chunk
from tests.contract.memory_windows import MemoryWindows

UTC = Calendar("UTC")
NOW = 1_800_000_000_000_000
ALL_DAYS = range(1 << 31)


def login(number, account="acme", user="u1", day=1, **more):
    return json.dumps(
        {
            "id": f"e{number}",
            "type": "user.login",
            "account_id": account,
            "user_id": user,
            "occurred_at": f"2026-01-{day:02d}T10:00:00Z",
            **more,
        }
    ).encode()


def chunk(bodies, start=0, partition="p", end=None):
    return Chunk(partition, start, start + len(bodies), bodies, range(start, start + len(bodies)), end)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request, open_database):
    if request.param == "memory":
        return MemoryWindows()
    return SqlWindowStore(open_database(request.param))


def emptied(database):
    """For the next example: nothing in any table."""
    with database.write() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(delete(table))


def windows(store, account="acme"):
    """What is stored of an account, in values that compare."""
    with store.transaction() as transaction:
        found = transaction.load([account])
    if account not in found:
        return None
    state = found[account]
    days, users = state.days, state.users
    logins = {day: days[day] for day in range(days.newest - 60, days.newest + 1) if days[day]}
    cells = {user: bytes(users.cells[16 * slot : 16 * slot + 16]) for user, slot in users.known.slots.items()}
    return logins, cells, state.facts(), state.profile


def test_a_position_moves_with_its_batch_and_only_from_where_it_stood(store):
    pipeline = Pipeline(store, UTC)

    pipeline.handle([chunk([login(1)])], "test", NOW)

    assert store.positions(["p"])["p"].next == 1
    with pytest.raises(LostPosition):
        Pipeline(store, UTC).handle([chunk([login(2)])], "test", NOW)
    assert store.positions(["p"])["p"].next == 1
    assert windows(store)[0] == {20_454: 1}


def test_an_event_counts_once_whoever_brings_it_and_after_a_restart(store):
    first = Pipeline(store, UTC)
    first.handle([chunk([login(1), login(1), login(2)])], "test", NOW)

    totals = Pipeline(store, UTC).handle([chunk([login(2), login(3)], partition="other")], "test", NOW).totals
    again = first.handle([chunk([login(3), login(4)], start=3)], "test", NOW).totals

    assert (totals.accepted, totals.duplicate) == (1, 1)
    assert (again.accepted, again.duplicate) == (1, 1)
    assert windows(store)[0] == {20_454: 4}


def test_the_same_id_from_another_source_is_another_event(store):
    totals = Pipeline(store, UTC).handle([chunk([login(1), login(1, source="crm")])], "test", NOW).totals
    assert (totals.accepted, totals.duplicate) == (2, 0)


def test_a_repeat_with_other_content_is_counted_as_a_conflict_and_changes_nothing(store):
    pipeline = Pipeline(store, UTC)
    pipeline.handle([chunk([login(1, day=1)])], "test", NOW)

    totals = pipeline.handle([chunk([login(1, day=2), login(1, day=1)], start=1)], "test", NOW).totals

    assert (totals.accepted, totals.duplicate, totals.conflicting_duplicate) == (0, 2, 1)
    assert windows(store)[0] == {20_454: 1}


def test_a_rejected_record_stops_nothing_and_a_failed_batch_leaves_nothing(store):
    pipeline = Pipeline(store, UTC)
    totals = pipeline.handle([chunk([b"not json", login(1), b"[]"])], "test", NOW).totals
    assert totals.accepted == 1
    assert dict(totals.rejected) == {"not_json": 1, "not_an_object": 1}

    class Unlucky(Exception):
        pass

    def fail(*_args):
        raise Unlucky

    before = windows(store)
    broken = Pipeline(store, UTC)
    broken._apply = fail
    with pytest.raises(Unlucky):
        broken.handle([chunk([login(7)], start=3)], "test", NOW)
    assert windows(store) == before
    assert store.positions(["p"])["p"].next == 3
    assert Pipeline(store, UTC).handle([chunk([login(7)], start=3)], "test", NOW).totals.accepted == 1


def test_internal_users_leave_no_trace_but_a_count(store):
    pipeline = Pipeline(store, UTC, internal=lambda: lambda user: user.startswith("svc-"))

    totals = pipeline.handle([chunk([login(1, user="svc-probe"), login(2)])], "test", NOW).totals

    assert (totals.accepted, totals.internal) == (1, 1)
    assert set(windows(store)[1]) == {"u1"}


def test_facts_of_a_batch_reach_the_profile_and_the_flags_of_users(store):
    pipeline = Pipeline(store, UTC)
    common = {"account_id": "acme", "occurred_at": "2026-01-01T00:00:00Z"}
    seats = {**common, "id": "s1", "type": "seats.changed"}
    gone = {**common, "id": "t1", "type": "user.updated", "user_id": "u2"}
    pipeline.handle(
        [
            chunk(
                [
                    json.dumps({**seats, "data": {"purchased": 7}}).encode(),
                    json.dumps({**gone, "data": {"deactivated": True}}).encode(),
                ]
            )
        ],
        "test",
        NOW,
    )
    pipeline.handle([chunk([login(1, user="u1"), login(2, user="u2")], start=2)], "test", NOW)

    _, users, facts, profile = windows(store)

    assert profile.seats == 7
    assert [fact.kind for fact in facts] == ["seats.changed", "user.updated"]
    assert {user: cell[4] for user, cell in users.items()} == {"u1": 0, "u2": 1}


def test_the_longest_words_that_intake_takes_are_kept(store):
    dice = random.Random(1)

    def word(length):  # nothing that a database could compress
        return "".join(chr(dice.randrange(0x10000, 0x10FFFF)) for _ in range(length))

    names = ("name", "owner", "owner_email", "tier", "use_case")
    said = {"id": word(32), "type": "account.updated", "occurred_at": "2026-01-01T00:00:00Z"}
    body = json.dumps(
        {**said, "account_id": word(32), "data": {name: word(1_024) for name in names}}, ensure_ascii=False
    )
    totals = Pipeline(store, UTC).handle([chunk([body.encode()])], "test", NOW).totals
    assert totals.counters() == {"accepted": 1}


events = st.lists(
    st.builds(
        login,
        st.integers(0, 40),
        account=st.sampled_from(["acme", "bolt"]),
        user=st.sampled_from(["u1", "u2", "u3"]),
        day=st.just(3),
    ),
    max_size=40,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=events, cuts=st.lists(st.integers(0, 40), max_size=4), seed=st.integers())
def test_however_a_stream_is_cut_and_repeated_databases_agree_with_memory(database, bodies, cuts, seed):
    """Conflicting repeats are made equal first: for them the first copy to arrive stands, so order is all."""
    by_id = {json.loads(body)["id"]: body for body in bodies}
    stream = [by_id[json.loads(body)["id"]] for body in bodies]
    emptied(database)
    memory, sql = MemoryWindows(), SqlWindowStore(database)
    Pipeline(memory, UTC).handle([chunk(stream)], "test", NOW)
    random.Random(seed).shuffle(stream)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for low, high in pairwise(edges):
        Pipeline(sql, UTC).handle([chunk(stream[low:high], start=low)], "test", NOW)
    for account in ("acme", "bolt"):
        assert windows(sql, account) == windows(memory, account)


def test_six_writers_at_once_lose_no_update(database):
    failures = []

    def write(number):
        try:
            store = SqlWindowStore(database)
            pipeline = Pipeline(store, UTC)
            for turn in range(40):
                body = login(f"{number}-{turn}", user=f"u{number}")
                pipeline.handle([chunk([body], start=turn, partition=f"p{number}")], "test", NOW)
        except Exception as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert failures == []
    logins, users, _, _ = windows(SqlWindowStore(database))
    assert logins == {20_454: 240}
    assert len(users) == 6


def test_the_loop_gives_way_to_a_rival_and_goes_on_from_where_he_stopped(store):
    source = MemorySource()
    source.append("p", *(login(number) for number in range(6)))
    Pipeline(store, UTC).handle([chunk([login(number) for number in range(3)])], "rival", NOW)
    heard = []
    loop = ConsumerLoop(source, Pipeline(store, UTC), store, now=lambda: NOW, heard=heard.append)

    loop.drain()

    assert store.positions(["p"])["p"].next == 6
    assert windows(store)[0] == {20_454: 6}
    assert sum(handled.totals.accepted for handled in heard) == 3


def days(database):
    """Of the stored segments."""
    with database.read() as connection:
        return list(
            connection.scalars(select(tables.seen_segment.c.newest_day).order_by(tables.seen_segment.c.seq))
        )


def test_segments_are_remembered_until_nothing_in_them_can_change_a_count(database):
    pipeline = Pipeline(SqlWindowStore(database), UTC)
    old = {**json.loads(login("old")), "occurred_at": "2024-01-01T00:00:00Z"}
    pipeline.handle([chunk([json.dumps({**old, "id": f"o{n}"}).encode() for n in range(40)])], "test", NOW)
    pipeline.handle([chunk([login(1)], start=40)], "test", NOW)
    assert days(database) == [19_723, 20_454]  # the newest stays, for its number

    pipeline.handle([chunk([login(2)], start=41)], "test", NOW)

    assert days(database) == [20_454]
    assert len(pipeline._seen[LOCAL_LANE]) == 2  # and what memory holds goes as well


def refuse(database):
    """From now on the database refuses to store users' ids."""
    trigger = "CREATE TRIGGER refuse BEFORE INSERT ON account_detail "
    with database.write() as connection:
        if database.sqlite:
            connection.exec_driver_sql(trigger + "BEGIN SELECT RAISE(ABORT, 'no'); END")
            return
        connection.exec_driver_sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$"
        )
        connection.exec_driver_sql(trigger + "FOR EACH ROW EXECUTE FUNCTION refuse()")


def test_a_batch_that_was_rolled_back_leaves_nothing_behind_in_memory(database):
    """SQLite gives the account number of a rolled-back batch to the next account: its users must not come with it."""
    store = SqlWindowStore(database)
    pipeline = Pipeline(store, UTC)
    refuse(database)
    with pytest.raises(StorageError):
        pipeline.handle([chunk([login(1, user="u1"), login(2, user="u2")])], "test", NOW)
    with database.write() as connection:
        connection.exec_driver_sql(f"DROP TRIGGER refuse{'' if database.sqlite else ' ON account_detail'}")
    seats = {"id": "s1", "type": "seats.changed", "account_id": "bolt", "occurred_at": "2026-01-01T00:00:00Z"}

    pipeline.handle([chunk([json.dumps({**seats, "data": {"purchased": 7}}).encode()])], "test", NOW)
    pipeline.handle([chunk([login(3, account="bolt", user="u9")], start=1)], "test", NOW)

    assert windows(store, "acme") is None
    assert set(windows(store, "bolt")[1]) == {"u9"}


def test_dead_letters_and_positions_are_dated_by_the_real_clock(database):
    real = 2_000_000_000_000_000

    Pipeline(SqlWindowStore(database, lambda: real), UTC).handle([chunk([b"bad", login(1)])], "test", NOW)

    with database.read() as connection:
        assert connection.scalar(select(tables.dead_letter.c.received_at)) == real
        assert connection.scalar(select(tables.position.c.updated_at)) == real


def test_a_chunk_that_resumes_begins_no_position_that_somebody_took_away(store):
    """Else what lay before it would be missing from windows that were made anew meanwhile."""
    resuming = replace(chunk([login(7)], start=7), resumes=True)

    with pytest.raises(LostPosition):
        Pipeline(store, UTC).handle([resuming], "test", NOW)

    assert store.positions(["p"]) == {}


def test_a_lane_that_was_made_anew_is_read_up_from_its_beginning(store):
    pipeline = Pipeline(store, UTC)
    pipeline.handle([chunk([login(1), login(2), *(login(n) for n in range(10, 20))])], "test", NOW)
    with store.transaction() as transaction:
        _, segment = transaction.since({LOCAL_LANE: (0, 0)})[LOCAL_LANE][0]
        for _ in range(2):  # the first goes once the second is there, as if it had expired
            gone = {LOCAL_LANE: Segment(20_454, segment.ids[:1], segment.prints[:1])}
            number = transaction.remember(gone, 99_999)[LOCAL_LANE]
        assert transaction.since({LOCAL_LANE: (1, 0)})[LOCAL_LANE] is None
        assert transaction.since({LOCAL_LANE: (number, 0)})[LOCAL_LANE] == []

    again = pipeline.handle([chunk([login(1), login(2), login(3)], start=12)], "test", NOW).totals

    assert (again.accepted, again.duplicate) == (2, 1)


def ids(*numbers):
    """A segment of such ids."""
    return Segment(20_454, np.array(numbers, dtype=np.uint64), np.zeros(len(numbers), dtype=np.uint32))


def remembered(store, first, last, size=1):
    """Batches of ``size`` ids, each in its transaction. Returns the newest number."""
    for batch in range(first, last):
        with store.transaction() as transaction:
            brought = {"p": ids(*range(batch * size, (batch + 1) * size))}
            number = transaction.remember(brought, 0)["p"]
    return number


def test_many_small_batches_leave_few_segments_and_a_rival_reads_all_that_came_since(store):
    """Whatever he knew up to, and though that number is inside of a merged segment."""
    for known in range(1, 70):
        assert remembered(store, known - 1, known) == known
    with store.transaction() as transaction:
        assert transaction.since({"p": (70, 0)})["p"] is None
        for known in range(70):
            segments = transaction.since({"p": (known, 0)})["p"]
            assert {int(each) for _, segment in segments for each in segment.ids} >= set(range(known, 69))
            assert known == 69 or segments[-1][0] == 69
        everything = np.concatenate([segment.ids for _, segment in transaction.since({"p": (0, 0)})["p"]])
    assert sorted(everything.tolist()) == list(range(69))
    if isinstance(store, SqlWindowStore):
        assert len(store.segments("p", 0, ALL_DAYS)) <= 7


def test_merged_segments_stay_of_a_size_that_is_read_and_written_at_once(database):
    store = SqlWindowStore(database)
    remembered(store, 0, 60, size=3_000)
    sizes = [len(segment.ids) for _, segment in store.segments("p", 0, ALL_DAYS)]
    assert sum(sizes) == 180_000
    assert max(sizes) <= 50_000
    assert len(sizes) < 10


def test_a_rival_knows_what_was_merged_with_what_he_knew(store):
    """He is told of some ids twice, counts them once, and of none too little."""
    ours, theirs = Pipeline(store, UTC), Pipeline(store, UTC)
    for turn in range(20):
        mine, his = login(f"m{turn}"), login(f"h{turn}")
        assert ours.handle([chunk([mine], start=turn)], "test", NOW).totals.accepted == 1
        both = theirs.handle([chunk([mine, his], start=2 * turn, partition="q")], "test", NOW).totals
        assert (both.accepted, both.duplicate) == (1, 1)
    assert len(theirs._seen[LOCAL_LANE]) == 40


def test_what_is_remembered_of_a_lane_is_read_in_slices_before_the_transaction(database):
    """Else a start would hold the position, and on SQLite everybody who writes, for as long as that takes."""
    store = SqlWindowStore(database)
    size = 51_000  # larger than what is merged
    for batch in range(3):
        remembered(store, batch, batch + 1, size=size)
    asked = []

    class Watched(SqlWindowStore):
        def segments(self, lane, after, days):
            asked.append(after)
            with self.transaction():  # nobody holds anything
                return super().segments(lane, after, days)[:1]

    pipeline = Pipeline(Watched(database), UTC, lane=lambda _: "p")
    assert pipeline.handle([chunk([login(1)])], "test", NOW).totals.accepted == 1
    assert asked == [0, 1, 2, 3]
    assert len(pipeline._seen["p"]) == 3 * size + 1


def test_a_dead_letter_at_the_same_offset_of_another_log_is_another(database):
    pipeline = Pipeline(SqlWindowStore(database), UTC)
    pipeline.handle([replace(chunk([b"old"]), log="c/one")], "test", NOW)
    with database.write() as connection:
        positions.move(connection, "p", to=0, end=1, log="c/two", now=NOW)

    pipeline.handle([replace(chunk([b"new"]), log="c/two")], "test", NOW)

    with database.read() as connection:
        kept = {(each.log, each.offset, each.body) for each in dead_letters.page(connection)}
    assert kept == {("c/one", 0, b"old"), ("c/two", 0, b"new")}


def test_a_log_that_was_cut_gives_an_offset_again_and_both_dead_letters_are_kept_once(database):
    pipeline = Pipeline(SqlWindowStore(database), UTC)
    stories = [[b"old", b"same", b"gone"], [b"new", b"same", b"other"], [b"old", b"same", b"third"]]
    for bodies in [*stories, *stories]:
        pipeline.handle([replace(chunk(bodies), log="c/one")], "test", NOW)
        with database.write() as connection:
            positions.move(connection, "p", to=0, end=3, log="c/one", now=NOW)

    with database.read() as connection:
        kept = dead_letters.page(connection)
    found = sorted((each.offset, each.body) for each in kept)
    assert found == [(0, b"new"), (0, b"old"), (1, b"same"), (2, b"gone"), (2, b"other"), (2, b"third")]
    assert {each.log.partition("#")[0] for each in kept} == {"c/one"}
    assert {each.body for each in kept if each.log == "c/one"} == {b"old", b"same", b"gone"}


def test_who_was_overtaken_does_not_say_that_his_partition_is_read_to_its_end(store):
    """Another may be far behind in it."""
    for partition in ("p", "q"):
        Pipeline(store, UTC).handle([chunk([login(1)], partition=partition, end=9)], "test", NOW)

    store.current({"p": 0, "q": 1, "never": 1}, NOW + 7)

    if isinstance(store, MemoryWindows):
        found = {each: (store.current_at.get(each), store.behind[each]) for each in ("p", "q")}
    else:
        with store._database.read() as connection:
            rows = connection.execute(select(tables.position)).all()
        found = {row.partition: (row.current_at, row.behind) for row in rows}
    assert found == {"p": (None, True), "q": (NOW + 7, False)}


class Topic:
    """Where dead letters go; it takes none of the partitions ``refusing``."""

    def __init__(self, *refusing):
        self.refusing = refusing
        self.asked = []

    def send(self, chunk, rejected):
        self.asked.append((chunk.partition, [each.offset for each in rejected]))
        if chunk.partition in self.refusing:
            raise DeadLettersUnwritable("away")


def test_after_one_partition_whose_dead_letters_cannot_be_written_no_other_is_tried(store):
    """Each may cost seconds; those that have none go on."""
    topic = Topic("b")
    chunks = [chunk([b"bad", login(name)], partition=name) for name in "abcd"]
    chunks += [chunk([login("e")], partition="e")]

    batch = Pipeline(store, UTC, dead_letters=topic).handle(chunks, "test", NOW)

    assert topic.asked == [("a", [0]), ("b", [0])]
    assert sorted(batch.left) == ["b", "c", "d"]
    assert batch.totals.accepted == 2
    assert sorted(store.positions(list("abcde"))) == ["a", "e"]


def test_who_was_overtaken_sends_no_dead_letters_again(store):
    topic = Topic()
    Pipeline(store, UTC, dead_letters=topic).handle([chunk([b"bad"])], "rival", NOW)
    overtaken = Pipeline(store, UTC, dead_letters=topic)

    with pytest.raises(LostPosition):
        overtaken.handle([chunk([b"bad"])], "test", NOW)
    with pytest.raises(LostPosition):
        overtaken.handle([replace(chunk([b"bad"], start=4, partition="q"), resumes=True)], "test", NOW)

    assert topic.asked == [("p", [0])]


def test_a_partition_that_was_never_read_but_is_in_trouble_is_listed(database):
    store = SqlWindowStore(database, lambda: 7)
    Pipeline(store, UTC).handle([chunk([login(1)])], "test", NOW)
    store.incident("dead_letters_unwritable", "a", "away")
    with database.read() as connection:
        listed = positions.page(connection)
    assert [(each.partition, each.next, each.lag, each.open) for each in listed] == [
        ("a", None, None, ["dead_letters_unwritable"]),
        ("p", 1, None, ()),
    ]
    assert listed[0].updated_at == 7
    assert store.troubles(["a", "p"]) == {"a": {"dead_letters_unwritable"}}


def test_a_position_dated_by_a_clock_years_ahead_holds_no_account_back(database):
    """It is behind, and its process is gone: nothing waits until that year."""
    years, patience = 10 * 365 * 86_400_000_000, 60_000_000
    for ahead, held in ((0, ["p"]), (years, [])):
        emptied(database)
        store = SqlWindowStore(database, lambda ahead=ahead: NOW + ahead)
        Pipeline(store, UTC).handle([chunk([login(1)], end=9)], "test", NOW)
        with database.read() as connection:
            assert held_partitions(connection, NOW - patience) == held


def test_a_position_that_is_begun_while_a_person_moves_it_is_moved(database):
    """The look before may find none, and the row be there when it is written."""
    with database.write() as connection:
        assert positions.move(connection, "p", to=5, end=9, log="c/t", now=NOW) is None
        assert positions.move(connection, "p", to=7, end=9, log="c/t", now=NOW) == 5
    assert SqlWindowStore(database).positions(["p"])["p"].next == 7
