"""Escalations (METRICS section 2.10): opened and not resolved."""

from __future__ import annotations

import numpy as np

from alerts.metrics.standing import ESCALATIONS, days_since, standing, whole
from alerts.portfolio import Portfolio
from alerts.values import Values
from consumers.moments import ESCALATION_OPENED


def open_now(portfolio: Portfolio, floor: int | None) -> Values:
    """Escalations that are open now (METRICS 2.10)."""
    return whole(
        portfolio.number("escalations_open"),
        standing(portfolio, ESCALATIONS),
        parts={"oldest_day": portfolio.number("escalation_oldest_day")},
    )


def oldest_open_days(portfolio: Portfolio, floor: int | None) -> Values:
    """Days since the oldest open escalation was opened; ``not_applicable`` when none is open (METRICS 2.10)."""
    return whole(
        days_since(portfolio, "escalation_oldest_day"),
        standing(portfolio, ESCALATIONS, absent=portfolio.number("escalations_open") == 0),
        parts={"oldest_day": portfolio.number("escalation_oldest_day")},
    )


def opened_90d(portfolio: Portfolio, floor: int | None) -> Values:
    """Escalations opened in [D-89..today], resolved since or not (METRICS 2.10).

    ``insufficient_history`` while escalations are received for less than these days.
    """
    window = (portfolio.as_of - 89, portfolio.today)
    opened = portfolio.moment_sum(ESCALATION_OPENED, *window)
    return whole(
        opened.astype(np.int64),
        standing(portfolio, ESCALATIONS, short=portfolio.family_day("escalations") > window[0]),
        windows={"opened": window},
    )
