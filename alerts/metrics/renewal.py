"""The renewal (METRICS section 2.8): how much time is left, and to decide.

The date is the earliest of the subscriptions in effect, else the account's own. Contracts of less than six
months renew too often to be prepared for; they have no renewal here.
"""

from __future__ import annotations

import numpy as np

from alerts.metrics.standing import standing, whole
from alerts.portfolio import Portfolio
from alerts.values import BoolArray, Values
from consumers.windows import NEVER

SHORT_TERM_MONTHS = 6


def days_to(portfolio: Portfolio, floor: int | None) -> Values:
    """Days from today to the renewal (METRICS 2.8).

    ``not_applicable`` when no date is known, when it is past, and when ``account.term_months`` is under 6.
    """
    day = portfolio.number("renewal_day")
    return whole(
        day - portfolio.today, standing(portfolio, absent=~ahead(portfolio)), parts={"renewal_day": day}
    )


def overdue_days(portfolio: Portfolio, floor: int | None) -> Values:
    """Days since the renewal date passed without a new one; 0 while it is ahead (METRICS 2.8).

    ``not_applicable`` when no date is known, and when ``account.term_months`` is under 6.
    """
    day = portfolio.number("renewal_day")
    return whole(
        np.maximum(portfolio.today - day, 0),
        standing(portfolio, absent=~_dated(portfolio)),
        parts={"renewal_day": day},
    )


def decision_days_to(portfolio: Portfolio, floor: int | None) -> Values:
    """Days from today to the last day on which notice can be given (METRICS 2.8).

    The renewal less the account's ``notice_days``. Below 0 when that day has gone by and the renewal has not.
    Without a notice period it is the renewal itself. Statuses as for the days to the renewal.
    """
    day, notice = portfolio.number("renewal_day"), np.maximum(portfolio.number("notice_days"), 0)
    return whole(
        day - portfolio.today - notice,
        standing(portfolio, absent=~ahead(portfolio)),
        parts={"renewal_day": day, "notice_days": notice},
    )


def ahead(portfolio: Portfolio) -> BoolArray:
    """Accounts with a renewal today or later."""
    return _dated(portfolio) & (portfolio.number("renewal_day") >= portfolio.today)


def _dated(portfolio: Portfolio) -> BoolArray:
    term = portfolio.number("term_months")
    told_short = (term >= 0) & (term < SHORT_TERM_MONTHS)
    result: BoolArray = (portfolio.number("renewal_day") != NEVER) & ~told_short
    return result
