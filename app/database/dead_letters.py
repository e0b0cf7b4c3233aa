"""Rejected events: kept with their reason and original bytes, listed, and sent through again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from app.database import counters, journal
from app.database.tables import dead_letter
from consumers.decode import decode
from consumers.events import Event
from consumers.rejection import Rejection, RejectionReason

INTAKE = "intake"  # the partition of what HTTP refused: numbered here, as it has no offset of its own


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One rejected record. ``status`` is ``waiting`` or ``replayed``; ``log`` is the one that ``offset`` counts in.

    If that log was cut and gave the offset to a second record, the second one's ``log`` has ``#`` and a hash behind it.
    """

    id: int
    partition: str
    offset: int
    reason: str
    detail: str
    origin: str
    body: bytes
    received_at: int
    status: str
    replayed_at: int | None
    log: str


@dataclass(frozen=True, slots=True)
class Refused:
    """What HTTP intake would not take: the bytes, why, and where they came from."""

    body: bytes
    rejection: Rejection
    origin: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which to send through again: at most ``limit`` with an id above ``after``, the oldest first.

    ``ids`` names some, ``reason`` takes those with one of the reasons, neither takes all.
    """

    ids: Sequence[int] | None = None
    reason: Sequence[str] = ()
    after: int = 0
    limit: int = 1_000


@dataclass(frozen=True, slots=True)
class Judged:
    """Some that wait, decoded again: what is good by its id, what is still bad, where to go on (None: at the end)."""

    good: dict[int, tuple[Event, bytes]]
    bad: list[tuple[int, Rejection]]
    next_after: int | None


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay did: how many went through again, which are still bad, and where to go on (None: at the end)."""

    replayed: int
    still_bad: Sequence[tuple[int, Rejection]]
    next_after: int | None


def keep(connection: Connection, refused: Sequence[Refused], *, received_at: int) -> None:
    """Store what intake refused, in the transaction that stores what it took."""
    if not refused:
        return
    journal.lock_order(connection)  # two intakes must not give one number twice
    newest = connection.scalar(
        select(func.max(dead_letter.c.offset)).where(dead_letter.c.partition == INTAKE)
    )
    first = 0 if newest is None else int(newest) + 1
    connection.execute(
        insert(dead_letter),
        [
            {
                "partition": INTAKE,
                "offset": first + index,
                "reason": str(item.rejection.reason),
                "detail": item.rejection.detail[:1024],
                "origin": item.origin[:1024],
                "body": item.body,
                "received_at": received_at,
                "status": "waiting",
            }
            for index, item in enumerate(refused)
        ],
    )
    counters.add(connection, Counter(f"rejected.{item.rejection.reason}" for item in refused))


def page(
    connection: Connection,
    *,
    reason: Sequence[str] = (),
    status: str | None = "waiting",
    before: int | None = None,
    limit: int = 50,
) -> Sequence[DeadLetter]:
    """The newest first, those with an id below ``before``. ``status`` None takes both."""
    wanted = select(dead_letter).order_by(dead_letter.c.id.desc()).limit(limit)
    if reason:
        wanted = wanted.where(dead_letter.c.reason.in_(reason))
    if status is not None:
        wanted = wanted.where(dead_letter.c.status == status)
    if before is not None:
        wanted = wanted.where(dead_letter.c.id < before)
    return [DeadLetter(**row._mapping) for row in connection.execute(wanted)]


def counts(connection: Connection) -> dict[str, int]:
    """How many wait, by reason."""
    rows = connection.execute(
        select(dead_letter.c.reason, func.count())
        .where(dead_letter.c.status == "waiting")
        .group_by(dead_letter.c.reason)
    )
    return {row[0]: int(row[1]) for row in rows}


def not_understood(connection: Connection, limit: int = 1_000) -> dict[str, int]:
    """How many wait of each type that is no event type, by what was said of it; the most first."""
    count = func.count()
    rows = connection.execute(
        select(dead_letter.c.detail, count)
        .where(dead_letter.c.status == "waiting", dead_letter.c.reason == RejectionReason.UNKNOWN_TYPE.value)
        .group_by(dead_letter.c.detail)
        .order_by(count.desc(), dead_letter.c.detail)
        .limit(limit)
    )
    return {row[0].removeprefix("type: "): int(row[1]) for row in rows}


def judge(connection: Connection, wanted: Wanted, now: int, *, lock: bool = True) -> Judged:
    """Decode the waiting records that are ``wanted`` as of ``now``; ``lock`` them where the database locks rows."""
    query = (
        select(dead_letter.c.id, dead_letter.c.body)
        .where(dead_letter.c.status == "waiting", dead_letter.c.id > wanted.after)
        .order_by(dead_letter.c.id)
        .limit(wanted.limit)
    )
    if lock:
        query = query.with_for_update()
    if wanted.ids is not None:
        query = query.where(dead_letter.c.id.in_(wanted.ids))
    if wanted.reason:
        query = query.where(dead_letter.c.reason.in_(wanted.reason))
    rows = connection.execute(query).all()
    judged = Judged({}, [], rows[-1].id if len(rows) == wanted.limit else None)
    for row in rows:
        decoded = decode(row.body, now)
        if isinstance(decoded, Rejection):
            judged.bad.append((row.id, decoded))
        else:
            judged.good[row.id] = (decoded, row.body)
    return judged


def settle(connection: Connection, judged: Judged, replayed_at: int) -> Replay:
    """Mark what is good as replayed, now that it is durable elsewhere; what is bad waits on with its new reason."""
    good = list(judged.good)
    for start in range(0, len(good), 500):
        connection.execute(
            update(dead_letter)
            .where(dead_letter.c.id.in_(good[start : start + 500]))
            .values(status="replayed", replayed_at=replayed_at)
        )
    for id_, rejection in judged.bad:
        connection.execute(
            update(dead_letter)
            .where(dead_letter.c.id == id_)
            .values(reason=str(rejection.reason), detail=rejection.detail[:1024])
        )
    return Replay(len(good), judged.bad, judged.next_after)


def prune(connection: Connection, *, received_before: int, limit: int = 1_000) -> int:
    """Drop at most ``limit`` of those older than their retention, waiting or not. Returns how many went."""
    expired = dead_letter.c.received_at < received_before
    old = select(dead_letter.c.id).where(expired).order_by(dead_letter.c.id).limit(limit)
    return connection.execute(delete(dead_letter).where(dead_letter.c.id.in_(old))).rowcount
