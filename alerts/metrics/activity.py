"""Gone dark (METRICS section 2.2), and the change in user-days beside the change in logins (2.1).

Activity is any login, used feature or ended session, whichever of them the portfolio receives.
"""

from __future__ import annotations

import numpy as np

from alerts.metrics.standing import ACTIVITY, days_since, never_active, seen_since, standing, whole
from alerts.portfolio import Portfolio
from alerts.values import Values

FLOOR = 20  # user-days in the baseline, as for logins


def user_days_change_28d(portfolio: Portfolio, floor: int | None) -> Values:
    """Change in user-days of any activity, the last 28 days against the 28 before (METRICS 2.1).

    A user counts once for each day on which anything was done: bulk logins of one person weigh no more than
    one. ``insufficient_history`` when the first activity is later than D-55; ``low_volume`` when the 28 days
    before hold fewer user-days than the floor.
    """
    day = portfolio.as_of
    current = portfolio.user_days(day - 27, day)
    previous = portfolio.user_days(day - 55, day - 28)
    return Values(
        current - previous,
        np.maximum(previous, 1),
        standing(
            portfolio,
            ACTIVITY,
            unseen=never_active(portfolio),
            silence=ACTIVITY,
            short=~seen_since(portfolio, day - 55),
            low=previous < max(FLOOR if floor is None else floor, 1),
        ),
        parts={"current": current, "previous": previous},
        windows={"current": (day - 27, day), "previous": (day - 55, day - 28)},
    )


def dormant_days(portfolio: Portfolio, floor: int | None) -> Values:
    """Days since anybody at the account did anything (METRICS 2.2).

    ``max(0, D - day of the last activity)``; activity of today, before it is complete, already makes it 0.
    ``insufficient_history`` when the first activity is later than D-55; ``unknown`` for an account never
    active.
    """
    return whole(
        days_since(portfolio, "last_day"),
        standing(
            portfolio,
            ACTIVITY,
            unseen=never_active(portfolio),
            silence=ACTIVITY,
            short=~seen_since(portfolio, portfolio.as_of - 55),
        ),
        parts={"last_activity_day": portfolio.number("last_day")},
    )


def users_before(portfolio: Portfolio, floor: int | None) -> Values:
    """Distinct users active in the 56 days that end with the account's last activity day (METRICS 2.2).

    How many there were to lose. ``ok`` after any activity: the window hangs on the last activity, so no
    silence, neither the customer's nor ours, can lower it.
    """
    return whole(
        portfolio.users_before(56),
        standing(portfolio, ACTIVITY, unseen=never_active(portfolio)),
        parts={"last_activity_day": portfolio.number("last_day")},
    )
