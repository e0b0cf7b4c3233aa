"""One batch, from raw bytes to a committed transaction: decode, de-duplicate, fold, store with the position.

The transaction moves each partition's position by compare-and-set, so a process that was overtaken changes nothing,
whatever it still believes it owns. Membership of event ids is read up from other processes' segments inside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

import numpy as np
import numpy.typing as npt

from consumers.days import Calendar
from consumers.decode import decode_batch, hash_batch
from consumers.dedup import SeenIds, Segment
from consumers.errors import DeadLettersUnwritable
from consumers.events import ACTIVITY, Event
from consumers.fold import Folded, fold
from consumers.source import Chunk
from consumers.state import AccountState, merge_states
from consumers.store import Rejected, WindowStore, WindowTransaction
from consumers.windows import KEPT_DAYS

# Every embedded source shares one lane, so that an event which comes by HTTP and again in a file counts once.
LOCAL_LANE = "local"


@dataclass(slots=True)
class Totals:
    """What became of records; ``rejected`` by reason."""

    accepted: int = 0
    duplicate: int = 0
    conflicting_duplicate: int = 0
    internal: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def add(self, other: Totals) -> None:
        """Add another batch's totals."""
        self.accepted += other.accepted
        self.duplicate += other.duplicate
        self.conflicting_duplicate += other.conflicting_duplicate
        self.internal += other.internal
        self.rejected.update(other.rejected)

    @property
    def records(self) -> int:
        """All records handled."""
        return self.accepted + self.duplicate + self.internal + self.rejected.total()

    def counters(self) -> dict[str, int]:
        """As kept in the running totals, zeros left out."""
        named = {
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "conflicting_duplicate": self.conflicting_duplicate,
            "internal": self.internal,
            **{f"rejected.{reason}": count for reason, count in self.rejected.items()},
        }
        return {name: count for name, count in named.items() if count}


class DeadLetters(Protocol):
    """Where rejected records go besides the database."""

    def send(self, chunk: Chunk, rejected: Sequence[Rejected]) -> None:
        """Durable when it returns. Raises DeadLettersUnwritable."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of the chunks of one poll: ``left`` were not taken, as their dead letters could not be written."""

    totals: Totals
    left: Mapping[str, DeadLettersUnwritable]


@dataclass(slots=True)
class _Read:
    """One chunk, decoded."""

    chunk: Chunk
    lane: str
    events: list[Event]
    ids: npt.NDArray[np.uint64]
    prints: npt.NDArray[np.uint32]
    rejected: list[Rejected]
    internal: int


class Pipeline:
    """Handles the chunks of one or more partitions for one store. Not thread-safe."""

    def __init__(
        self,
        store: WindowStore,
        calendar: Calendar,
        *,
        internal: Callable[[], Callable[[str], bool] | None] = lambda: None,
        lane: Callable[[str], str] = lambda _partition: LOCAL_LANE,
        dead_letters: DeadLetters | None = None,
    ) -> None:
        """``internal`` is asked with every batch how to tell our own users, who are left out, None if there are none;
        ``lane`` says where a partition's ids are unique; ``dead_letters`` come before the database's own."""
        self._store = store
        self._calendar = calendar
        self._internal = internal
        self._lane = lane
        self._dead_letters = dead_letters
        self._seen: dict[str, tuple[SeenIds, int]] = {}

    def handle(self, chunks: Sequence[Chunk], origin: str, now: int) -> Batch:
        """Take in chunks of different partitions, all or nothing.

        Raises LostPosition if another process was first with any of them, StorageError.
        """
        totals = Totals()
        reads: list[_Read] = []
        left: dict[str, DeadLettersUnwritable] = {}
        for chunk in sorted(
            chunks, key=lambda each: each.partition
        ):  # one order for all: no two wait for each other
            read = self._read(chunk, now)
            try:
                if read.rejected and self._dead_letters is not None:
                    self._dead_letters.send(chunk, read.rejected)
            except DeadLettersUnwritable as error:
                left[chunk.partition] = error
            else:
                reads.append(read)
        if not reads:
            return Batch(totals, left)
        lanes = sorted({read.lane for read in reads if read.events})
        try:
            with self._store.transaction() as transaction:
                for read in reads:
                    transaction.advance(read.chunk, origin, now)
                    totals.internal += read.internal
                    if read.rejected:
                        totals.rejected.update(each.rejection.reason for each in read.rejected)
                        transaction.reject(read.chunk, origin, read.rejected)
                self._take_in(transaction, lanes, reads, totals)
                transaction.count(totals.counters())
        except BaseException:
            # What is remembered of this batch was not kept: read it up again.
            for read in reads:
                self._seen.pop(read.lane, None)
            raise
        return Batch(totals, left)

    def forget_all_but(self, partitions: Sequence[str]) -> None:
        """Let go of the ids of partitions that are somebody else's now."""
        kept = {self._lane(partition) for partition in partitions}
        self._seen = {lane: seen for lane, seen in self._seen.items() if lane in kept}

    def _read(self, chunk: Chunk, now: int) -> _Read:
        events, rejections = decode_batch(chunk.bodies, now)
        internal = 0
        is_internal = self._internal()
        if is_internal is not None:
            outsiders = [
                each for each in events if type(each) not in ACTIVITY or not is_internal(_user_of(each))
            ]
            internal = len(events) - len(outsiders)
            events = outsiders
        hashes, contents = hash_batch(events)
        return _Read(
            chunk=chunk,
            lane=self._lane(chunk.partition),
            events=events,
            ids=np.frombuffer(hashes, dtype=np.uint64),
            prints=np.frombuffer(contents, dtype=np.uint32),
            rejected=[Rejected(chunk.offsets[index], why, chunk.bodies[index]) for index, why in rejections],
            internal=internal,
        )

    def _take_in(
        self, transaction: WindowTransaction, lanes: Sequence[str], reads: Sequence[_Read], totals: Totals
    ) -> None:
        """Keep what no lane has seen, and remember it there."""
        fresh: dict[str, list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]]] = {}
        for lane in lanes:
            seen = self._catch_up(transaction, lane)
            for read in reads:
                if read.lane != lane or not read.events:
                    continue
                sifted = seen.sift(read.ids, read.prints)
                totals.accepted += len(sifted.fresh)
                totals.duplicate += sifted.duplicates
                totals.conflicting_duplicate += sifted.conflicts
                if sifted.duplicates:
                    read.events = [read.events[index] for index in sifted.fresh.tolist()]
                if read.events:
                    new = read.ids[sifted.fresh], read.prints[sifted.fresh]
                    seen.add(*new)
                    fresh.setdefault(lane, []).append(new)
        if not fresh:
            return
        newest = self._apply(transaction, reads)
        for lane, parts in fresh.items():
            ids, prints = (np.concatenate(column) for column in zip(*parts, strict=True))
            number = transaction.remember(lane, Segment(newest, ids, prints), newest - KEPT_DAYS)
            self._seen[lane] = (self._seen[lane][0], number)

    def _catch_up(self, transaction: WindowTransaction, lane: str) -> SeenIds:
        seen, after = self._seen.get(lane) or (SeenIds(), 0)
        segments = transaction.segments(lane, after)
        if segments is None:
            seen, after = SeenIds(), 0
            segments = transaction.segments(lane, after) or ()
        for number, segment in segments:
            seen.add(segment.ids, segment.prints)
            after = number
        self._seen[lane] = (seen, after)
        return seen

    def _apply(self, transaction: WindowTransaction, reads: Sequence[_Read]) -> int:
        """Fold what was read into its accounts. Returns the newest day among it."""
        folded = fold(chain.from_iterable(read.events for read in reads), self._calendar)
        known = transaction.load(list(folded.deltas))
        transaction.save(merged(folded, known, self._calendar))
        transaction.fed(folded.first_days)
        for read in reads:
            if read.events:
                accounts = (
                    folded.deltas if len(reads) == 1 else {event.account_id: None for event in read.events}
                )
                transaction.touch(list(accounts), read.chunk.partition)
        return folded.newest_day


def merged(folded: Folded, known: Mapping[str, AccountState], calendar: Calendar) -> list[AccountState]:
    """The accounts of a batch after it: known ones changed in place, new ones made."""
    states = [known.get(account_id) or AccountState(account_id) for account_id in folded.deltas]
    merge_states(
        [(state, *delta) for state, delta in zip(states, folded.deltas.values(), strict=True)], calendar
    )
    return states


def _user_of(event: Event) -> str:
    return getattr(event, "user_id", None) or ""
