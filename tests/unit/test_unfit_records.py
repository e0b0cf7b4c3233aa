"""A record that decoding takes and counting chokes on: put aside like any poison, and everything around it counts."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

import pytest

from consumers.days import Calendar
from consumers.decode import hash_batch
from consumers.errors import DeadLettersUnwritable, StorageBusy, StorageError
from consumers.events import Event
from consumers.loop import ConsumerLoop
from consumers.memory import MemorySource
from consumers.pipeline import Pipeline
from consumers.source import Chunk, Position
from consumers.store import Rejected
from tests.contract.memory_windows import MemoryWindows

NOW = 1_800_000_000_000_000


def login(number: int) -> bytes:
    event = {"id": f"e{number}", "type": "user.login", "account_id": "acme", "user_id": "u"}
    return json.dumps({**event, "occurred_at": "2026-01-01T10:00:00Z"}).encode()


@pytest.fixture
def unfit(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """Ids of events, each with what it makes the counting raise."""
    raising: dict[str, Exception] = {}

    def choosy(events: Sequence[Event]) -> object:
        for event in events:
            if event.id in raising:
                raise raising[event.id]
        return hash_batch(events)

    monkeypatch.setattr("consumers.pipeline.hash_batch", choosy)
    return raising


def filled(**counts: int) -> MemorySource:
    """So many logins in each partition, numbered throughout."""
    source, number = MemorySource(), 0
    for partition, count in counts.items():
        source.append(partition, *map(login, range(number, number + count)))
        number += count
    return source


def looping(
    source: MemorySource, store: MemoryWindows, told: list[Exception] | None = None, **more: object
) -> ConsumerLoop:
    pipeline = Pipeline(store, Calendar("UTC"), dead_letters=more.pop("dead_letters", None))  # type: ignore[arg-type]
    heard = told if told is not None else []
    return ConsumerLoop(source, pipeline, store, now=lambda: NOW, trouble=heard.append, **more)  # type: ignore[arg-type]


def test_it_becomes_one_dead_letter_and_every_other_record_counts_once(unfit: dict[str, Exception]) -> None:
    unfit |= {f"e{number}": OverflowError("can't serialize ints\0 >= 2**64") for number in (0, 37, 38, 120)}
    store = MemoryWindows()
    told: list[Exception] = []
    looping(filled(p=100, q=50), store, told).drain()
    assert store.totals == {"accepted": 146, "rejected.bad_value": 4}
    assert {(partition, offset) for partition, _, offset in store.dead_letters} == {
        ("p", 0),
        ("p", 37),
        ("p", 38),
        ("q", 20),
    }
    letter = store.dead_letters["q", "", 20]
    assert (letter.body, letter.rejection.reason) == (login(120), "bad_value")
    said = r"can't serialize ints\x00 >= 2**64"
    assert letter.rejection.detail == f'it cannot be counted: OverflowError: "{said}"'
    assert {each: position.next for each, position in store.reached.items()} == {"p": 100, "q": 50}
    assert not any(store.behind.values())
    assert all(isinstance(error, OverflowError) for error in told)


def test_several_partitions_in_one_batch_are_taken_apart_each_by_itself(unfit: dict[str, Exception]) -> None:
    class Together(MemorySource):
        def poll(self, limit: int, timeout_s: float) -> Sequence[Chunk]:
            return [*super().poll(limit, timeout_s), *super().poll(limit, timeout_s)]

    unfit["e12"] = ValueError()
    store, source = MemoryWindows(), Together()
    for partition, first in (("p", 0), ("q", 10)):
        source.append(partition, *map(login, range(first, first + 10)))
    looping(source, store).drain()
    assert store.totals == {"accepted": 19, "rejected.bad_value": 1}
    assert list(store.dead_letters) == [("q", "", 2)]


def test_while_it_is_looked_for_the_loop_says_so_and_that_it_goes_on(unfit: dict[str, Exception]) -> None:
    unfit["e5"] = KeyError("colour")
    said: list[str | None] = []
    loop: ConsumerLoop = looping(filled(p=10), MemoryWindows(), polled=lambda: said.append(loop.refused))
    while loop.step(100, 0.0) is not None:
        pass
    assert loop.refused is None
    during = [each for each in said if each is not None]
    assert len(during) >= 4, "it is alive in between"
    assert set(during) == {"looking for a record that cannot be handled: KeyError: \"'colour'\""}


def test_what_no_record_is_to_blame_for_puts_no_record_aside(unfit: dict[str, Exception]) -> None:
    class Broken(MemoryWindows):
        def fed(self, first_days: object) -> None:
            raise MemoryError

    store = Broken()
    loop = looping(filled(p=4), store)
    with pytest.raises(MemoryError):
        loop.drain()
    assert (store.dead_letters, store.reached) == ({}, {})
    unfit |= {f"e{number}": OSError("out of files") for number in range(4)}
    with pytest.raises(OSError, match="out of files"):
        looping(filled(p=4), store).drain()
    assert (store.dead_letters, store.reached) == ({}, {})


def test_where_even_a_dead_letter_fails_the_position_stays_and_the_loop_goes_on_saying_so() -> None:
    class Broken(MemoryWindows):
        def advance(self, chunks: Sequence[Chunk], origin: str, now: int) -> None:
            raise RuntimeError("a mistake of ours")

    source, store, stop = filled(p=4), Broken(), threading.Event()
    loop = looping(source, store)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            loop.run(stop)
        assert loop.refused == "a batch cannot be handled: RuntimeError: 'a mistake of ours'"
    assert (store.dead_letters, store.reached) == ({}, {})


def test_a_database_that_goes_away_meanwhile_is_waited_for_and_nothing_is_lost(
    unfit: dict[str, Exception],
) -> None:
    class Flaky(MemoryWindows):
        batches = 0

        def count(self, totals: object) -> None:
            Flaky.batches += 1
            if Flaky.batches == 2:
                raise StorageBusy("locked")
            super().count(totals)  # type: ignore[arg-type]

    unfit["e30"] = OverflowError()
    source, store = filled(p=64), Flaky()
    loop = looping(source, store)
    with pytest.raises(StorageError):
        loop.drain()
    assert store.reached["p"] == Position(16)
    loop.drain()
    assert store.totals == {"accepted": 63, "rejected.bad_value": 1}
    assert list(store.dead_letters) == [("p", "", 30)]


def test_a_dead_letter_that_cannot_be_written_keeps_the_place(unfit: dict[str, Exception]) -> None:
    class Away:
        def send(self, chunk: Chunk, rejected: Sequence[Rejected]) -> None:
            raise DeadLettersUnwritable("away")

    unfit["e6"] = OverflowError()
    store = MemoryWindows()
    told: list[Exception] = []
    loop = looping(filled(p=8), store, told, dead_letters=Away())
    loop.step(100, 0.0)
    assert (store.reached["p"], store.dead_letters) == (Position(6), {})
    assert ("dead_letters_unwritable", "p", "away", True) in store.incidents
    assert isinstance(told[-1], DeadLettersUnwritable)
