"""An account's health day by day, four bytes each: what the close of every day said."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alerts.health.state import BANDS, Records

NO_SCORE = 65_535
HISTORY_DTYPE = np.dtype(
    [("score", "<u2"), ("band", "u1"), ("coverage", "u1")]
)  # hundredths, -, whole percent


class HealthDay(NamedTuple):
    """What the close of ``day`` (since 1970-01-01) said: points of 100 or None, the band, coverage as a share of 1."""

    day: int
    score: float | None
    band: str
    coverage: float


def history_of(records: Records) -> NDArray[Any]:
    """What is kept for ever of records that were just closed."""
    kept = np.zeros(len(records), dtype=HISTORY_DTYPE)
    kept["score"] = np.where(records["score"] < 0, NO_SCORE, records["score"])
    kept["band"] = records["band"]
    kept["coverage"] = (records["coverage"] + 50) // 100
    return kept


def health_day(day: int, entry: bytes) -> HealthDay | None:
    """One entry as people read it; None for zeros: the account was not closed on that day.

    No entry that was written is zeros, since an account without a score has NO_SCORE and one that scores 0 a band.
    """
    if len(entry) < HISTORY_DTYPE.itemsize or not any(entry):
        return None
    score, band, coverage = np.frombuffer(entry, dtype=HISTORY_DTYPE)[0].tolist()
    return HealthDay(day, None if score == NO_SCORE else score / 100, BANDS[band], coverage / 100)
