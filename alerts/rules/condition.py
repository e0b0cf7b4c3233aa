"""A condition, compiled once, judged for many accounts at once in Kleene's three values.

A comparison with a ``not_applicable`` value is false, with any other value that is not ``ok`` unknown (docs/metrics.md
section 1). Numbers compare exactly: ``n/d < p/q`` is ``n*q < p*d`` in int64, or in Python's integers where those could
overflow.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

import numpy as np

from alerts.rules.expression import WHOLE, And, Clause, Comparison, Node, Not, Op, Or, Significance, leaves
from alerts.rules.language import parse
from alerts.rules.significance import significant
from alerts.values import BoolArray, Metric, Status, Values


class Readings(Protocol):
    """Metrics of ``size`` accounts, computed when asked for and kept: many rules read the same one."""

    @property
    def size(self) -> int:
        """How many accounts."""

    def values(self, metric: str, floor: int | None) -> Values:
        """The metric with the volume floor that a rule asked for; None is the metric's own."""


class Masks(NamedTuple):
    """Where a condition is true and where it is false; where neither, it is unknown.

    ``stale`` is where it is unknown and a stale source is among the causes. ``absent`` is where it is false, and would
    be unknown if what is not applicable were merely not known. None is nowhere.
    """

    true: BoolArray
    false: BoolArray
    stale: BoolArray | None = None
    absent: BoolArray | None = None


class _Sweep:
    """One judgement under way: the metrics as the rule reads them, and the comparisons that were already made."""

    __slots__ = ("absences", "floors", "leaves", "readings")

    def __init__(self, readings: Readings, floors: Mapping[str, int]) -> None:
        self.readings = readings
        self.floors = floors
        self.leaves: dict[object, tuple[Masks, BoolArray]] = {}
        self.absences = False

    def values(self, metric: str) -> Values:
        return self.readings.values(metric, self.floors.get(metric))


_Judge = Callable[[_Sweep, bool], Masks]  # the flag: a comparison with what is not applicable is false
_Holds = Callable[[Values], BoolArray]


@dataclass(frozen=True, slots=True)
class Condition:
    """One line of the rule language; ``clauses`` are its leaves, each with whether an odd number of ``not`` stands
    before it, ``metrics`` the names it reads, each once; both from left to right."""

    root: Node
    text: str = field(compare=False)  # as it was written
    _judge: _Judge = field(repr=False, compare=False)
    clauses: tuple[tuple[Clause, bool], ...] = field(init=False, repr=False, compare=False)
    metrics: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the clauses and the names."""
        object.__setattr__(self, "clauses", tuple(leaves(self.root)))
        names = dict.fromkeys(clause.metric.name for clause, _ in self.clauses)
        object.__setattr__(self, "metrics", tuple(names))

    @classmethod
    def of(cls, root: Node, text: str = "") -> Condition:
        """Compile a tree."""
        return cls(root, text or str(root), _compiled(root))

    @classmethod
    def parse(cls, text: str, catalogue: Mapping[str, Metric]) -> Condition:
        """Read and compile a line. Raises ConditionError."""
        return cls.of(parse(text, catalogue), text.strip())

    def __str__(self) -> str:
        return self.text

    def judge(self, readings: Readings, floors: Mapping[str, int] | None = None) -> Masks:
        """Where the condition holds and where it does not; ``floors`` by the metrics' names."""
        sweep = _Sweep(readings, floors or {})
        masks = self._judge(sweep, True)
        if not sweep.absences:
            return masks
        known = self._judge(sweep, False)
        return masks._replace(absent=masks.false & ~known.false)


def _compiled(node: Node) -> _Judge:
    match node:
        case Comparison() | Significance():
            return _leaf(node)
        case Not(operand):
            return _negated(_compiled(operand))
        case And(operands):
            return _conjunction([_compiled(operand) for operand in operands])
        case Or(operands):
            # De Morgan holds in Kleene's logic, so one loop serves both
            return _negated(_conjunction([_negated(_compiled(operand)) for operand in operands]))


def _negated(judge: _Judge) -> _Judge:
    def judge_negated(sweep: _Sweep, absent_is_false: bool) -> Masks:
        true, false, stale, _ = judge(sweep, absent_is_false)
        return Masks(false, true, stale)

    return judge_negated


def _conjunction(judges: list[_Judge]) -> _Judge:
    first, *others = judges

    def judge_all(sweep: _Sweep, absent_is_false: bool) -> Masks:
        true, false, stale, _ = first(sweep, absent_is_false)
        for judge in others:
            masks = judge(sweep, absent_is_false)
            true = true & masks.true
            false = false | masks.false
            if masks.stale is not None:
                stale = masks.stale if stale is None else stale | masks.stale
        return Masks(true, false, None if stale is None else stale & ~true & ~false)

    return judge_all


def _leaf(clause: Clause) -> _Judge:
    name = clause.metric.name
    holds = _significance_test(clause) if isinstance(clause, Significance) else _test_of(clause)
    key = object()  # this leaf's own; a clause's hash would go through its metric

    def judge_leaf(sweep: _Sweep, absent_is_false: bool) -> Masks:
        if key not in sweep.leaves:
            values = sweep.values(name)
            met, status = holds(values), values.status
            ok = status == Status.OK.value
            stale = status == Status.STALE_SOURCE.value
            absent = status == Status.NOT_APPLICABLE.value
            sweep.absences = sweep.absences or bool(absent.any())
            sweep.leaves[key] = Masks(met & ok, ~met & ok, stale if stale.any() else None), absent
        masks, absent = sweep.leaves[key]
        return masks._replace(false=masks.false | absent) if absent_is_false else masks

    return judge_leaf


def _test_of(comparison: Comparison) -> _Holds:
    """Whether the comparison holds of the numbers as they are, whatever their status."""
    match comparison.threshold:
        case bool() as wanted:  # the parser knows only == for flags
            return _flag_test(wanted)
        case Fraction() as threshold:
            return _number_test(comparison.op, threshold, whole=comparison.metric.kind in WHOLE)
        case str() as word:
            return _text_test((word,), among=comparison.op is Op.EQ)
        case tuple() as words:
            return _text_test(words, among=comparison.op is Op.IN)


COMPARE: dict[Op, Callable[[Any, Any], Any]] = {
    Op.LT: operator.lt,
    Op.LE: operator.le,
    Op.GT: operator.gt,
    Op.GE: operator.ge,
    Op.EQ: operator.eq,
    Op.NE: operator.ne,
}


def _flag_test(wanted: bool) -> _Holds:
    def holds(values: Values) -> BoolArray:
        result: BoolArray = (values.numerator != 0) if wanted else (values.numerator == 0)
        return result

    return holds


def _number_test(op: Op, threshold: Fraction, *, whole: bool) -> _Holds:
    compare = COMPARE[op]
    p, q = threshold.numerator, threshold.denominator

    def holds(values: Values) -> BoolArray:
        left = values.numerator if q == 1 else _times(values.numerator, q)
        right = p if whole or p == 0 else _times(values.denominator, p)
        result: BoolArray = compare(left, right)
        return result

    return holds


def _significance_test(clause: Significance) -> _Holds:
    later, earlier = clause.counts

    def holds(values: Values) -> BoolArray:
        return significant(values.parts[later], values.parts[earlier], clause.level)

    return holds


def _times(array: Any, factor: int) -> Any:
    """``array * factor``, exactly: in int64 where that is sure to fit, else in Python's own integers."""
    if array.size and max(int(array.max()), -int(array.min())) * abs(factor) >= 1 << 63:
        return array.astype(object) * factor
    return array * factor


def _text_test(words: tuple[str, ...], *, among: bool) -> _Holds:
    def holds(values: Values) -> BoolArray:
        assert values.text is not None, "a text metric has text"
        found = np.zeros(len(values.text), dtype=np.bool_)
        for word in words:
            found |= values.text == word
        return found if among else ~found

    return holds
