"""Signals of METRICS section 3.3: time to first value, integrations, support tickets."""

from __future__ import annotations

import numpy as np

from alerts.metrics.standing import (
    INTEGRATIONS,
    MILESTONES,
    TICKETS,
    never_active,
    seen_since,
    standing,
    whole,
)
from alerts.portfolio import Portfolio
from alerts.values import BoolArray, IntArray, Values
from consumers.facts import TOLD
from consumers.moments import INTEGRATION_LOST, INTEGRATION_SYNC, TICKET_OPENED
from consumers.windows import NEVER

LOST_WITHIN_DAYS = 30
_WINDOW = 28
_WINDOWS_BEFORE = 4


def ttfv_days(portfolio: Portfolio, floor: int | None) -> Values:
    """Days from the start to the first value; while it is not reached, to D (METRICS 3.3).

    The start is ``onboarding_completed_on``, else ``contract_start``; first value is the account's
    ``success_milestone``, ``first_value`` where it names none. Reached before the start it took 0 days.
    ``unknown`` without a start, and while the portfolio never received a milestone;
    ``insufficient_history`` when it is not reached and the account started before milestones were received.
    """
    start, reached = portfolio.number("value_start_day"), portfolio.number("first_value_day")
    open_ = reached == NEVER
    end = np.where(open_, portfolio.as_of, reached)
    return whole(
        np.maximum(end - start, 0),
        standing(
            portfolio,
            MILESTONES,
            unseen=start == NEVER,
            short=open_ & (portfolio.family_day("milestones") > start),
        ),
        parts={"start_day": start, "first_value_day": reached},
    )


def integrations_active(portfolio: Portfolio, floor: int | None) -> Values:
    """Integrations that are connected and synced in [D-29..today] (METRICS 3.3).

    ``not_applicable`` for an account that never had one; ``insufficient_history`` while integrations are
    received for less than these days; refused while the source of syncs is stale.
    """
    window = (portfolio.as_of - 29, portfolio.today)
    return whole(
        portfolio.moment_count(INTEGRATION_SYNC, *window),
        standing(
            portfolio,
            INTEGRATIONS,
            absent=_without_integration(portfolio),
            silence=INTEGRATIONS,
            short=portfolio.family_day("integrations") > window[0],
        ),
        windows={"synced": window},
    )


def integrations_lost(portfolio: Portfolio, floor: int | None) -> Values:
    """Integrations disconnected in [D-29..today] and neither connected again nor replaced (METRICS 3.3).

    Each integration that is connected for the first time, or first syncs, on the day of a loss or later replaces one.
    ``not_applicable`` for an account that never had one.
    """
    window = (portfolio.as_of - LOST_WITHIN_DAYS + 1, portfolio.today)
    return whole(
        portfolio.moment_count(INTEGRATION_LOST, *window),
        standing(portfolio, INTEGRATIONS, absent=_without_integration(portfolio)),
        windows={"disconnected": window},
    )


def tickets_opened_28d(portfolio: Portfolio, floor: int | None) -> Values:
    """Support tickets opened in [D-27..D] (METRICS 3.3).

    ``insufficient_history`` while tickets are received for less than these days.
    """
    window = (portfolio.as_of - _WINDOW + 1, portfolio.as_of)
    return whole(
        portfolio.moment_sum(TICKET_OPENED, *window),
        standing(portfolio, TICKETS, short=portfolio.family_day("tickets") > window[0]),
        windows={"opened": window},
    )


def tickets_median_28d(portfolio: Portfolio, floor: int | None) -> Values:
    """The median of the tickets opened in each of the four 28-day windows before [D-27..D] (METRICS 3.3).

    Of four numbers it is the mean of the middle two. ``unknown`` for an account never active;
    ``insufficient_history`` when the account was first active or tickets were first received later than D-139.
    """
    ends = [portfolio.as_of - _WINDOW * number for number in range(1, _WINDOWS_BEFORE + 1)]
    first = ends[-1] - _WINDOW + 1
    counts = np.sort(
        np.stack([portfolio.moment_sum(TICKET_OPENED, end - _WINDOW + 1, end) for end in ends]), axis=0
    )
    middle: IntArray = (counts[1] + counts[2]).astype(np.int64)
    return Values(
        middle,
        np.full(portfolio.size, 2, dtype=np.int64),
        standing(
            portfolio,
            TICKETS,
            unseen=never_active(portfolio),
            short=~seen_since(portfolio, first) | (portfolio.family_day("tickets") > first),
        ),
        windows={"windows": (first, ends[0])},
    )


def _without_integration(portfolio: Portfolio) -> BoolArray:
    result: BoolArray = (portfolio.number("told") & TOLD["integration"]) == 0
    return result
