"""Which event ids were seen already: exact but for 64-bit hash collisions, 12 bytes an id, durable as segments.

A unique-id table slows to a crawl as it grows, because its keys are random. Instead each batch leaves one segment, the
hashes of its ids in one blob, and membership is held in memory: sorted runs, merged as they pile up, searched a whole
batch at a time. Two ids of one sender collide once in 10^19 pairs; among ten million remembered ids a new event is
taken for a repeat with a chance of 5 in 10^13.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HashArray = NDArray[np.uint64]
PrintArray = NDArray[np.uint32]

_RUNS = 6  # more sorted runs than this are merged into one; each costs a binary search per batch


@dataclass(frozen=True, slots=True)
class Segment:
    """The ids that one batch brought: their hashes, and fingerprints of the contents that came with them."""

    newest_day: int  # the newest event day in it: the whole segment expires with it
    ids: HashArray
    prints: PrintArray


@dataclass(frozen=True, slots=True)
class Sifted:
    """Which events of a batch are new. ``fresh`` are indexes in order of arrival; the rest were repeats."""

    fresh: NDArray[np.intp]
    duplicates: int
    conflicts: int  # repeats whose content differs from the first copy's


class SeenIds:
    """Membership of all remembered segments of one lane. Not thread-safe."""

    def __init__(self) -> None:
        self._runs: list[tuple[HashArray, PrintArray]] = []

    def __len__(self) -> int:
        return sum(len(ids) for ids, _ in self._runs)

    def sift(self, ids: HashArray, prints: PrintArray) -> Sifted:
        """Tell new events from repeats, within the batch (the first copy stands) and against all remembered."""
        unique, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
        known = np.zeros(len(unique), dtype=bool)
        first_print = prints[first]
        for run_ids, run_prints in self._runs:
            at = np.searchsorted(run_ids, unique)
            at[at == len(run_ids)] = 0
            hit = run_ids[at] == unique
            first_print = np.where(hit & ~known, run_prints[at], first_print)
            known |= hit
        fresh = np.sort(first[~known])
        conflicts = int(np.count_nonzero(prints != first_print[inverse]))
        return Sifted(fresh=fresh, duplicates=len(ids) - len(fresh), conflicts=conflicts)

    def add(self, ids: HashArray, prints: PrintArray) -> None:
        """Remember ids that were fresh."""
        if not len(ids):
            return
        order = np.argsort(ids)
        self._runs.append((ids[order], prints[order]))
        # Merge runs of like size first, as a log-structured tree does: each id is moved O(log n) times.
        while len(self._runs) > 1 and (
            len(self._runs) > _RUNS or len(self._runs[-1][0]) * 2 > len(self._runs[-2][0])
        ):
            newer, older = self._runs.pop(), self._runs.pop()
            merged_ids = np.concatenate([older[0], newer[0]])
            merged_prints = np.concatenate([older[1], newer[1]])
            order = np.argsort(merged_ids, kind="stable")
            self._runs.append((merged_ids[order], merged_prints[order]))
