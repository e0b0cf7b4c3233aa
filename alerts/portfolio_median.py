"""The portfolio's median change in logins at a day's close (METRICS section 2.1): worked out over all accounts, kept.

Whoever judges a few accounts later that day reads what was kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from alerts.account_rows import MedianChange, Moment
from alerts.metrics.logins import comparable
from alerts.metrics.per_business_day import median_of
from alerts.metrics.readings import RuleRead
from alerts.portfolio import Portfolio
from alerts.store import AlertStore

ADJUSTED = "logins.change_28d_adjusted"


def reads_median(rules: Sequence[RuleRead]) -> bool:
    """Whether any rule goes by it."""
    return any(ADJUSTED in rule.metrics for rule in rules)


def settle_median(store: AlertStore, moment: Moment, size: int) -> MedianChange:
    """Work it out as of ``moment``, in pages of ``size`` accounts, and keep it. Done again it comes to the same."""
    pages = (comparable(Portfolio(rows, moment)) for rows in store.login_pages(size))
    median = median_of(pages, moment.as_of)
    with store.transaction() as work:
        work.keep_median(median)
    return median


def is_settled(median: MedianChange | None, day: int) -> bool:
    """Whether it is that of ``day``; one of no account may have been worked out while logins were unheard."""
    return median is not None and median.day == day and median.accounts > 0
