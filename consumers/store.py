"""What the consumer needs of a database: one transaction per batch; positions, ids and windows move together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from consumers.decode import Rejection
from consumers.dedup import Segment
from consumers.feeds import Feed
from consumers.source import Chunk, Position
from consumers.state import AccountState

STOPS = ("recreated", "truncated")
"""Kinds of incident that keep a partition from being read until a person has said from where: what became of its log
afterwards, for instance that it grew past the stored position again, tells nothing of what was lost meanwhile."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One rejected record, with what is needed to find, read and replay it."""

    offset: int
    rejection: Rejection
    body: bytes


class WindowTransaction(Protocol):
    """One batch's work; all of it is kept or none."""

    def advance(self, chunks: Sequence[Chunk], origin: str, now: int) -> None:
        """Compare-and-set each partition's position from its chunk's ``start`` to its ``next``, or begin it there.

        ``now`` is the moment of judgement, at which a chunk that is not behind has read the partition to its end.
        Raises LostPosition, also where a chunk that resumes finds no position any more. What the log lost before the
        first record, and what is damaged, becomes an incident.
        """

    def since(
        self, known: Mapping[str, tuple[int, int]]
    ) -> Mapping[str, Sequence[tuple[int, Segment]] | None]:
        """Of each lane the segments numbered above the one given, oldest first: what other processes have seen since.

        Those whose newest day is before the day given beside it come empty. Small segments of days that are near each
        other are merged: a merged one has the number of the newest batch in it, so the first may hold ids again that
        were known. None if that number is not 0 and the batch with it is in no segment any more: the lane was made
        anew.
        """

    def remember(self, brought: Mapping[str, Segment], expired_before: int) -> Mapping[str, int]:
        """Store what a batch brought to each lane, dropping segments whose newest day is before ``expired_before``.

        Returns each one's number, higher than all before in its lane. Small segments before it are merged with it.
        """

    def load(self, account_ids: Sequence[str]) -> Mapping[str, AccountState]:
        """Those of the accounts that are known, locked for this transaction where the database locks rows."""

    def save(self, accounts: Iterable[AccountState]) -> None:
        """Write changed accounts back; new ones get their number."""

    def fed(self, first_days: Mapping[str, int]) -> None:
        """Lower the first day of each family of events to the one given, if that is earlier."""

    def feed(self, brought: Sequence[Feed]) -> None:
        """Keep what sources brought, together with what they had brought before; each family of each source once."""

    def touch(self, accounts: Mapping[str, Collection[str]]) -> None:
        """Mark accounts as touched by a partition, the key, to be judged once it has caught up."""

    def reject(self, chunk: Chunk, origin: str, rejected: Sequence[Rejected]) -> None:
        """Keep rejected records as dead letters, each once per partition, log, offset and body."""

    def count(self, totals: Mapping[str, int]) -> None:
        """Add to the running totals."""


class WindowStore(Protocol):
    """Where windows and positions live."""

    def positions(self, partitions: Sequence[str]) -> Mapping[str, Position]:
        """How far each of ``partitions`` was handled; those that were never read are left out."""

    def current(self, reached: Mapping[str, int], now: int) -> None:
        """Write down that each partition was read to its end at ``now``, the moment of judgement; not of one whose
        stored position is no longer the one ``reached``: it is somebody else's word how far that is read.
        """

    def troubles(self, partitions: Sequence[str]) -> Mapping[str, Collection[str]]:
        """The kinds of the open incidents of each of ``partitions``; those without any are left out."""

    def incident(self, kind: str, partition: str, detail: str) -> None:
        """Write down, in a transaction of its own, that ``partition`` is in trouble; known trouble is kept as it is."""

    def recovered(self, kind: str, partition: str) -> None:
        """Close the incidents of that kind."""

    def segments(self, lane: str, after: int, days: range) -> Sequence[tuple[int, Segment]] | None:
        """Of one lane, as :meth:`WindowTransaction.since`; only the first, and holding nothing: no more at the end.

        Those whose newest day is not among ``days`` come empty.
        """

    def transaction(self) -> AbstractContextManager[WindowTransaction]:
        """Begin a batch: committed at the end, rolled back on any error."""
