"""What an outbox's database holds, read for tests as the outbox's own nouns."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from alerts.delivery import Delivery, DeliveryStatus
from app.database.engine import Database
from app.database.tables import delivery, delivery_attempt


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of a delivery's log."""

    no: int
    at: int
    latency_ms: float
    status_code: int | None
    outcome: str
    detail: str


def deliveries(database: Database) -> list[Delivery]:
    """All of them, newest first."""
    with database.read() as connection:
        rows = connection.execute(select(delivery).order_by(delivery.c.id.desc())).all()
    return [Delivery(**{**row._mapping, "status": DeliveryStatus(row.status)}) for row in rows]


def attempts(database: Database, delivery_id: int) -> list[Attempt]:
    """The log of one delivery, oldest first."""
    columns = [delivery_attempt.c[name] for name in Attempt.__slots__]
    query = select(*columns).where(delivery_attempt.c.delivery_id == delivery_id)
    with database.read() as connection:
        rows = connection.execute(query.order_by(delivery_attempt.c.no)).all()
    return [Attempt(*row) for row in rows]
