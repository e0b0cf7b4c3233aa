"""An account's leading indicators as REST tells them: each metric that a rule reads, against the rule's threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alerts.metrics.readings import Readings, evidence
from alerts.rules.explain import clears, gap, grounds, tested, threshold
from alerts.rules.expression import Significance
from alerts.rules.rule import Rule
from alerts.values import Status, Values, plain


def signals(
    readings: Readings,
    index: int,
    rules: Sequence[Rule],
    details: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """One entry per metric that any of ``rules`` reads, in the order of the catalogue.

    ``breached``: the value stands, and what a rule says of it is part of why that rule's condition holds.
    ``threshold`` and ``gap`` are of the severest such rule, else of the first that reads the metric. ``clears`` is the
    smallest change with which a breached value no longer is, for any rule, ``{"text", "by", "unit"}``, None where
    nobody can bring it about; ``test`` is what a ``significant()`` of the same rule found, ``{"p_value",
    "level", "counts"}``. ``details``: see :func:`~alerts.metrics.readings.evidence`.
    """
    because = {rule.id: grounds(rule, readings, index) for rule in rules}
    blamed = {id_: {clause.metric.name for clause in clauses} for id_, clauses in because.items() if clauses}
    reading: dict[str, list[Rule]] = {}
    for rule in rules:
        for name in rule.metrics:
            reading.setdefault(name, []).append(rule)
    told = []
    for name, metric in readings.catalogue.items():
        readers = reading.get(name)
        if not readers:
            continue
        breaching = [
            rule
            for rule in readers
            if name in blamed.get(rule.id, ())
            and readings.values(name, rule.floors.get(name)).status[index] == Status.OK.value
        ]
        chosen = max(breaching, key=lambda rule: rule.severity.rank) if breaching else readers[0]
        floor = chosen.floors.get(name)
        values = readings.values(name, floor)
        clause = threshold(chosen, name, because[chosen.id])
        told.append(
            {
                "metric": name,
                "value": plain(metric, values, index),
                "status": Status(int(values.status[index])).word,
                "rules": [rule.id for rule in readers],
                "breached": bool(breaching),
                "threshold": None if clause is None else _flat(clause.plain_threshold),
                "gap": None if clause is None else gap(clause, values, index),
                "clears": clears(name, breaching, readings, index) if breaching else None,
                "test": _test(chosen, name, values, index),
                "evidence": evidence(
                    readings,
                    name,
                    index,
                    floor,
                    rules={rule.id: rule.version for rule in readers},
                    details=details,
                ),
            }
        )
    return told


def _test(rule: Rule, name: str, values: Values, index: int) -> dict[str, Any] | None:
    """The first test of the metric in the rule's condition."""
    for clause, _ in rule.when.clauses:
        if isinstance(clause, Significance) and clause.metric.name == name:
            return tested(clause, values, index)
    return None


def _flat(threshold: Any) -> Any:
    """A list of words as one text."""
    return ", ".join(map(str, threshold)) if isinstance(threshold, list | tuple) else threshold
