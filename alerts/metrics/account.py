"""What an account is (METRICS section 2.12): attributes for conditions to compare, missing ones ``unknown``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alerts.metrics.standing import standing, whole
from alerts.portfolio import Portfolio
from alerts.values import Values

TOUCH = ("high", "low", "tech")
LIFECYCLE = ("trial", "onboarding", "active", "notice_given", "churned")
USAGE_CADENCE = ("daily", "weekly", "monthly")


def size(portfolio: Portfolio, floor: int | None) -> Values:
    """The company's size in the words of the sender: ``smb``, ``enterprise``, … (METRICS 2.12)."""
    return _text(portfolio, "size")


def tier(portfolio: Portfolio, floor: int | None) -> Values:
    """The product tier (METRICS 2.12)."""
    return _text(portfolio, "tier")


def channel(portfolio: Portfolio, floor: int | None) -> Values:
    """The channel through which the account was won (METRICS 2.12)."""
    return _text(portfolio, "channel")


def use_case(portfolio: Portfolio, floor: int | None) -> Values:
    """What the product is used for (METRICS 2.12)."""
    return _text(portfolio, "use_case")


def touch(portfolio: Portfolio, floor: int | None) -> Values:
    """How the account is served: by people, much or little, or by the product alone (METRICS 2.12)."""
    return _text(portfolio, "touch")


def lifecycle(portfolio: Portfolio, floor: int | None) -> Values:
    """Where the account is in its life as a customer (METRICS 2.12)."""
    return _text(portfolio, "lifecycle")


def usage_cadence(portfolio: Portfolio, floor: int | None) -> Values:
    """How often the product is meant to be used (METRICS 2.12)."""
    return _text(portfolio, "usage_cadence")


def owner(portfolio: Portfolio, floor: int | None) -> Values:
    """Who is responsible for the account (METRICS 2.12)."""
    return _text(portfolio, "owner")


def term_months(portfolio: Portfolio, floor: int | None) -> Values:
    """The contract's length in months (METRICS 2.12)."""
    months = portfolio.number("term_months")
    return whole(months, standing(portfolio, unseen=months < 0))


def mrr(portfolio: Portfolio, floor: int | None) -> Values:
    """Monthly recurring revenue: the subscriptions in effect, in the account's main currency (METRICS 2.12).

    That is the currency of the largest subscription told with one; amounts told without a currency count as in it.
    """
    cents = portfolio.number("mrr_cents")
    return Values(cents, np.full(len(cents), 100, dtype=np.int64), standing(portfolio, unseen=cents < 0))


def _text(portfolio: Portfolio, name: str) -> Values:
    text: NDArray[np.object_] = portfolio.attribute(name)
    missing = (text == None) | (text == "")  # noqa: E711 — elementwise
    return whole(np.zeros(portfolio.size, dtype=np.int64), standing(portfolio, unseen=missing), text=text)
