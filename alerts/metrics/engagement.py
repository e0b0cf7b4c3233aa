"""Stickiness (METRICS section 2.4): of those who use the product in a month, how many use it on a day?"""

from __future__ import annotations

import numpy as np

from alerts.metrics.standing import ACTIVITY, never_active, seen_since, standing
from alerts.portfolio import Portfolio
from alerts.values import Values
from consumers.facts import CADENCES

FLOOR = 3  # of fewer people in a month a ratio says nothing
DAYS = 30
SELDOM = (CADENCES.index("weekly"), CADENCES.index("monthly"))


def dau_mau(portfolio: Portfolio, floor: int | None) -> Values:
    """Mean of the daily active users over the monthly ones, [D-29..D] (METRICS 2.4).

    User-days of any activity / (30 × distinct active users). ``not_applicable`` when nobody was active, and
    for accounts whose ``account.usage_cadence`` is ``weekly`` or ``monthly``: a payroll tool is not used
    daily. ``low_volume`` when fewer than three were active; ``insufficient_history`` when the first activity
    is later than D-29.
    """
    day = portfolio.as_of
    window = (day - DAYS + 1, day)
    user_days, monthly = portfolio.user_days(*window), portfolio.active_users(*window)
    return Values(
        user_days,
        np.maximum(monthly * DAYS, 1),
        standing(
            portfolio,
            ACTIVITY,
            excluded=np.isin(portfolio.number("cadence"), SELDOM),
            unseen=never_active(portfolio),
            silence=ACTIVITY,
            short=~seen_since(portfolio, day - DAYS + 1),
            nobody=monthly == 0,
            low=monthly < (FLOOR if floor is None else floor),
        ),
        parts={"user_days": user_days, "monthly_users": monthly},
        windows={"month": window},
    )
