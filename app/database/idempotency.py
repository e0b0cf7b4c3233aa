"""Answers to writes that carried an Idempotency-Key: asked twice, done once, answered the same.

A row is reserved before the work and completed with its answer. Where the work is one transaction both go into it;
elsewhere a process that dies between them leaves a reservation, which the same request takes over after a minute:
everything behind such a route may safely be done again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection, delete, select, update

from app.database.tables import idempotency
from app.database.upsert import inserting

TAKE_OVER_AFTER_US = 60_000_000
KEPT_US = 24 * 3_600 * 1_000_000
_PENDING = 0  # the status of a reservation, which no answer has


class Claim(Enum):
    """What there is to say of a request before it is worked on, if no stored answer exists."""

    OURS = "ours"  # do it
    BUSY = "busy"  # the same request is being worked on
    CONFLICT = "conflict"  # the key was used for another body


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer: its status and JSON text."""

    status: int
    response: str


def request_key(caller_id: str, method: str, path: str, key: str) -> str:
    """One client's key for one operation: another caller's or another path's is another."""
    return hashlib.sha256(
        "\x1f".join((caller_id, method, path, key)).encode("utf-8", "surrogatepass")
    ).hexdigest()


def claim(connection: Connection, key: str, body: bytes, *, now: int) -> Claim | Answer:
    """Reserve ``key`` for this body, or say why not. Needs a writing transaction."""
    body_digest = hashlib.sha256(body).hexdigest()
    reserved = connection.execute(
        inserting(connection, idempotency)
        .values(key=key, body_digest=body_digest, status=_PENDING, response="", created_at=now)
        .on_conflict_do_nothing(index_elements=["key"])
    )
    if reserved.rowcount == 1:
        return Claim.OURS
    row = connection.execute(select(idempotency).where(idempotency.c.key == key).with_for_update()).first()
    if row is None:
        return Claim.BUSY  # given back between the two statements: the same request may try again
    same, pending = row.body_digest == body_digest, row.status == _PENDING
    forgotten = row.created_at < now - KEPT_US
    abandoned = same and pending and row.created_at <= now - TAKE_OVER_AFTER_US
    if forgotten or abandoned:
        return _take_over(connection, key, body_digest, now)
    if not same:
        return Claim.CONFLICT
    return Claim.BUSY if pending else Answer(row.status, row.response)


def complete(connection: Connection, key: str, answer: Answer) -> None:
    """Store the answer of what was claimed."""
    connection.execute(
        update(idempotency)
        .where(idempotency.c.key == key)
        .values(status=answer.status, response=answer.response)
    )


def release(connection: Connection, key: str) -> None:
    """Give a reservation back: the work failed and may be tried again."""
    connection.execute(delete(idempotency).where(idempotency.c.key == key, idempotency.c.status == _PENDING))


def prune(connection: Connection, *, now: int, limit: int = 5_000) -> int:
    """Forget at most ``limit`` answers of yesterday and before. Returns how many went."""
    old = select(idempotency.c.key).where(idempotency.c.created_at < now - KEPT_US).limit(limit)
    return connection.execute(delete(idempotency).where(idempotency.c.key.in_(old))).rowcount


def _take_over(connection: Connection, key: str, body_digest: str, now: int) -> Claim:
    connection.execute(
        update(idempotency)
        .where(idempotency.c.key == key)
        .values(body_digest=body_digest, status=_PENDING, response="", created_at=now)
    )
    return Claim.OURS
