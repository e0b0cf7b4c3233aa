"""What is remembered of event ids in memory: found whatever was merged, and let go with its days."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumers.dedup import SeenIds, Segment, merges


def segment(day: int, *numbers: int) -> Segment:
    return Segment(day, np.array(numbers, dtype=np.uint64), np.zeros(len(numbers), dtype=np.uint32))


@given(st.lists(st.tuples(st.integers(0, 900), st.lists(st.integers(0, 500), max_size=9)), max_size=60))
def test_whatever_was_added_is_known_and_nothing_else(added: list[tuple[int, list[int]]]) -> None:
    seen, known = SeenIds(), set[int]()
    for day, numbers in added:
        new = set(numbers) - known
        seen.add(segment(day, *new))
        known |= new
    every = segment(0, *range(501))
    fresh = seen.sift(every.ids, every.prints).fresh
    assert set(every.ids[fresh].tolist()) == set(range(501)) - known
    assert len(seen) == len(known)


def test_what_cannot_come_again_leaves_memory() -> None:
    """A consumer lives for months: what it holds is what the last of them brought."""
    seen = SeenIds()
    for day in range(2_000):
        seen.add(segment(day, *range(day * 10, day * 10 + 10)))
        seen.forget(day - 416)
    assert 4_160 <= len(seen) <= 10 * (416 + 64 + 1)
    last = segment(0, 19_999, 0)
    assert seen.sift(last.ids, last.prints).fresh.tolist() == [1]


def test_few_runs_are_searched_however_many_batches_came() -> None:
    seen = SeenIds()
    for batch in range(5_000):
        seen.add(segment(batch // 100 + (batch % 7) * 10, *range(batch * 3, batch * 3 + 3)))
    assert sum(len(period.runs) for period in seen._periods.values()) <= 10


@given(st.lists(st.integers(1, 60_000), max_size=300))
def test_segments_merge_until_few_are_small(sizes: list[int]) -> None:
    stored: list[int] = []
    for size in sizes:
        taken = merges(size, reversed(stored))
        stored[len(stored) - taken :] = [size + sum(stored[len(stored) - taken :])]
    assert sum(stored) == sum(sizes)
    assert all(size <= max(50_000, *sizes) for size in stored)
    for older, newer in pairwise(stored):
        assert older > 2 * newer or older + newer > 50_000
