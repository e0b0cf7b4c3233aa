"""The memory source beyond the contract: several partitions, and records that come while it is read."""

from __future__ import annotations

from consumers.memory import MemorySource
from tests.chunks import one


def test_partitions_take_turns() -> None:
    source = MemorySource()
    source.append("a", b"1", b"2", b"3")
    source.append("b", b"4")
    source.append("c", b"5", b"6")
    found = [(chunk.partition, chunk.bodies) for _ in range(4) if (chunk := one(source.poll(2, 0.0)))]
    assert found == [("a", [b"1", b"2"]), ("b", [b"4"]), ("c", [b"5", b"6"]), ("a", [b"3"])]


def test_what_is_appended_later_comes_later() -> None:
    source = MemorySource("trial", sender="key-1")
    source.append("a", b"1")
    first = one(source.poll(10, 0.0))
    source.append("a", b"2", b"3")
    second = one(source.poll(1, 0.0))
    assert first is not None
    assert second is not None
    assert (first.start, first.next, first.behind) == (0, 1, False)
    assert (second.start, second.next, second.behind, second.sender) == (1, 2, True, "key-1")
