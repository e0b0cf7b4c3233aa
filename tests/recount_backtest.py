"""A backtest told a second time, day by day and account by account, without a clever step: what the counts must be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Fates = Mapping[str, tuple[list[int], list[int]]]  # account → (churns, renewals)


def is_customer(fates: Fates, account: str, since: int, day: int) -> bool:
    """Whether the account, whose first event came on ``since``, is a customer on ``day``."""
    churns, renewals = fates.get(account, ([], []))
    if day < since:
        return False
    news = [(each, "out") for each in churns if each <= day] + [
        (each, "in") for each in renewals if each <= day
    ]
    return not news or max(news)[1] == "in"


def recount(
    openings: Iterable[tuple[str, int]],
    since: Mapping[str, int],
    fates: Fates,
    period: tuple[int, int, int, int],
) -> dict[str, Any]:
    """The counts of one rule, which opened for these accounts on these days."""
    first, last, end, horizon = period
    alerts = true = after = censored = 0
    caught: dict[tuple[str, int], list[int]] = {}
    days = warned = early = late = 0
    counted: set[tuple[str, int]] = set()
    for account, known in since.items():
        churns = {
            day
            for day in fates.get(account, ([], []))[0]
            if day <= end and is_customer(fates, account, known, day - 1)
        }
        early += sum(day <= min(known, end) for day in fates.get(account, ([], []))[0])
        for churn in churns:
            window = range(churn - horizon, churn)
            if window[0] < first:
                early += 1
            elif window[-1] > last:
                late += 1
            else:
                counted.add((account, churn))
        for day in range(first, last + 1):
            if is_customer(fates, account, known, day):
                days += 1
                warned += bool(set(range(day + 1, day + horizon + 1)) & churns)
        for who, day in openings:
            if who != account:
                continue
            if not is_customer(fates, account, known, min(day, end)):
                after += 1
            elif day > last:
                censored += 1
            else:
                alerts += 1
                ahead = sorted(churn for churn in churns if day < churn <= day + horizon)
                true += bool(ahead)
                for churn in ahead[:1]:
                    if (account, churn) in counted:
                        caught.setdefault((account, churn), []).append(churn - day)
    return {
        "alerts": alerts,
        "true": true,
        "after": after,
        "censored": censored,
        "churns": len(counted),
        "early": early,
        "late": late,
        "days": days,
        "warned": warned,
        "leads": sorted(max(leads) for leads in caught.values()),
    }
