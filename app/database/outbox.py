"""The outbox: deliveries written with their alerts, claimed with a lease, settled after the sending.

On SQLite a writing transaction is alone by itself; on PostgreSQL the destination's row is the lock, so that two
notifiers cannot both take from one destination, nor pass its pace, between looking and claiming.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, func, insert, or_, select, update

from alerts.delivery import (
    PACES_US,
    REPLAYABLE,
    UNSETTLED,
    Decision,
    Delivery,
    DeliveryStatus,
    DestinationState,
    DestinationStatus,
    Outcome,
    Verdict,
)
from alerts.retry import MAX_RETRY_AFTER_S
from app.database.engine import Database
from app.database.tables import delivery, delivery_attempt, destination
from app.database.upsert import inserting

# A claim or a pause that lies further ahead was dated by a process whose clock is wrong, and counts as over: twice the
# notifier's lease, and twice the longest that a destination may ask for.
_LEASE_AHEAD_US = 120 * 1_000_000
_PAUSE_AHEAD_US = 2 * MAX_RETRY_AFTER_S * 1_000_000


class SqlOutbox:
    """Deliveries in the database. Thread-safe."""

    def __init__(self, database: Database, *, paces_us: Mapping[str, int] = PACES_US) -> None:
        """``paces_us``: the least time between two messages to a destination of a kind, over all processes."""
        self._database = database
        self._paces_us = paces_us

    def enqueue(self, unit: Connection, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries within the transaction that moved their alert; known webhook ids are left alone."""
        if not deliveries:
            return
        statement = inserting(unit, delivery).on_conflict_do_nothing(
            index_elements=["destination", "webhook_id"]
        )
        unit.execute(statement, [_values(each) for each in deliveries])

    # --- sending

    def due(self, now: int) -> Sequence[str]:
        """The destinations for which :meth:`claim` would find something. Reads only."""
        here = delivery.c.destination == destination.c.name
        waiting = or_(*(exists().where(here, each, _is_first()) for each in (_queued(now), _abandoned(now))))
        with self._database.read() as connection:
            return list(connection.scalars(select(destination.c.name).where(_open(now), waiting)))

    def claim(
        self, now: int, holder: str, lease_us: int, limit: int, only: Collection[str] | None = None
    ) -> Sequence[Delivery]:
        """Lease up to ``limit`` due deliveries, in the order in which they were due; see the Protocol."""
        taken: list[Delivery] = []
        with self._database.write() as connection:
            for name, kind in connection.execute(_open_destinations(now, only)).all():
                if len(taken) >= limit:
                    break
                pace_us = self._paces_us.get(kind, 0)
                ids = _heads(connection, name, now, 1 if pace_us else limit - len(taken))
                rows = connection.execute(
                    update(delivery)
                    .where(delivery.c.id.in_(ids))
                    .values(status=DeliveryStatus.SENDING, lease_holder=holder, lease_until=now + lease_us)
                    .returning(delivery)
                ).all()
                if rows and pace_us:
                    connection.execute(
                        update(destination).where(destination.c.name == name).values(not_before=now + pace_us)
                    )
                claimed = sorted((_delivery(row) for row in rows), key=lambda each: (each.next_at, each.id))
                taken += [replace(each, throttles=_throttles(connection, each.id)) for each in claimed]
        return taken

    def settle(self, claimed: Delivery, verdict: Verdict, outcome: Outcome, now: int) -> bool:
        """Write down an attempt and what follows from it; False, and nothing written, if the lease went elsewhere."""
        with self._database.write() as connection:
            kind = connection.scalar(_kind(claimed.destination))
            settled = connection.execute(
                update(delivery)
                .where(
                    delivery.c.id == claimed.id,
                    delivery.c.status == DeliveryStatus.SENDING,
                    delivery.c.lease_holder == claimed.lease_holder,
                    delivery.c.lease_until == claimed.lease_until,
                )
                .values(
                    status=verdict.status,
                    attempts=claimed.attempts + verdict.costs_an_attempt,
                    next_at=claimed.next_at if verdict.at is None else verdict.at,
                    lease_holder=None,
                    lease_until=None,
                    settled_at=None if verdict.status in UNSETTLED else now,
                    detail=verdict.reason,
                )
            )
            if settled.rowcount != 1:
                return False
            _log(connection, claimed.id, verdict, outcome, now)
            self._hold(connection, claimed.destination, kind or "", verdict, now)
        return True

    def _hold(self, connection: Connection, name: str, kind: str, verdict: Verdict, now: int) -> None:
        """Leave the destination alone for as long as it asked, and as its kind wants between two messages."""
        if verdict.decision is Decision.DISABLED:
            _set_destination(connection, name, now, status=DestinationStatus.DISABLED, reason=verdict.reason)
        pace_us = self._paces_us.get(kind, 0)
        until = max(verdict.hold_until or 0, now + pace_us if pace_us else 0)
        connection.execute(
            update(destination)
            .where(destination.c.name == name, destination.c.not_before < until)
            .values(not_before=until)
        )

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

        One that is new or comes back is enabled; one that said 410 stays disabled until somebody enables it.
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


def _open(now: int) -> ColumnElement[bool]:
    paused = destination.c.not_before.between(now + 1, now + _PAUSE_AHEAD_US)
    return and_(destination.c.status == DestinationStatus.ENABLED, ~paused)


def _open_destinations(now: int, only: Collection[str] | None) -> Select[str, str]:
    query = select(destination.c.name, destination.c.kind).where(_open(now)).order_by(destination.c.name)
    if only is not None:
        query = query.where(destination.c.name.in_(only))
    return query.with_for_update(skip_locked=True)


def _kind(name: str) -> Select[str]:
    """A destination's kind, its row locked: as a claim does, the destination first, then its deliveries."""
    return select(destination.c.kind).where(destination.c.name == name).with_for_update()


def _queued(now: int) -> ColumnElement[bool]:
    return and_(delivery.c.status == DeliveryStatus.QUEUED, delivery.c.next_at <= now)


def _abandoned(now: int) -> ColumnElement[bool]:
    """Was being sent under a lease that ran out: its holder is dead, or as good as."""
    leased = delivery.c.lease_until.between(now + 1, now + _LEASE_AHEAD_US)
    return and_(delivery.c.status == DeliveryStatus.SENDING, ~leased)


def _is_first() -> ColumnElement[bool]:
    """Nothing earlier of the same alert is unsettled."""
    earlier = delivery.alias("earlier")
    return ~exists().where(
        earlier.c.destination == delivery.c.destination,
        earlier.c.alert_id == delivery.c.alert_id,
        earlier.c.seq < delivery.c.seq,
        earlier.c.status.in_(UNSETTLED),
    )


def _heads(connection: Connection, name: str, now: int, limit: int) -> list[int]:
    """Ids of what may be sent to a destination, the longest due first.

    Two queries, as neither index nor LIMIT could end an OR early: with a long backlog it would be read whole each time.
    """
    ids: list[int] = []
    for claimable in (_abandoned(now), _queued(now)):
        query = (
            select(delivery.c.id)
            .where(delivery.c.destination == name, claimable, _is_first())
            .order_by(delivery.c.next_at, delivery.c.id)
            .limit(limit - len(ids))
        )
        ids += connection.scalars(query).all()
    return ids


def _throttles(connection: Connection, delivery_id: int) -> int:
    """How many of the last attempts in a row were answered "not now"."""
    outcomes = connection.scalars(
        select(delivery_attempt.c.outcome)
        .where(delivery_attempt.c.delivery_id == delivery_id)
        .order_by(delivery_attempt.c.no.desc())
    )
    return sum(1 for _ in takewhile(lambda outcome: outcome == Decision.THROTTLED, outcomes.all()))


def _log(connection: Connection, delivery_id: int, verdict: Verdict, outcome: Outcome, now: int) -> None:
    last = connection.scalar(
        select(func.max(delivery_attempt.c.no)).where(delivery_attempt.c.delivery_id == delivery_id)
    )
    connection.execute(
        insert(delivery_attempt).values(
            delivery_id=delivery_id,
            no=(last or 0) + 1,
            at=now,
            latency_ms=outcome.latency_ms,
            status_code=outcome.status_code,
            outcome=verdict.decision.value,
            detail="\n".join(filter(None, (verdict.reason, outcome.body))),
        )
    )


def _set_destination(connection: Connection, name: str, now: int, **values: Any) -> None:
    connection.execute(update(destination).where(destination.c.name == name).values(updated_at=now, **values))


def _values(each: Delivery) -> dict[str, Any]:
    return {column.name: getattr(each, column.name) for column in delivery.c if column.name != "id"}


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**{**row._mapping, "status": DeliveryStatus(row.status)})
