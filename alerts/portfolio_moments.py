"""What happened to the accounts of a portfolio, and when (:mod:`consumers.moments`), counted kind by kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alerts.arrays import BoolArray, IntArray
from alerts.columns import MOMENT_DTYPE, Column, Groups, Records
from consumers.windows import NEVER


class Happened(Groups):
    """Days and values of n accounts in a row, int64, ``sizes`` of each account."""

    def __init__(self, sizes: IntArray, days: NDArray[np.uint16], values: NDArray[np.int64]) -> None:
        super().__init__(sizes)
        self.days: IntArray = days.astype(np.int64)
        self.values: IntArray = np.ascontiguousarray(values)

    @classmethod
    def read(cls, column: Column) -> Happened:
        """All that a column of moments has, whatever its kind."""
        records = Records(column, MOMENT_DTYPE)
        return cls(records.sizes, records.array["day"], records.array["value"])

    def count(self, first: int, last: int) -> IntArray:
        """For each account, how many lie on the days [first..last]."""
        return self.per_account(self._within(first, last))

    def total(self, first: int, last: int) -> IntArray:
        """For each account, the sum of their values."""
        return self.per_account(np.where(self._within(first, last), self.values, 0))

    def newest_day(self, upto: int | None = None) -> IntArray:
        """For each account, the newest day, none after ``upto``; NEVER without one."""
        return self.newest(self.days if upto is None else np.where(self.days <= upto, self.days, NEVER))

    def _within(self, first: int, last: int) -> BoolArray:
        found: BoolArray = (self.days >= first) & (self.days <= last)
        return found


class Moments:
    """The moments of n accounts."""

    def __init__(self, column: Column) -> None:
        self._records = Records(column, MOMENT_DTYPE)
        fields = (np.ascontiguousarray(self._records.array[name]) for name in ("kind", "day", "value"))
        self._kinds, self._days, self._values = fields
        self._known: dict[int, Happened] = {}

    def of(self, kind: int) -> Happened:
        """Those of one kind."""
        if kind not in self._known:
            places = np.flatnonzero(self._kinds == kind)
            sizes = np.bincount(self._records.owners[places], minlength=len(self._records.sizes))
            self._known[kind] = Happened(sizes, self._days[places], self._values[places])
        return self._known[kind]
