"""The outbox: deliveries written with their alerts, claimed with a lease, settled after the sending.

On SQLite a writing transaction is alone by itself; on PostgreSQL the destination's row is the lock, so that two
notifiers cannot both take from one destination, nor pass its pace, between looking and claiming.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select, update

from alerts.delivery import (
    PACES_US,
    REPLAYABLE,
    UNSETTLED,
    Decision,
    Delivery,
    DeliveryStatus,
    DestinationState,
    DestinationStatus,
    Settlement,
)
from app.database import outbox_statements as statements
from app.database.engine import Database
from app.database.tables import delivery, destination
from app.database.upsert import inserting


class SqlOutbox:
    """Deliveries in the database. Thread-safe."""

    def __init__(self, database: Database, *, paces_us: Mapping[str, int] = PACES_US) -> None:
        """``paces_us``: the least time between two messages to a destination of a kind, over all processes."""
        self._database = database
        self._paces_us = paces_us

    def enqueue(self, unit: Connection, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries within the transaction that moved their alert; known webhook ids are left alone."""
        if deliveries:
            unit.execute(statements.ENQUEUE[unit.dialect.name], [_values(each) for each in deliveries])

    # --- sending

    def due(self, now: int) -> Sequence[str]:
        """The destinations for which :meth:`claim` would find something. Reads only."""
        with self._database.glance() as connection:
            return list(connection.scalars(statements.DUE, {"now": now}))

    def claim(
        self, now: int, holder: str, lease_us: int, limit: int, only: Collection[str] | None = None
    ) -> Sequence[Delivery]:
        """Lease up to ``limit`` due deliveries, in the order in which they were due; see the Protocol."""
        with self._database.write() as connection:
            return self._claim(connection, now, holder, lease_us, limit=limit, only=only)

    def settle(self, settlements: Sequence[Settlement]) -> Collection[int]:
        """Write down attempts at one destination and what follows from them; see the Protocol."""
        if not settlements:
            return set()
        with self._database.write() as connection:
            return self._settle(connection, settlements)

    def settle_and_claim(
        self, settlements: Sequence[Settlement], now: int, holder: str, lease_us: int, limit: int
    ) -> tuple[Collection[int], Sequence[Delivery]]:
        """Both in one transaction; see the Protocol."""
        name = settlements[0].delivery.destination
        with self._database.write() as connection:
            written = self._settle(connection, settlements)
            return written, self._claim(connection, now, holder, lease_us, limit=limit, only=(name,))

    def _claim(
        self,
        connection: Connection,
        now: int,
        holder: str,
        lease_us: int,
        *,
        limit: int,
        only: Collection[str] | None,
    ) -> Sequence[Delivery]:
        taken: list[Delivery] = []
        for name, kind in _open(connection, now, only):
            if len(taken) >= limit:
                break
            pace_us = self._paces_us.get(kind, 0)
            claim = {
                "name": name,
                "now": now,
                "room": 1 if pace_us else limit - len(taken),
                "holder": holder,
                "until": now + lease_us,
            }
            rows = connection.execute(statements.CLAIM, claim).all()
            if rows and pace_us:
                connection.execute(statements.HOLD, {"of": name, "until": now + pace_us})
            taken += sorted((_delivery(row) for row in rows), key=lambda each: (each.next_at, each.id))
        return taken

    def _settle(self, connection: Connection, settlements: Sequence[Settlement]) -> Collection[int]:
        name = settlements[0].delivery.destination
        kind = connection.scalar(statements.KIND, {"name": name})
        ids = [each.delivery.id for each in settlements]
        # Nobody else changes these until the end: a claim of them would need the destination's row.
        rows = connection.execute(statements.SENDING, {"ids": ids})
        attempted = {(row.id, row.lease_holder, row.lease_until): row.attempted for row in rows}
        mine = [each for each in settlements if _lease(each.delivery) in attempted]
        if mine:
            connection.execute(statements.SETTLE, [_settled(each) for each in mine])
            attempts = [_attempt(each, attempted[_lease(each.delivery)] + 1) for each in mine]
            connection.execute(statements.ATTEMPT, attempts)
            self._hold(connection, name, self._paces_us.get(kind or "", 0), mine)
        return {each.delivery.id for each in mine}

    def _hold(
        self, connection: Connection, name: str, pace_us: int, settlements: Sequence[Settlement]
    ) -> None:
        """Leave the destination alone for as long as it asked, and as its kind wants between two messages."""
        gone = [each for each in settlements if each.verdict.decision is Decision.DISABLED]
        if gone:
            status, reason = DestinationStatus.DISABLED, gone[0].verdict.reason
            _set_destination(connection, name, gone[0].at, status=status, reason=reason)
        until = max(
            max(each.verdict.hold_until or 0, each.at + pace_us if pace_us else 0) for each in settlements
        )
        if until:
            connection.execute(statements.HOLD, {"of": name, "until": until})

    # --- operating

    def replay(self, now: int, ids: Collection[int]) -> int:
        """Queue again those of ``ids`` that were sent or parked, under the same webhook ids. Returns how many."""
        again = {
            "status": DeliveryStatus.QUEUED,
            "attempts": 0,
            "next_at": now,
            "settled_at": None,
            "detail": "replayed",
        }
        wanted = and_(delivery.c.status.in_(REPLAYABLE), delivery.c.id.in_(ids))
        with self._database.write() as connection:
            return connection.execute(update(delivery).where(wanted).values(again)).rowcount

    def sync_destinations(self, configured: Mapping[str, str], now: int) -> None:
        """Bring the known destinations in line with the configuration, a kind under each name.

        One that is new or comes back is enabled, also if it had said 410 before it went; one that said 410 and is
        still there stays disabled until it goes and comes back, or somebody enables it.
        """
        with self._database.write() as connection:
            known = {row.name: row for row in connection.execute(select(destination))}
            for name, kind in sorted(configured.items()):
                row = known.get(name)
                if row is None:
                    values = {
                        "name": name,
                        "kind": kind,
                        "status": DestinationStatus.ENABLED,
                        "updated_at": now,
                    }
                    first = inserting(connection, destination).values(values)
                    connection.execute(first.on_conflict_do_nothing())  # another process may start just now
                elif row.status == DestinationStatus.REMOVED or row.kind != kind:
                    status = (
                        row.status if row.status == DestinationStatus.DISABLED else DestinationStatus.ENABLED
                    )
                    reason = row.reason if status == DestinationStatus.DISABLED else ""
                    _set_destination(connection, name, now, kind=kind, status=status, reason=reason)
            for name in sorted(known.keys() - configured.keys()):
                if known[name].status != DestinationStatus.REMOVED:
                    _set_destination(connection, name, now, status=DestinationStatus.REMOVED)

    def enable(self, name: str, now: int) -> bool:
        """Send to a disabled destination again, what was held first; False if there is no such destination."""
        with self._database.write() as connection:
            found = connection.execute(
                update(destination)
                .where(destination.c.name == name, destination.c.status != DestinationStatus.REMOVED)
                .values(status=DestinationStatus.ENABLED, reason="", not_before=0, updated_at=now)
            )
            return found.rowcount == 1

    def destinations(self) -> Sequence[DestinationState]:
        """Every destination ever configured, by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(destination).order_by(destination.c.name)).all()
        return [DestinationState(**{**row._mapping, "status": DestinationStatus(row.status)}) for row in rows]

    def counts(self) -> Mapping[tuple[str, DeliveryStatus], int]:
        """How many deliveries each destination has in each status."""
        grouping = (delivery.c.destination, delivery.c.status)
        with self._database.read() as connection:
            rows = connection.execute(select(*grouping, func.count()).group_by(*grouping)).all()
        return {(name, DeliveryStatus(status)): count for name, status, count in rows}


def _open(connection: Connection, now: int, only: Collection[str] | None) -> Sequence[Row[str, str]]:
    """Name and kind of the destinations that may be sent to, and are taken from by nobody else just now."""
    if only is None:
        return connection.execute(statements.OPEN, {"now": now}).all()
    return connection.execute(statements.OPEN_AMONG, {"now": now, "names": list(only)}).all()


def _lease(claimed: Delivery) -> tuple[int, str | None, int | None]:
    return claimed.id, claimed.lease_holder, claimed.lease_until


def _settled(each: Settlement) -> dict[str, Any]:
    verdict, claimed = each.verdict, each.delivery
    return {
        "of": claimed.id,
        "status": verdict.status,
        "attempts": claimed.attempts + verdict.costs_an_attempt,
        "next_at": claimed.next_at if verdict.at is None else verdict.at,
        "lease_holder": None,
        "lease_until": None,
        "settled_at": None if verdict.status in UNSETTLED else each.at,
        "detail": verdict.reason,
    }


def _attempt(each: Settlement, no: int) -> dict[str, Any]:
    return {
        "delivery_id": each.delivery.id,
        "no": no,
        "at": each.at,
        "latency_ms": each.outcome.latency_ms,
        "status_code": each.outcome.status_code,
        "outcome": each.verdict.decision.value,
        "detail": "\n".join(filter(None, (each.verdict.reason, each.outcome.body))),
    }


def _set_destination(connection: Connection, name: str, now: int, **values: Any) -> None:
    connection.execute(update(destination).where(destination.c.name == name).values(updated_at=now, **values))


def _values(each: Delivery) -> dict[str, Any]:
    return {column.name: getattr(each, column.name) for column in delivery.c if column.name != "id"}


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**{**row._mapping, "status": DeliveryStatus(row.status)})
