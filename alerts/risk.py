"""Risk level: one word for an account, from its alerts (docs/alerts.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

import numpy as np

from alerts.alert import AlertStatus, Move, Severity
from alerts.metrics.readings import Readings
from alerts.portfolio_median import ADJUSTED
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

    ``known``: whether any leading indicator is ok. It matters only where nothing fires: an alert that
    holds while nothing can be told is still an alert.
    """
    worst = max((severity for severity in firing if severity is not Severity.INFO), key=_rank, default=None)
    if worst is not None:
        return RiskLevel(worst.value)
    return RiskLevel.LOW if known else RiskLevel.UNKNOWN


def indicated(readings: Readings) -> BoolArray:
    """The accounts of which any leading indicator is ok.

    That of the adjusted change tells nothing more and costs the most: it is ok only where the plain one is.
    """
    known = np.zeros(readings.size, dtype=np.bool_)
    for metric in readings.catalogue.values():
        if metric.leads and metric.name != ADJUSTED:
            known |= readings.values(metric.name).ok()
            if known.all():
                break
    return known


def changed_levels(batch: Batch, moves: Sequence[Move], known: BoolArray) -> dict[int, str]:
    """The risk levels of a batch's first accounts after its moves, by number, where they are not what they were.

    ``known`` has one entry for each of the accounts that were judged.
    """
    firing = {each.id: (each.account_no, each.severity) for each in batch.standings if each.firing}
    for move in moves:
        alert = move.after
        if alert.status is AlertStatus.FIRING:
            firing[alert.id] = (alert.account_no, alert.severity.value)
        else:
            firing.pop(alert.id, None)
    worst: dict[int, int] = {}
    for account_no, severity in firing.values():
        rank = _RANKS[severity]
        if rank > worst.get(account_no, 0):
            worst[account_no] = rank
    nos = np.asarray(batch.rows.nos[: len(known)], dtype=np.int64)
    levels = np.full(len(nos), RiskLevel.LOW.value, dtype=object)
    levels[~known] = RiskLevel.UNKNOWN.value
    for no, place in zip(worst, np.searchsorted(nos, list(worst)).tolist(), strict=True):
        if place < len(nos) and nos[place] == no:
            levels[place] = _LEVELS[worst[no]]
    before = np.array(batch.risk_levels[: len(nos)], dtype=object)
    return {int(nos[place]): levels[place] for place in np.flatnonzero(levels != before).tolist()}


def _rank(severity: Severity) -> int:
    return severity.rank


_RANKS = {severity.value: severity.rank for severity in Severity}
_LEVELS = {severity.rank: severity.value for severity in Severity if severity is not Severity.INFO}
