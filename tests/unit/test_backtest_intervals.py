"""Intervals of a backtest, against values from the literature and against their definition."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.backtest.intervals import median, median_interval, poisson, quantile, wilson


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_as_newcombe_prints_it(hits: int, trials: int, low: float, high: float) -> None:
    assert wilson(hits, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.6889), (1, 0.02532, 5.5716), (10, 4.7954, 18.3904), (100, 81.3640, 121.6268)],
)
def test_poisson_as_the_tables_print_it(count: int, low: float, high: float) -> None:
    assert poisson(count) == pytest.approx((low, high), abs=5e-4)


@given(st.integers(1, 40))
def test_poisson_ends_leave_exactly_a_fortieth_outside(count: int) -> None:
    def at_most(number: int, mean: float) -> float:
        return math.fsum(math.exp(-mean) * mean**each / math.factorial(each) for each in range(number + 1))

    low, high = poisson(count)
    assert at_most(count, high) == pytest.approx(0.025, abs=1e-9)
    assert 1 - at_most(count - 1, low) == pytest.approx(0.025, abs=1e-9)


@given(st.integers(100, 200_000))
def test_poisson_of_many_is_nearly_normal(count: int) -> None:
    low, high = poisson(count)
    assert low < count < high
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(count), rel=0.03)


@given(st.lists(st.integers(0, 90), min_size=1, max_size=60))
def test_the_medians_interval_is_the_narrowest_pair_of_ranks_that_is_sure_enough(days: list[int]) -> None:
    ordered, count = sorted(days), len(days)

    def outside(
        rank: int,
    ) -> Fraction:  # the chance that the median lies outside the ranks (rank, n + 1 - rank)
        return 2 * Fraction(sum(math.comb(count, each) for each in range(rank)), 2**count)

    fitting = [rank for rank in range(1, count // 2 + 1) if outside(rank) <= Fraction(5, 100)]
    assert (count < 6) == (not fitting)
    pair = (ordered[max(fitting) - 1], ordered[count - max(fitting)]) if fitting else None
    assert pair is None or pair[0] <= median(days) <= pair[1]
    assert median_interval(days) == pair


def test_quartiles_are_the_inclusive_ones() -> None:
    assert [quantile([4, 1, 2, 3, 5], share) for share in (0, 0.25, 0.5, 0.75, 1)] == [1, 2, 3, 4, 5]
    assert quantile([1, 2], 0.25) == 1.25
    assert quantile([7], 0.75) == 7


def test_nothing_has_no_share() -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(0, 0)
    with pytest.raises(ValueError, match="cannot be counted"):
        poisson(-1)
