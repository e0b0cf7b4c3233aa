"""What is remembered of an account's health from one day's close to the next: one small record, zeros before the first.

A record is 40 bytes, little-endian; ``consumers.windows`` says why that is all. Scores and values are hundredths of a
point, coverage is in hundredths of a percent, days are since 1970-01-01.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.arrays import BoolArray
from alerts.model import COMPONENTS

UNKNOWN, RED, YELLOW, GREEN = range(4)
BANDS = ("unknown", "red", "yellow", "green")  # by number
HOLD_CLOSES = 14  # day closes for which an input that disappeared keeps its last value

STALE = 1  # a flag: what was closed then, was closed without inputs that may exist

HEALTH_FIELDS = [
    ("day", "<i4"),  # the newest day closed; 0: never
    ("since_day", "<i4"),  # the day at whose close the account got into its band
    ("score", "<i4"),  # at that close; -1: none
    ("coverage", "<i4"),  # the weight that was present, 10,000 at most
    ("kept", "<i4", len(COMPONENTS)),  # the newest value of each component; -1: never had one
    ("missing", "u1", len(COMPONENTS)),  # closes since then, 255 at most
    ("band", "u1"),
    ("candidate", "u1"),  # the band that the score alone would have given at that close
    ("flags", "u1"),
    ("spare", "u1"),
]
HEALTH_DTYPE = np.dtype(HEALTH_FIELDS)

Records = NDArray[Any]  # of HEALTH_DTYPE


def blank(count: int) -> Records:
    """So many accounts that were never closed."""
    return np.zeros(count, dtype=HEALTH_DTYPE)


def raw(records: NDArray[Any]) -> NDArray[Any]:
    """The same records as so many bytes each: numpy copies some of those in a tenth of the time."""
    return records.view(np.dtype((np.void, records.dtype.itemsize)))


def closed(records: Records) -> BoolArray:
    """Which of them have been closed at least once."""
    result: BoolArray = records["day"] != 0
    return result


def disappeared(records: Records) -> BoolArray:
    """n × 4: components that had a value once, and for so long none that they no longer count.

    Of such an account somebody should hear: it may look better because a bad input was lost.
    """
    result: BoolArray = (records["kept"] >= 0) & (records["missing"] > HOLD_CLOSES) & closed(records)[:, None]
    return result
