"""Which event ids were seen already: exact but for 64-bit hash collisions, 12 bytes an id, durable as segments.

A unique-id table slows to a crawl as it grows, because its keys are random. Instead each batch leaves one segment,
the hashes of its ids in one blob, and small segments are merged as they pile up. Membership is held in memory: sorted
runs, merged likewise, searched a whole batch at a time, and let go with their days. Two ids of one sender collide
once in 10^19 pairs; among ten million remembered ids a new event is taken for a repeat with a chance of 5 in 10^13.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HashArray = NDArray[np.uint64]
PrintArray = NDArray[np.uint32]

_PERIOD_DAYS = (
    64  # runs are kept apart by the period of their newest day, so that old ones can go without a search
)
_RUNS = 6  # more sorted runs than this of one period are merged; each costs a binary search per batch
_OLD_RUNS = 2  # the same for a period that is not the newest: little comes to it
_LARGEST = 50_000  # ids in a merged segment


@dataclass(frozen=True, slots=True)
class Segment:
    """The ids that a batch brought, or a few: their hashes, and fingerprints of the contents that came with them."""

    newest_day: int  # the newest event day in it: the whole segment expires with it
    ids: HashArray
    prints: PrintArray


@dataclass(frozen=True, slots=True)
class Sifted:
    """Which events of a batch are new. ``fresh`` are indexes in order of arrival; the rest were repeats."""

    fresh: NDArray[np.intp]
    duplicates: int
    conflicts: int  # repeats whose content differs from the first copy's


def merges(size: int, before: Iterable[int]) -> int:
    """How many of the segments of a lane, whose sizes are ``before`` with the newest first, one of ``size`` takes in.

    Sizes then fall by half at least up to the newest, so there are few small ones; and an id is moved only with as many
    again, so rarely. What merges expires together: 100,000 ids of a lane at most are kept for longer than they must be.
    """
    taken = 0
    for each in before:
        if each > 2 * size or each + size > _LARGEST:
            break
        size += each
        taken += 1
    return taken


@dataclass(slots=True)
class _Period:
    """The runs of some days, the oldest and largest first."""

    newest_day: int
    runs: list[tuple[HashArray, PrintArray]]

    def add(self, ids: HashArray, prints: PrintArray, most: int) -> None:
        """Merge runs of like size first, as a log-structured tree does: each id is moved O(log n) times."""
        runs = self.runs
        runs.append((ids, prints))
        while len(runs) > 1 and (len(runs) > most or len(runs[-1][0]) * 2 > len(runs[-2][0])):
            newer, older = runs.pop(), runs.pop()
            merged_ids = np.concatenate([older[0], newer[0]])
            merged_prints = np.concatenate([older[1], newer[1]])
            order = np.argsort(merged_ids, kind="stable")
            runs.append((merged_ids[order], merged_prints[order]))


class SeenIds:
    """Membership of all remembered segments of one lane. Not thread-safe."""

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
        number = segment.newest_day // _PERIOD_DAYS
        latest = number >= max(self._periods, default=number)
        if number not in self._periods:
            self._periods[number] = _Period(segment.newest_day, [])
        period = self._periods[number]
        period.newest_day = max(period.newest_day, segment.newest_day)
        order = np.argsort(segment.ids)
        period.add(segment.ids[order], segment.prints[order], _RUNS if latest else _OLD_RUNS)

    def forget(self, expired_before: int) -> None:
        """Let go of periods whose newest day is before ``expired_before``."""
        self._periods = {
            number: each for number, each in self._periods.items() if each.newest_day >= expired_before
        }
