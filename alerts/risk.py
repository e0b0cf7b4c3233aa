"""Risk level: one word for an account, from its alerts (METRICS section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from alerts.alert import AlertStatus, Move, Severity
from alerts.store import Batch
from alerts.values import BoolArray


class RiskLevel(StrEnum):
    """How much an account is at risk; ``unknown`` where no leading indicator can tell."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    UNKNOWN = "unknown"


def risk_level(firing: Iterable[Severity], known: bool) -> RiskLevel:
    """The highest severity among an account's firing alerts, acknowledged, snoozed or not; ``info`` does not count.

    ``known``: whether any metric of METRICS section 2 is ok. It matters only where nothing fires: an alert that
    holds while nothing can be told is still an alert.
    """
    worst = max((severity for severity in firing if severity is not Severity.INFO), key=_rank, default=None)
    if worst is not None:
        return RiskLevel(worst.value)
    return RiskLevel.LOW if known else RiskLevel.UNKNOWN


def _rank(severity: Severity) -> int:
    return severity.rank


def changed_levels(batch: Batch, moves: Sequence[Move], known: BoolArray) -> dict[int, str]:
    """The risk levels of a batch's accounts after its moves, by account number, where they are not what they were."""
    firing = {
        standing.id: (standing.account_no, standing.severity)
        for standing in batch.standings
        if standing.firing
    }
    for move in moves:
        alert = move.after
        if alert.status is AlertStatus.FIRING:
            firing[alert.id] = (alert.account_no, alert.severity.value)
        else:
            firing.pop(alert.id, None)
    severities: dict[int, set[Severity]] = {}
    for account_no, severity in firing.values():
        severities.setdefault(account_no, set()).add(Severity(severity))
    levels = {}
    for no, before, can_tell in zip(batch.rows.nos, batch.risk_levels, known.tolist(), strict=True):
        level = risk_level(severities.get(int(no), ()), can_tell).value
        if level != before:
            levels[int(no)] = level
    return levels
