"""The CSM's own rating (METRICS section 2.11): red, yellow or green, and how old it is."""

from __future__ import annotations

import numpy as np

from alerts.metrics.standing import days_since, standing, whole
from alerts.portfolio import Portfolio
from alerts.values import BoolArray, IntArray, Values
from consumers.facts import RATINGS
from consumers.moments import TOUCHPOINT
from consumers.windows import NEVER

WORDS = ("red", "yellow", "green")
FRESH_DAYS = 7
_TEXT = np.array([rating or None for rating in RATINGS], dtype=object)


def rating(portfolio: Portfolio, floor: int | None) -> Values:
    """The newest rating; ``unknown`` before the first one (METRICS 2.11)."""
    code = portfolio.number("sentiment")
    return whole(
        code,
        standing(portfolio, unseen=code == 0),
        text=_TEXT[code],
        parts={"rated_day": portfolio.number("sentiment_day")},
    )


def previous(portfolio: Portfolio, floor: int | None) -> Values:
    """The rating before the newest one (METRICS 2.11).

    ``unknown`` before the first rating, ``not_applicable`` where there has been only one.
    """
    code = portfolio.number("sentiment_previous")
    unrated = portfolio.number("sentiment") == 0
    return whole(
        code,
        standing(portfolio, unseen=unrated, absent=~unrated & (code == 0)),
        text=_TEXT[code],
        parts={"rating_code": portfolio.number("sentiment")},
    )


def age_days(portfolio: Portfolio, floor: int | None) -> Values:
    """Days since the newest rating; ``unknown`` before the first one (METRICS 2.11)."""
    return whole(
        days_since(portfolio, "sentiment_day"),
        standing(portfolio, unseen=portfolio.number("sentiment") == 0),
        parts={"rated_day": portfolio.number("sentiment_day")},
    )


def overdue(portfolio: Portfolio, floor: int | None) -> Values:
    """Whether the account should have been rated again (METRICS 2.11).

    The rating is older than 7 days; or, where ``account.size`` is ``enterprise``, of a day before the one of the
    last touchpoint. ``unknown`` before the first rating.
    """
    rated, touched = portfolio.number("sentiment_day"), portfolio.newest_moment(TOUCHPOINT)
    old = days_since(portfolio, "sentiment_day") > FRESH_DAYS
    passed = (rated != NEVER) & ~old & (touched > rated)
    late = old | (passed & _enterprise(portfolio, passed))
    return whole(
        late.astype(np.int64),
        standing(portfolio, unseen=rated == NEVER),
        parts={"rated_day": rated, "touchpoint_day": _int(touched)},
    )


def _enterprise(portfolio: Portfolio, where: BoolArray) -> BoolArray:
    """Read only if it matters to anybody: attributes are not part of a sweep."""
    if not where.any():
        return where
    result: BoolArray = portfolio.attribute("size") == "enterprise"
    return result


def _int(days: IntArray) -> IntArray:
    return days.astype(np.int64)
