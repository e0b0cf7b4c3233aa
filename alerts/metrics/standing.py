"""Which status a number gets when several would fit (METRICS section 1), decided in one place for all metrics.

The strongest statement wins:

1. ``not_applicable``: something else that is known rules the question out (no renewal ahead, a weekly
   product).
2. ``unknown``: the portfolio never received the events that could tell. Never fed is not absent.
3. ``not_applicable``: the events come, and this account has nothing of the kind (never bought a seat).
4. ``unknown``: this account never showed any activity.
5. ``stale_source``: the events stopped coming. Whatever else the silence seems to say is ours, not the
   customer's.
6. ``insufficient_history``: the account has not been seen for as long as the windows need.
7. ``not_applicable``: all was seen, and nobody was there to count.
8. ``low_volume``: all was seen, and it is too little for a ratio.

Facts come before windows, since facts do not go stale; among windows, doubt about the data before doubt about
the account.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from alerts.portfolio import Portfolio
from alerts.values import BoolArray, IntArray, Status, StatusArray, Values
from consumers.windows import NEVER

LOGINS = ("logins",)
ACTIVITY = ("logins", "features", "sessions")  # any of them is activity (METRICS section 1)
SEATS = ("seats",)
CONTACTS = ("contacts",)
QBRS = ("qbrs",)
SUBSCRIPTIONS = ("subscriptions",)
FEATURES = ("features",)
ESCALATIONS = ("escalations",)
TICKETS = ("tickets",)
INTEGRATIONS = ("integrations",)
MILESTONES = ("milestones",)


def standing(
    portfolio: Portfolio,
    *feeds: tuple[str, ...],
    excluded: BoolArray | None = None,
    absent: BoolArray | None = None,
    unseen: BoolArray | None = None,
    silence: tuple[str, ...] = (),
    silenced: BoolArray | None = None,
    short: BoolArray | None = None,
    nobody: BoolArray | None = None,
    low: BoolArray | None = None,
) -> StatusArray:
    """The status of each account, from masks in the order of this module's list.

    ``feeds`` are groups of event families: the portfolio must have received one of each group. ``silence``
    names the families whose silence would worsen the value, so that it is refused while one of them is stale;
    ``silenced`` says for which accounts that matters, None for all.
    """
    status = np.full(portfolio.size, Status.OK.value, dtype=np.uint8)
    for mask, word in (
        (low, Status.LOW_VOLUME),
        (nobody, Status.NOT_APPLICABLE),
        (short, Status.INSUFFICIENT_HISTORY),
    ):
        if mask is not None:
            status[mask] = word.value
    if silence and stale(portfolio, silence):
        status[slice(None) if silenced is None else silenced] = Status.STALE_SOURCE.value
    if unseen is not None:
        status[unseen] = Status.UNKNOWN.value
    if absent is not None:
        status[absent] = Status.NOT_APPLICABLE.value
    if not all(any(portfolio.fed(family) for family in group) for group in feeds):
        status[:] = Status.UNKNOWN.value
    if excluded is not None:
        status[excluded] = Status.NOT_APPLICABLE.value
    return status


def stale(portfolio: Portfolio, families: tuple[str, ...]) -> bool:
    """Whether one of ``families`` was received once and does not flow now."""
    return any(family in portfolio.moment.stale and portfolio.fed(family) for family in families)


def never_active(portfolio: Portfolio) -> BoolArray:
    """Accounts that never showed any activity."""
    result: BoolArray = portfolio.number("first_day") == NEVER
    return result


def seen_since(portfolio: Portfolio, day: int) -> BoolArray:
    """Accounts first active on ``day`` or before; those never active are in it too, for others to exclude."""
    result: BoolArray = portfolio.number("first_day") <= day
    return result


def whole(
    numbers: IntArray,
    status: StatusArray,
    *,
    text: NDArray[np.object_] | None = None,
    parts: Mapping[str, IntArray] | None = None,
    windows: Mapping[str, tuple[int, int]] | None = None,
) -> Values:
    """Values that are whole numbers, or text with a number that stands for it."""
    return Values(numbers, np.ones(len(numbers), dtype=np.int64), status, text, parts or {}, windows or {})


def days_since(portfolio: Portfolio, name: str) -> IntArray:
    """``max(0, D - day)`` of a day in the profile (METRICS section 1); meaningless where it never happened."""
    result: IntArray = np.maximum(portfolio.as_of - portfolio.number(name), 0)
    return result
