"""NPS and CSAT over the portfolio: level and trend, for retrospect (METRICS section 4).

Every answer counts, also several of one account. A window with fewer than three answers is ``low_volume``, as in the
satisfaction trend of health (METRICS 3.2), and the level and its trend take the same 180 days.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import numpy as np

from alerts.arrays import IntArray

LEVEL_DAYS = 180
LEAST_ANSWERS = 3


class Survey(StrEnum):
    """Which question: how likely to recommend us, 0 to 10, or how satisfied, 1 to 5."""

    NPS = "nps"
    CSAT = "csat"


@dataclass(frozen=True, slots=True)
class Answers:
    """What a window holds. ``positive`` are 9 and 10 of NPS, 4 and 5 of CSAT; ``negative`` 0 to 6, and 1 and 2."""

    survey: Survey
    count: int
    positive: int
    negative: int

    @property
    def enough(self) -> bool:
        """Whether there are three or more."""
        return self.count >= LEAST_ANSWERS

    @property
    def score(self) -> Fraction | None:
        """NPS: promoters less detractors, -100 to 100; CSAT: satisfied ones of all, 0 to 100. None without answers."""
        if not self.count:
            return None
        points = self.positive - self.negative if self.survey is Survey.NPS else self.positive
        return Fraction(100 * points, self.count)


_POSITIVE = {Survey.NPS: 9, Survey.CSAT: 4}  # and above
_NEGATIVE = {Survey.NPS: 6, Survey.CSAT: 2}  # and below


class Answered:
    """All answers to one survey, counted by day."""

    def __init__(self, survey: Survey, days: IntArray, scores: IntArray) -> None:
        """``days`` and ``scores`` have one entry per answer."""
        self.survey = survey
        kinds = (slice(None), scores >= _POSITIVE[survey], scores <= _NEGATIVE[survey])
        self._running = [_running(days[chosen]) for chosen in kinds]

    def within(self, first: int, last: int) -> Answers:
        """Those of the days [first..last]."""
        counts = (_before(each, last + 1) - _before(each, first) for each in self._running)
        return Answers(self.survey, *(max(count, 0) for count in counts))


def _running(days: IntArray) -> IntArray:
    """How many of ``days`` are not after day 0, day 1, and so on up to the last of them."""
    running: IntArray = np.cumsum(np.bincount(days))
    return running


def _before(running: IntArray, day: int) -> int:
    if day <= 0 or not len(running):
        return 0
    return int(running[min(day, len(running)) - 1])
