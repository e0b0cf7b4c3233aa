"""The quarterly business review before a renewal (METRICS section 2.9)."""

from __future__ import annotations

import numpy as np

from alerts.metrics.renewal import ahead
from alerts.metrics.standing import QBRS, standing, whole
from alerts.portfolio import Portfolio
from alerts.values import Values
from consumers.facts import TOUCHES

NEAR_DAYS = 90
FRESH_DAYS = 120
TECH = TOUCHES.index("tech")


def missing(portfolio: Portfolio, floor: int | None) -> Values:
    """Whether the renewal is within 90 days and no review stands behind it (METRICS 2.9).

    True when none is on the calendar from today to the renewal date and none was held since 120 days before
    that date. ``not_applicable`` when the renewal is further off, unknown or past, and where
    ``account.touch`` is ``tech``: nobody holds reviews there. ``unknown`` when the portfolio never received a
    review of anybody.
    """
    renewal, booked = portfolio.number("renewal_day"), portfolio.number("qbr_booked_day")
    held = portfolio.number("qbr_held_day")
    near = ahead(portfolio) & (renewal - portfolio.today <= NEAR_DAYS)
    without = (booked < portfolio.today) & (held < renewal - FRESH_DAYS)
    return whole(
        without.astype(np.int64),
        standing(portfolio, QBRS, excluded=~near | (portfolio.number("touch") == TECH)),
        parts={"renewal_day": renewal, "booked_day": booked, "held_day": held},
    )
