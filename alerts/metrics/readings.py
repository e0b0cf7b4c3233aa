"""What rules and REST read: the metrics of a portfolio, computed when asked for and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, Protocol

from alerts.account_rows import Moment
from alerts.metrics.catalogue import CATALOGUE
from alerts.portfolio import Portfolio
from alerts.values import Metric, Status, Values, plain
from consumers.days import EPOCH, instant
from consumers.windows import NEVER


class Readings:
    """The catalogue over one portfolio. A metric is computed once for each floor that is asked for."""

    def __init__(self, portfolio: Portfolio, catalogue: Mapping[str, Metric] = CATALOGUE) -> None:
        self.portfolio = portfolio
        self.catalogue = catalogue
        self._kept: dict[tuple[str, int | None], Values] = {}

    @property
    def size(self) -> int:
        """How many accounts."""
        return self.portfolio.size

    def values(self, metric: str, floor: int | None = None) -> Values:
        """The metric with the volume floor that a rule asked for; None is the metric's own. Raises KeyError."""
        entry = self.catalogue[metric]
        if floor is None or entry.default_floor is None:
            floor = entry.default_floor  # the same numbers, whether asked for by default or by name
        kept = self._kept.get((metric, floor))
        if kept is None:
            kept = self._kept[metric, floor] = entry.compute(self.portfolio, floor)
        return kept

    def plain(self, metric: str, index: int, floor: int | None = None) -> Any:
        """The account's value as JSON shows it; None unless it stands."""
        return plain(self.catalogue[metric], self.values(metric, floor), index)


class RuleRead(Protocol):
    """As much of a rule as evidence names."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def version(self) -> str:
        """A hash of what it decides by."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names that its conditions read."""


def versions(name: str, rules: Sequence[RuleRead]) -> dict[str, str]:
    """The version of each of ``rules`` that reads the metric, by its id."""
    return {rule.id: rule.version for rule in rules if name in rule.metrics}


def evidence(
    readings: Readings,
    name: str,
    index: int,
    floor: int | None = None,
    *,
    rules: Mapping[str, str] | None = None,
    details: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What a stranger with the raw events needs to get the same number, in JSON's types (METRICS section 1).

    Days are ISO dates, windows first and last day, both counted in. ``terms`` is what the configuration says that the
    value goes by: weights, targets, edges. ``inputs`` says of each family of events that feeds the metric since which
    day it was received, and of activity when its newest event was; ``seen`` when the account itself was first and last
    active. ``rules`` are those that read the metric, with their versions; ``details`` what the account's facts say
    beside the number, by the first word of the metrics' names: who the champions are, seats by subscription.
    """
    metric, values = readings.catalogue[name], readings.values(name, floor)
    portfolio = readings.portfolio
    told: dict[str, Any] = {
        "value": plain(metric, values, index),
        "status": Status(int(values.status[index])).word,
        "section": metric.section,
        "as_of": iso(portfolio.as_of),
        "today": iso(portfolio.today),
        "zone": portfolio.moment.zone,
    }
    if values.text is None:
        told["numerator"] = int(values.numerator.item(index))
        told["denominator"] = int(values.denominator.item(index))
    told["parts"] = {part: _part(part, int(counts.item(index))) for part, counts in values.parts.items()}
    told["windows"] = {window: [iso(first), iso(last)] for window, (first, last) in values.windows.items()}
    if metric.terms is not None:
        told["terms"] = metric.terms(portfolio, index)
    if metric.default_floor is not None:
        told["floor"] = metric.default_floor if floor is None else floor
    told["inputs"] = {family: dict(_input(portfolio, family)) for family in metric.reads}
    told["seen"] = {
        "first_activity": iso(int(portfolio.number("first_day")[index])),
        "last_activity": iso(int(portfolio.number("last_day")[index])),
    }
    if rules is not None:
        told["rules"] = dict(rules)
    subject = name.partition(".")[0]
    if details is not None and subject in details:
        told["details"] = dict(details[subject])
    return told


def snapshot(
    readings: Readings,
    index: int,
    rules: Sequence[RuleRead] = (),
    details: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    """Every metric of one account: ``{name: {value, status, evidence}}``; ``details`` as :func:`evidence` has them."""
    told = {}
    for name in readings.catalogue:
        proof = evidence(readings, name, index, rules=versions(name, rules), details=details)
        told[name] = {"value": proof["value"], "status": proof["status"], "evidence": proof}
    return told


@lru_cache(maxsize=4_096)
def iso(day: int) -> str | None:
    """A day as ``2026-11-22``; None for one that never was."""
    return None if day == NEVER else date.fromordinal(day + EPOCH).isoformat()


def _part(name: str, count: int) -> int | str | None:
    return iso(count) if name.endswith("_day") else count


def _input(portfolio: Portfolio, family: str) -> dict[str, Any]:
    """Asked for with every metric of every account."""
    return portfolio.once(("input", family), lambda: _said_of(portfolio.moment, family))


def _said_of(moment: Moment, family: str) -> dict[str, Any]:
    first = moment.families.get(family)
    if first is None or first > moment.today:
        return {"status": "never_received", "since": None}
    told = {"status": "stale" if family in moment.stale else "received", "since": iso(first)}
    newest_at = moment.newest().get(family)
    if newest_at is not None:
        told["newest_at"] = instant(newest_at).isoformat().replace("+00:00", "Z")
    return told
