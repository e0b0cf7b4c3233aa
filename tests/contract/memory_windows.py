"""Windows and positions in memory: the plainest thing that keeps a WindowStore's promises."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from consumers.dedup import Segment
from consumers.errors import LostPosition
from consumers.feeds import Feed, union
from consumers.source import Chunk, Position
from consumers.state import AccountState
from consumers.store import Rejected


@dataclass(slots=True)
class MemoryWindows:
    """Everything as plain lists and dicts. A failed transaction is undone by putting the copies back."""

    reached: dict[str, Position] = field(default_factory=dict)
    current_at: dict[str, int] = field(default_factory=dict)
    incidents: list[tuple[str, str, str, bool]] = field(default_factory=list)
    behind: dict[str, bool] = field(default_factory=dict)
    accounts: dict[str, AccountState] = field(default_factory=dict)
    kept: dict[str, list[tuple[int, Segment]]] = field(default_factory=dict)
    first_days: dict[str, int] = field(default_factory=dict)
    feeds: dict[tuple[str, str], Feed] = field(default_factory=dict)
    touched: set[tuple[str, str]] = field(default_factory=set)
    dead_letters: dict[tuple[str, str, int], Rejected] = field(default_factory=dict)
    totals: Counter[str] = field(default_factory=Counter)

    def positions(self, partitions: Sequence[str]) -> Mapping[str, Position]:
        """How far each of ``partitions`` was handled."""
        return {each: self.reached[each] for each in partitions if each in self.reached}

    def current(self, reached: Mapping[str, int], now: int) -> None:
        """Write down that each partition was read to its end, if it stands where the reader believes."""
        stands = [
            each
            for each, next_ in reached.items()
            if (known := self.reached.get(each)) is not None and known.next == next_
        ]
        self.current_at.update(dict.fromkeys(stands, now))
        self.behind.update(dict.fromkeys(stands, False))

    def troubles(self, partitions: Sequence[str]) -> Mapping[str, Collection[str]]:
        """The kinds of the open incidents of each of ``partitions``."""
        open_ones = [each for each in self.incidents if each[3] and each[1] in partitions]
        return {each[1]: {other[0] for other in open_ones if other[1] == each[1]} for each in open_ones}

    def incident(self, kind: str, partition: str, detail: str) -> None:
        """Write down that ``partition`` is in trouble, unless that is known."""
        if not any(each[:2] == (kind, partition) and each[3] for each in self.incidents):
            self.incidents.append((kind, partition, detail, True))

    def recovered(self, kind: str, partition: str) -> None:
        """Close the incidents of that kind."""
        self.incidents = [(*each[:3], each[3] and each[:2] != (kind, partition)) for each in self.incidents]

    @contextlib.contextmanager
    def transaction(self) -> Iterator[MemoryWindows]:
        """Begin a batch: kept at the end, undone on any error."""
        work = copy.deepcopy(self)
        yield work
        for name in self.__slots__:
            setattr(self, name, getattr(work, name))

    def advance(self, chunks: Sequence[Chunk], origin: str, now: int) -> None:
        """Compare-and-set each partition's position. Raises LostPosition."""
        for chunk in chunks:
            self._advance(chunk, now)

    def _advance(self, chunk: Chunk, now: int) -> None:
        reached = self.reached.get(chunk.partition)
        if (reached is None and chunk.resumes) or (reached is not None and reached.next != chunk.start):
            raise LostPosition(f"another process has moved {chunk.partition} on from {chunk.start}")
        self.reached[chunk.partition] = Position(chunk.next, chunk.log)
        if chunk.lost:
            self.incidents.append(("gap", chunk.partition, str(chunk.lost), False))
        self.behind[chunk.partition] = chunk.behind
        if not chunk.behind:
            self.current_at[chunk.partition] = now

    def since(
        self, known: Mapping[str, tuple[int, int]]
    ) -> Mapping[str, Sequence[tuple[int, Segment]] | None]:
        """:meth:`segments` of each lane, numbered above the one given, and not before the day given."""
        return {
            lane: self.segments(lane, after, range(day, sys.maxsize)) for lane, (after, day) in known.items()
        }

    def segments(self, lane: str, after: int, days: range) -> Sequence[tuple[int, Segment]] | None:
        """Segments of ``lane`` numbered above ``after``, oldest first; None if that one is gone."""
        kept = self.kept.get(lane, [])
        if after and all(number != after for number, _ in kept):
            return None
        return [
            (
                number,
                segment
                if segment.newest_day in days
                else Segment(segment.newest_day, segment.ids[:0], segment.prints[:0]),
            )
            for number, segment in kept
            if number > after
        ]

    def remember(self, brought: Mapping[str, Segment], expired_before: int) -> Mapping[str, int]:
        """Store segments, dropping those whose newest day is before ``expired_before``. Returns their numbers."""
        return {lane: self._remember(lane, segment, expired_before) for lane, segment in brought.items()}

    def _remember(self, lane: str, segment: Segment, expired_before: int) -> int:
        kept = self.kept.setdefault(lane, [])
        number = kept[-1][0] + 1 if kept else 1
        kept[:] = [*(each for each in kept if each[1].newest_day >= expired_before), (number, segment)]
        return number

    def load(self, account_ids: Sequence[str]) -> Mapping[str, AccountState]:
        """Those of the accounts that are known."""
        return {each: self.accounts[each] for each in account_ids if each in self.accounts}

    def save(self, accounts: Iterable[AccountState]) -> None:
        """Keep changed accounts; new ones get their number."""
        for account in accounts:
            if account.no is None:
                account.no = len(self.accounts) + 1
            account.settle()
            self.accounts[account.account_id] = account

    def fed(self, first_days: Mapping[str, int]) -> None:
        """Lower the first day of each family of events to the one given, if that is earlier."""
        for name, day in first_days.items():
            self.first_days[name] = min(day, self.first_days.get(name, day))

    def feed(self, brought: Sequence[Feed]) -> None:
        """Keep what sources brought, together with what they had brought before."""
        for each in brought:
            names = each.source, each.family
            self.feeds[names] = union(self.feeds[names], each) if names in self.feeds else each

    def touch(self, accounts: Mapping[str, Collection[str]]) -> None:
        """Mark accounts as touched by a partition, the key."""
        self.touched.update((each, partition) for partition, named in accounts.items() for each in named)

    def reject(self, chunk: Chunk, origin: str, rejected: Sequence[Rejected]) -> None:
        """Keep rejected records, each once per partition, log, offset and body."""
        for item in rejected:
            place = (chunk.partition, chunk.log, item.offset)
            if self.dead_letters.setdefault(place, item).body != item.body:
                other = f"{chunk.log}#{item.body.hex()}"
                self.dead_letters.setdefault((chunk.partition, other, item.offset), item)

    def count(self, totals: Mapping[str, int]) -> None:
        """Add to the running totals."""
        self.totals.update(totals)
