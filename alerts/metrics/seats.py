"""Seat utilization (METRICS section 2.3): are the seats that were bought in use?

Seats are state: what is in effect at the moment of evaluation, summed over subscriptions. Active seats are a
recency window, so today so far counts, in the account's favour; the change of utilization is a trend, over
complete days.
"""

from __future__ import annotations

import numpy as np

from alerts.metrics.standing import ACTIVITY, SEATS, days_since, never_active, seen_since, standing, whole
from alerts.portfolio import Portfolio
from alerts.values import IntArray, StatusArray, Values
from consumers.windows import NEVER


def utilization(portfolio: Portfolio, floor: int | None) -> Values:
    """Active users of the last 30 days per seat in effect (METRICS 2.3).

    Distinct users with any activity in [D-29..today], users deactivated by now left out, over the seats of
    all subscriptions. The raw ratio: it passes 1.0 when more people use the product than seats were bought.
    ``not_applicable`` when no seats are in effect; ``unknown`` for an account never active;
    ``insufficient_history`` until the first activity and the first purchase are both on D-29 or earlier.
    """
    active, purchased = _active(portfolio), portfolio.number("seats")
    return Values(
        active,
        np.maximum(purchased, 1),
        _ratio_status(portfolio),
        parts={"active": active, "purchased": purchased},
        windows={"active": _recent(portfolio)},
    )


def purchased(portfolio: Portfolio, floor: int | None) -> Values:
    """Seats purchased and in effect, summed over subscriptions (METRICS 2.3).

    Those of a subscription that has ended, which is one whose MRR is 0, are not in effect.
    ``ok`` as soon as seats are in effect, else ``not_applicable``.
    """
    seats = portfolio.number("seats")
    return whole(seats, standing(portfolio, SEATS, absent=seats <= 0))


def active(portfolio: Portfolio, floor: int | None) -> Values:
    """Distinct users active in [D-29..today], users deactivated by now left out (METRICS 2.3).

    With the statuses of the utilization whose numerator it is.
    """
    return whole(_active(portfolio), _ratio_status(portfolio), windows={"active": _recent(portfolio)})


def unused(portfolio: Portfolio, floor: int | None) -> Values:
    """Seats purchased and in effect that nobody used in the last 30 days, at least 0 (METRICS 2.3).

    With the statuses of the utilization.
    """
    active, purchased = _active(portfolio), portfolio.number("seats")
    return whole(
        np.maximum(purchased - active, 0),
        _ratio_status(portfolio),
        parts={"active": active, "purchased": purchased},
        windows={"active": _recent(portfolio)},
    )


def days_since_increase(portfolio: Portfolio, floor: int | None) -> Values:
    """Days since the number of seats in effect last rose above the one before it (METRICS 2.3).

    New seats need time to be filled. Compared is the number as days close: seats that move from one subscription
    to another within a day are no more than before. The first purchase is no rise. ``not_applicable`` when it
    never rose.
    """
    day = portfolio.number("seats_increase_day")
    return whole(
        days_since(portfolio, "seats_increase_day"),
        standing(portfolio, SEATS, absent=day == NEVER),
        parts={"increase_day": day},
    )


def utilization_change_28d(portfolio: Portfolio, floor: int | None) -> Values:
    """Change in active users over 28 days, per seat in effect now (METRICS 2.3).

    ``(users of [D-29..D] - users of [D-57..D-28]) / seats``, complete days only. A user deactivated by now is
    left out of the later window only: he held a seat in the earlier one, and his going is the decline that is
    asked for. Statuses as for the utilization, with the first activity on D-57 or earlier.
    """
    day = portfolio.as_of
    current = portfolio.active_users(day - 29, day, without_deactivated=True)
    previous = portfolio.active_users(day - 57, day - 28)
    purchased = portfolio.number("seats")
    return Values(
        current - previous,
        np.maximum(purchased, 1),
        _ratio_status(portfolio, seen_on=57),
        parts={"current": current, "previous": previous, "purchased": purchased},
        windows={"current": (day - 29, day), "previous": (day - 57, day - 28)},
    )


def _ratio_status(portfolio: Portfolio, *, seen_on: int = 29) -> StatusArray:
    day = portfolio.as_of
    return standing(
        portfolio,
        SEATS,
        ACTIVITY,
        absent=portfolio.number("seats") <= 0,
        unseen=never_active(portfolio),
        silence=ACTIVITY,
        short=~seen_since(portfolio, day - seen_on) | (portfolio.number("seats_first_day") > day - 29),
    )


def _active(portfolio: Portfolio) -> IntArray:
    return portfolio.active_users(portfolio.as_of - 29, portfolio.today, without_deactivated=True)


def _recent(portfolio: Portfolio) -> tuple[int, int]:
    return portfolio.as_of - 29, portfolio.today
