"""Hysteresis that makes sense: ``resolve_when`` never holds while ``when`` does.

Decided exactly for two conditions over one and the same numeric metric: both are constant between neighbouring
thresholds, so the thresholds and one point in each gap tell everything.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

from alerts.rules.condition import COMPARE
from alerts.rules.expression import NUMERIC, WHOLE, And, Comparison, Node, Not, Or, Significance, leaves


def overlap(when: Node, clear: Node) -> Fraction | None:
    """A value at which both hold; None if there is none, or if they read more than one metric, or test one."""
    clauses = [leaf for node in (when, clear) for leaf, _ in leaves(node)]
    comparisons = [leaf for leaf in clauses if isinstance(leaf, Comparison)]
    if len(comparisons) < len(clauses):
        return None  # the same change may be significant in one account and not in another
    metric = comparisons[0].metric
    if metric.kind not in NUMERIC or any(leaf.metric.name != metric.name for leaf in comparisons):
        return None
    thresholds = {leaf.threshold for leaf in comparisons if isinstance(leaf.threshold, Fraction)}
    points = _whole_points(thresholds) if metric.kind in WHOLE else _points(thresholds)
    return next((point for point in points if _holds(when, point) and _holds(clear, point)), None)


def _points(thresholds: set[Fraction]) -> list[Fraction]:
    ordered = sorted(thresholds)
    between = [(low + high) / 2 for low, high in pairwise(ordered)]
    return [*ordered, *between, ordered[0] - 1, ordered[-1] + 1]


def _whole_points(thresholds: set[Fraction]) -> list[Fraction]:
    near = {math.floor(edge) + step for edge in thresholds for step in (-1, 0, 1, 2)}
    return [Fraction(point) for point in sorted(near)]


def _holds(node: Node, value: Fraction) -> bool:
    match node:
        case Comparison(op=op, threshold=threshold):
            return bool(COMPARE[op](value, threshold))
        case Significance():
            raise AssertionError("no number decides it")
        case Not(operand):
            return not _holds(operand, value)
        case And(operands):
            return all(_holds(operand, value) for operand in operands)
        case Or(operands):
            return any(_holds(operand, value) for operand in operands)
