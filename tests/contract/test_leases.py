"""Leases and the schedule in a real database, and the clockwork that stands on them, in virtual time."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from alerts.alert import Reason, Severity
from alerts.announcement import Announcer
from alerts.delivery import Telling
from alerts.evaluation import Evaluator
from alerts.metrics.catalogue import CATALOGUE
from alerts.rulebook import Rulebook
from alerts.rules.condition import Condition
from alerts.rules.rule import Rule
from alerts.rules.title import Title
from app.database.engine import Database
from app.database.leases import Lease, SqlLeases
from app.database.schedule import DayClose, SqlSchedule
from app.database.tables import lease
from app.hearing import Hearing
from app.scheduler import LEASE_US, Clockwork, Doorbell, LeaseLost, Stopping
from consumers.days import DAY_US, Calendar
from consumers.facts import Profile
from consumers.topics import Topics
from tests.contract.alert_grounds import SqlGround

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 20_779
MIDNIGHT = DAY * DAY_US  # the day before has just closed


@pytest.fixture
def ground(database: Database) -> SqlGround:
    return SqlGround(database)


@pytest.fixture
def leases(ground: SqlGround) -> SqlLeases:
    return SqlLeases(ground.database)


# --- leases


def test_a_lease_has_one_holder_until_it_ends_or_is_given_back(leases: SqlLeases) -> None:
    mine = leases.acquire("clock", "ana", 0, 30)
    assert mine is not None
    assert leases.acquire("clock", "ben", 29, 30) is None
    assert leases.acquire("clock", "ben", 30, 30) is not None
    leases.release(mine)  # it is no longer mine to give
    assert leases.acquire("clock", "ana", 31, 30) is None


def test_given_back_it_is_free_at_once(leases: SqlLeases) -> None:
    mine = leases.acquire("clock", "ana", 0, 30)
    assert mine is not None
    assert leases.held("clock", 1)
    leases.release(mine)
    assert not leases.held("clock", 1)
    assert leases.acquire("clock", "ben", 1, 30) is not None


def test_renewed_in_time_it_is_kept_too_late_it_is_lost(leases: SqlLeases) -> None:
    mine = leases.acquire("clock", "ana", 0, 30)
    assert mine is not None
    kept = leases.renew(mine, 20, 30)
    assert kept is not None
    assert kept.until == 50
    assert leases.renew(kept, 50, 30) is None


def test_a_lease_of_a_holder_whose_clock_is_years_ahead_is_free(leases: SqlLeases) -> None:
    years = 10 * 365 * 24 * HOUR
    assert leases.acquire("clock", "ana", years, LEASE_US)
    assert not leases.held("clock", SECOND)
    taken = leases.acquire("clock", "ben", SECOND, LEASE_US)
    assert taken is not None
    assert leases.held("clock", SECOND)
    assert leases.renew(taken, 2 * SECOND, LEASE_US)


def test_a_lease_of_a_holder_whose_clock_is_a_little_ahead_is_respected(leases: SqlLeases) -> None:
    assert leases.acquire("clock", "ana", LEASE_US - SECOND, LEASE_US)
    assert leases.acquire("clock", "ben", 0, LEASE_US) is None
    assert leases.held("clock", 0)


def test_leases_of_different_names_know_nothing_of_each_other(leases: SqlLeases) -> None:
    assert leases.acquire("clock", "ana", 0, 30)
    assert leases.acquire("pruning", "ben", 0, 30)


def test_of_six_that_ask_at_once_one_gets_it(leases: SqlLeases) -> None:
    start, got = threading.Barrier(6), []

    def ask(name: str) -> None:
        start.wait()
        if leases.acquire("clock", name, 0, 30):
            got.append(name)

    threads = [threading.Thread(target=ask, args=(f"process-{no}",)) for no in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["acquire", "renew", "release"]), st.sampled_from("abc"), st.integers(0, 20)
        ),
        max_size=30,
    )
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_never_two_believe_that_they_hold_it(database: Database, acts: list[tuple[str, str, int]]) -> None:
    with database.write() as connection:
        connection.execute(delete(lease))
    leases, now = SqlLeases(database), 0
    believed: dict[str, Lease | None] = {}
    for act, name, wait in acts:
        now += wait
        mine = believed.get(name)
        if act == "acquire":
            believed[name] = leases.acquire("clock", name, now, 10)
        elif mine is not None and act == "renew":
            believed[name] = leases.renew(mine, now, 10)
        elif mine is not None:
            leases.release(mine)
            believed[name] = None
        assert sum(held is not None and held.until > now for held in believed.values()) <= 1


# --- the schedule


def test_a_day_is_closed_once_and_never_after_a_later_one(ground: SqlGround) -> None:
    schedule = SqlSchedule(ground.database)
    assert schedule.day_close() is None
    assert schedule.closed(100, 5, 7)
    assert not schedule.closed(100, 6, 8)
    assert not schedule.closed(99, 6, 8)
    assert schedule.day_close() == DayClose(100, 7)
    assert schedule.closed(103, 6, 9)
    assert schedule.day_close() == DayClose(103, 9)


# --- the clockwork


class Clocks:
    """The real clock of all processes, turned by hand; ``then`` happens at the read that it is set for."""

    def __init__(self) -> None:
        self.real = 1_000 * SECOND
        self.reads = 0
        self.then: dict[int, Callable[[], object]] = {}

    def read(self) -> int:
        self.reads += 1
        self.then.pop(self.reads, lambda: None)()
        return self.real


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def clockwork(
    ground: SqlGround,
    clocks: Clocks,
    zone: str = "UTC",
    *,
    for_us: int = 0,
    batch: int = 100,
    months: int = 6,
    version: str = "v1",
) -> Clockwork:
    short = Rule(
        "short-term",
        Condition.parse(f"account.term_months < {months}", CATALOGUE),
        Title.parse("Short", CATALOGUE),
        Severity.HIGH,
        for_us=for_us,
    )
    book = Rulebook((short,), Announcer(Telling.LIVE, ("crm",)))
    calendar = Calendar(zone)
    evaluator = Evaluator(ground.store, lambda: book, calendar, sweep_accounts=batch)
    return Clockwork(
        evaluator,
        SqlSchedule(ground.database),
        SqlLeases(ground.database),
        calendar,
        clocks.read,
        hearing=Hearing(ground.database, calendar, Topics("bellwether.")),
        rules_version=lambda: version,
    )


def test_a_day_closes_at_midnight_and_once(ground: SqlGround, clocks: Clocks) -> None:
    work = clockwork(ground, clocks)
    assert work.tick(MIDNIGHT - HOUR).closed_day == DAY - 2  # the first start catches up
    assert work.tick(MIDNIGHT - 1).closed_day is None
    assert work.tick(MIDNIGHT).closed_day == DAY - 1
    assert work.tick(MIDNIGHT + SECOND).closed_day is None
    assert work.tick(MIDNIGHT + DAY_US).closed_day == DAY


def test_a_day_closes_at_the_organisations_midnight_also_when_the_clocks_change(
    ground: SqlGround, clocks: Clocks
) -> None:
    work, calendar = clockwork(ground, clocks, "Europe/Berlin"), Calendar("Europe/Berlin")
    short_day = calendar.parse_day("2026-03-29")  # 23 hours long
    work.tick(calendar.start_us(short_day))
    assert work.tick(calendar.start_us(short_day) + 23 * HOUR - 1).closed_day is None
    assert work.tick(calendar.start_us(short_day) + 23 * HOUR).closed_day == short_day


def test_after_a_downtime_only_the_newest_day_is_closed(ground: SqlGround, clocks: Clocks) -> None:
    clockwork(ground, clocks).tick(MIDNIGHT)
    later = clockwork(ground, clocks)
    clocks.real += 10 * LEASE_US
    assert later.tick(MIDNIGHT + 6 * DAY_US + HOUR).closed_day == DAY + 5
    assert later.tick(MIDNIGHT + 6 * DAY_US + 2 * HOUR).closed_day is None


def test_days_missed_in_a_downtime_count_for_the_hold(ground: SqlGround, clocks: Clocks) -> None:
    ground.account("acme", Profile(term_months=3))
    work = clockwork(ground, clocks)
    work.tick(MIDNIGHT)
    ground.account("acme", Profile(term_months=-1))
    work.tick(MIDNIGHT + DAY_US)
    work.tick(MIDNIGHT + 27 * DAY_US)
    assert ground.alerts()[0].open
    work.tick(MIDNIGHT + 28 * DAY_US)
    assert ground.alerts()[0].reason is Reason.CANNOT_TELL


def test_silence_is_found_when_a_for_runs_out(ground: SqlGround, clocks: Clocks) -> None:
    ground.account("acme", Profile(term_months=3))
    work = clockwork(ground, clocks, for_us=3 * HOUR)
    work.tick(MIDNIGHT)
    assert not work.tick(MIDNIGHT + 3 * HOUR - 1).summary.moves
    assert work.tick(MIDNIGHT + 3 * HOUR).summary.moves == {"firing": 1}


def test_one_process_has_the_clock_and_another_follows_when_it_is_gone(
    ground: SqlGround, clocks: Clocks
) -> None:
    first, second = clockwork(ground, clocks), clockwork(ground, clocks)
    assert first.tick(MIDNIGHT).holding
    assert not second.tick(MIDNIGHT + DAY_US).holding
    clocks.real += LEASE_US  # the first was killed
    assert second.tick(MIDNIGHT + DAY_US).closed_day == DAY
    assert not first.tick(MIDNIGHT + DAY_US).holding


def test_an_orderly_end_hands_the_clock_over_at_once(ground: SqlGround, clocks: Clocks) -> None:
    first, second = clockwork(ground, clocks), clockwork(ground, clocks)
    first.tick(MIDNIGHT)
    first.stop()
    assert second.tick(MIDNIGHT).holding


def test_a_clock_that_keeps_ticking_keeps_the_lease(ground: SqlGround, clocks: Clocks) -> None:
    first, second = clockwork(ground, clocks), clockwork(ground, clocks)
    for _ in range(120):
        assert first.tick(MIDNIGHT).holding
        assert not second.tick(MIDNIGHT).holding
        clocks.real += SECOND


def test_a_real_clock_set_back_does_not_make_a_lease_last(ground: SqlGround, clocks: Clocks) -> None:
    first, second = clockwork(ground, clocks), clockwork(ground, clocks)
    first.tick(MIDNIGHT)
    clocks.real -= 3_600 * SECOND // 4
    assert first.tick(MIDNIGHT).holding
    clocks.real += LEASE_US  # and then it was killed
    assert second.tick(MIDNIGHT).holding


def test_a_moment_of_judgement_that_stands_still_ticks_on(ground: SqlGround, clocks: Clocks) -> None:
    work = clockwork(ground, clocks)
    for turn in range(100):
        tick = work.tick(MIDNIGHT)
        assert (tick.holding, tick.closed_day) == (True, DAY - 1 if turn == 0 else None)
        clocks.real += SECOND


def test_a_clock_taken_over_in_the_middle_of_a_close_leaves_the_day_to_the_other(
    ground: SqlGround, clocks: Clocks
) -> None:
    first, second = clockwork(ground, clocks, batch=2), clockwork(ground, clocks, batch=2)
    first.tick(MIDNIGHT - DAY_US)
    for no in range(6):
        ground.account(f"account-{no}", Profile(term_months=3))
    rival = []

    def stall() -> None:
        clocks.real += LEASE_US
        rival.append(second.tick(MIDNIGHT))

    clocks.then[clocks.reads + 2] = (
        stall  # the first read of a tick is before its work, the second after a batch
    )
    with pytest.raises(LeaseLost):
        first.tick(MIDNIGHT)
    assert [tick.closed_day for tick in rival] == [DAY - 1]
    assert len(ground.alerts()) == 6
    assert first.tick(MIDNIGHT).holding is False


def test_rules_changed_while_nothing_ran_are_judged_at_the_start_and_once(
    ground: SqlGround, clocks: Clocks
) -> None:
    ground.account("acme", Profile(term_months=9))
    before = clockwork(ground, clocks)
    before.tick(MIDNIGHT)
    before.stop()
    assert not ground.alerts()
    changed = clockwork(ground, clocks, months=12, version="v2")
    tick = changed.tick(MIDNIGHT + HOUR)
    assert (tick.closed_day, tick.summary.moves) == (None, {"firing": 1})
    changed.stop()
    again = clockwork(ground, clocks, months=12, version="v2")
    assert again.tick(MIDNIGHT + 2 * HOUR).summary.accounts == 0
    assert again.tick(MIDNIGHT + DAY_US).summary.accounts == 1


def test_a_start_that_closes_a_day_judges_by_the_new_rules_only_once(
    ground: SqlGround, clocks: Clocks
) -> None:
    ground.account("acme", Profile(term_months=9))
    tick = clockwork(ground, clocks).tick(MIDNIGHT)
    assert (tick.closed_day, tick.summary.accounts) == (DAY - 1, 1)
    assert SqlSchedule(ground.database).rules_version() == "v1"


def test_judging_by_new_rules_that_was_cut_short_is_done_by_the_next_start(
    ground: SqlGround, clocks: Clocks
) -> None:
    for no in range(6):
        ground.account(f"account-{no}", Profile(term_months=9))
    clockwork(ground, clocks).tick(MIDNIGHT)
    clocks.real += LEASE_US
    killed = clockwork(ground, clocks, months=12, version="v2", batch=2)

    def end() -> None:
        raise Stopping("enough")

    with pytest.raises(Stopping):
        killed.tick(MIDNIGHT + HOUR, end)
    assert len(ground.alerts()) == 2
    killed.stop()
    clockwork(ground, clocks, months=12, version="v2").tick(MIDNIGHT + HOUR)
    assert len(ground.alerts()) == 6


# --- the doorbell


class Rings:
    """A clockwork that counts, and may fail."""

    def __init__(self, answer: Callable[[Callable[[], None]], None] = lambda _alive: None) -> None:
        self.rung = threading.Semaphore(0)
        self.stopped = False
        self._answer = answer

    def tick(self, now: int, alive: Callable[[], None]) -> object:
        self.rung.release()
        self._answer(alive)
        return type("Tick", (), {"closed_day": None})()

    def stop(self) -> None:
        self.stopped = True


def test_the_doorbell_rings_at_once_and_goes_on_and_gives_back_at_its_end() -> None:
    rings = Rings()
    bell = Doorbell(rings, lambda: MIDNIGHT)  # type: ignore[arg-type]  # rings in the clockwork's place
    bell.start()
    assert rings.rung.acquire(timeout=5)
    assert rings.rung.acquire(timeout=5)
    bell.stop()
    assert rings.stopped


def test_whatever_goes_wrong_at_one_ring_the_next_one_comes() -> None:
    def fail(_alive: Callable[[], None]) -> None:
        raise RuntimeError("anything")

    rings = Rings(fail)
    bell = Doorbell(rings, lambda: MIDNIGHT)  # type: ignore[arg-type]  # rings in the clockwork's place
    bell.start()
    assert rings.rung.acquire(timeout=5)
    assert rings.rung.acquire(timeout=5)
    bell.stop()


def test_a_long_close_ends_after_its_batch_when_the_doorbell_is_stopped() -> None:
    ended: list[BaseException] = []

    def close_for_ever(alive: Callable[[], None]) -> None:
        try:
            while True:
                alive()
        except BaseException as error:
            ended.append(error)
            raise

    rings = Rings(close_for_ever)
    bell = Doorbell(rings, lambda: MIDNIGHT)  # type: ignore[arg-type]
    bell.start()
    assert rings.rung.acquire(timeout=5)
    with structlog.testing.capture_logs() as logs:
        bell.stop()
    assert isinstance(ended[0], Stopping)
    assert (rings.stopped, logs) == (True, [])


def test_a_ring_that_cannot_end_keeps_nobody_waiting_for_ever() -> None:
    stuck = threading.Event()

    def wait(_alive: Callable[[], None]) -> None:
        stuck.wait(10)

    rings = Rings(wait)
    bell = Doorbell(rings, lambda: MIDNIGHT)  # type: ignore[arg-type]
    bell.start()
    assert rings.rung.acquire(timeout=5)
    bell.stop(0.05)
    assert not rings.stopped  # the lease is not handed on while work may be done under it
    stuck.set()


def test_a_long_ring_that_makes_progress_is_not_silence() -> None:
    waited: list[float] = []

    def long_work(alive: Callable[[], None]) -> None:
        while bell.silent_s < 0.02:
            pass
        waited.append(bell.silent_s)
        alive()
        waited.append(bell.silent_s)
        done.set()

    done = threading.Event()
    bell = Doorbell(Rings(long_work), lambda: MIDNIGHT)  # type: ignore[arg-type]
    bell.start()
    assert done.wait(5)
    assert waited[1] < waited[0]
    bell.stop()
