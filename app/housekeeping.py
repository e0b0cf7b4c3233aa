"""What is dropped when its time is over (BELLWETHER_RETENTION_*), a little at a time, so that nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Connection, delete, exists, func, select

from alerts.alert import AlertStatus
from alerts.delivery import DeliveryStatus
from app.database import dead_letters, idempotency, journal
from app.database.engine import Database
from app.database.health import prune_health
from app.database.tables import alert, delivery, position
from app.settings import Settings
from consumers.days import DAY_US

_AT_ONCE = 2_000
_ALERTS_AT_ONCE = 200  # each takes its history with it, evidence and all
_MOST_TURNS = 500  # a million rows in one go; the rest is for the next
_OVER = (DeliveryStatus.SENT, DeliveryStatus.PARKED, DeliveryStatus.SHADOW)


def tidy(database: Database, settings: Settings, now: int, judged_at: int) -> dict[str, int]:
    """Drop what is older than its retention at ``now``, the real time. Returns how many of each went.

    Alerts are as old as they are at ``judged_at``, the moment of judgement, which dates them. Undelivered messages are
    never dropped, journal entries only once they are in the windows. Raises StorageError.
    """
    audited_since = judged_at - settings.retention_audit // timedelta(microseconds=1)

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
        "alerts": lambda connection: _prune_alerts(connection, audited_since),
        "health_history": lambda connection: prune_health(
            connection,
            before_day=(judged_at - settings.retention_activity // timedelta(microseconds=1)) // DAY_US,
            limit=_AT_ONCE,
        ),
        "idempotency": lambda connection: idempotency.prune(connection, now=now, limit=_AT_ONCE),
    }
    return {name: _in_turns(database, one) for name, one in work.items()}


def _in_turns(database: Database, one: Callable[[Connection], int]) -> int:
    total = 0
    for _ in range(_MOST_TURNS):
        with database.write() as connection:
            gone = one(connection)
        total += gone
        if not gone:
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


def _prune_alerts(connection: Connection, before: int) -> int:
    """Alerts that ended before, with their history; not those dismissed, which still hold their rule back.

    The newest episode of each key stays: the next one counts on from it. Were a number given twice, so would be the ids
    of its messages, and receivers would take them for repeats.
    """
    later = alert.alias()
    same = (
        later.c.account_no == alert.c.account_no,
        later.c.rule == alert.c.rule,
        later.c.key == alert.c.key,
    )
    over = (
        select(alert.c.id)
        .where(
            alert.c.status == AlertStatus.RESOLVED,
            alert.c.updated_at < before,
            alert.c.resolved_at < before,
            ~alert.c.dismissed,
            exists().where(*same, later.c.episode > alert.c.episode),
        )
        .limit(_ALERTS_AT_ONCE)
    )
    return connection.execute(delete(alert).where(alert.c.id.in_(over))).rowcount
