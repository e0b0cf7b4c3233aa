"""One day's close after another: which band an account is in, and what of its inputs is remembered (METRICS 3.2).

Pure, and the same for a live close and for a replay. The rules, for one account:

- An input that has no value now but had one keeps the last for HOLD_CLOSES closes, then it counts as missing.
- The band is ``unknown`` while less than 0.60 of the weight is present, or no product engagement.
- Out of ``unknown``, and at the first close, the band is the one of the score. From then on it moves as far as the
  score is two points past an edge, or as far as this close and the one before it agree.
- While an input may exist that we have not heard (METRICS section 7), all stays as it was.
- Closes count, not days: what no close judged, because no service ran, neither confirms a band nor wears an input out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alerts.arrays import BoolArray, IntArray, StatusArray
from alerts.health.points import mean, rounded
from alerts.health.state import GREEN, HOLD_CLOSES, RED, STALE, UNKNOWN, YELLOW, Records, closed, raw
from alerts.values import Status

MARGIN = 200  # hundredths of a point past an edge
LEAST_COVERAGE = 6_000  # hundredths of a percent
PRODUCT = 0  # the column without which there is no score

_MOST_MISSING = 255


@dataclass(frozen=True, slots=True)
class Components:
    """The inputs of n accounts: n × 4 values in hundredths of a point, which stand where ``status`` is OK.

    Columns are those of ``alerts.model.COMPONENTS``; ``weights`` are thousandths. The edges of the bands are hundredths
    of a point, n each.
    """

    values: IntArray
    status: StatusArray
    weights: IntArray
    green_above: IntArray
    red_below: IntArray

    def ok(self) -> BoolArray:
        """n × 4: what has a value now."""
        result: BoolArray = self.status == Status.OK.value
        return result

    def stale(self) -> BoolArray:
        """n: where an input that counts may exist unheard."""
        result: BoolArray = ((self.status == Status.STALE_SOURCE.value) & (self.weights > 0)).any(axis=1)
        return result


@dataclass(frozen=True, slots=True)
class Score:
    """What the inputs come to, kept ones included.

    ``points`` are hundredths, -1 where too little is present; ``coverage`` is in hundredths of a percent; ``values``
    (n × 4, -1 where nothing) are what was counted, and ``held`` says which of them are kept from before.
    """

    points: IntArray
    coverage: IntArray
    values: IntArray
    held: BoolArray


def score(previous: Records, components: Components, day: int) -> Score:
    """The score as of ``day``, given what is remembered of the closes before."""
    ok, known = components.ok(), closed(previous)[:, None]
    waits = ((previous["day"] < day) | (previous["flags"] & STALE != 0))[:, None]
    missing = previous["missing"].astype(np.int64) + waits
    held = ~ok & known & (previous["kept"] >= 0) & (missing <= HOLD_CLOSES)
    values: IntArray = np.where(ok, components.values, np.where(held, previous["kept"], -1)).astype(np.int64)
    weights = np.where(values >= 0, components.weights, 0)
    present, total = weights.sum(axis=1), np.maximum(components.weights.sum(axis=1), 1)
    enough = (present * 10_000 >= total * LEAST_COVERAGE) & (values[:, PRODUCT] >= 0)
    return Score(
        points=np.where(enough, mean(np.maximum(values, 0), weights), -1),
        coverage=rounded(present * 10_000, total),
        values=values,
        held=held,
    )


def band_of(points: IntArray, green_above: IntArray, red_below: IntArray) -> IntArray:
    """The band of a score by itself: UNKNOWN, RED, YELLOW or GREEN."""
    bands: IntArray = np.select(
        [points < 0, points > green_above, points < red_below], [UNKNOWN, GREEN, RED], YELLOW
    )
    return bands


def advance(previous: Records, components: Components, day: int) -> Records:
    """The records after the close of ``day``, which may be done again: a day closed with all its inputs stays."""
    found = score(previous, components, day)
    bare = band_of(found.points, components.green_above, components.red_below)
    known, ok = closed(previous), components.ok()
    kept = np.where(known[:, None], previous["kept"], -1)
    gone = ~ok & (kept >= 0)
    band = np.where(known, _moved(previous, components, found.points, bare), bare)

    after = raw(previous).copy().view(previous.dtype)
    after["day"] = day
    after["since_day"] = np.where(known & (band == previous["band"]), previous["since_day"], day)
    after["score"], after["coverage"] = found.points, found.coverage
    after["kept"] = np.where(ok, components.values, kept)
    after["missing"] = np.where(gone, np.minimum(previous["missing"].astype(np.int64) + 1, _MOST_MISSING), 0)
    after["band"], after["candidate"], after["flags"] = band, bare, 0

    stale = components.stale()
    after[stale] = _held(previous[stale], day)
    settled = (previous["day"] == day) & (previous["flags"] & STALE == 0)
    unmoved = known & (settled | (previous["day"] > day))
    raw(after)[unmoved] = raw(previous)[unmoved]
    return after


def _moved(previous: Records, components: Components, points: IntArray, bare: IntArray) -> IntArray:
    """The bands of accounts that had one before."""
    band, before = previous["band"].astype(np.int64), previous["candidate"].astype(np.int64)
    green, red = components.green_above, components.red_below
    # As far as the score is well past an edge: down at most to, and up at least to.
    down = np.select([points <= red - MARGIN, points <= green - MARGIN], [RED, YELLOW], GREEN)
    up = np.select([points >= green + MARGIN, points >= red + MARGIN], [GREEN, YELLOW], RED)
    # And as far as two closes in a row agree.
    agree = before != UNKNOWN
    down = np.where(agree, np.minimum(down, np.maximum(before, bare)), down)
    up = np.where(agree, np.maximum(up, np.minimum(before, bare)), up)
    moved = np.where(bare < band, np.minimum(band, down), np.maximum(band, up))
    result: IntArray = np.where((bare == UNKNOWN) | (band == UNKNOWN) | (bare == band), bare, moved)
    return result


def _held(previous: Records, day: int) -> Records:
    """All as it was, but that the day was closed without hearing everything."""
    after = previous.copy()
    new = ~closed(previous)
    after["since_day"][new] = day
    after["score"][new] = after["kept"][new] = -1
    after["day"], after["flags"] = day, STALE
    return after
