"""Who keeps coming without paying: logo retention of freemium accounts, apart from paying ones (METRICS section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from alerts.arrays import BoolArray, IntArray
from alerts.columns import Blobs, active_on
from alerts.outcomes.months import year_before

ACTIVE_DAYS = 30


@dataclass(frozen=True, slots=True)
class FreemiumDays:
    """The two windows of 30 days, inclusive: the last ends at t, the first twelve months before."""

    first: tuple[int, int]
    last: tuple[int, int]

    @classmethod
    def ending(cls, day: int) -> FreemiumDays:
        """With t = ``day``."""
        start = year_before(day)
        return cls((start - ACTIVE_DAYS + 1, start), (day - ACTIVE_DAYS + 1, day))


@dataclass(frozen=True, slots=True)
class LogoRetention:
    """``retained`` of ``accounts``."""

    accounts: int
    retained: int

    @property
    def share(self) -> Fraction | None:
        """None of nobody."""
        return Fraction(self.retained, self.accounts) if self.accounts else None


def freemium_retention(rings: Blobs, last_day: IntArray, days: FreemiumDays) -> LogoRetention:
    """Of the accounts active in the first window, those active in the last one as well.

    ``rings`` (:mod:`consumers.active_days`) and ``last_day``, the last activity day, are of the accounts that had no
    MRR twelve months ago. Whoever began to pay since is retained like the others: by activity.
    """
    then = active_in(rings, last_day, days.first)
    return LogoRetention(
        int(np.count_nonzero(then)), int(np.count_nonzero(then & active_in(rings, last_day, days.last)))
    )


def active_in(rings: Blobs, last_day: IntArray, window: tuple[int, int]) -> BoolArray:
    """Whether each account was active on any day of an inclusive window, which begins within the kept days."""
    first, last = window
    # A ring says nothing of days after the last one; but then that day itself tells.
    found: BoolArray = (last_day >= first) & ((last_day <= last) | active_on(rings, first, last))
    return found
