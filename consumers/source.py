"""Where events come from: one small Protocol for the journal, files, memory and, on a broker, Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive records of one partition, as raw bytes.

    ``start`` is the position of the first record, ``next`` the position to store once all are handled.
    ``offsets`` has one entry per body; offsets may have holes (compaction, blank lines), positions may not go back.
    ``end`` is the position after the newest record the source knows of, None if it cannot tell.
    """

    partition: str
    start: int
    next: int
    bodies: Sequence[bytes]
    offsets: Sequence[int]
    end: int | None = None
    sender: str = ""

    @property
    def behind(self) -> bool:
        """Whether the source is known to hold more than this chunk."""
        return self.end is not None and self.next < self.end


class Source(Protocol):
    """Records in partitions, read from stored positions. Not thread-safe: one reader owns it."""

    @property
    def origin(self) -> str:
        """What a person would call it: a file's name, ``journal``, a topic."""

    def partitions(self) -> Sequence[str]:
        """The partitions this reader owns now."""

    def seek(self, partition: str, position: int) -> None:
        """Read on from ``position``. Raises SourceError if the source no longer reaches back to it."""

    def poll(self, limit: int, timeout_s: float) -> Chunk | None:
        """The next chunk of at most ``limit`` records, or None after ``timeout_s`` without one."""

    def close(self) -> None:
        """Release what is held; safe to call twice."""
