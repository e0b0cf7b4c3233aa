"""95 % intervals of what a backtest counts: shares, rates and medians. Plain arithmetic, no tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from alerts.wilson import wilson_interval

_TAIL = 0.025


class Interval(NamedTuple):
    """Both ends, counted in."""

    low: float
    high: float

    def over(self, divisor: float) -> Interval:
        """Both ends divided by a number that is taken as known."""
        return Interval(self.low / divisor, self.high / divisor)


def wilson(hits: int, trials: int) -> Interval:
    """Wilson's score interval of a share. Raises ValueError without trials."""
    if trials < 1 or not 0 <= hits <= trials:
        raise ValueError(f"{hits} of {trials} is no share")
    found = wilson_interval(hits, trials)
    assert found is not None, "there are trials"
    return Interval(*found)


def poisson(count: int) -> Interval:
    """The exact (Garwood) interval of a Poisson mean of which ``count`` was seen."""
    if count < 0:
        raise ValueError(f"{count} cannot be counted")
    far = count + 10 * math.sqrt(count + 1) + 10
    high = _root(lambda mean: _at_most(count, mean) - _TAIL, count, far)
    if count == 0:
        return Interval(0.0, high)
    return Interval(_root(lambda mean: _at_most(count - 1, mean) - 1 + _TAIL, 0.0, count), high)


def median(values: Sequence[int]) -> float:
    """The middle value, or the mean of the two in the middle."""
    return quantile(values, 0.5)


def quantile(values: Sequence[int], share: float) -> float:
    """The inclusive quantile: the smallest value at 0, the largest at 1, straight lines between neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median_interval(values: Sequence[int]) -> Interval | None:
    """The narrowest pair of symmetric order statistics that holds the median with 95 %; None below six values."""
    ordered, count = sorted(values), len(values)
    below = 0.0  # the chance that at most `rank` values lie under the median
    rank = -1
    while below + math.comb(count, rank + 1) / 2**count <= _TAIL:
        rank += 1
        below += math.comb(count, rank) / 2**count
    if rank < 0:
        return None
    return Interval(ordered[rank], ordered[count - 1 - rank])


def _at_most(count: int, mean: float) -> float:
    """The chance that a Poisson number of that mean is ``count`` or less: summed from the largest term down."""
    if mean <= 0:
        return 1.0
    top = min(count, int(mean))
    first = math.exp(top * math.log(mean) - mean - math.lgamma(top + 1))
    total, term = first, first
    for number in range(top, 0, -1):
        term *= number / mean
        total += term
        if term < total * 1e-17:
            break
    term = first
    for number in range(top + 1, count + 1):
        term *= mean / number
        total += term
        if term < total * 1e-17:
            break
    return min(total, 1.0)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero."""
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
