"""Where accepted events become durable before their sender is answered: the journal, or Kafka where it is configured.

Both keep what was refused as dead letters in the database, and both answer one request twice under one
Idempotency-Key. In the journal all of it is one transaction. Kafka knows no such thing, so a key is reserved before
anything is produced and its answer stored after; whoever is cut off between the two sends the same ids again, and
they count once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from app.database import dead_letters, idempotency, journal
from app.database.dead_letters import Refused, Replay, Wanted
from app.database.engine import Database
from app.database.group_commit import GroupCommit
from app.database.idempotency import Answer, Claim
from consumers.errors import StorageError
from consumers.events import Event

Good = tuple[Event, bytes]


@dataclass(frozen=True, slots=True)
class Taken:
    """What one request brings: what is ``good``, with its original bytes, and what is refused.

    ``key`` is the request's Idempotency-Key as stored, ``asked`` its body, ``answer`` what its sender is told.
    ``received_at`` is the real time in epoch microseconds.
    """

    good: Sequence[Good]
    refused: Sequence[Refused]
    sender: str
    received_at: int
    answer: Answer
    key: str | None = None
    asked: bytes = b""


class Intake(Protocol):
    """Makes events durable. Thread-safe. Both raise StorageError, and LogUnavailable where there is a Kafka."""

    def take(self, taken: Taken) -> Claim | Answer:
        """OURS once all of it is durable; anything else is what the key stands for already, and nothing was done."""

    def replay(self, wanted: Wanted, now: int, received_at: int) -> Replay:
        """Send dead letters through again that are good at ``now``, and mark them."""


class JournalIntake:
    """Implements :class:`Intake` in one transaction of the database, shared by whoever comes at the same moment."""

    def __init__(self, database: Database, bell: Callable[[], None] = lambda: None) -> None:
        """``bell`` is rung after the commit."""
        self._database = database
        self._together = GroupCommit(database)
        self._bell = bell

    def take(self, taken: Taken) -> Claim | Answer:
        """All of it, committed."""

        def keep(connection: Connection) -> Claim | Answer:
            known = _claim(connection, taken)
            if known is Claim.OURS:
                bodies = [body for _, body in taken.good]
                journal.append(connection, bodies, sender=taken.sender, received_at=taken.received_at)
                _conclude(connection, taken)
            return known

        known = self._together.run(keep)
        if known is Claim.OURS and taken.good:
            self._bell()
        return known

    def replay(self, wanted: Wanted, now: int, received_at: int) -> Replay:
        """In one transaction."""
        with self._database.write() as connection:
            judged = dead_letters.judge(connection, wanted, now)
            bodies = [body for _, body in judged.good.values()]
            journal.append(connection, bodies, sender="dead-letters", received_at=received_at)
            done = dead_letters.settle(connection, judged, received_at)
        self._bell()
        return done


class EventLog(Protocol):
    """As :class:`consumers.kafka.log.EventLog`, which this module does not load: most processes have no Kafka."""

    def append(self, events: Sequence[Good]) -> None:
        """Durable when it returns. Raises LogUnavailable."""


class KafkaIntake:
    """Implements :class:`Intake` on Kafka: produced and acknowledged first, then written down."""

    def __init__(self, database: Database, log: EventLog) -> None:
        self._database = database
        self._together = GroupCommit(database)
        self._log = log

    def take(self, taken: Taken) -> Claim | Answer:
        """Acknowledged by all replicas in sync, then what the database has to know of it."""
        if taken.key is None and not taken.refused:
            self._append(taken.good)
            return Claim.OURS
        known = self._together.run(lambda connection: _claim(connection, taken))
        if known is not Claim.OURS:
            return known
        try:
            self._append(taken.good)
            self._together.run(lambda connection: _conclude(connection, taken))
        except BaseException:
            self._release(taken)
            raise
        return Claim.OURS

    def replay(self, wanted: Wanted, now: int, received_at: int) -> Replay:
        """Two at the same moment may both produce one of them: its id counts once."""
        with self._database.read() as connection:
            judged = dead_letters.judge(connection, wanted, now, lock=False)
        self._append(list(judged.good.values()))
        with self._database.write() as connection:
            return dead_letters.settle(connection, judged, received_at)

    def _append(self, good: Sequence[Good]) -> None:
        """Where all was refused, Kafka may be away: what was refused is kept in the database."""
        if good:
            self._log.append(good)

    def _release(self, taken: Taken) -> None:
        key = taken.key
        if key is not None:
            with contextlib.suppress(StorageError):  # then it runs out by itself
                self._together.run(lambda connection: idempotency.release(connection, key))


def _claim(connection: Connection, taken: Taken) -> Claim | Answer:
    """Reserve the key, or say what it stands for."""
    if taken.key is None:
        return Claim.OURS
    return idempotency.claim(connection, taken.key, taken.asked, now=taken.received_at)


def _conclude(connection: Connection, taken: Taken) -> None:
    dead_letters.keep(connection, taken.refused, received_at=taken.received_at)
    if taken.key is not None:
        idempotency.complete(connection, taken.key, taken.answer)
