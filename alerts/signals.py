"""An account's leading indicators as REST tells them: each metric that a rule reads, against the rule's threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alerts.alert import Verdict
from alerts.metrics.readings import Readings, evidence
from alerts.rules.explain import gap, threshold
from alerts.rules.rule import Rule
from alerts.values import Status, plain


def signals(readings: Readings, index: int, rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """One entry per metric that any of ``rules`` reads, in the order of the catalogue (CONTRACT section 5).

    ``breached``: the whole condition of one of its rules holds. ``threshold`` and ``gap`` are of the severest rule that
    holds, else of the first that reads the metric.
    """
    holds = {rule.id: int(rule.judge(readings).verdict[index]) == Verdict.TRUE for rule in rules}
    told = []
    for name, metric in readings.catalogue.items():
        readers = [rule for rule in rules if name in rule.metrics]
        if not readers:
            continue
        chosen = max(readers, key=lambda rule: (holds[rule.id], rule.severity.rank if holds[rule.id] else 0))
        floor = chosen.floors.get(name)
        values = readings.values(name, floor)
        comparison = threshold(chosen, name)
        told.append(
            {
                "metric": name,
                "value": plain(metric, values, index),
                "status": Status(int(values.status[index])).word,
                "rules": [rule.id for rule in readers],
                "breached": holds[chosen.id],
                "threshold": None if comparison is None else _flat(comparison.plain_threshold),
                "gap": None if comparison is None else gap(comparison, values, index),
                "evidence": evidence(readings, name, index, floor),
            }
        )
    return told


def _flat(threshold: Any) -> Any:
    """A list of words as one text."""
    return ", ".join(map(str, threshold)) if isinstance(threshold, list | tuple) else threshold
