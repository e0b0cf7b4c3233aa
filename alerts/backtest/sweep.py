"""One rule with its threshold varied: what a looser or stricter one would have caught, and at what price."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from alerts.backtest.score import Score
from alerts.backtest.trial import Trial
from alerts.rules.bands import overlap
from alerts.rules.condition import Condition
from alerts.rules.expression import WHOLE, And, Comparison, Node, Not, Or, leaves, spelt_number
from alerts.rules.nearest import unknown
from alerts.rules.rule import Rule
from consumers.errors import ConfigurationError

_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_WRITTEN = re.compile(rf"\s*([^=\s]+)\s*=\s*({_NUMBER})\.\.({_NUMBER})(?:/(\d+(?:\.\d+)?)|:(\d+))?\s*")
_HINT = "write it as 'login-decline=-0.1..-0.5', with /0.05 for the step or :9 for how many"
_DEFAULT_POINTS, _MOST_POINTS = 9, 101
_PLACES = 10**6  # thresholds are decimals of six places at most


@dataclass(frozen=True, slots=True)
class Sweep:
    """``rule`` with each of ``thresholds`` in its first comparison with a number, in the order asked for.

    ``own`` is the threshold that the rule has; it is among them if it lies between the ends.
    """

    rule: Rule
    comparison: Comparison
    thresholds: Sequence[Fraction]
    own: Fraction

    @property
    def variants(self) -> tuple[Rule, ...]:
        """One rule for each threshold, with an id of its own."""
        return tuple(self._variant(threshold) for threshold in self.thresholds)

    def scores(self, trial: Trial) -> list[tuple[Fraction, Score]]:
        """Each threshold's score in a trial that its variant took part in."""
        severities = {variant.id: variant.severity for variant in self.variants}
        return list(zip(self.thresholds, trial.scores(severities)[:-1], strict=True))

    def _variant(self, threshold: Fraction) -> Rule:
        """Raises ConfigurationError if the rule would resolve while it opens."""
        root = _with(self.rule.when.root, self.comparison, replace(self.comparison, threshold=threshold))
        clears = self.rule.resolve_when
        if clears is not None and overlap(root, clears.root) is not None:
            raise ConfigurationError(
                f"--sweep: with {spelt_number(threshold)}, {self.rule.id} opens while its resolve_when "
                f"({clears.text}) holds\nsweep a range apart from it"
            )
        return replace(self.rule, id=f"{self.rule.id}={spelt_number(threshold)}", when=Condition.of(root))


def parse_sweep(text: str, rules: Sequence[Rule]) -> Sweep:
    """``RULE=FROM..TO``, with ``/STEP`` or ``:COUNT`` behind it. Raises ConfigurationError."""
    written = _WRITTEN.fullmatch(text)
    if written is None:
        raise ConfigurationError(f"--sweep {text!r} is not understood\n{_HINT}")
    name, *numbers = written.groups()
    first, last, step = (None if number is None else Fraction(number) for number in numbers[:3])
    assert first is not None
    assert last is not None
    named = {rule.id: rule for rule in rules}
    if name not in named:
        raise ConfigurationError(f"--sweep: {unknown('rule', name, named)}\nsee: bellwether rules list")
    comparison = _first_number(named[name].when.root)
    if comparison is None:
        raise ConfigurationError(f"--sweep: {name} compares nothing with a number: {named[name].when}")
    assert isinstance(comparison.threshold, Fraction)
    whole = comparison.metric.kind in WHOLE
    points = _points(first, last, step, None if numbers[3] is None else int(numbers[3]), whole=whole)
    own = comparison.threshold
    if min(points) < own < max(points) and own not in points:
        points = sorted([*points, own], reverse=first > last)
    return Sweep(named[name], comparison, points, own)


def describe_sweep(sweep: Sweep, scores: Sequence[tuple[Fraction, Score]]) -> Mapping[str, Any]:
    """As JSON has it."""
    return {
        "rule": sweep.rule.id,
        "metric": sweep.comparison.metric.name,
        "op": sweep.comparison.op.value,
        "own_threshold": float(sweep.own),
        "points": [{"threshold": float(threshold), **score.describe()} for threshold, score in scores],
    }


def _first_number(node: Node) -> Comparison | None:
    for leaf, _ in leaves(node):
        if isinstance(leaf, Comparison) and isinstance(leaf.threshold, Fraction):
            return leaf
    return None


def _with(node: Node, old: Comparison, new: Comparison) -> Node:
    """The tree with this very leaf exchanged: an equal one elsewhere keeps its threshold."""
    if node is old:
        return new
    match node:
        case Not(operand):
            return Not(_with(operand, old, new))
        case And(operands):
            return And(tuple(_with(operand, old, new) for operand in operands))
        case Or(operands):
            return Or(tuple(_with(operand, old, new) for operand in operands))
        case other:
            return other


def _points(
    first: Fraction, last: Fraction, step: Fraction | None, count: int | None, *, whole: bool
) -> list[Fraction]:
    """From ``first`` to ``last``, each once; whole numbers where the metric is one."""
    width = last - first
    if step == 0 or count in (0, 1) or width == 0:
        raise ConfigurationError(f"--sweep needs two thresholds at least\n{_HINT}")
    if step is not None:
        count = math.floor(abs(width) / step) + 1
    elif count is None:
        count = min(_DEFAULT_POINTS, math.floor(abs(width)) + 1) if whole else _DEFAULT_POINTS
    if not 1 < count <= _MOST_POINTS:
        raise ConfigurationError(f"--sweep would try {count:,} thresholds; 2 to {_MOST_POINTS} are possible")
    each = width / (count - 1) if step is None else (step if width > 0 else -step)
    points = list(dict.fromkeys(_rounded(first + number * each, whole) for number in range(count)))
    if len(points) < 2:
        kind = "whole numbers" if whole else "decimals of six places"
        raise ConfigurationError(f"--sweep needs two thresholds at least, and those are {kind}\n{_HINT}")
    return points


def _rounded(number: Fraction, whole: bool) -> Fraction:
    return Fraction(round(number)) if whole else Fraction(round(number * _PLACES), _PLACES)


def marked(sweep: Sweep, scores: Sequence[tuple[Fraction, Score]]) -> Iterator[tuple[str, Score]]:
    """Thresholds as text, with a star at the rule's own."""
    for threshold, score in scores:
        yield spelt_number(threshold) + (" *" if threshold == sweep.own else ""), score
