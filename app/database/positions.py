"""How far each partition is handled: to look at, and to be moved by a person while consumers run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from app.database import incidents, journal
from app.database.tables import position
from app.database.upsert import inserting
from consumers.store import STOPS


@dataclass(frozen=True, slots=True)
class Stored:
    """One partition. ``next`` is None if it was never read, ``end`` the position after its newest record, None if
    nobody knows; ``open`` are incidents. ``updated_at`` is when it moved last, or its oldest open incident's time."""

    partition: str
    next: int | None
    end: int | None
    log: str
    origin: str
    updated_at: int
    open: Sequence[str]

    @property
    def lag(self) -> int | None:
        """Records that are not handled yet."""
        return None if self.end is None or self.next is None else max(0, self.end - self.next)


def page(connection: Connection) -> Sequence[Stored]:
    """Every partition that was ever read, and those that never were but are in trouble."""
    trouble: dict[str, list[str]] = {}
    since: dict[str, int] = {}
    for each in incidents.going_on(connection):
        if each.kind == incidents.STALE_SOURCE:
            continue
        trouble.setdefault(each.subject, []).append(each.kind)
        since.setdefault(each.subject, each.opened_at)
    rows = connection.execute(select(position).order_by(position.c.partition)).all()
    ends = {journal.PARTITION: journal.end(connection)}
    stored = [
        Stored(
            partition=row.partition,
            next=row.next,
            end=ends.get(row.partition, row.end),
            log=row.log,
            origin=row.origin,
            updated_at=row.updated_at,
            open=trouble.get(row.partition, ()),
        )
        for row in rows
    ]
    read = {row.partition for row in rows}
    stored += [
        Stored(partition=each, next=None, end=None, log="", origin="", updated_at=since[each], open=kinds)
        for each, kinds in trouble.items()
        if each not in read
    ]
    return sorted(stored, key=lambda each: each.partition)


def move(connection: Connection, partition: str, *, to: int, end: int, log: str, now: int) -> int | None:
    """Let ``partition`` be read on from ``to`` in ``log``, and end the incidents that this mends.

    Whoever consumes it finds its next batch refused and reads the position again. Returns where it stood before, None
    if it was never read.
    """
    there = position.c.partition == partition
    before = connection.scalar(select(position.c.next).where(there).with_for_update())
    moved = {"next": to, "end": end, "behind": to < end, "log": log, "updated_at": now}
    # Who consumes it may begin it just now: then it is moved all the same.
    begun = inserting(connection, position).values(partition=partition, origin="positions reset", **moved)
    connection.execute(begun.on_conflict_do_update(index_elements=["partition"], set_=moved))
    for kind in STOPS:
        incidents.close(connection, kind, partition, now)
    return None if before is None else int(before)
