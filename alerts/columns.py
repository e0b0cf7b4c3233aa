"""Blobs of many accounts laid end to end: records of fixed size, so many of each account, counted as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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


class Groups:
    """Records of n accounts in a row, ``sizes`` of each, and where each account's begin."""

    def __init__(self, sizes: IntArray) -> None:
        self.sizes = sizes
        self.starts: IntArray = np.cumsum(sizes) - sizes
        self._some = sizes > 0
        self._starts = self.starts[self._some]

    @cached_property
    def owners(self) -> IntArray:
        """The place of each record's account."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def per_account(self, counts: NDArray[Any]) -> IntArray:
        """Sums of one number per record, for each account."""
        # Flags and counts up to 255 need no eight bytes each to be added up: no account has eight million users.
        width = np.int32 if counts.itemsize == 1 else np.int64
        totals = np.zeros(len(self.sizes), dtype=np.int64)
        if len(self._starts):
            totals[self._some] = np.add.reduceat(counts, self._starts, dtype=width)
        return totals

    def count_at(self, places: NDArray[np.intp]) -> IntArray:
        """For each account, how many of the records at these places are its own."""
        return np.bincount(np.searchsorted(self.starts, places, side="right") - 1, minlength=len(self.sizes))

    def newest(self, days: NDArray[Any]) -> IntArray:
        """For each account, the largest of one day per record; NEVER without any."""
        found = np.full(len(self.sizes), NEVER, dtype=np.int64)
        if len(self._starts):
            found[self._some] = np.maximum.reduceat(days, self._starts)
        return found


class Records(Groups):
    """The records of all accounts in a row."""

    def __init__(self, column: Column, dtype: np.dtype[Any]) -> None:
        stack = stacked(column, dtype)
        super().__init__(stack.sizes)
        self.array: NDArray[Any] = stack.array


class Cells(Records):
    """The users' cells of all accounts in a row."""

    def __init__(self, column: Column) -> None:
        super().__init__(column, CELL_DTYPE)
        self.last_day: NDArray[np.int32] = self.array["last_day"]
        self.flags: NDArray[np.uint32] = self.array["flags"]


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


def active_on(rings: Blobs, first: int, last: int) -> BoolArray:
    """Whether each ring of active days has one of the days [first..last], which lie within the days that it holds.

    A ring that is empty, of an account without any activity, has none.
    """
    days = np.zeros(KEPT_DAYS, dtype=np.uint8)
    days[np.arange(first, last + 1) % KEPT_DAYS] = 1
    wanted = np.packbits(days, bitorder="little")
    blank = bytes(len(wanted))
    joined = b"".join([ring or blank for ring in rings])
    hits = np.frombuffer(joined, dtype=np.uint8).reshape(len(rings), len(wanted)) & wanted
    found: BoolArray = np.any(hits != 0, axis=1)
    return found
