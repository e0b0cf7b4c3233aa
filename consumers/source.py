"""Where events come from: one small Protocol for the journal, files, memory and, on a broker, Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Position:
    """How far a partition was handled: the next offset, and the log in which it counts (empty: there is only one)."""

    next: int
    log: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive records of one partition, as raw bytes.

    ``start`` is the position before the first record, ``next`` the position to store once all are handled. ``offsets``
    has one entry per body; offsets may have holes (compaction, blank lines), positions may not go back. ``end`` is the
    position after the newest record the source knows of, None if it cannot tell. ``log`` says in which log the offsets
    count: a topic that was made anew has another. ``lost`` is how many offsets after ``start`` are gone for good.
    ``damaged`` says which of them cannot be read, and why. ``sender`` is who sent all of it; where several did,
    ``senders`` has one entry per body.
    ``resumes`` says that the reader found a stored position: if there is none now, it may not begin one.
    """

    partition: str
    start: int
    next: int
    bodies: Sequence[bytes]
    offsets: Sequence[int]
    end: int | None = None
    sender: str = ""
    log: str = ""
    lost: int = 0
    damaged: str = ""
    resumes: bool = False
    senders: Sequence[str] = ()

    @property
    def behind(self) -> bool:
        """Whether the source is known to hold more than this chunk."""
        return self.end is not None and self.next < self.end


class Source(Protocol):
    """Records in partitions, read from stored positions. Not thread-safe: one reader owns it."""

    @property
    def origin(self) -> str:
        """What a person would call it: a file's name, ``journal``, a broker."""

    def partitions(self) -> Sequence[str]:
        """The partitions this reader owns now; on a broker they come and go between two calls of :meth:`poll`."""

    def waiting(self) -> Sequence[str]:
        """Those of them that came, or came back, since: they give no records until :meth:`seek` has said from where."""

    def seek(self, partition: str, position: Position | None) -> None:
        """Read on from ``position``; None if it was never read: from the oldest record.

        Raises SourceError for a partition that is not its own, PartitionStopped if ``position`` does not fit the log.
        """

    def poll(self, limit: int, timeout_s: float) -> Sequence[Chunk]:
        """The next records, at most ``limit`` and a chunk for each partition; none after ``timeout_s`` without any.

        Raises PartitionStopped for one partition; the others go on with the next call.
        """

    def current(self) -> Sequence[str]:
        """Those that are known, by a word of the last seconds, to hold nothing beyond what :meth:`poll` gave."""

    def idle(self) -> None:
        """Take nothing, but keep what is owned: called every half second while the database is away."""

    def rest(self, partition: str, for_s: float) -> None:
        """Leave one partition alone for a while; the others go on."""

    def done(self, chunks: Sequence[Chunk]) -> None:
        """These are committed in the database: whoever measures lag elsewhere may know."""

    def close(self) -> None:
        """Release what is held; safe to call twice."""


class SteadySource:
    """What the sources share whose partitions never change hands: nothing is to be kept alive or told."""

    def waiting(self) -> Sequence[str]:
        """None comes later."""
        return ()

    def current(self) -> Sequence[str]:
        """Nobody waits for it to be complete: it is judged when it was read."""
        return ()

    def idle(self) -> None:
        """Nothing is owned that could be lost."""

    def rest(self, partition: str, for_s: float) -> None:
        """Its dead letters live in the database, which is waited for elsewhere."""

    def done(self, chunks: Sequence[Chunk]) -> None:
        """Nobody measures its lag but the database."""
