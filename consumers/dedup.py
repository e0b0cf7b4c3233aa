"""Which event ids were seen already: exact but for 64-bit hash collisions, 12 bytes an id, durable as segments.

A unique-id table slows to a crawl as it grows, because its keys are random. Instead each batch leaves one segment,
the hashes of its ids in one blob, and small segments are merged as they pile up. Membership is held in memory: sorted
runs, merged likewise, searched a whole batch at a time, and let go with their days. Two ids of one sender collide
once in 10^19 pairs; among ten million remembered ids a new event is taken for a repeat with a chance of 5 in 10^13.

A segment is filed under a day that none of its events is later than. So the repeat of an event is in a segment of the
event's day or later: memory needs no segments of days before all that are read, and those stay in the database.
Days are taken sixteen at a time; segments of one such period merge with each other and with no others, else a segment
that is in memory could take in ids that are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HashArray = NDArray[np.uint64]
PrintArray = NDArray[np.uint32]
_Run = tuple[HashArray, PrintArray]

_PERIOD_DAYS = 16  # runs are kept apart by the period of their newest day: old ones go without a search
_RECENT_DAYS = 64  # before the newest day: what nearly every repeat is of, and always in memory
_FEW = 100  # ids of earlier days than the newest, which would be a small segment between others for ever
_RUNS = 6  # more sorted runs than this of one period are merged; each costs a binary search per batch
_OLD_RUNS = 2  # the same for a period that is not the newest: little comes to it
_LARGEST = 50_000  # ids in a merged segment
_NEVER = 1 << 31  # a day


@dataclass(frozen=True, slots=True)
class Segment:
    """The ids that a batch brought, or a few: their hashes, and fingerprints of the contents that came with them."""

    newest_day: int  # no event in it is of a later one: the whole segment expires with it
    ids: HashArray
    prints: PrintArray


@dataclass(frozen=True, slots=True)
class Sifted:
    """Which events of a batch are new. ``fresh`` are indexes in order of arrival; the rest were repeats."""

    fresh: NDArray[np.intp]
    duplicates: int
    conflicts: int  # repeats whose content differs from the first copy's


def period(day: int) -> int:
    """The first day of those that are kept and let go together with ``day``."""
    return day // _PERIOD_DAYS * _PERIOD_DAYS


def merges(newest_day: int, size: int, before: Iterable[tuple[int, int]]) -> int:
    """How many of the segments of a lane one of ``size`` takes in, given their newest days and sizes, newest first.

    Sizes then fall by half at least up to the newest or to another period, so there are few small ones; and an id is
    moved only with as many again, so rarely. What merges expires together, up to sixteen days late.
    """
    taken = 0
    for day, each in before:
        if each > 2 * size or each + size > _LARGEST or period(day) != period(newest_day):
            break
        size += each
        taken += 1
    return taken


@dataclass(slots=True)
class _Period:
    """The runs of some days, the oldest and largest first."""

    newest_day: int
    runs: list[_Run]

    def add(self, ids: HashArray, prints: PrintArray, most: int) -> None:
        """Merge runs of like size first, as a log-structured tree does: each id is moved O(log n) times."""
        runs = self.runs
        runs.append((ids, prints))
        while len(runs) > 1 and (len(runs) > most or len(runs[-1][0]) * 2 > len(runs[-2][0])):
            newer, older = runs.pop(), runs.pop()
            runs.append(_merged(older, newer))


def _merged(older: _Run, newer: _Run) -> _Run:
    """Two sorted runs as one, with no more than 21 bytes an id beside them: the largest are a fifth of all there is."""
    at = np.searchsorted(older[0], newer[0])
    at += np.arange(len(at))
    rest = np.ones(len(older[0]) + len(newer[0]), dtype=bool)
    rest[at] = False
    ids, prints = np.empty(len(rest), dtype=np.uint64), np.empty(len(rest), dtype=np.uint32)
    ids[at], prints[at] = newer
    ids[rest], prints[rest] = older
    return ids, prints


class SeenIds:
    """Membership of segments of one lane. Not thread-safe."""

    def __init__(self) -> None:
        self._periods: dict[int, _Period] = {}

    def __len__(self) -> int:
        return sum(len(ids) for period in self._periods.values() for ids, _ in period.runs)

    def sift(self, ids: HashArray, prints: PrintArray) -> Sifted:
        """Tell new events from repeats, within the batch (the first copy stands) and against all remembered."""
        unique, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
        known = np.zeros(len(unique), dtype=bool)
        first_print = prints[first]
        for run_ids, run_prints in (run for period in self._periods.values() for run in period.runs):
            at = np.searchsorted(run_ids, unique)
            at[at == len(run_ids)] = 0
            hit = run_ids[at] == unique
            first_print = np.where(hit & ~known, run_prints[at], first_print)
            known |= hit
        fresh = np.sort(first[~known])
        conflicts = int(np.count_nonzero(prints != first_print[inverse]))
        return Sifted(fresh=fresh, duplicates=len(ids) - len(fresh), conflicts=conflicts)

    def add(self, segment: Segment) -> None:
        """Remember ids that were fresh."""
        if not len(segment.ids):
            return
        first = period(segment.newest_day)
        latest = first >= max(self._periods, default=first)
        ours = self._periods.setdefault(first, _Period(segment.newest_day, []))
        ours.newest_day = max(ours.newest_day, segment.newest_day)
        order = np.argsort(segment.ids)
        ours.add(segment.ids[order], segment.prints[order], _RUNS if latest else _OLD_RUNS)

    def take_in(self, other: SeenIds) -> None:
        """Remember all that ``other`` does, of periods of which nothing is remembered here."""
        assert self._periods.keys().isdisjoint(other._periods)
        self._periods |= other._periods

    def forget(self, before: int) -> None:
        """Let go of periods whose newest day is before ``before``."""
        self._periods = {first: each for first, each in self._periods.items() if each.newest_day >= before}


def learn(seen: SeenIds, after: int, segments: Sequence[tuple[int, Segment]]) -> int:
    """Add numbered segments, all above ``after``. Returns the highest number."""
    for index, (number, segment) in enumerate(segments):
        if after and not index:  # it may be merged with what is known
            new = seen.sift(segment.ids, segment.prints).fresh
            seen.add(Segment(segment.newest_day, segment.ids[new], segment.prints[new]))
        else:
            seen.add(segment)
        after = number
    return after


class LaneMemory:
    """What a process holds of one lane: of the segments up to ``after`` all those of ``first_day`` or later.

    ``first_day`` begins a period. It goes back when a batch has events of earlier days, and forward when none has had
    any for a while.
    """

    def __init__(self, days: range) -> None:
        """``days`` are those of the events of the first batch."""
        self.seen = SeenIds()
        self.after = 0
        self.first_day = period(min(days.start, days[-1] - _RECENT_DAYS))
        self._newest_day = 0
        self._asked = days.start

    def __len__(self) -> int:
        return len(self.seen)

    def ask(self, days: range) -> range:
        """Which days must be read up, oldest first, before a batch with events of ``days`` can be sifted."""
        self._asked = min(self._asked, days.start)
        return range(min(self.first_day, period(days.start)), self.first_day)

    @property
    def days(self) -> range:
        """Of the segments that are held."""
        return range(self.first_day, _NEVER)

    def learn(self, segments: Sequence[tuple[int, Segment]]) -> None:
        """Add what comes above ``after``; of what is before ``first_day``, only that it is there."""
        self.after = learn(self.seen, self.after, segments)
        self._newest_day = max([self._newest_day, *(segment.newest_day for _, segment in segments)])

    def reach_back(self, older: SeenIds, first_day: int) -> None:
        """Add ``older``, all that there is up to ``after`` from ``first_day`` on to what is held."""
        self.seen.take_in(older)
        self.first_day = first_day

    def add(self, number: int, segment: Segment) -> None:
        """Add what this process has just stored: ids that were fresh."""
        self.seen.add(segment)
        self.after = number
        self._newest_day = max(self._newest_day, segment.newest_day)

    def filed(self, newest_day: int, ids: HashArray, prints: PrintArray) -> Segment:
        """New ids as a segment. A few of an earlier period go with the newest, so that they can be merged."""
        day = max(newest_day, self._newest_day) if len(ids) <= _FEW else newest_day
        return Segment(day, ids, prints)

    def let_go(self) -> None:
        """Leave in the database what no batch has needed since the last time."""
        first = period(min(self._asked, self._newest_day - _RECENT_DAYS))
        if first > self.first_day:
            self.seen.forget(first)
            self.first_day = first
        self._asked = self._newest_day
