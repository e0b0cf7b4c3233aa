"""What is remembered of event ids in memory: found whatever was merged, and let go with its days."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumers.dedup import SeenIds, Segment, merges, period


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
    assert 4_160 <= len(seen) <= 10 * (416 + 16 + 1)
    last = segment(0, 19_999, 0)
    assert seen.sift(last.ids, last.prints).fresh.tolist() == [1]


def test_few_runs_are_searched_however_many_batches_came() -> None:
    seen = SeenIds()
    for batch in range(5_000):
        seen.add(segment(batch // 100 + (batch % 7) * 10, *range(batch * 3, batch * 3 + 3)))
    assert sum(len(period.runs) for period in seen._periods.values()) <= 6 + 2 * 7


@given(st.lists(st.tuples(st.integers(20_000, 20_040), st.integers(1, 60_000)), max_size=300))
def test_segments_merge_until_few_are_small_but_not_with_those_of_other_periods(
    brought: list[tuple[int, int]],
) -> None:
    stored: list[tuple[int, int]] = []
    for day, size in brought:
        taken = merges(day, size, reversed(stored))
        together = [*stored[len(stored) - taken :], (day, size)]
        assert len({period(each) for each, _ in together}) == 1
        stored[len(stored) - taken :] = [(max(each for each, _ in together), sum(n for _, n in together))]
    assert sum(size for _, size in stored) == sum(size for _, size in brought)
    assert all(size <= max(50_000, *(size for _, size in brought)) for _, size in stored)
    for (before, older), (after, newer) in pairwise(stored):
        assert older > 2 * newer or older + newer > 50_000 or period(before) != period(after)
