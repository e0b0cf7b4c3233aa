"""Feature adoption (METRICS section 2.5): how much of what was bought is in use, and what was given up.

Core features are the account's own list, else the configuration's. What is in use is a recency window, so
today so far counts, in the account's favour; what was abandoned is a trend, over complete days.
"""

from __future__ import annotations

import numpy as np

from alerts.metrics.standing import FEATURES, never_active, seen_since, standing, whole
from alerts.portfolio import Portfolio
from alerts.values import IntArray, StatusArray, Values

DAYS = 28


def breadth(portfolio: Portfolio, floor: int | None) -> Values:
    """Core features in active use over all core features (METRICS 2.5).

    In active use is what anybody used on two or more days of [D-27..today]. ``not_applicable`` without any core
    feature; ``unknown`` for an account never active; ``insufficient_history`` when the account was first active
    or features were first received by anybody later than D-27.
    """
    used, core = _in_use(portfolio), portfolio.core_count()
    return Values(
        used,
        np.maximum(core, 1),
        _status(portfolio, DAYS - 1),
        parts={"in_use": used, "core": core},
        windows={"in_use": (portfolio.as_of - DAYS + 1, portfolio.today)},
    )


def active_count(portfolio: Portfolio, floor: int | None) -> Values:
    """Core features that anybody used on two or more days of [D-27..today] (METRICS 2.5).

    With the statuses of the breadth whose numerator it is.
    """
    return whole(
        _in_use(portfolio),
        _status(portfolio, DAYS - 1),
        windows={"in_use": (portfolio.as_of - DAYS + 1, portfolio.today)},
    )


def core_count(portfolio: Portfolio, floor: int | None) -> Values:
    """Core features that the account is entitled to: its own list, else the configured one (METRICS 2.5).

    ``not_applicable`` when there are none.
    """
    core = portfolio.core_count()
    return whole(core, standing(portfolio, absent=core == 0))


def abandoned_count(portfolio: Portfolio, floor: int | None) -> Values:
    """Core features that two users or more used in [D-55..D-28] and nobody did in [D-27..D] (METRICS 2.5).

    ``insufficient_history`` when the account was first active or features were first received later than D-55;
    other statuses as the breadth has them.
    """
    day = portfolio.as_of
    return whole(
        portfolio.core_abandoned(),
        _status(portfolio, 2 * DAYS - 1),
        parts={"core": portfolio.core_count()},
        windows={"before": (day - 2 * DAYS + 1, day - DAYS), "since": (day - DAYS + 1, day)},
    )


def _in_use(portfolio: Portfolio) -> IntArray:
    return portfolio.core_in_use(portfolio.as_of - DAYS + 1, portfolio.today)


def _status(portfolio: Portfolio, reach: int) -> StatusArray:
    first = portfolio.as_of - reach
    return standing(
        portfolio,
        FEATURES,
        absent=portfolio.core_count() == 0,
        unseen=never_active(portfolio),
        silence=FEATURES,
        # Not used before anybody's use was received says nothing.
        short=~seen_since(portfolio, first) | (portfolio.family_day("features") > first),
    )
