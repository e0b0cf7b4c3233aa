"""The embedded log: HTTP intake appends to it before it answers, one reader follows it like any other source.

Offsets are given by the database, may have holes and never come twice. A position is the offset to read on from, so
the journal's first position is 0.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, insert, select

from app.database.engine import Database
from app.database.locks import Lock, alone
from app.database.tables import journal, position
from consumers.errors import SourceError
from consumers.source import Chunk, Position, SteadySource

PARTITION = "journal"

# A process that only consumes hears no bell of the process that takes events in: it looks this often instead.
LOOK_EVERY_S = 0.25


def append(connection: Connection, bodies: Sequence[bytes], *, sender: str, received_at: int) -> None:
    """Add raw events at the end, in order. They are durable once the transaction has committed."""
    if not bodies:
        return
    lock_order(connection)
    connection.execute(
        insert(journal),
        [{"received_at": received_at, "sender": sender[:128], "body": body} for body in bodies],
    )


def lock_order(connection: Connection) -> None:
    """Let transactions that append commit one after another.

    PostgreSQL gives offsets when a row is written, not when it commits: without this a reader could pass an offset that
    is still to appear. On SQLite a writing transaction is alone anyway.
    """
    alone(connection, Lock.JOURNAL)


def end(connection: Connection) -> int:
    """The position after the newest event; 0 for an empty journal."""
    newest = connection.scalar(select(func.max(journal.c.offset)))
    return 0 if newest is None else int(newest) + 1


def unread(connection: Connection) -> int:
    """How many events are in the journal that were not handled yet."""
    handled = select(position.c.next).where(position.c.partition == PARTITION).scalar_subquery()
    behind = journal.c.offset >= func.coalesce(handled, 0)
    return connection.scalar(select(func.count()).select_from(journal).where(behind)) or 0


def prune(connection: Connection, *, received_before: int, handled: int, limit: int = 5_000) -> int:
    """Drop at most ``limit`` old events below the position ``handled``; what was not read is never dropped.

    The newest event stays, so that ``end`` never falls back. Returns how many went.
    """
    old = (
        select(journal.c.offset)
        .where(journal.c.received_at < received_before, journal.c.offset < min(handled, end(connection) - 1))
        .order_by(journal.c.offset)
        .limit(limit)
    )
    return connection.execute(delete(journal).where(journal.c.offset.in_(old))).rowcount


class Doorbell:
    """Wakes the reader of the same process when events were appended. Thread-safe."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        """Call after the commit."""
        self._rung.set()

    def wait(self, timeout_s: float) -> bool:
        """Whether it rang within ``timeout_s``, or since the last wait."""
        rang = self._rung.wait(timeout_s)
        self._rung.clear()
        return rang


class JournalSource(SteadySource):
    """The journal as a :class:`~consumers.source.Source` with one partition."""

    def __init__(self, database: Database, doorbell: Doorbell | None = None) -> None:
        self._database = database
        self._doorbell = doorbell or Doorbell()
        self._position = 0
        self._at_end = False

    @property
    def origin(self) -> str:
        """``journal``."""
        return PARTITION

    def partitions(self) -> Sequence[str]:
        """The one partition."""
        return (PARTITION,)

    def seek(self, partition: str, position: Position | None) -> None:
        """Read on from ``position``, None: the beginning. Raises SourceError for a partition it has not."""
        if partition != PARTITION:
            raise SourceError(f"the journal has no partition {partition}\nits only one is {PARTITION}")
        start = position.next if position else 0
        if start < 0:
            raise SourceError(f"the journal cannot be read from {start}\npositions begin at 0")
        self._position = start

    def poll(self, limit: int, timeout_s: float) -> Sequence[Chunk]:
        """The next events, waiting up to ``timeout_s`` for the first. Raises StorageError."""
        deadline = time.monotonic() + timeout_s
        while True:
            if chunk := self._read(limit):
                self._position = chunk.next
                self._at_end = not chunk.behind
                return [chunk]
            self._at_end = True
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            self._doorbell.wait(min(left, LOOK_EVERY_S))

    def current(self) -> Sequence[str]:
        """The one partition, if the last look found nothing behind what was given."""
        return (PARTITION,) if self._at_end else ()

    def close(self) -> None:
        """Wake a waiting poll; the database is the owner's to close."""
        self._doorbell.ring()

    def _read(self, limit: int) -> Chunk | None:
        wanted = (
            select(journal.c.offset, journal.c.body, journal.c.sender)
            .where(journal.c.offset >= self._position)
            .order_by(journal.c.offset)
            .limit(limit)
        )
        with self._database.glance() as connection:
            rows = connection.execute(wanted).all()
            if not rows:
                return None
            after = rows[-1].offset + 1 if len(rows) < limit else end(connection)
        senders = [row.sender for row in rows]
        several = senders.count(senders[0]) < len(senders)
        return Chunk(
            partition=PARTITION,
            start=self._position,
            next=rows[-1].offset + 1,
            bodies=[row.body for row in rows],
            offsets=[row.offset for row in rows],
            end=after,
            sender="" if several else senders[0],
            senders=senders if several else (),
        )
