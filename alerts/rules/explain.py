"""Why a rule did or did not fire for one account: each clause, its value and threshold, and what would clear it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from alerts.alert import Verdict
from alerts.rules.clearing import Change, described, smallest_change, way_out
from alerts.rules.condition import Condition, Readings
from alerts.rules.expression import And, Clause, Comparison, Node, Not, Or, Significance, joined
from alerts.rules.language import SIGNIFICANT
from alerts.rules.reading import Reading
from alerts.rules.rule import Judgement, Rule
from alerts.rules.significance import p_value
from alerts.values import Status, Values, plain

_RESULTS = {Verdict.TRUE: "true", Verdict.FALSE: "false", Verdict.UNKNOWN: "unknown"}
_NEGATED = {Verdict.TRUE: Verdict.FALSE, Verdict.FALSE: Verdict.TRUE, Verdict.UNKNOWN: Verdict.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One clause of a condition as it stands for one account, in JSON's types.

    ``clause`` is the comparison as the rule means it, with the ``not`` that it is under (then ``negated``), and
    ``result`` is whether that holds; ``comparison`` is the result without the ``not``. ``gap`` is value - threshold,
    None for words, flags, tests and values that do not stand. ``clears`` is what would have to become true for the
    clause to stop holding, None if it does not hold, and ``clears_by`` the smallest change that does it, None where
    nobody can: see :meth:`~alerts.rules.clearing.Change.describe`. ``test`` is what ``significant()`` found, see
    :func:`tested`; then ``op`` is ``significant`` and ``threshold`` the level.
    """

    metric: str
    clause: str
    op: str
    threshold: Any
    value: Any
    status: str
    result: str
    comparison: str
    gap: float | None
    negated: bool
    clears: str | None
    clears_by: Mapping[str, Any] | None
    test: Mapping[str, Any] | None

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {each: getattr(self, each) for each in self.__slots__}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A rule's verdict on one account and the clauses that made it, in the order in which the rule writes them.

    ``clears`` are the smallest changes that end an alert that is open: after which the condition is false, or, with a
    ``resolve_when``, after which that is true. None where it would end anyway, and where nothing is known to end it.
    """

    rule: str
    version: str
    verdict: Verdict
    leaves: tuple[Leaf, ...]
    because_not_applicable: bool = False
    stale: bool = False
    clear: Verdict | None = None
    clear_leaves: tuple[Leaf, ...] = ()
    clears: tuple[Change, ...] | None = None

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        told: dict[str, Any] = {
            "rule": self.rule,
            "rule_version": self.version,
            "verdict": _RESULTS[self.verdict],
            "because_not_applicable": self.because_not_applicable,
            "stale_source": self.stale,
            "conditions": [leaf.describe() for leaf in self.leaves],
            "clears": described(self.clears),
        }
        if self.clear is not None:
            told["resolve_verdict"] = _RESULTS[self.clear]
            told["resolve_conditions"] = [leaf.describe() for leaf in self.clear_leaves]
        return told


def explain(rule: Rule, readings: Readings, index: int, judgement: Judgement | None = None) -> Explanation:
    """The account at ``index``. ``judgement`` is the rule's on these readings, if it is at hand; else it is made."""
    at = index
    if judgement is None:
        judgement, at = rule.judge(_OneAccount(readings, index)), 0
    verdict = Verdict(int(judgement.verdict[at]))
    clear = None if judgement.clear is None else Verdict(int(judgement.clear[at]))
    absent = bool(judgement.because_not_applicable[at])
    between = verdict is Verdict.FALSE and clear is Verdict.FALSE and not absent
    seen = _Seen(rule, readings, index)
    return Explanation(
        rule=rule.id,
        version=rule.version,
        verdict=verdict,
        leaves=seen.leaves(rule.when),
        because_not_applicable=absent,
        stale=bool(judgement.stale[at]),
        clear=clear,
        clear_leaves=seen.leaves(rule.resolve_when) if rule.resolve_when else (),
        clears=seen.clears() if verdict is Verdict.TRUE or between else None,
    )


def grounds(rule: Rule, readings: Readings, index: int) -> tuple[Clause, ...]:
    """The clauses that make the rule's condition true, as they stand under their ``not``; none if it is not true.

    Of an ``or`` only the sides that hold. A clause that is true only because its value does not exist is one too.
    """
    seen = _Seen(rule, readings, index)
    return tuple(_because(rule.when.root, seen.verdict, Verdict.TRUE) or ())


def threshold(rule: Rule, metric: str, among: Collection[Clause] = ()) -> Clause | None:
    """The clause of the rule's condition that a reader of the metric wants to see; None if it reads another.

    Where there are several, one of ``among``, then a comparison before a test, then the first that is not under a
    ``not``.
    """
    found = [(negated, leaf) for leaf, negated in rule.when.clauses if leaf.metric.name == metric]
    if len(found) < 2:  # nothing to choose between: comparing clauses costs more than all of this
        return found[0][1] if found else None

    def order(pair: tuple[bool, Clause]) -> tuple[bool, bool, bool]:
        negated, leaf = pair
        return leaf not in among, isinstance(leaf, Significance), negated

    return min(found, key=order)[1]


def gap(clause: Clause, values: Values, index: int) -> float | None:
    """Value - threshold at ``index``, subtracted exactly; None for words, flags, tests and values that do not stand."""
    return _gap(clause, Reading.of(values, index))


def clears(metric: str, rules: Sequence[Rule], readings: Readings, index: int) -> dict[str, Any] | None:
    """The smallest change of the metric after which it is part of why no rule holds, as JSON; None if there is none.

    ``rules`` all hold, and each has the metric among its :func:`grounds` with a value that stands.
    """
    seen = [_Seen(rule, readings, index) for rule in rules]
    told = [
        _about(metric, rule.when.root, each.verdict, Verdict.TRUE)
        for rule, each in zip(rules, seen, strict=True)
    ]
    goal = joined(Or, [each for each in told if each is not None])
    changes = way_out(goal, Verdict.FALSE, seen[0].reading)
    if not changes:
        return None
    if len(changes) == 1:
        return changes[0].describe()
    return {"text": " and ".join(change.text for change in changes), "by": None, "unit": None}


def tested(clause: Clause, values: Values, index: int) -> dict[str, Any] | None:
    """What a test of significance rests on, as JSON: ``{"p_value", "level", "counts": {part: count}}``.

    None for a comparison and for a value that does not stand. The p-value is for display, the verdict is exact.
    """
    return _test(clause, Reading.of(values, index))


@dataclass(frozen=True, slots=True)
class _OneAccount:
    """The readings of many accounts, narrowed to one."""

    readings: Readings
    index: int

    @property
    def size(self) -> int:
        return 1

    def values(self, metric: str, floor: int | None) -> Values:
        """The one account's slice."""
        one = slice(self.index, self.index + 1)
        whole = self.readings.values(metric, floor)
        text = None if whole.text is None else whole.text[one]
        parts = {name: counts[one] for name, counts in whole.parts.items()}
        return Values(whole.numerator[one], whole.denominator[one], whole.status[one], text, parts)


class _Seen:
    """One account with the floors that one rule asks for."""

    def __init__(self, rule: Rule, readings: Readings, index: int) -> None:
        self._rule, self._readings, self._index = rule, readings, index
        self._kept: dict[str, Reading] = {}

    def reading(self, metric: str) -> Reading:
        if metric not in self._kept:
            values = self._readings.values(metric, self._rule.floors.get(metric))
            self._kept[metric] = Reading.of(values, self._index)
        return self._kept[metric]

    def verdict(self, clause: Clause) -> Verdict:
        return self.reading(clause.metric.name).verdict(clause)

    def clears(self) -> tuple[Change, ...] | None:
        if self._rule.resolve_when is None:
            return way_out(self._rule.when.root, Verdict.FALSE, self.reading)
        ended = And((self._rule.resolve_when.root, Not(self._rule.when.root)))
        # It ends where the one holds and the other no longer does: a change may bring both about.
        return way_out(And((ended, Not(self._rule.when.root))), Verdict.TRUE, self.reading)

    def leaves(self, condition: Condition) -> tuple[Leaf, ...]:
        return tuple(self._leaf(clause, negated) for clause, negated in condition.clauses)

    def _leaf(self, clause: Clause, negated: bool) -> Leaf:
        reading, values = self.reading(clause.metric.name), self._values(clause.metric.name)
        compared = reading.verdict(clause)
        verdict = _NEGATED[compared] if negated else compared
        change = smallest_change(clause, reading) if verdict is Verdict.TRUE else None
        return Leaf(
            metric=clause.metric.name,
            clause=f"not {clause}" if negated else str(clause),
            op=clause.op.value if isinstance(clause, Comparison) else SIGNIFICANT,
            threshold=clause.plain_threshold,
            value=plain(clause.metric, values, self._index),
            status=Status(reading.status).word,
            result=_RESULTS[verdict],
            comparison=_RESULTS[compared],
            gap=_gap(clause, reading),
            negated=negated,
            clears=_turned(clause, negated) if verdict is Verdict.TRUE else None,
            clears_by=None if change is None else change.describe(),
            test=_test(clause, reading),
        )

    def _values(self, metric: str) -> Values:
        return self._readings.values(metric, self._rule.floors.get(metric))


def _because(node: Node, told: Callable[[Clause], Verdict], wanted: Verdict) -> list[Clause] | None:
    """The clauses that give ``node`` the verdict ``wanted``, TRUE or FALSE; None if it has another."""
    match node:
        case Comparison() | Significance():
            return [node] if told(node) is wanted else None
        case Not(operand):
            return _because(operand, told, _NEGATED[wanted])
        case And(operands) | Or(operands):
            sides = [_because(operand, told, wanted) for operand in operands]
    needs_all = isinstance(node, And) is (wanted is Verdict.TRUE)
    met = [side for side in sides if side is not None]
    if not met or (needs_all and len(met) < len(sides)):
        return None
    return [clause for side in met for clause in side]


def _about(metric: str, node: Node, told: Callable[[Clause], Verdict], wanted: Verdict) -> Node | None:
    """As much of :func:`_because` as is about one metric, still joined as it was; None if nothing is."""
    match node:
        case Comparison() | Significance():
            return node if node.metric.name == metric else None
        case Not(operand):
            inner = _about(metric, operand, told, _NEGATED[wanted])
            return None if inner is None else Not(inner)
        case And(operands) | Or(operands):
            met = [operand for operand in operands if _because(operand, told, wanted) is not None]
    sides = [side for operand in met if (side := _about(metric, operand, told, wanted)) is not None]
    return joined(type(node), sides) if sides else None


def _turned(clause: Clause, negated: bool) -> str:
    """What would have to become true for a clause that holds to stop holding."""
    if negated:
        return str(clause)
    return str(Not(clause)) if isinstance(clause, Significance) else str(clause.opposite)


def _gap(clause: Clause, reading: Reading) -> float | None:
    if reading.status != Status.OK or not isinstance(clause, Comparison):
        return None
    edge = clause.threshold
    if not isinstance(edge, Fraction):
        return None
    top, bottom = reading.ratio(clause.metric)
    return (top * edge.denominator - edge.numerator * bottom) / (bottom * edge.denominator)


def _test(clause: Clause, reading: Reading) -> dict[str, Any] | None:
    if reading.status != Status.OK or not isinstance(clause, Significance):
        return None
    counts = {part: reading.parts[part] for part in clause.counts}
    return {"p_value": p_value(*counts.values()), "level": clause.plain_threshold, "counts": counts}
