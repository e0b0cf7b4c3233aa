"""What a partition or a source met that a person must know of: events lost to retention, a log that is not the one it
was, a sender who fell silent.

``gap`` and ``corrupt`` are over when they are written down; the others stay open until it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from app.database.locks import Lock, alone
from app.database.tables import incident
from consumers.source import Chunk

GAP = "gap"
CORRUPT = "corrupt"
STALE_SOURCE = "stale_source"
"""Its subject is a source, not a partition."""
KINDS = (GAP, "recreated", "truncated", "corrupt", "dead_letters_unwritable", STALE_SOURCE)


@dataclass(frozen=True, slots=True)
class Incident:
    """One of them. ``closed_at`` None: it goes on."""

    id: int
    kind: str
    subject: str
    detail: str
    opened_at: int
    closed_at: int | None


def open_one(connection: Connection, kind: str, subject: str, detail: str, now: int) -> bool:
    """Open an incident unless one of its kind is open for ``subject``. Returns whether it is new."""
    known = select(incident.c.id).where(
        incident.c.kind == kind, incident.c.subject == subject, incident.c.closed_at.is_(None)
    )
    alone(connection, Lock.INCIDENT)
    if connection.scalar(known) is not None:
        return False
    connection.execute(
        insert(incident).values(kind=kind, subject=subject, detail=detail[:1024], opened_at=now)
    )
    return True


def close(connection: Connection, kind: str, subject: str, now: int) -> int:
    """Close the open ones of ``kind`` for ``subject``. Returns how many."""
    going_on = (incident.c.kind == kind, incident.c.subject == subject, incident.c.closed_at.is_(None))
    return connection.execute(update(incident).where(*going_on).values(closed_at=now)).rowcount


def gap(connection: Connection, chunk: Chunk, now: int) -> None:
    """Write down that the log no longer had what lay between the stored position and its first record."""
    detail = (
        f"{chunk.lost} offsets from {chunk.start} on were gone before they were read"
        ": retention is shorter than the lag was"
    )
    _over(connection, GAP, chunk.partition, detail, now)


def damage(connection: Connection, chunk: Chunk, now: int) -> None:
    """Write down that some offsets of the log cannot be read by anybody."""
    _over(connection, CORRUPT, chunk.partition, chunk.damaged, now)


def _over(connection: Connection, kind: str, subject: str, detail: str, now: int) -> None:
    values = {"kind": kind, "subject": subject, "detail": detail[:1024], "opened_at": now, "closed_at": now}
    connection.execute(insert(incident).values(values))


def going_on(connection: Connection) -> Sequence[Incident]:
    """Those that are open, the oldest first."""
    wanted = select(incident).where(incident.c.closed_at.is_(None)).order_by(incident.c.id)
    return [Incident(**row._mapping) for row in connection.execute(wanted)]


def silences(connection: Connection, *, alone_with_them: bool = False) -> Sequence[Incident]:
    """The open ones of sources. ``alone_with_them``: nobody else opens or closes any before the transaction ends."""
    if alone_with_them:
        alone(connection, Lock.INCIDENT)
    return [each for each in going_on(connection) if each.kind == STALE_SOURCE]


def counts(connection: Connection) -> dict[str, int]:
    """How many there ever were, by kind."""
    rows = connection.execute(select(incident.c.kind, func.count()).group_by(incident.c.kind))
    return {row[0]: int(row[1]) for row in rows}


def newest(connection: Connection, limit: int) -> Sequence[Incident]:
    """Open or not, the newest first."""
    wanted = select(incident).order_by(incident.c.id.desc()).limit(limit)
    return [Incident(**row._mapping) for row in connection.execute(wanted)]
