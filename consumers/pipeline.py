"""One batch, from raw bytes to a committed transaction: decode, de-duplicate, fold, store with the position.

The transaction moves each partition's position by compare-and-set, so a process that was overtaken changes nothing,
whatever it still believes it owns. Membership of event ids is read up from other processes' segments inside it; what
there is of them at a start is read before, as that may take long.
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
from consumers.errors import DeadLettersUnwritable, LostPosition
from consumers.events import ACTIVITY, Event
from consumers.feeds import Feed, brought, together
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
    """What became of the chunks of one poll: ``left`` were not taken, as their dead letters could not be written.

    After the first of them no other is tried: each may cost seconds, and what has none to write waits for it.
    """

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
    feeds: list[Feed]


class _LaneMadeAnew(Exception):
    """What was remembered of ``lane`` is not what is stored there now."""

    def __init__(self, lane: str) -> None:
        super().__init__(lane)
        self.lane = lane


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
        # One order for all: no two wait for each other.
        in_order = sorted(chunks, key=lambda each: each.partition)
        reads = [self._read(chunk, now) for chunk in in_order]
        left = self._put_aside([read for read in reads if read.rejected])
        reads = [read for read in reads if read.chunk.partition not in left]
        while reads:
            for lane in _lanes(reads):
                self._read_up(lane)
            try:
                return Batch(self._commit(reads, origin, now), left)
            except _LaneMadeAnew as anew:
                del self._seen[anew.lane]
        return Batch(Totals(), left)

    def forget_all_but(self, partitions: Sequence[str]) -> None:
        """Let go of the ids of partitions that are somebody else's now."""
        kept = {self._lane(partition) for partition in partitions}
        self._seen = {lane: seen for lane, seen in self._seen.items() if lane in kept}

    def _read(self, chunk: Chunk, now: int) -> _Read:
        events, rejections = decode_batch(chunk.bodies, now)
        feeds = brought(chunk, events, {index for index, _ in rejections}, self._calendar)
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
            feeds=feeds,
        )

    def _put_aside(self, reads: Sequence[_Read]) -> dict[str, DeadLettersUnwritable]:
        """Send what was rejected to where dead letters go besides the database. Returns what must be left.

        Whoever was overtaken without knowing raises LostPosition here, and repeats nothing that his rival has sent. Who
        is overtaken after this look does: each is there at least once.
        """
        left: dict[str, DeadLettersUnwritable] = {}
        if not reads or self._dead_letters is None:
            return left
        stored = self._store.positions([read.chunk.partition for read in reads])
        for read in reads:
            known = stored.get(read.chunk.partition)
            if read.chunk.resumes if known is None else known.next != read.chunk.start:
                raise LostPosition(
                    f"another process has moved {read.chunk.partition} on from {read.chunk.start}"
                )
        failed: DeadLettersUnwritable | None = None
        for read in reads:
            try:
                if failed is None:
                    self._dead_letters.send(read.chunk, read.rejected)
            except DeadLettersUnwritable as error:
                failed = error
            if failed is not None:
                left[read.chunk.partition] = failed
        return left

    def _commit(self, reads: Sequence[_Read], origin: str, now: int) -> Totals:
        totals = Totals()
        with self._store.transaction() as transaction:
            transaction.advance([read.chunk for read in reads], origin, now)
            for read in reads:
                totals.internal += read.internal
                if read.rejected:
                    totals.rejected.update(each.rejection.reason for each in read.rejected)
                    transaction.reject(read.chunk, origin, read.rejected)
            lanes = _lanes(reads)
            if lanes:
                self._catch_up(transaction, lanes)
            fresh = {lane: self._sift(lane, reads, totals) for lane in lanes}
            numbers: Mapping[str, int] = {}
            if any(len(ids) for ids, _ in fresh.values()):
                newest = self._apply(transaction, reads)
                segments = {lane: Segment(newest, *new) for lane, new in fresh.items() if len(new[0])}
                numbers = transaction.remember(segments, newest - KEPT_DAYS)
            # These rows are everybody's: last, so that others wait for no more than the commit.
            transaction.feed(together(feed for read in reads for feed in read.feeds))
            transaction.count(totals.counters())
        for lane, number in numbers.items():  # not before it is kept
            seen, _ = self._seen[lane]
            seen.add(segments[lane])
            seen.forget(newest - KEPT_DAYS)
            self._seen[lane] = (seen, number)
        return totals

    def _sift(
        self, lane: str, reads: Sequence[_Read], totals: Totals
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
        """Leave of each chunk what its lane has not seen. Returns the ids that are new there."""
        ours = [read for read in reads if read.lane == lane and read.events]
        ids = np.concatenate([read.ids for read in ours])
        prints = np.concatenate([read.prints for read in ours])
        sifted = self._seen[lane][0].sift(ids, prints)
        totals.accepted += len(sifted.fresh)
        totals.duplicate += sifted.duplicates
        totals.conflicting_duplicate += sifted.conflicts
        if sifted.duplicates:
            first = 0
            for read in ours:
                low, high = np.searchsorted(sifted.fresh, (first, first + len(read.events)))
                kept = (sifted.fresh[low:high] - first).tolist()
                first += len(read.events)
                read.events = [read.events[index] for index in kept]
        return ids[sifted.fresh], prints[sifted.fresh]

    def _read_up(self, lane: str) -> None:
        """What is remembered of a lane that this process has not known yet, a slice at a time, and nothing held."""
        if lane in self._seen:
            return
        seen, after = SeenIds(), 0
        while (segments := self._store.segments(lane, after)) != []:
            if segments is None:  # it was made anew meanwhile
                seen, after = SeenIds(), 0
            else:
                after = _learn(seen, after, segments)
        self._seen[lane] = (seen, after)

    def _catch_up(self, transaction: WindowTransaction, lanes: Sequence[str]) -> None:
        """What other processes have added since."""
        for lane, segments in transaction.since({lane: self._seen[lane][1] for lane in lanes}).items():
            if segments is None:
                raise _LaneMadeAnew(lane)
            seen, after = self._seen[lane]
            self._seen[lane] = (seen, _learn(seen, after, segments))

    def _apply(self, transaction: WindowTransaction, reads: Sequence[_Read]) -> int:
        """Fold what was read into its accounts. Returns the newest day among it."""
        folded = fold(chain.from_iterable(read.events for read in reads), self._calendar)
        known = transaction.load(list(folded.deltas))
        transaction.save(merged(folded, known, self._calendar))
        transaction.fed(folded.first_days)
        transaction.touch(
            {
                read.chunk.partition: (
                    folded.deltas if len(reads) == 1 else {event.account_id for event in read.events}
                )
                for read in reads
            }
        )
        return folded.newest_day


def _lanes(reads: Sequence[_Read]) -> list[str]:
    return sorted({read.lane for read in reads if read.events})


def _learn(seen: SeenIds, after: int, segments: Sequence[tuple[int, Segment]]) -> int:
    """Add what comes above ``after``. Returns where that ends."""
    for index, (number, segment) in enumerate(segments):
        if after and not index:  # it may be merged with what is known
            new = seen.sift(segment.ids, segment.prints).fresh
            seen.add(Segment(segment.newest_day, segment.ids[new], segment.prints[new]))
        else:
            seen.add(segment)
        after = number
    return after


def merged(folded: Folded, known: Mapping[str, AccountState], calendar: Calendar) -> list[AccountState]:
    """The accounts of a batch after it: known ones changed in place, new ones made."""
    states = [known.get(account_id) or AccountState(account_id) for account_id in folded.deltas]
    merge_states(
        [(state, *delta) for state, delta in zip(states, folded.deltas.values(), strict=True)], calendar
    )
    return states


def _user_of(event: Event) -> str:
    return getattr(event, "user_id", None) or ""
