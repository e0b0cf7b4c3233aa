"""How sure a share is, of a few accounts or of many."""

from __future__ import annotations

from math import sqrt

_Z = 1.959963984540054  # of 95 % on both sides


def wilson_interval(hits: int, count: int) -> tuple[float, float] | None:
    """The 95 % Wilson score interval of ``hits / count``, within [0, 1]; None if ``count`` is 0 (METRICS 4).

    For p = hits / n it is (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) with z = 1.96.
    """
    if count == 0:
        return None
    share, square = hits / count, _Z * _Z
    middle = share + square / (2 * count)
    half = _Z * sqrt(share * (1 - share) / count + square / (4 * count * count))
    low, high = (middle - half) / (1 + square / count), (middle + half) / (1 + square / count)
    # Rounding may leave a hair; where nobody or everybody was kept the bound is exact.
    return (0.0 if hits == 0 else low), (1.0 if hits == count else high)
