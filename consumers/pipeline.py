"""One batch, from raw bytes to a committed transaction: decode, de-duplicate, fold, store with the position.

The transaction moves each partition's position by compare-and-set, so a process that was overtaken changes nothing,
whatever it still believes it owns. Membership of event ids is read up from other processes' segments inside it; what
there is of them at a start, or of days long ago when such events come, is read before, as that may take long.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

import numpy as np
import numpy.typing as npt

from consumers.days import Calendar
from consumers.decode import decode_batch, hash_batch
from consumers.dedup import LaneMemory, SeenIds, learn
from consumers.errors import DeadLettersUnwritable, LostPosition
from consumers.events import ACTIVITY, Event
from consumers.feeds import Feed, brought, together
from consumers.fold import Folded, fold
from consumers.rejection import Rejection
from consumers.source import Chunk
from consumers.state import AccountState, merge_states
from consumers.store import Rejected, WindowStore, WindowTransaction
from consumers.windows import KEPT_DAYS

# Every embedded source shares one lane, so that an event which comes by HTTP and again in a file counts once.
LOCAL_LANE = "local"

_LET_GO_S = 300.0  # ids of old days that no batch has needed for this long (at most twice that) leave memory


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
    days: range  # of all events in it, and perhaps one before and one after
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
        polled: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``internal`` is asked with every batch how to tell our own users, who are left out, None if there are none;
        ``lane`` says where a partition's ids are unique; ``dead_letters`` come before the database's own; ``polled``
        hears that reading up what may be long goes on; ``clock`` tells seconds."""
        self._store = store
        self._calendar = calendar
        self._internal = internal
        self._lane = lane
        self._dead_letters = dead_letters
        self._polled = polled
        self._clock = clock
        self._seen: dict[str, LaneMemory] = {}
        self._lets_go_at = clock() + _LET_GO_S

    def handle(self, chunks: Sequence[Chunk], origin: str, now: int) -> Batch:
        """Take in chunks of different partitions, all or nothing.

        Raises LostPosition if another process was first with any of them, StorageError.
        """
        # One order for all: no two wait for each other.
        in_order = sorted(chunks, key=lambda each: each.partition)
        return self._take([self._read(chunk, now) for chunk in in_order], origin, now)

    def refuse(self, chunk: Chunk, rejection: Rejection, origin: str, now: int) -> Batch:
        """Take in a chunk without looking into its records: each is rejected. Raises as :meth:`handle`."""
        return self._take([self._refused(chunk, rejection)], origin, now)

    def _take(self, reads: list[_Read], origin: str, now: int) -> Batch:
        left = self._put_aside([read for read in reads if read.rejected])
        reads = [read for read in reads if read.chunk.partition not in left]
        while reads:
            for lane in _lanes(reads):
                self._read_up(lane, _days(lane, reads))
            try:
                return Batch(self._commit(reads, origin, now), left)
            except _LaneMadeAnew as anew:
                del self._seen[anew.lane]
        return Batch(Totals(), left)

    def forget_all_but(self, partitions: Sequence[str]) -> None:
        """Let go of the ids of partitions that are somebody else's now."""
        kept = {self._lane(partition) for partition in partitions}
        self._seen = {lane: seen for lane, seen in self._seen.items() if lane in kept}

    def let_go(self) -> None:
        """Let go of the ids of days that no batch has needed for some minutes; to be called now and then."""
        now = self._clock()
        if now >= self._lets_go_at:
            for memory in self._seen.values():
                memory.let_go()
            self._lets_go_at = now + _LET_GO_S

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
            days=self._days_of(events),
            events=events,
            ids=np.frombuffer(hashes, dtype=np.uint64),
            prints=np.frombuffer(contents, dtype=np.uint32),
            rejected=[Rejected(chunk.offsets[index], why, chunk.bodies[index]) for index, why in rejections],
            internal=internal,
            feeds=feeds,
        )

    def _days_of(self, events: Sequence[Event]) -> range:
        """A clock that is put back at midnight tells a day twice: the first instant may be of the second day."""
        times = [event.occurred_at for event in events]
        day = self._calendar.day
        return range(day(min(times)) - 1, day(max(times)) + 2) if times else range(0)

    def _refused(self, chunk: Chunk, rejection: Rejection) -> _Read:
        return _Read(
            chunk=chunk,
            lane=self._lane(chunk.partition),
            days=range(0),
            events=[],
            ids=np.empty(0, dtype=np.uint64),
            prints=np.empty(0, dtype=np.uint32),
            rejected=[
                Rejected(offset, rejection, body)
                for offset, body in zip(chunk.offsets, chunk.bodies, strict=True)
            ],
            internal=0,
            feeds=[],
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
                segments = {
                    lane: self._seen[lane].filed(min(newest, _days(lane, reads)[-1]), *new)
                    for lane, new in fresh.items()
                    if len(new[0])
                }
                numbers = transaction.remember(segments, newest - KEPT_DAYS)
            # These rows are everybody's: last, so that others wait for no more than the commit.
            transaction.feed(together(feed for read in reads for feed in read.feeds))
            transaction.count(totals.counters())
        for lane, number in numbers.items():  # not before it is kept
            memory = self._seen[lane]
            memory.add(number, segments[lane])
            memory.seen.forget(newest - KEPT_DAYS)
        return totals

    def _sift(
        self, lane: str, reads: Sequence[_Read], totals: Totals
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
        """Leave of each chunk what its lane has not seen. Returns the ids that are new there."""
        ours = [read for read in reads if read.lane == lane and read.events]
        ids = np.concatenate([read.ids for read in ours])
        prints = np.concatenate([read.prints for read in ours])
        sifted = self._seen[lane].seen.sift(ids, prints)
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

    def _read_up(self, lane: str, days: range) -> None:
        """What events of ``days`` may repeat and this process does not hold, a slice at a time, and nothing held."""
        memory = self._seen.get(lane)
        if memory is None:
            memory = LaneMemory(days)
            while (segments := self._store.segments(lane, memory.after, memory.days)) != []:
                self._polled()
                if segments is None:  # it was made anew meanwhile
                    memory = LaneMemory(days)
                else:
                    memory.learn(segments)
            self._seen[lane] = memory
        elif older := memory.ask(days):
            memory.reach_back(self._older(lane, older, memory.after), older.start)

    def _older(self, lane: str, days: range, upto: int) -> SeenIds:
        """What the segments of ``days`` up to that number hold; what was merged into a later one comes with that."""
        seen, after = SeenIds(), 0
        while (segments := self._store.segments(lane, after, days)) is None or segments:
            self._polled()
            if segments is None:
                seen, after = SeenIds(), 0
                continue
            after = learn(seen, after, [each for each in segments if each[0] <= upto])
            if segments[-1][0] > upto:
                break
        return seen

    def _catch_up(self, transaction: WindowTransaction, lanes: Sequence[str]) -> None:
        """What other processes have added since."""
        known = {lane: (self._seen[lane].after, self._seen[lane].first_day) for lane in lanes}
        for lane, segments in transaction.since(known).items():
            if segments is None:
                raise _LaneMadeAnew(lane)
            self._seen[lane].learn(segments)

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


def _days(lane: str, reads: Sequence[_Read]) -> range:
    """From the first to the last of what was read for a lane, which is something."""
    ours = [read.days for read in reads if read.lane == lane and read.days]
    return range(min(days.start for days in ours), max(days.stop for days in ours))


def merged(folded: Folded, known: Mapping[str, AccountState], calendar: Calendar) -> list[AccountState]:
    """The accounts of a batch after it: known ones changed in place, new ones made."""
    states = [known.get(account_id) or AccountState(account_id) for account_id in folded.deltas]
    merge_states(
        [(state, *delta) for state, delta in zip(states, folded.deltas.values(), strict=True)], calendar
    )
    return states


def _user_of(event: Event) -> str:
    return getattr(event, "user_id", None) or ""
