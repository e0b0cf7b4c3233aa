"""What is dropped when its time is over (BELLWETHER_RETENTION_*), a little at a time, so that nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Connection, delete, func, select

from alerts.delivery import DeliveryStatus
from app.database import dead_letters, idempotency, journal
from app.database.engine import Database
from app.database.tables import delivery, position
from app.settings import Settings

_AT_ONCE = 2_000
_MOST_TURNS = 500  # a million rows in one go; the rest is for the next
_OVER = (DeliveryStatus.SENT, DeliveryStatus.PARKED, DeliveryStatus.SHADOW)


def tidy(database: Database, settings: Settings, now: int) -> dict[str, int]:
    """Drop what is older than its retention at ``now``, the real time. Returns how many of each went.

    Raises StorageError. Undelivered messages are never dropped, journal entries only once they are in the windows.
    """

    def before(kept: timedelta) -> int:
        return now - kept // timedelta(microseconds=1)

    work: dict[str, Callable[[Connection], int]] = {
        "journal": lambda connection: journal.prune(
            connection,
            received_before=before(settings.retention_journal),
            handled=_handled(connection),
            limit=_AT_ONCE,
        ),
        "dead_letters": lambda connection: dead_letters.prune(
            connection, received_before=before(settings.retention_dead_letters), limit=_AT_ONCE
        ),
        "deliveries": lambda connection: _prune_deliveries(connection, before(settings.retention_deliveries)),
        "idempotency": lambda connection: idempotency.prune(connection, now=now, limit=_AT_ONCE),
    }
    return {name: _in_turns(database, one) for name, one in work.items()}


def _in_turns(database: Database, one: Callable[[Connection], int]) -> int:
    total = 0
    for _ in range(_MOST_TURNS):
        with database.write() as connection:
            gone = one(connection)
        total += gone
        if gone < _AT_ONCE:
            break
    return total


def _handled(connection: Connection) -> int:
    """The journal's position: entries before it are in the windows."""
    return connection.scalar(select(position.c.next).where(position.c.partition == journal.PARTITION)) or 0


def _prune_deliveries(connection: Connection, before: int) -> int:
    # By the real clock: ``created_at`` is the moment of judgement, which may stand still at any time.
    over_since = func.coalesce(delivery.c.settled_at, delivery.c.next_at)
    old = (
        select(delivery.c.id)
        .where(delivery.c.status.in_(_OVER), over_since < before)
        .order_by(delivery.c.id)
        .limit(_AT_ONCE)
    )
    return connection.execute(delete(delivery).where(delivery.c.id.in_(old))).rowcount
