"""What REST and the command line read of deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, select

from app.database.tables import delivery

Row = RowMapping


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries; empty restricts nothing."""

    destination: str | None = None
    status: Sequence[str] = ()
    alert_id: str | None = None
    account_id: str | None = None


def page(
    connection: Connection, wanted: Filter, *, before: int | None = None, limit: int = 50
) -> Sequence[Row]:
    """The newest first, those with an id below ``before``; without their payload."""
    query = (
        select(*(column for column in delivery.c if column.name != "payload"))
        .order_by(delivery.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(delivery.c.id < before)
    if wanted.destination is not None:
        query = query.where(delivery.c.destination == wanted.destination)
    if wanted.status:
        query = query.where(delivery.c.status.in_(wanted.status))
    if wanted.alert_id is not None:
        query = query.where(delivery.c.alert_id == wanted.alert_id)
    if wanted.account_id is not None:
        query = query.where(delivery.c.account_id == wanted.account_id)
    return [row._mapping for row in connection.execute(query)]


def parked(
    connection: Connection, *, destination: str | None, since: int | None, until: int | None, limit: int
) -> Sequence[int]:
    """The ids of parked deliveries made between two instants, oldest first."""
    query = select(delivery.c.id).where(delivery.c.status == "parked").order_by(delivery.c.id).limit(limit)
    if destination is not None:
        query = query.where(delivery.c.destination == destination)
    if since is not None:
        query = query.where(delivery.c.created_at >= since)
    if until is not None:
        query = query.where(delivery.c.created_at <= until)
    return list(connection.scalars(query))
