"""Blobs of many accounts laid end to end: records of fixed size, so many of each account, counted as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.arrays import BoolArray, IntArray
from consumers.facts import PROFILE_FIELDS
from consumers.moments import MOMENT_FIELDS
from consumers.usage import FEATURE_FIELDS
from consumers.windows import CELL_FIELDS, KEPT_DAYS, NEVER

PROFILE_DTYPE = np.dtype(PROFILE_FIELDS)
CELL_DTYPE = np.dtype(CELL_FIELDS)
MOMENT_DTYPE = np.dtype(MOMENT_FIELDS)
FEATURE_DTYPE = np.dtype(FEATURE_FIELDS)

Blobs = Sequence[bytes | bytearray | memoryview]


@dataclass(frozen=True, slots=True)
class Stack:
    """The records of n accounts laid end to end already, ``sizes`` of each. Rings are n rows of a matrix."""

    array: NDArray[Any]
    sizes: IntArray


Column = Blobs | Stack


def stacked(column: Column, dtype: np.dtype[Any]) -> Stack:
    """Records of ``dtype`` from the blobs of all accounts."""
    if isinstance(column, Stack):
        return column
    sizes = np.fromiter(map(len, column), np.int64, len(column)) // dtype.itemsize
    return Stack(np.frombuffer(b"".join(column), dtype=dtype), sizes)


class Records:
    """The records of all accounts in a row, and where each account's end."""

    def __init__(self, column: Column, dtype: np.dtype[Any]) -> None:
        stack = stacked(column, dtype)
        self.array: NDArray[Any] = stack.array
        self.sizes: IntArray = stack.sizes
        self.ends: IntArray = np.cumsum(self.sizes)

    def owner(self, chosen: NDArray[np.intp]) -> NDArray[np.intp]:
        """The account of each of the records at these places."""
        return np.searchsorted(self.ends, chosen, side="right")

    def total(self, chosen: NDArray[np.intp], values: NDArray[Any] | None = None) -> IntArray:
        """For each account, how many of the records at these places, which are in order, it has; or their values'
        sum."""
        counted = np.ones(len(chosen), dtype=np.int64) if values is None else values
        running = np.append(np.int64(0), np.cumsum(counted, dtype=np.int64))
        upto = running[np.searchsorted(chosen, self.ends)]
        totals: IntArray = np.diff(upto, prepend=np.int64(0))
        return totals

    def newest(self, chosen: NDArray[np.intp], days: NDArray[Any]) -> IntArray:
        """For each account, the largest of ``days``, one for each of the records at these places; NEVER without any."""
        found = np.full(len(self.ends), NEVER, dtype=np.int64)
        if len(chosen):
            owner = self.owner(chosen)
            starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
            found[owner[starts]] = np.maximum.reduceat(np.asarray(days, dtype=np.int64), starts)
        return found


class Cells:
    """The users' cells of all accounts in a row, and where each account's begin."""

    def __init__(self, column: Column) -> None:
        stack = stacked(column, CELL_DTYPE)
        self.array: NDArray[Any] = stack.array
        self.sizes = stack.sizes
        self.starts = np.cumsum(self.sizes) - self.sizes
        self._peopled = self.sizes > 0
        self._starts = self.starts[self._peopled]
        self.last_day: NDArray[np.int32] = self.array["last_day"]
        self.flags: NDArray[np.uint32] = self.array["flags"]

    def per_account(self, counts: NDArray[Any]) -> IntArray:
        """Sums of one number per user, for each account."""
        totals = np.zeros(len(self.sizes), dtype=np.int64)
        if len(self._starts):
            totals[self._peopled] = np.add.reduceat(counts, self._starts, dtype=np.int64)
        return totals


def aligned(maps: NDArray[np.uint64], last_day: NDArray[Any], today: int) -> NDArray[np.uint64]:
    """Maps counted back from their own last days as maps counted back from today: bit i is the day ``today - i``."""
    gap = np.subtract(today, last_day, dtype=np.int64)
    # A shift by 64 or more gives 0, and so does a negative one seen as unsigned.
    moved: NDArray[np.uint64] = np.left_shift(maps, gap.view(np.uint64))
    if len(gap) and gap.min() < 0:  # a sender's clock ahead of ours, by five minutes at most, over midnight
        ahead = gap < 0
        moved[ahead] = np.right_shift(maps[ahead], (-gap[ahead]).view(np.uint64))
    return moved


def day_matrix(blobs: Column) -> NDArray[Any]:
    """n rows of KEPT_DAYS counts; uint16 unless some account needed more."""
    if isinstance(blobs, Stack):
        return blobs.array
    narrow = 2 * KEPT_DAYS
    if set(map(len, blobs)) <= {narrow}:
        return np.frombuffer(b"".join(blobs), dtype="<u2").reshape(len(blobs), KEPT_DAYS)
    rows = [np.frombuffer(blob, dtype="<u2" if len(blob) == narrow else "<u4") for blob in blobs]
    return np.stack(rows).astype(np.uint32)


def active_on(rings: Column, first: int, last: int) -> BoolArray:
    """Whether each ring of active days has one of the days [first..last], which lie within the days that it holds.

    A ring that is empty, of an account without any activity, has none.
    """
    days = np.zeros(KEPT_DAYS, dtype=np.uint8)
    days[np.arange(first, last + 1) % KEPT_DAYS] = 1
    wanted = np.packbits(days, bitorder="little")
    if isinstance(rings, Stack):
        whole: NDArray[np.uint8] = rings.array
    else:
        blank = bytes(len(wanted))
        joined = b"".join([ring or blank for ring in rings])
        whole = np.frombuffer(joined, dtype=np.uint8).reshape(len(rings), len(wanted))
    hits = whole & wanted
    found: BoolArray = np.any(hits != 0, axis=1)
    return found
