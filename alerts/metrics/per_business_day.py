"""The change in logins per business day (METRICS section 2.1), and what is usual for it in the whole portfolio.

A month with Christmas in it has fewer days to log in on, and a week in which everybody is away is no news of anybody.
So both windows are divided by the business days of the account's own calendar, and the median of what that gives over
all accounts is taken off. The median is one of the whole portfolio, while a live judgement sees few accounts of it: it
is worked out once, as a day closes, and kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from alerts.account_rows import MedianChange
from alerts.metrics.holidays import business_days
from alerts.portfolio import Portfolio
from alerts.values import BoolArray, IntArray

LEAST_ACCOUNTS = 20  # of fewer the median is that of a few customers, not of the season
WINDOW = 28
# As finely as it fits: a ratio of so many parts, times the largest count of logins, still has room in 64 bits.
_MOST_PARTS = 10**9

Ratios = tuple[IntArray, IntArray]
"""Numerators and denominators."""


def days_of(portfolio: Portfolio) -> tuple[IntArray, IntArray]:
    """How many business days [D-27..D] and [D-55..D-28] have for each account."""

    def read() -> tuple[IntArray, IntArray]:
        common = portfolio.moment.model.country
        countries = [country or common for country in portfolio.attribute("country").tolist()]
        cells = list(zip(countries, portfolio.own_day().tolist(), strict=True))
        counted = {
            cell: (
                business_days(cell[0], cell[1] - WINDOW + 1, cell[1]),
                business_days(cell[0], cell[1] - 2 * WINDOW + 1, cell[1] - WINDOW),
            )
            for cell in set(cells)
        }
        both = np.array([counted[cell] for cell in cells], dtype=np.int64).reshape(-1, 2)
        return np.maximum(both[:, 0], 1), np.maximum(both[:, 1], 1)

    return portfolio.once(("business days",), read)


def change(current: IntArray, previous: IntArray, days: tuple[IntArray, IntArray]) -> Ratios:
    """``(current / its business days) / (previous / its business days) - 1``; meaningless where none were before."""
    now, before = days
    base = previous * now
    return current * before - base, np.maximum(base, 1)


def median_of(pages: Iterable[Ratios], day: int) -> MedianChange:
    """The median of the changes of all accounts that are ``ok``, in pages of any size, as ``day`` closed.

    Of an even number it is the mean of the middle two, rounded to a billionth only where it takes longer to write.
    """
    found = list(pages)
    tops = np.concatenate([top for top, _ in found]) if found else np.zeros(0, dtype=np.int64)
    bottoms = np.concatenate([bottom for _, bottom in found]) if found else tops
    count = len(tops)
    if not count:
        return MedianChange(day)
    order = np.argsort(tops / bottoms, kind="stable")
    middle = [int(order[(count - 1) // 2]), int(order[count // 2])]
    exact = sum((Fraction(int(tops[place]), int(bottoms[place])) for place in middle), Fraction(0)) / 2
    if exact.denominator > _MOST_PARTS:
        exact = Fraction(round(exact * _MOST_PARTS), _MOST_PARTS)
    return MedianChange(day, exact.numerator, exact.denominator, count)


def medians(
    portfolio: Portfolio, changes: Ratios, ok: BoolArray
) -> list[tuple[MedianChange, BoolArray | slice]]:
    """What is usual, and for which of the accounts.

    Rows of the past are all that there were on each of their days; a live portfolio has it with its moment.
    """
    if not portfolio.whole:
        kept = portfolio.moment.median_change
        usual = kept is not None and portfolio.as_of - 1 <= kept.day <= portfolio.as_of
        return [(kept if kept is not None and usual else MedianChange(), slice(None))]
    own = portfolio.own_day()
    found: list[tuple[MedianChange, BoolArray | slice]] = []
    for day in np.unique(own).tolist():
        mine: BoolArray = own == day
        counted = mine & ok
        # Evidence of the past has true dates on its last day alone, and says so of all.
        median = median_of([(changes[0][counted], changes[1][counted])], portfolio.as_of)
        found.append((median, mine))
    return found
