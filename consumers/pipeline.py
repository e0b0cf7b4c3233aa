"""One batch, from raw bytes to a committed transaction: decode, de-duplicate, fold, store with the position.

The transaction moves the partition's position by compare-and-set, so a process that was overtaken changes nothing,
whatever it still believes it owns. Membership of event ids is read up from other processes' segments inside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from consumers.days import Calendar
from consumers.decode import decode_batch, hash_batch
from consumers.dedup import SeenIds, Segment
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


class Pipeline:
    """Handles chunks of one or more partitions for one store. Not thread-safe."""

    def __init__(
        self,
        store: WindowStore,
        calendar: Calendar,
        *,
        internal: Callable[[], Callable[[str], bool] | None] = lambda: None,
        lane: Callable[[str], str] = lambda _partition: LOCAL_LANE,
    ) -> None:
        """``internal`` is asked with every batch how to tell our own users, who are left out, None if there are none;
        ``lane`` says where a partition's ids are unique."""
        self._store = store
        self._calendar = calendar
        self._internal = internal
        self._lane = lane
        self._seen: dict[str, tuple[SeenIds, int]] = {}

    def handle(self, chunk: Chunk, origin: str, now: int) -> Totals:
        """Take in one chunk, all or nothing. Raises LostPosition if another process was there first, StorageError."""
        events, rejections = decode_batch(chunk.bodies, now)
        totals = Totals()
        for _, rejection in rejections:
            totals.rejected[rejection.reason] += 1
        is_internal = self._internal()
        if is_internal is not None:
            outsiders = [
                each for each in events if type(each) not in ACTIVITY or not is_internal(_user_of(each))
            ]
            totals.internal = len(events) - len(outsiders)
            events = outsiders
        hashes, contents = hash_batch(events)
        ids, prints = np.frombuffer(hashes, dtype=np.uint64), np.frombuffer(contents, dtype=np.uint32)
        lane = self._lane(chunk.partition)
        rejected = [Rejected(chunk.offsets[index], why, chunk.bodies[index]) for index, why in rejections]
        try:
            with self._store.transaction() as transaction:
                transaction.advance(chunk, origin)
                if rejected:
                    transaction.reject(chunk, origin, rejected)
                if events:
                    seen = self._catch_up(transaction, lane)
                    sifted = seen.sift(ids, prints)
                    totals.accepted = len(sifted.fresh)
                    totals.duplicate = sifted.duplicates
                    totals.conflicting_duplicate = sifted.conflicts
                    if totals.duplicate:
                        events = [events[index] for index in sifted.fresh.tolist()]
                    if events:
                        newest = self._apply(transaction, chunk, events)
                        segment = Segment(newest, ids[sifted.fresh], prints[sifted.fresh])
                        number = transaction.remember(lane, segment, newest - KEPT_DAYS)
                        seen.add(segment.ids, segment.prints)
                        self._seen[lane] = (seen, number)
                transaction.count(totals.counters())
        except BaseException:
            self._seen.pop(lane, None)  # what it remembers of this batch was not kept: read it up again
            raise
        return totals

    def _catch_up(self, transaction: WindowTransaction, lane: str) -> SeenIds:
        seen, after = self._seen.get(lane) or (SeenIds(), 0)
        for number, segment in transaction.segments(lane, after):
            seen.add(segment.ids, segment.prints)
            after = number
        self._seen[lane] = (seen, after)
        return seen

    def _apply(self, transaction: WindowTransaction, chunk: Chunk, events: list[Event]) -> int:
        """Fold ``events`` into their accounts. Returns the newest day among them."""
        folded = fold(events, self._calendar)
        known = transaction.load(list(folded.deltas))
        accounts = merged(folded, known, self._calendar)
        transaction.save(accounts)
        transaction.fed(folded.first_days)
        transaction.touch(list(folded.deltas), chunk.partition)
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
