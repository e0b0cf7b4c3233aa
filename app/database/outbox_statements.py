"""The outbox's statements, built once: building one costs ten times what running it does."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    exists,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from alerts.delivery import UNSETTLED, Decision, DeliveryStatus, DestinationStatus
from alerts.retry import MAX_RETRY_AFTER_S
from app.database.tables import delivery, delivery_attempt, destination

# A claim or a pause that lies further ahead was dated by a process whose clock is wrong, and counts as over: twice the
# notifier's lease, and twice the longest that a destination may ask for.
_LEASE_AHEAD_US = 120 * 1_000_000
_PAUSE_AHEAD_US = 2 * MAX_RETRY_AFTER_S * 1_000_000

_NOW = bindparam("now", type_=BigInteger)
_ROOM = bindparam("room", type_=Integer)


def _paused() -> ColumnElement[bool]:
    return destination.c.not_before.between(_NOW + 1, _NOW + _PAUSE_AHEAD_US)


def _queued() -> ColumnElement[bool]:
    return and_(delivery.c.status == DeliveryStatus.QUEUED, delivery.c.next_at <= _NOW)


def _abandoned() -> ColumnElement[bool]:
    """Was being sent under a lease that ran out: its holder is dead, or as good as."""
    leased = delivery.c.lease_until.between(_NOW + 1, _NOW + _LEASE_AHEAD_US)
    return and_(delivery.c.status == DeliveryStatus.SENDING, ~leased)


def _is_first() -> ColumnElement[bool]:
    """Nothing earlier of the same alert is unsettled.

    PostgreSQL counts its rows while the queue is short, and with a plain NOT EXISTS, or an IN that an index could take,
    it would compare each with each once the queue is long. Asked like this it looks up each alert by an index.
    """
    earlier = delivery.alias("earlier")
    found = exists().where(
        earlier.c.destination == delivery.c.destination,
        earlier.c.alert_id == delivery.c.alert_id,
        earlier.c.seq < delivery.c.seq,
        earlier.c.status.not_in([each for each in DeliveryStatus if each not in UNSETTLED]),
    )
    return found.is_(false())


def _heads(name: ColumnElement[str], claimable: ColumnElement[bool]) -> Select[Any]:
    """What may be sent to a destination, the longest due first: by its index, so that LIMIT ends it early."""
    return (
        select(delivery.c.id, delivery.c.next_at)
        .where(delivery.c.destination == name, claimable, _is_first())
        .order_by(delivery.c.next_at)
    )


def _waiting(claimable: ColumnElement[bool]) -> ColumnElement[bool]:
    heads = _heads(destination.c.name, claimable).with_only_columns(delivery.c.id).limit(1)
    return heads.correlate(destination).scalar_subquery().is_not(None)


def _next() -> Select[Any]:
    """Ids of what is sent next.

    Two queries, as neither index nor LIMIT could end an OR early: with a long backlog it would be read whole each time.
    """
    name = bindparam("name", type_=String)
    queues = [
        _heads(name, claimable).add_columns(literal(rank).label("rank")).limit(_ROOM).subquery()
        for rank, claimable in enumerate((_abandoned(), _queued()))
    ]
    either = union_all(*map(select, queues)).subquery()
    return select(either.c.id).order_by(either.c.rank, either.c.next_at, either.c.id).limit(_ROOM)


def _throttles() -> ColumnElement[int]:
    """How many of the last attempts in a row were answered "not now"."""
    told, other = delivery_attempt, delivery_attempt.alias("other")
    last_other = select(func.max(other.c.no)).where(
        other.c.delivery_id == delivery.c.id, other.c.outcome != Decision.THROTTLED
    )
    since = func.coalesce(last_other.correlate(delivery).scalar_subquery(), 0)
    return (
        select(func.count())
        .select_from(told)
        .where(told.c.delivery_id == delivery.c.id, told.c.no > since)
        .correlate(delivery)
        .scalar_subquery()
    )


_OPEN = and_(destination.c.status == DestinationStatus.ENABLED, ~_paused())

# now
DUE = select(destination.c.name).where(_OPEN, or_(_waiting(_queued()), _waiting(_abandoned())))

# now; with names. The row is the lock, and whoever holds it is just taking what there is.
OPEN = (
    select(destination.c.name, destination.c.kind)
    .where(_OPEN)
    .order_by(destination.c.name)
    .with_for_update(skip_locked=True)
)
OPEN_AMONG = OPEN.where(destination.c.name.in_(bindparam("names", expanding=True)))

# name, now, room, holder, until
CLAIM = (
    update(delivery)
    .where(delivery.c.id.in_(_next()))
    .values(
        status=DeliveryStatus.SENDING,
        lease_holder=bindparam("holder"),
        lease_until=bindparam("until", type_=BigInteger),
    )
    .returning(delivery, _throttles().label("throttles"))
)

# name; the row locked: as a claim does, the destination first, then its deliveries
KIND = select(destination.c.kind).where(destination.c.name == bindparam("name")).with_for_update()

# ids
SENDING = select(
    delivery.c.id,
    delivery.c.lease_holder,
    delivery.c.lease_until,
    select(func.coalesce(func.max(delivery_attempt.c.no), 0))
    .where(delivery_attempt.c.delivery_id == delivery.c.id)
    .scalar_subquery()
    .label("attempted"),
).where(delivery.c.id.in_(bindparam("ids", expanding=True)), delivery.c.status == DeliveryStatus.SENDING)

# of, and the columns to be set
SETTLE = update(delivery).where(delivery.c.id == bindparam("of"))
ATTEMPT = insert(delivery_attempt)

# name, until
HOLD = (
    update(destination)
    .where(
        destination.c.name == bindparam("of"),
        destination.c.not_before < bindparam("until", type_=BigInteger),
    )
    .values(not_before=bindparam("until", type_=BigInteger))
)

_CONFLICT = ["destination", "webhook_id"]
ENQUEUE = {
    "sqlite": sqlite.insert(delivery).on_conflict_do_nothing(index_elements=_CONFLICT),
    "postgresql": postgresql.insert(delivery).on_conflict_do_nothing(index_elements=_CONFLICT),
}
