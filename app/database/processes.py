"""The processes that run, by what each says of itself: what a dead one would say of its own lag, nobody knows."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import Connection, delete, insert, select, update

from app.database.tables import process

FRESH_US = 60 * 1_000_000
_KEPT_US = 24 * 3_600 * 1_000_000


def beat(connection: Connection, process_id: str, role: str, trouble: str, now: int) -> None:
    """Say that the process is there, and what is wrong with it (empty: nothing); forget those gone for a day."""
    said = {"role": role, "beat_at": now, "trouble": trouble}
    if not connection.execute(update(process).where(process.c.id == process_id).values(said)).rowcount:
        connection.execute(insert(process).values(id=process_id, **said))
        connection.execute(delete(process).where(process.c.beat_at < now - _KEPT_US))


def leave(connection: Connection, process_id: str) -> None:
    """The process ends in order."""
    connection.execute(delete(process).where(process.c.id == process_id))


def well(connection: Connection, now: int) -> Counter[str]:
    """How many of each role said lately that nothing is wrong with them."""
    wanted = select(process.c.role).where(process.c.beat_at > now - FRESH_US, process.c.trouble == "")
    return Counter(connection.scalars(wanted))
