"""Daily logins of n accounts up to a last complete day D, as running sums: every total is then one subtraction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.arrays import IntArray
from alerts.columns import Column, day_matrix
from consumers.windows import KEPT_DAYS

RUNNING_DAYS = 207  # the 28-day totals that end in the last 180 days begin here (METRICS section 2.1)
_FEW = 200  # of so few accounts one call takes less time than a call for each day


class DailyLogins:
    """The logins of the RUNNING_DAYS days that end with ``as_of``; ``newest`` is each account's last day with any."""

    def __init__(self, rings: Column, newest: IntArray, as_of: int) -> None:
        self._origin = as_of - RUNNING_DAYS + 1
        self._sums = _running_sums(day_matrix(rings), newest, self._origin, as_of)

    def total(self, first: int, last: int) -> IntArray:
        """For each account, the logins of [first..last]."""
        sums, origin = self._sums, self._origin
        total: IntArray = (sums[last - origin + 1] - sums[first - origin]).astype(np.int64)
        return total

    def peak(self, width: int, first_end: int, last_end: int) -> IntArray:
        """The largest total of ``width`` days in a row that ends on a day of [first_end..last_end]."""
        low, high = first_end - self._origin + 1, last_end - self._origin + 2
        peaks: IntArray = (self._sums[low:high] - self._sums[low - width : high - width]).max(axis=0)
        return peaks.astype(np.int64)


def _running_sums(matrix: NDArray[Any], newest: IntArray, origin: int, as_of: int) -> NDArray[Any]:
    """Days down and accounts across, the first row 0: adding whole rows is twice as fast as along each account."""
    sums = np.zeros((RUNNING_DAYS + 1, len(newest)), dtype=np.int64 if matrix.itemsize > 2 else np.int32)
    low, high = origin % KEPT_DAYS, as_of % KEPT_DAYS
    if low <= high:
        sums[1:] = matrix[:, low : high + 1].T
    else:
        sums[1 : KEPT_DAYS - low + 1] = matrix[:, low:].T
        sums[KEPT_DAYS - low + 1 :] = matrix[:, : high + 1].T
    quiet = np.flatnonzero(newest < as_of)  # their later slots still hold days of a year before
    if len(quiet):
        sums[1:, quiet] *= np.arange(origin, as_of + 1)[:, None] <= newest[None, quiet]
    if len(newest) < _FEW:
        return np.cumsum(sums, axis=0, dtype=sums.dtype)
    for day in range(1, len(sums)):
        sums[day] += sums[day - 1]
    return sums
