"""Why a rule did or did not fire for one account: each comparison with its value, its threshold and the gap between."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from alerts.alert import Verdict
from alerts.rules.condition import COMPARE, Condition, Readings
from alerts.rules.expression import WHOLE, And, Comparison, Node, Not, Op, leaves
from alerts.rules.rule import Judgement, Rule
from alerts.values import Status, Values, plain

_RESULTS = {Verdict.TRUE: "true", Verdict.FALSE: "false", Verdict.UNKNOWN: "unknown"}
_NEGATED = {Verdict.TRUE: Verdict.FALSE, Verdict.FALSE: Verdict.TRUE, Verdict.UNKNOWN: Verdict.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One clause of a condition as it stands for one account, in JSON's types.

    ``clause`` is the comparison as the rule means it, with the ``not`` that it is under (then ``negated``), and
    ``result`` is whether that holds; ``comparison`` is the result without the ``not``. ``gap`` is value - threshold,
    None for words, flags and values that do not stand. ``clears`` is what would have to become true for the clause to
    stop holding, None if it does not hold.
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


@dataclass(frozen=True, slots=True)
class Explanation:
    """A rule's verdict on one account and the clauses that made it, in the order in which the rule writes them."""

    rule: str
    version: str
    verdict: Verdict
    leaves: tuple[Leaf, ...]
    because_not_applicable: bool = False
    stale: bool = False
    clear: Verdict | None = None
    clear_leaves: tuple[Leaf, ...] = ()

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        told: dict[str, Any] = {
            "rule": self.rule,
            "rule_version": self.version,
            "verdict": _RESULTS[self.verdict],
            "because_not_applicable": self.because_not_applicable,
            "stale_source": self.stale,
            "conditions": [asdict(leaf) for leaf in self.leaves],
        }
        if self.clear is not None:
            told["resolve_verdict"] = _RESULTS[self.clear]
            told["resolve_conditions"] = [asdict(leaf) for leaf in self.clear_leaves]
        return told


def explain(rule: Rule, readings: Readings, index: int, judgement: Judgement | None = None) -> Explanation:
    """The account at ``index``. ``judgement`` is the rule's on these readings, if it is at hand; else it is made."""
    at = index
    if judgement is None:
        judgement, at = rule.judge(_OneAccount(readings, index)), 0
    return Explanation(
        rule=rule.id,
        version=rule.version,
        verdict=Verdict(int(judgement.verdict[at])),
        leaves=_leaves(rule.when, rule, readings, index),
        because_not_applicable=bool(judgement.because_not_applicable[at]),
        stale=bool(judgement.stale[at]),
        clear=None if judgement.clear is None else Verdict(int(judgement.clear[at])),
        clear_leaves=_leaves(rule.resolve_when, rule, readings, index) if rule.resolve_when else (),
    )


def grounds(rule: Rule, readings: Readings, index: int) -> tuple[Comparison, ...]:
    """The comparisons that make the rule's condition true, as they stand under their ``not``; none if it is not true.

    Of an ``or`` only the sides that hold. A comparison that is true only because its value does not exist is one too.
    """

    def told(comparison: Comparison) -> Verdict:
        name = comparison.metric.name
        return _verdict(comparison, readings.values(name, rule.floors.get(name)), index)

    return tuple(_because(rule.when.root, told, Verdict.TRUE) or ())


def threshold(rule: Rule, metric: str, among: Collection[Comparison] = ()) -> Comparison | None:
    """The comparison of the rule's condition that a reader of the metric wants to see; None if it reads another.

    Where there are several, one of ``among``, then the first that is not under a ``not``.
    """
    found = [(negated, leaf) for leaf, negated in leaves(rule.when.root) if leaf.metric.name == metric]
    return min(found, key=lambda pair: (pair[1] not in among, pair[0]))[1] if found else None


def gap(comparison: Comparison, values: Values, index: int) -> float | None:
    """Value - threshold at ``index``, subtracted exactly; None for words, flags and values that do not stand."""
    if values.status[index] != Status.OK or not isinstance(comparison.threshold, Fraction):
        return None
    return float(_number(comparison, values, index) - comparison.threshold)


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
        return Values(whole.numerator[one], whole.denominator[one], whole.status[one], text)


def _because(node: Node, told: Callable[[Comparison], Verdict], wanted: Verdict) -> list[Comparison] | None:
    """The comparisons that give ``node`` the verdict ``wanted``, TRUE or FALSE; None if it has another."""
    match node:
        case Comparison():
            return [node] if told(node) is wanted else None
        case Not(operand):
            return _because(operand, told, _NEGATED[wanted])
    sides = [_because(operand, told, wanted) for operand in node.operands]
    needs_all = isinstance(node, And) is (wanted is Verdict.TRUE)
    met = [side for side in sides if side is not None]
    if not met or (needs_all and len(met) < len(sides)):
        return None
    return [comparison for side in met for comparison in side]


def _leaves(condition: Condition, rule: Rule, readings: Readings, index: int) -> tuple[Leaf, ...]:
    return tuple(
        _leaf(comparison, negated, readings.values(name, rule.floors.get(name)), index)
        for comparison, negated in leaves(condition.root)
        for name in (comparison.metric.name,)
    )


def _leaf(comparison: Comparison, negated: bool, values: Values, index: int) -> Leaf:
    compared = _verdict(comparison, values, index)
    verdict = _NEGATED[compared] if negated else compared
    turn = comparison if negated else comparison.opposite
    return Leaf(
        metric=comparison.metric.name,
        clause=f"not {comparison}" if negated else str(comparison),
        op=comparison.op.value,
        threshold=comparison.plain_threshold,
        value=plain(comparison.metric, values, index),
        status=Status(int(values.status[index])).word,
        result=_RESULTS[verdict],
        comparison=_RESULTS[compared],
        gap=gap(comparison, values, index),
        negated=negated,
        clears=str(turn) if verdict is Verdict.TRUE else None,
    )


def _verdict(comparison: Comparison, values: Values, index: int) -> Verdict:
    """One comparison for one account, as the sweep makes it for all."""
    status = values.status[index]
    if status != Status.OK:
        return Verdict.FALSE if status == Status.NOT_APPLICABLE else Verdict.UNKNOWN
    match comparison.threshold:
        case bool() as wanted:
            met = bool(values.numerator[index]) is wanted
        case Fraction() as edge:
            met = COMPARE[comparison.op](_number(comparison, values, index), edge)
        case words:
            listed = (words,) if isinstance(words, str) else words
            word = None if values.text is None else values.text[index]
            met = (word in listed) is (comparison.op in {Op.EQ, Op.IN})
    return Verdict.TRUE if met else Verdict.FALSE


def _number(comparison: Comparison, values: Values, index: int) -> Fraction:
    """The exact value; a count or a number of days is its numerator, as everywhere."""
    denominator = 1 if comparison.metric.kind in WHOLE else int(values.denominator[index])
    return Fraction(int(values.numerator[index]), denominator)
