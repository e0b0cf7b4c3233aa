"""A source that lives in lists: for tests, and for whatever already holds its events."""

from __future__ import annotations

from collections.abc import Sequence

from consumers.errors import SourceError
from consumers.source import Chunk, Position, SteadySource


class MemorySource(SteadySource):
    """Partitions as lists of bodies; implements :class:`consumers.source.Source`. ``poll`` never waits.

    The offset of a record is its index. Partitions take turns, so a full one does not starve the others.
    """

    def __init__(self, origin: str = "memory", sender: str = "") -> None:
        self._origin = origin
        self._sender = sender
        self._bodies: dict[str, list[bytes]] = {}
        self._next: dict[str, int] = {}

    @property
    def origin(self) -> str:
        """The name that was given to it."""
        return self._origin

    def append(self, partition: str, *bodies: bytes) -> None:
        """Add records at the end of a partition, which comes to be with its first one."""
        self._bodies.setdefault(partition, []).extend(bodies)
        self._next.setdefault(partition, 0)

    def partitions(self) -> Sequence[str]:
        """Every partition that anything was appended to."""
        return tuple(self._bodies)

    def seek(self, partition: str, position: Position | None) -> None:
        """Read on from ``position``. Raises SourceError for a partition that does not exist."""
        if partition not in self._bodies:
            raise SourceError(f"{self._origin} has no partition {partition!r}")
        self._next[partition] = position.next if position else 0

    def poll(self, limit: int, timeout_s: float) -> Sequence[Chunk]:
        """The next chunk of the partition whose turn it is, none when all are read."""
        for partition, start in self._next.items():
            bodies = self._bodies[partition][start : start + limit]
            if bodies:
                after = start + len(bodies)
                del self._next[partition]  # to the end of the queue: dictionaries keep their order
                self._next[partition] = after
                end = len(self._bodies[partition])
                return [Chunk(partition, start, after, bodies, range(start, after), end, self._sender)]
        return []

    def close(self) -> None:
        """Nothing is held."""
