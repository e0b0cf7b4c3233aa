"""How well a score tells customers that stay from those that leave: areas under ROC curves, and their difference.

The area is the chance that a customer who was kept scored higher than one who was lost, ties counted half; 0.5 is a
coin. It is counted exactly (Mann and Whitney); its variance is DeLong's, in whole numbers up to the one square root.
Two scores of the same accounts are compared by the difference of their areas, with the variance of that difference:
both rank the same people, so that it is much smaller than the two areas' own intervals make it look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np

from alerts.arrays import BoolArray, IntArray
from alerts.backtest.intervals import Interval

_Z = 1.959963984540054  # the normal distribution's 97.5 % point


class Verdict(StrEnum):
    """What the difference of two areas says of the second score."""

    BETTER = "better"  # its 95 % interval lies above 0
    NO_BETTER = "no_better"  # it holds 0
    WORSE = "worse"
    SAME = "same"  # there is nothing to compare


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    interval: Interval

    def describe(self) -> dict[str, float]:
        """In JSON's types."""
        return {"value": self.value, "low": self.interval.low, "high": self.interval.high}


@dataclass(frozen=True, slots=True)
class Judgement:
    """The areas of two scores over the same accounts, and of the second less the first."""

    accounts: int
    lost: int
    present: Estimate
    proposed: Estimate
    difference: Estimate

    @property
    def verdict(self) -> Verdict:
        """What it says of the second one."""
        low, high = self.difference.interval
        if low > 0:
            return Verdict.BETTER
        return Verdict.WORSE if high < 0 else Verdict.NO_BETTER

    def describe(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "accounts": self.accounts,
            "lost": self.lost,
            "present": self.present.describe(),
            "proposed": self.proposed.describe(),
            "difference": self.difference.describe(),
        }


@dataclass(frozen=True, slots=True)
class _Places:
    """For each account kept, how many of those lost it stands above, and for each lost one how many kept stand above
    it: in halves, as ties count one."""

    kept: IntArray
    lost: IntArray

    def less(self, other: _Places) -> _Places:
        return _Places(self.kept - other.kept, self.lost - other.lost)

    def mean(self) -> Fraction:
        return Fraction(int(self.kept.sum()), 2 * len(self.kept) * len(self.lost))

    def variance(self) -> Fraction:
        """DeLong's: the spread of either side over the other's size and its own."""
        sides = ((self.kept, len(self.lost)), (self.lost, len(self.kept)))
        return sum((_spread(own) / (4 * others**2 * len(own)) for own, others in sides), Fraction(0))


def judged(present: IntArray, proposed: IntArray, kept: BoolArray) -> Judgement:
    """Two scores of each account against what became of it. Two accounts of each outcome at least, else ValueError."""
    lost = int((~kept).sum())
    if min(lost, len(kept) - lost) < 2:
        raise ValueError("an area needs two accounts of each outcome")
    before, after = _placed(present, kept), _placed(proposed, kept)
    return Judgement(
        accounts=len(kept),
        lost=lost,
        present=_estimate(before, 0.0),
        proposed=_estimate(after, 0.0),
        difference=_estimate(after.less(before), -1.0),
    )


def _placed(scores: IntArray, kept: BoolArray) -> _Places:
    stayed, left = np.sort(scores[kept]), np.sort(scores[~kept])
    above = sum(np.searchsorted(left, scores[kept], side) for side in ("left", "right"))
    below = sum(len(stayed) - np.searchsorted(stayed, scores[~kept], side) for side in ("left", "right"))
    return _Places(np.asarray(above, dtype=np.int64), np.asarray(below, dtype=np.int64))


def _spread(values: IntArray) -> Fraction:
    """The sample variance. Exact for a million accounts of each outcome."""
    count, total, squares = len(values), int(values.sum()), int((values * values).sum())
    return Fraction(count * squares - total**2, count * (count - 1))


def _estimate(places: _Places, least: float) -> Estimate:
    """Where one score separates everybody the variance is 0, and so is the width of the interval."""
    value, half = float(places.mean()), _Z * math.sqrt(places.variance())
    return Estimate(value, Interval(max(value - half, least), min(value + half, 1.0)))
