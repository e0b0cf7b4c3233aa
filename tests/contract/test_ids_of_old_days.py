"""Ids are known for as long as they count, and in memory are those that recent events can repeat."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from app.database import tables
from app.database.windows import SqlWindowStore
from consumers.days import EPOCH, Calendar, micros
from consumers.loop import ConsumerLoop
from consumers.memory import MemorySource
from consumers.pipeline import LOCAL_LANE, Pipeline
from consumers.source import Chunk

FIRST = date(2026, 1, 1).toordinal() - EPOCH
NOW = micros(datetime(2028, 1, 1, tzinfo=UTC))
RECENT = 64 + 16 + 2  # days that are held, and a period's, and what summer time may shift


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, open_database):
    return open_database(request.param)


@pytest.fixture
def store(database):
    return SqlWindowStore(database)


class Clock:
    """Seconds that pass when somebody says so."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


class Process:
    """A pipeline with a partition of its own in the lane that all share."""

    def __init__(self, store, name, clock):
        self.pipeline = Pipeline(store, Calendar("UTC"), clock=clock)
        self.name = name
        self.reached = 0

    def handle(self, events):
        """Of (id, day). Returns how many were accepted, and how many were known."""
        self.pipeline.let_go()
        bodies = [login(*event) for event in events]
        start, self.reached = self.reached, self.reached + len(bodies)
        chunk = Chunk(self.name, start, self.reached, bodies, range(start, self.reached))
        totals = self.pipeline.handle([chunk], "test", NOW).totals
        return totals.accepted, totals.duplicate

    @property
    def held(self):
        memory = self.pipeline._seen.get(LOCAL_LANE)
        return 0 if memory is None else len(memory)


def login(number, day):
    at = datetime(2026, 1, 1, 10, tzinfo=UTC) + timedelta(days=day)
    event = {"id": f"e{number}", "type": "user.login", "account_id": "acme", "user_id": "u1"}
    return json.dumps({**event, "occurred_at": at.isoformat()}).encode()


def live(process, clock, days):
    """Thirty events a day, four days in a batch, as they come. Returns all of it."""
    ids = [(day * 30 + number, day) for day in range(days) for number in range(30)]
    batches = [ids[first : first + 120] for first in range(0, len(ids), 120)]
    for batch in batches:
        clock.seconds += 4 * 86_400
        assert process.handle(batch) == (120, 0)
    return batches


class Interrupted(SqlWindowStore):
    """A rival is at work whenever something is read up, and what is read comes in slices of any size."""

    chance = random.Random(0)
    rival: Callable[[], None] | None = None

    def segments(self, lane, after, days):
        rival, self.rival = self.rival, None
        if rival is not None:
            rival()
            self.rival = rival
        found = super().segments(lane, after, days)
        return found and found[: self.chance.choice((1, 2, 64))]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=st.integers(0, 10**9))
def test_any_stream_counts_as_a_plain_set_of_its_ids_does(database, seed):
    """Two processes in one lane that come, rest and start anew, and repeats of up to 300 days ago."""
    with database.write() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(delete(table))
    chance, clock = random.Random(seed), Clock()
    store = Interrupted(database)
    store.chance = chance
    processes = [Process(store, name, clock) for name in "pq"]
    numbers = itertools.count()
    counted: list[tuple[int, int]] = []
    today = 0

    def work(process):
        """New events of today or late, and repeats of the last 300 days in a stretch of days or anywhere."""
        day = max(0, today - chance.choice((0, 0, 0, 0, 1, 20, 70, 150, 299)))
        new = [
            (next(numbers), max(0, day - chance.choice((0, 0, 0, 1, 30))))
            for _ in range(chance.choice((0, 1, 5, 150)))
        ]
        since = today - chance.randrange(1, 301)
        stretch = [each for each in counted if since <= each[1] <= since + chance.choice((0, 10, 300))]
        old = chance.sample(stretch, min(len(stretch), chance.choice((0, 0, 1, 40))))
        events = [*new, *old, *new[:2], *old[:2]]
        chance.shuffle(events)
        if events:
            assert process.handle(events) == (len(new), len(events) - len(new))
            counted.extend(new)

    def rival():
        if chance.random() < 0.4:
            work(Process(store, f"r{next(numbers)}", clock))

    for _ in range(30):
        today = min(300, today + chance.choice((0, 0, 1, 9, 30, 70)))
        clock.seconds += chance.choice((1, 100, 700))
        process = chance.choice(processes)
        if chance.random() < 0.1:
            process.pipeline = Pipeline(store, Calendar("UTC"), clock=clock)
        store.rival = rival
        work(process)
        store.rival = None
    for first in range(0, len(counted), 97):
        events = counted[first : first + 97]
        assert chance.choice(processes).handle(events) == (0, len(events))


def test_after_400_days_the_ids_of_recent_days_are_held(store):
    clock = Clock()
    process = Process(store, "p", clock)
    live(process, clock, 400)
    assert 30 * 64 <= process.held <= 30 * RECENT

    started = Process(store, "q", clock)
    assert started.handle([(399 * 30, 399), (1_000_000, 399)]) == (1, 1)

    assert 30 * 64 <= started.held <= 30 * RECENT


def test_old_ids_are_in_memory_while_they_are_repeated_and_for_some_minutes(store):
    clock = Clock()
    process = Process(store, "p", clock)
    batches = live(process, clock, 400)

    for batch in batches:  # in less than the minutes that old ids are kept for
        assert process.handle(batch) == (0, 120)
    assert process.held == 30 * 400
    for number in range(10):
        clock.seconds += 100
        assert process.handle([(1_000_000 + number, 399)]) == (1, 0)

    assert process.held <= 30 * RECENT + 10
    assert process.handle(batches[50][:1]) == (0, 1)
    assert 30 * 200 <= process.held <= 30 * (200 + RECENT)  # no more than that day and those after it


def test_a_loop_lets_go_of_old_ids_when_nothing_more_comes(store):
    """Else a consumer would keep what a replay needed until somebody sends something."""
    clock, source = Clock(), MemorySource()
    pipeline = Pipeline(store, Calendar("UTC"), clock=clock)
    loop = ConsumerLoop(source, pipeline, store, now=lambda: NOW)
    for events in ([login(day, day) for day in range(300)], [login(1_000, 399)]):
        source.append("p", *events)
        loop.drain()
    assert len(pipeline._seen[LOCAL_LANE]) == 301

    for _ in range(7):
        clock.seconds += 100
        assert loop.step(1, 0.0) is None

    assert len(pipeline._seen[LOCAL_LANE]) == 1


def test_a_replay_holds_no_more_than_what_is_still_to_come(store):
    clock = Clock()
    process = Process(store, "p", clock)
    held = []
    for batch in live(process, clock, 400):
        clock.seconds += 100
        assert process.handle(batch) == (0, 120)
        held.append(process.held)
    assert held[0] == 30 * 400
    assert held[50] <= 30 * (200 + 7 * 4 + 16)
    assert held[-1] <= 30 * RECENT


def test_a_copy_that_says_another_day_is_known_while_the_first_one_is_recent(store):
    clock = Clock()
    process = Process(store, "p", clock)
    live(process, clock, 100)
    assert process.handle([(40 * 30, 99), (99 * 30, 40)]) == (0, 2)


def test_late_events_leave_few_segments(store, database):
    """Though they are merged with none of other periods: a few at a time are filed with the newest."""
    process = Process(store, "p", Clock())
    process.handle([(number, 300) for number in range(300)])
    for number in range(1_000, 1_060):
        assert process.handle([(number, 300 if number % 2 else 100)]) == (1, 0)
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.seen_segment)) <= 7


def test_many_late_events_are_filed_by_their_day(store, database):
    process = Process(store, "p", Clock())
    process.handle([(number, 300) for number in range(300)])
    process.handle([(number, 100 + number % 2) for number in range(1_000, 1_300)])
    process.handle([(number, 300) for number in range(2_000, 2_300)])
    segment = tables.seen_segment.c
    with database.read() as connection:
        days = list(connection.scalars(select(segment.newest_day).order_by(segment.seq)))
    assert days == [FIRST + 300, FIRST + 101, FIRST + 300]
