"""Every metric under the one name that rules, REST, evidence and the reference use for it, in the order of METRICS."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType

from alerts.metrics import account, activity, champion, engagement, logins, qbr, renewal, seats
from alerts.metrics.standing import ACTIVITY, CONTACTS, LOGINS, QBRS, SEATS, SUBSCRIPTIONS
from alerts.portfolio import Portfolio
from alerts.values import Kind, Metric, Values

_Compute = Callable[[Portfolio, int | None], Values]


def _metric(
    name: str,
    kind: Kind,
    section: str,
    compute: _Compute,
    *,
    reads: tuple[str, ...] = (),
    floor: int | None = None,
    words: tuple[str, ...] = (),
) -> Metric:
    """An entry; its summary is the first line of the function's docstring, without the section."""
    summary = (inspect.getdoc(compute) or "").split("\n", 1)[0].split(" (METRICS", 1)[0].rstrip(".")
    return Metric(name, kind, section, summary, compute, floor, words, reads)


_METRICS = (
    _metric("logins.change_28d", Kind.RATIO, "2.1", logins.change_28d, reads=LOGINS, floor=logins.FLOOR),
    _metric("logins.current_28d", Kind.COUNT, "2.1", logins.current_28d, reads=LOGINS),
    _metric("logins.previous_28d", Kind.COUNT, "2.1", logins.previous_28d, reads=LOGINS),
    _metric("logins.users_56d", Kind.COUNT, "2.1", logins.users_56d, reads=LOGINS),
    _metric("logins.per_user_current", Kind.RATIO, "2.1", logins.per_user_current, reads=LOGINS),
    _metric("logins.per_user_previous", Kind.RATIO, "2.1", logins.per_user_previous, reads=LOGINS),
    _metric(
        "logins.per_active_user_change_28d",
        Kind.RATIO,
        "2.1",
        logins.per_active_user_change_28d,
        reads=LOGINS,
        floor=logins.FLOOR,
    ),
    _metric(
        "activity.user_days_change_28d",
        Kind.RATIO,
        "2.1",
        activity.user_days_change_28d,
        reads=ACTIVITY,
        floor=activity.FLOOR,
    ),
    _metric(
        "logins.drawdown_180d", Kind.RATIO, "2.1", logins.drawdown_180d, reads=LOGINS, floor=logins.FLOOR
    ),
    _metric("activity.dormant_days", Kind.DAYS, "2.2", activity.dormant_days, reads=ACTIVITY),
    _metric("activity.users_before", Kind.COUNT, "2.2", activity.users_before, reads=ACTIVITY),
    _metric("seats.utilization", Kind.RATIO, "2.3", seats.utilization, reads=SEATS + ACTIVITY),
    _metric("seats.purchased", Kind.COUNT, "2.3", seats.purchased, reads=SEATS),
    _metric("seats.active", Kind.COUNT, "2.3", seats.active, reads=SEATS + ACTIVITY),
    _metric("seats.unused", Kind.COUNT, "2.3", seats.unused, reads=SEATS + ACTIVITY),
    _metric("seats.days_since_increase", Kind.DAYS, "2.3", seats.days_since_increase, reads=SEATS),
    _metric(
        "seats.utilization_change_28d",
        Kind.RATIO,
        "2.3",
        seats.utilization_change_28d,
        reads=SEATS + ACTIVITY,
    ),
    _metric(
        "engagement.dau_mau", Kind.RATIO, "2.4", engagement.dau_mau, reads=ACTIVITY, floor=engagement.FLOOR
    ),
    _metric(
        "champion.status", Kind.TEXT, "2.7", champion.status, reads=CONTACTS + ACTIVITY, words=champion.WORDS
    ),
    _metric("champion.departed", Kind.FLAG, "2.7", champion.departed, reads=CONTACTS),
    _metric("champion.days_since_change", Kind.DAYS, "2.7", champion.days_since_change, reads=CONTACTS),
    _metric("renewal.days_to", Kind.DAYS, "2.8", renewal.days_to),
    _metric("renewal.overdue_days", Kind.DAYS, "2.8", renewal.overdue_days),
    _metric("renewal.decision_days_to", Kind.DAYS, "2.8", renewal.decision_days_to),
    _metric("qbr.missing", Kind.FLAG, "2.9", qbr.missing, reads=QBRS),
    _metric("account.size", Kind.TEXT, "2.12", account.size),
    _metric("account.tier", Kind.TEXT, "2.12", account.tier),
    _metric("account.channel", Kind.TEXT, "2.12", account.channel),
    _metric("account.use_case", Kind.TEXT, "2.12", account.use_case),
    _metric("account.touch", Kind.TEXT, "2.12", account.touch, words=account.TOUCH),
    _metric("account.lifecycle", Kind.TEXT, "2.12", account.lifecycle, words=account.LIFECYCLE),
    _metric("account.usage_cadence", Kind.TEXT, "2.12", account.usage_cadence, words=account.USAGE_CADENCE),
    _metric("account.term_months", Kind.COUNT, "2.12", account.term_months),
    _metric("account.owner", Kind.TEXT, "2.12", account.owner),
    _metric("account.mrr", Kind.MONEY, "2.12", account.mrr, reads=SUBSCRIPTIONS),
)

CATALOGUE: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _METRICS})
