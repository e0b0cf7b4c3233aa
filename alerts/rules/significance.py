"""Is a change between two counts more than chance? The exact conditional test on two Poisson counts.

Both are counted over windows of the same length. Were nothing changed, each of their ``n`` events together would have
fallen into the one window or the other like a coin: the smaller count is then that of the rarer side of ``n`` throws.
The p-value is two-sided, ``2 × P(Binomial(n, 1/2) <= smaller)`` and at most 1: a rise counts as much as a fall, and
whoever asks for one of them alone says so with a comparison beside it.

A verdict is never left to a float. For every total there is a critical count, the largest smaller count that is still
significant; it never falls as the total grows, and rises by one at a time. So a table of all of them is one walk in
fixed point, 256 bits behind the point: its rounding stays below 2**-170, and what lies nearer than 2**-128 to the
level is counted in whole numbers. Totals beyond the table are bracketed by Stirling's formula with Robbins' bounds.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from threading import Lock

import numpy as np

from alerts.arrays import BoolArray, IntArray

TABLE = (
    1 << 18
)  # totals with a critical count at hand: 4,700 events a day over 56 days; under a second to make, once
_BITS = 256
_NEAR = 1 << 128  # closer to the level than this, in units of the fixed point, is counted out
_BLOCK = 1 << 10
_LEVELS = 32  # tables kept, of 2 MB at most; every rule that tests shares those of its level

_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
_DIGITS = 60
_SLACK = Decimal("1e-30")  # for the rounding of some dozen operations in 60 digits
_UNIT = 1 << 128


def significant(current: IntArray, previous: IntArray, level: Fraction) -> BoolArray:
    """Where the two counts differ at ``level`` (between 0 and 1/2), for many accounts; counts are 0 or more."""
    smaller, total = np.minimum(current, previous), current + previous
    result: BoolArray = np.zeros(len(total), dtype=np.bool_)
    listed = (total <= TABLE) & (smaller >= 0)
    if listed.any():
        critical = _table(level).up_to(int(total[listed].max()))
        result[listed] = smaller[listed] <= critical[total[listed]]
    for place in np.flatnonzero(total > TABLE):
        result[place] = _beyond(int(total[place]), int(smaller[place]), level)
    return result


def is_significant(current: int, previous: int, level: Fraction) -> bool:
    """The same for one account."""
    smaller, total = min(current, previous), current + previous
    if total > TABLE:
        return _beyond(total, smaller, level)
    return smaller <= int(_table(level).up_to(total)[total])


def p_value(current: int, previous: int) -> float:
    """The two-sided p-value, for display: a verdict does not come of it."""
    smaller, total = min(current, previous), current + previous
    if current == previous:
        return 1.0
    if total <= _BLOCK:
        return float(Fraction(2 * _tail(total, smaller), 1 << total))
    log = math.lgamma(total + 1) - math.lgamma(smaller + 1) - math.lgamma(total - smaller + 1)
    low, _ = _series(total, smaller)
    return min(1.0, 2 * math.exp(log - total * math.log(2)) * (low / _UNIT))


class _Table:
    """The critical count of each total from 0 on, -1 where none is small enough; grows as it is asked. Thread-safe."""

    def __init__(self, level: Fraction) -> None:
        self._level = level
        self._lock = Lock()
        self._critical = np.array([-1], dtype=np.int64)  # nobody did anything: nothing can be told
        # The walk stands at this total and this count, the first that is not significant there.
        self._total, self._count = 0, 0
        self._exactly = self._up_to = 1 << _BITS  # P(X = count) and P(X <= count), in fixed point

    def up_to(self, total: int) -> IntArray:
        """Critical counts of the totals up to at least ``total``, which is TABLE or less."""
        if total >= len(self._critical):
            with self._lock:
                if total >= len(self._critical):
                    grown = np.array(self._walked((total // _BLOCK + 1) * _BLOCK), dtype=np.int64)
                    self._critical = np.concatenate([self._critical, grown])
        return self._critical

    def _walked(self, until: int) -> list[int]:
        """The critical counts of the totals up to ``until``.

        With one event more ``P(X <= m)`` falls by half of ``P(X = m)``, so at most one count more is significant.
        """
        total, count, exactly, up_to = self._total, self._count, self._exactly, self._up_to
        p, q = self._level.numerator, 2 * self._level.denominator
        edge, near = p << _BITS, q * _NEAR
        found = []
        while total < until:
            total += 1
            up_to -= exactly >> 1
            exactly = exactly * total // (2 * (total - count))
            over = up_to * q - edge
            if over < -near or (over <= near and _is_within_exactly(total, count, self._level)):
                exactly = exactly * (total - count) // (count + 1)
                up_to += exactly
                count += 1
            found.append(count - 1)
        self._total, self._count, self._exactly, self._up_to = total, count, exactly, up_to
        return found


@lru_cache(maxsize=_LEVELS)
def _table(level: Fraction) -> _Table:
    return _Table(level)


def _is_within_exactly(total: int, smaller: int, level: Fraction) -> bool:
    return 2 * _tail(total, smaller) * level.denominator <= level.numerator << total


def _tail(total: int, smaller: int) -> int:
    """The number of ways in which ``total`` throws show ``smaller`` or fewer of one side."""
    ways = found = 1
    for count in range(smaller):
        ways = ways * (total - count) // (count + 1)
        found += ways
    return found


def _beyond(total: int, smaller: int, level: Fraction) -> bool:
    """One verdict for a total that is too large for the table."""
    if 4 * smaller < total:
        return True  # by Hoeffding's inequality p is under 2 exp(-total / 8), and a level is at least 1e-9
    if 2 * smaller == total:
        return False
    low, high = _bracket(total, smaller)
    if high <= level:
        return True
    if low > level:
        return False
    return _is_within_exactly(total, smaller, level)


def _bracket(total: int, smaller: int) -> tuple[Fraction, Fraction]:
    """Two numbers that have the p-value between them, some 1e-12 of it apart."""
    larger = total - smaller
    with localcontext() as context:
        context.prec = _DIGITS
        log = _stirling(total) - _stirling(smaller) - _stirling(larger) - total * Decimal(2).ln()
        least = _correction(total, 1) - _correction(smaller) - _correction(larger) - _SLACK
        most = _correction(total) - _correction(smaller, 1) - _correction(larger, 1) + _SLACK
        low, high = Fraction((log + least).exp()), Fraction((log + most).exp())
    least_sum, most_sum = _series(total, smaller)
    return 2 * low * Fraction(least_sum, _UNIT), 2 * high * Fraction(most_sum, _UNIT)


def _stirling(number: int) -> Decimal:
    """The logarithm of the factorial, less Robbins' correction."""
    value = Decimal(number)
    return (value + Decimal("0.5")) * value.ln() - value + (2 * _PI).ln() / 2


def _correction(number: int, more: int = 0) -> Decimal:
    """Between 1 / (12 n + 1) and 1 / 12 n lies what Stirling's formula lacks."""
    return 1 / Decimal(12 * number + more)


def _series(total: int, smaller: int) -> tuple[int, int]:
    """``P(X <= smaller) / P(X = smaller)`` in units of 2**-128, from below and from above; ``2 * smaller < total``."""
    term = found = _UNIT
    steps = 0
    while smaller > steps and term * total >> 64:
        term = term * (smaller - steps) // (total - smaller + 1 + steps)
        found += term
        steps += 1
    # What was rounded off, and what was left out: terms that shrink by 1 / total at least.
    return found, found + steps * steps + (term + steps) * total
