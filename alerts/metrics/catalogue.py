"""Every metric under the one name that rules, REST, evidence and the reference use for it, in the order of METRICS."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from alerts.metrics import (
    account,
    activity,
    champion,
    engagement,
    escalations,
    features,
    health,
    logins,
    others,
    qbr,
    renewal,
    seats,
    sentiment,
    sponsor,
)
from alerts.metrics.standing import (
    ACTIVITY,
    CONTACTS,
    ESCALATIONS,
    FEATURES,
    INTEGRATIONS,
    LOGINS,
    MILESTONES,
    QBRS,
    SEATS,
    SUBSCRIPTIONS,
    TICKETS,
)
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
    counts: tuple[str, str] | None = None,
    terms: Callable[[Portfolio, int], dict[str, Any]] | None = None,
) -> Metric:
    """An entry; its summary is the first line of the function's docstring, without the section."""
    summary = (inspect.getdoc(compute) or "").split("\n", 1)[0].split(" (METRICS", 1)[0].rstrip(".")
    return Metric(name, kind, section, summary, compute, floor, words, reads, counts, terms)


_METRICS = (
    _metric(
        "logins.change_28d",
        Kind.RATIO,
        "2.1",
        logins.change_28d,
        reads=LOGINS,
        floor=logins.FLOOR,
        counts=("current", "previous"),
    ),
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
        "logins.change_28d_adjusted",
        Kind.RATIO,
        "2.1",
        logins.change_28d_adjusted,
        reads=LOGINS,
        floor=logins.FLOOR,
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
    _metric("features.breadth", Kind.RATIO, "2.5", features.breadth, reads=FEATURES),
    _metric("features.active_count", Kind.COUNT, "2.5", features.active_count, reads=FEATURES),
    _metric("features.core_count", Kind.COUNT, "2.5", features.core_count),
    _metric("features.abandoned_count", Kind.COUNT, "2.5", features.abandoned_count, reads=FEATURES),
    _metric(
        "sponsor.days_since_login", Kind.DAYS, "2.6", sponsor.days_since_login, reads=CONTACTS + ACTIVITY
    ),
    _metric("sponsor.unmapped", Kind.FLAG, "2.6", sponsor.unmapped, reads=CONTACTS),
    _metric(
        "champion.status", Kind.TEXT, "2.7", champion.status, reads=CONTACTS + ACTIVITY, words=champion.WORDS
    ),
    _metric("champion.departed", Kind.FLAG, "2.7", champion.departed, reads=CONTACTS),
    _metric("champion.days_since_change", Kind.DAYS, "2.7", champion.days_since_change, reads=CONTACTS),
    _metric("renewal.days_to", Kind.DAYS, "2.8", renewal.days_to),
    _metric("renewal.overdue_days", Kind.DAYS, "2.8", renewal.overdue_days),
    _metric("renewal.decision_days_to", Kind.DAYS, "2.8", renewal.decision_days_to),
    _metric("qbr.missing", Kind.FLAG, "2.9", qbr.missing, reads=QBRS),
    _metric("escalations.open", Kind.COUNT, "2.10", escalations.open_now, reads=ESCALATIONS),
    _metric(
        "escalations.oldest_open_days", Kind.DAYS, "2.10", escalations.oldest_open_days, reads=ESCALATIONS
    ),
    _metric("escalations.opened_90d", Kind.COUNT, "2.10", escalations.opened_90d, reads=ESCALATIONS),
    _metric("sentiment.rating", Kind.TEXT, "2.11", sentiment.rating, words=sentiment.WORDS),
    _metric("sentiment.previous", Kind.TEXT, "2.11", sentiment.previous, words=sentiment.WORDS),
    _metric("sentiment.age_days", Kind.DAYS, "2.11", sentiment.age_days),
    _metric("sentiment.overdue", Kind.FLAG, "2.11", sentiment.overdue),
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
    _metric(
        "engagement.score",
        Kind.POINTS,
        "3.1",
        health.engagement_score,
        reads=health.ENGAGEMENT,
        terms=health.terms,
    ),
    _metric(
        "engagement.band",
        Kind.TEXT,
        "3.1",
        health.engagement_band,
        reads=health.ENGAGEMENT,
        words=health.WORDS,
        terms=health.terms,
    ),
    _metric("health.score", Kind.POINTS, "3.2", health.health_score, reads=health.HEALTH, terms=health.terms),
    _metric(
        "health.band",
        Kind.TEXT,
        "3.2",
        health.health_band,
        reads=health.HEALTH,
        words=health.WORDS,
        terms=health.terms,
    ),
    _metric(
        "health.days_in_band", Kind.DAYS, "3.2", health.days_in_band, reads=health.HEALTH, terms=health.terms
    ),
    _metric("health.coverage", Kind.RATIO, "3.2", health.coverage, reads=health.HEALTH, terms=health.terms),
    _metric(
        "health.product", Kind.POINTS, "3.2", health.product, reads=health.ENGAGEMENT, terms=health.terms
    ),
    _metric("health.support", Kind.POINTS, "3.2", health.support, reads=health.SUPPORT),
    _metric("health.relationship", Kind.POINTS, "3.2", health.relationship, reads=health.RELATIONSHIP),
    _metric("health.satisfaction", Kind.POINTS, "3.2", health.satisfaction, reads=health.SATISFACTION),
    _metric("ttfv.days", Kind.DAYS, "3.3", others.ttfv_days, reads=MILESTONES),
    _metric("integrations.active", Kind.COUNT, "3.3", others.integrations_active, reads=INTEGRATIONS),
    _metric("integrations.lost", Kind.COUNT, "3.3", others.integrations_lost, reads=INTEGRATIONS),
    _metric("tickets.opened_28d", Kind.COUNT, "3.3", others.tickets_opened_28d, reads=TICKETS),
    _metric("tickets.median_28d", Kind.RATIO, "3.3", others.tickets_median_28d, reads=TICKETS),
)

CATALOGUE: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _METRICS})
