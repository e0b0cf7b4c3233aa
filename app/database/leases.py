"""Leases: what must be done by one process at a time, decided by compare-and-set on one row.

Times are the real clock's, never the moment of judgement, which may stand still. A holder whose clock is a little off
is at worst followed a little early or late: everything done under a lease is idempotent or fenced by its own
compare-and-set, the lease only keeps two from doing the same work at once. A lease that lies further ahead than twice
its length was written by a clock that is wrong by more than that length, and counts as free: else the work would stand
still until that clock's instant.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import delete, or_, select, update

from app.database.engine import Database
from app.database.tables import lease
from app.database.upsert import inserting

CLOCK_LENGTH_US = 30_000_000  # a killed holder is followed within half a minute
_FURTHEST = 2  # lengths ahead


@dataclass(frozen=True, slots=True)
class Lease:
    """Held by ``holder`` until the instant ``until``, unless renewed."""

    name: str
    holder: str
    until: int


def new_holder() -> str:
    """A name for one process that no other has, nor the same process after a restart."""
    return secrets.token_hex(16)


class SqlLeases:
    """Leases in the database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, name: str, holder: str, now: int, length_us: int) -> Lease | None:
        """Take the lease if it is free or ran out, or extend it if ``holder`` has it; None while another has it.

        Whoever has it and asks again has it from now on: so this renews as well.
        """
        until = now + length_us
        furthest = now + _FURTHEST * length_us
        theirs = (lease.c.name == name, lease.c.holder != holder, lease.c.until.between(now + 1, furthest))
        with self._database.read() as connection:
            if connection.scalar(select(lease.c.name).where(*theirs)):
                return None  # without asking for the right to write: whoever waits for a lease asks often
        with self._database.write() as connection:
            statement = inserting(connection, lease).values(name=name, holder=holder, until=until)
            taken = connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["name"],
                    set_={"holder": holder, "until": until},
                    where=or_(lease.c.holder == holder, ~lease.c.until.between(now + 1, furthest)),
                )
            ).rowcount
        return Lease(name, holder, until) if taken else None

    def renew(self, held: Lease, now: int, length_us: int) -> Lease | None:
        """Extend a lease; None if it was lost meanwhile: whatever is done under it must stop."""
        until = now + length_us
        with self._database.write() as connection:
            mine = (lease.c.name == held.name, lease.c.holder == held.holder, lease.c.until > now)
            kept = connection.execute(update(lease).where(*mine).values(until=until)).rowcount
        return Lease(held.name, held.holder, until) if kept else None

    def release(self, held: Lease) -> None:
        """Give it back, so that the next need not wait; nothing happens if it was lost."""
        with self._database.write() as connection:
            connection.execute(delete(lease).where(lease.c.name == held.name, lease.c.holder == held.holder))

    def held(self, name: str, now: int, length_us: int = CLOCK_LENGTH_US) -> bool:
        """Whether anybody holds the lease, which is taken for ``length_us``."""
        with self._database.read() as connection:
            until = connection.scalar(select(lease.c.until).where(lease.c.name == name))
        return until is not None and now < until <= now + _FURTHEST * length_us
