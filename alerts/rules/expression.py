"""The tree of a condition: comparisons and tests of one metric, joined by ``and``, ``or`` and ``not``.

Values only, valid when built by :mod:`alerts.rules.language`. ``str()`` gives one canonical spelling, so that two texts
that mean the same have the same rule version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

from alerts.values import Kind, Metric

Threshold = Fraction | bool | str | tuple[str, ...]

NUMERIC = frozenset({Kind.RATIO, Kind.COUNT, Kind.DAYS, Kind.POINTS, Kind.MONEY})
WHOLE = frozenset({Kind.COUNT, Kind.DAYS})  # the numerator is the value


class Op(StrEnum):
    """How a metric is compared with a threshold."""

    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    EQ = "=="
    NE = "!="
    IN = "in"
    NOT_IN = "not in"

    @property
    def mirrored(self) -> Op:
        """The same comparison with its sides swapped: ``0 <= x`` is ``x >= 0``."""
        return _MIRRORED.get(self, self)

    @property
    def opposite(self) -> Op:
        """The comparison that holds of a known value exactly when this one does not."""
        return _OPPOSITE[self]


_MIRRORED = {Op.LT: Op.GT, Op.LE: Op.GE, Op.GT: Op.LT, Op.GE: Op.LE}
_OPPOSITE = {
    Op.LT: Op.GE,
    Op.LE: Op.GT,
    Op.GT: Op.LE,
    Op.GE: Op.LT,
    Op.EQ: Op.NE,
    Op.NE: Op.EQ,
    Op.IN: Op.NOT_IN,
    Op.NOT_IN: Op.IN,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A leaf. A number is an exact fraction, ``in`` has a tuple of words, a bare flag is ``== true``."""

    metric: Metric
    op: Op
    threshold: Threshold

    def __str__(self) -> str:
        if self.threshold is True and self.op is Op.EQ:
            return self.metric.name
        return f"{self.metric.name} {self.op} {_spelt(self.threshold)}"

    @property
    def opposite(self) -> Comparison:
        """What would have to become true for this one to become false."""
        if isinstance(self.threshold, bool):
            return Comparison(self.metric, self.op, not self.threshold)
        return Comparison(self.metric, self.op.opposite, self.threshold)

    @property
    def plain_threshold(self) -> Any:
        """The threshold as JSON shows it: int, float, bool, str, a list of str; money as text."""
        match self.threshold:
            case Fraction() as number:
                if self.metric.kind is Kind.MONEY:
                    return f"{number.numerator / number.denominator:.2f}"
                return int(number) if number.denominator == 1 else float(number)
            case tuple() as words:
                return list(words)
            case other:
                return other


@dataclass(frozen=True, slots=True)
class Significance:
    """A leaf: the two counts whose change the metric is differ by more than chance, at a level between 0 and 1/2."""

    metric: Metric
    level: Fraction

    def __str__(self) -> str:
        return f"significant({self.metric.name}, {spelt_number(self.level)})"

    @property
    def counts(self) -> tuple[str, str]:
        """The metric's parts that are compared, later one first."""
        assert self.metric.counts is not None, "the parser admits only changes of two counts"
        return self.metric.counts

    @property
    def plain_threshold(self) -> float:
        """The level as JSON shows it."""
        return float(self.level)


@dataclass(frozen=True, slots=True)
class Not:
    """True where the operand is false; what cannot be told stays so."""

    operand: Node

    def __str__(self) -> str:
        return f"not {_bracketed(self.operand, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    """True where all are, false where one is."""

    operands: tuple[Node, ...]

    def __str__(self) -> str:
        return " and ".join(_bracketed(operand, Or) for operand in self.operands)


@dataclass(frozen=True, slots=True)
class Or:
    """True where one is, false where all are."""

    operands: tuple[Node, ...]

    def __str__(self) -> str:
        return " or ".join(str(operand) for operand in self.operands)


Clause = Comparison | Significance
Node = Clause | Not | And | Or


def joined(kind: type[And] | type[Or], operands: Iterable[Node]) -> Node:
    """The operands under one ``and`` or ``or``; one of the same sort inside it is taken apart."""
    flat: list[Node] = []
    for operand in operands:
        if isinstance(operand, (And, Or)) and isinstance(operand, kind):
            flat.extend(operand.operands)
        else:
            flat.append(operand)
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def leaves(node: Node, *, negated: bool = False) -> Iterator[tuple[Clause, bool]]:
    """Every clause from left to right, with whether an odd number of ``not`` stands before it."""
    match node:
        case Comparison() | Significance():
            yield node, negated
        case Not(operand):
            yield from leaves(operand, negated=not negated)
        case And(operands) | Or(operands):
            for operand in operands:
                yield from leaves(operand, negated=negated)


def spelt_number(number: Fraction) -> str:
    """A threshold's exact decimal: thresholds are written as decimals, so there is always one."""
    return format(Decimal(number.numerator) / Decimal(number.denominator), "f")


def _spelt(threshold: Threshold) -> str:
    match threshold:
        case bool():
            return "true" if threshold else "false"
        case Fraction():
            return spelt_number(threshold)
        case str():
            return _quoted(threshold)
        case _:
            return f"({', '.join(_quoted(word) for word in threshold)})"


def _quoted(word: str) -> str:
    return f"'{word}'" if '"' in word else f'"{word}"'


def _bracketed(node: Node, *kinds: type[Node]) -> str:
    return f"({node})" if isinstance(node, kinds) else str(node)
