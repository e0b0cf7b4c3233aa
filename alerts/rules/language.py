"""The rule language: one line over metric names, read with Python's own parser and a short whitelist.

    logins.change_28d <= -0.20 and logins.previous_28d >= 20
    0 <= renewal.days_to <= 90 and not sentiment.rating in ("green", "yellow")
    champion.departed
    logins.change_28d <= -0.20 and significant(logins.change_28d, 0.05)

``and`` ``or`` ``not`` ``( )``, the six comparisons and their chains, ``in`` and ``not in`` a list of words, numbers,
quoted text, ``true`` and ``false``, the names of metrics, and ``significant()``; nothing else. A comparison has a
metric on one side and a number or text on the other. Numbers keep the exact decimal that was written. A condition has
at most 1,000 characters, 50 comparisons and 20 levels; a number at most 9 digits on each side of its point, so that
most products fit 64 bits.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from alerts.rules.expression import (
    NUMERIC,
    WHOLE,
    And,
    Comparison,
    Node,
    Not,
    Op,
    Or,
    Significance,
    joined,
    leaves,
)
from alerts.rules.nearest import nearest, shown, unknown
from alerts.values import Kind, Metric
from consumers.errors import ConfigurationError

MAX_CHARACTERS = 1_000
MAX_COMPARISONS = 50
MAX_DEPTH = 20
MAX_DIGITS = 9
SIGNIFICANT = "significant"
_MOST_LEVEL = Fraction(1, 2)  # at one half and above, every odd total would be significant

_TOKEN = re.compile(
    r"""(?P<space>[ \t]+)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>[0-9]+(?:\.[0-9]+)?)
      | (?P<text>"[^"\\\n]*"|'[^'\\\n]*')
      | (?P<sign><=|>=|==|!=|[<>(),.\-])""",
    re.VERBOSE,
)

_HINTS = {
    "=": "write == to compare, or <= and >=",
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`, or != to compare",
    "%": "write 20% as 0.20",
    "−": "write a plain - for minus",
    "–": "write a plain - for minus",
    "≤": "write <=",
    "≥": "write >=",
    "\n": "a condition is one line",
    '"': "this quote is not closed, or there is a backslash in the text",
    "'": "this quote is not closed, or there is a backslash in the text",
    "“": 'write plain quotes "',
    "”": 'write plain quotes "',
}

_OPS: dict[type[ast.cmpop], Op] = {
    ast.Lt: Op.LT,
    ast.LtE: Op.LE,
    ast.Gt: Op.GT,
    ast.GtE: Op.GE,
    ast.Eq: Op.EQ,
    ast.NotEq: Op.NE,
    ast.In: Op.IN,
    ast.NotIn: Op.NOT_IN,
}

_ORDERS = frozenset({Op.LT, Op.LE, Op.GT, Op.GE})
_LISTS = frozenset({Op.IN, Op.NOT_IN})
_NOUNS = {
    Kind.RATIO: "a ratio",
    Kind.COUNT: "a count",
    Kind.DAYS: "a number of days",
    Kind.POINTS: "a score of 100",
    Kind.MONEY: "an amount of money",
}
_BOOLEANS = {"true": True, "false": False}


class ConditionError(ConfigurationError):
    """A condition that cannot be read; ``offset`` counts characters from its start."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message, offset)
        self.message = message
        self.offset = offset

    def __str__(self) -> str:
        return f"column {self.offset + 1}: {self.message}"


def parse(text: str, catalogue: Mapping[str, Metric]) -> Node:
    """The tree of a condition, every comparison checked against the catalogue. Raises ConditionError."""
    if len(text) > MAX_CHARACTERS:
        raise ConditionError(f"a condition has at most {MAX_CHARACTERS:,} characters", MAX_CHARACTERS)
    source = text.rstrip()
    start = len(source) - len(source.lstrip())
    if not source:
        raise ConditionError("the condition is empty", 0)
    _check_characters(source, start)
    try:
        tree = ast.parse(source[start:], mode="eval")
    except SyntaxError as error:
        # an error at the very end comes with no offset, or with one on a line that is not there
        offset = start + error.offset - 1 if error.offset else len(source)
        if offset >= len(source):
            raise ConditionError("the condition ends too early", len(source)) from None
        raise ConditionError(f"cannot be read here: {error.msg}", offset) from None
    except (MemoryError, RecursionError, ValueError):  # the parser's own limits on nesting
        raise ConditionError("nested too deeply", start) from None
    node = _Reader(source, start, catalogue).condition(tree.body, depth=1)
    if sum(1 for _ in leaves(node)) > MAX_COMPARISONS:
        raise ConditionError(f"a condition has at most {MAX_COMPARISONS} comparisons", start)
    return node


def _check_characters(source: str, start: int) -> None:
    """Refuse what Python's grammar would take: prefixes, exponents, escapes, names beyond ASCII, two texts in a row."""
    before: re.Match[str] | None = None
    for token in _tokens(source, start):
        touches = before is not None and before.end() == token.start()
        if touches and before is not None and before.lastgroup in {"number", "text"}:
            if token.lastgroup in {"name", "number", "text"} or (
                before.lastgroup == "number" and token.group() == "."
            ):
                raise ConditionError(
                    f'unexpected "{shown(token.group())}" right after a value', token.start()
                )
        elif touches and token.lastgroup == "text" and before is not None and before.lastgroup == "name":
            raise ConditionError("text has no prefix: put a space before the quote", token.start())
        if token.lastgroup == "space":
            continue
        if before is not None and before.lastgroup == token.lastgroup == "text":
            raise ConditionError("two texts in a row: a comma is missing", token.start())
        before = token


def _tokens(source: str, start: int) -> Iterator[re.Match[str]]:
    position = start
    while position < len(source):
        token = _TOKEN.match(source, position)
        if token is None:
            hint = _HINTS.get(source[position])
            unexpected = f"unexpected {shown(source[position])!r}"
            raise ConditionError(f"{unexpected}: {hint}" if hint else unexpected, position)
        yield token
        position = token.end()


@dataclass(frozen=True, slots=True)
class _Literal:
    value: Fraction | bool | str | tuple[str, ...]
    offset: int
    offsets: tuple[int, ...] = ()  # of the words of a list


@dataclass(frozen=True, slots=True)
class _Named:
    metric: Metric
    offset: int


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns Python's tree into ours, refusing what is not on the whitelist."""

    source: str
    start: int
    catalogue: Mapping[str, Metric]

    def condition(self, node: ast.expr, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise ConditionError("nested too deeply", self._offset(node))
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                return joined(And, [self.condition(value, depth + 1) for value in values])
            case ast.BoolOp(op=ast.Or(), values=values):
                return joined(Or, [self.condition(value, depth + 1) for value in values])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Not(self.condition(operand, depth + 1))
            case ast.Compare():
                return self._comparisons(node)
            case ast.Call(func=ast.Name()):
                return self._significance(node)
            case _:
                return self._bare(self._operand(node))

    def _bare(self, operand: _Named | _Literal) -> Node:
        if isinstance(operand, _Literal):
            raise ConditionError("a condition must read a metric here, not a value alone", operand.offset)
        metric = operand.metric
        if metric.kind is not Kind.FLAG:
            raise ConditionError(
                f"{metric.name} stands alone: compare it, as in `{_example(metric)}`", operand.offset
            )
        return Comparison(metric, Op.EQ, True)

    def _significance(self, node: ast.Call) -> Node:
        """``significant(metric, level)``, the one function there is."""
        offset = self._offset(node)
        assert isinstance(node.func, ast.Name)
        if node.func.id != SIGNIFICANT:
            close = nearest(node.func.id, [SIGNIFICANT])
            hint = f': did you mean "{close}"?' if close else ""
            raise ConditionError(f"there are no functions in a condition but {SIGNIFICANT}(){hint}", offset)
        if len(node.args) != 2 or node.keywords:
            raise ConditionError(
                f"{SIGNIFICANT}() wants a metric and a level, as in `{SIGNIFICANT}(logins.change_28d, 0.05)`",
                offset,
            )
        named, level = (self._operand(argument) for argument in node.args)
        if isinstance(named, _Literal):
            raise ConditionError(f"{SIGNIFICANT}() wants a metric first", named.offset)
        if named.metric.counts is None:
            fit = ", ".join(name for name, metric in self.catalogue.items() if metric.counts is not None)
            raise ConditionError(
                f"{named.metric.name} is no change of two counts: {SIGNIFICANT}() can test {fit or 'none'}",
                named.offset,
            )
        value = level.value if isinstance(level, _Literal) else None
        if not isinstance(value, Fraction) or not 0 < value < _MOST_LEVEL:
            raise ConditionError("the level is a number above 0 and below 0.5, as in 0.05", level.offset)
        return Significance(named.metric, value)

    def _comparisons(self, node: ast.Compare) -> Node:
        ops = []
        for op in node.ops:
            if type(op) not in _OPS:
                raise ConditionError("`is` is not part of the language: write ==", self._offset(node))
            ops.append(_OPS[type(op)])
        if len(ops) > 1 and _LISTS.intersection(ops):
            raise ConditionError("`in` cannot be part of a chain", self._offset(node))
        operands = [self._operand(node.left), *(self._operand(right) for right in node.comparators)]
        if ops[0] in _LISTS and isinstance(operands[1], _Literal):
            operands[1] = self._listed(operands[1])
        pairs = zip(ops, pairwise(operands), strict=True)
        return joined(And, [_comparison(left, op, right) for op, (left, right) in pairs])

    def _listed(self, literal: _Literal) -> _Literal:
        """``in ("red")`` is a list of one, although Python reads the brackets away."""
        if isinstance(literal.value, tuple):
            return literal
        if isinstance(literal.value, str) and self.source[: literal.offset].rstrip().endswith("("):
            return _Literal((literal.value,), literal.offset, (literal.offset,))
        raise ConditionError('`in` wants words in brackets: ("red", "yellow")', literal.offset)

    def _operand(self, node: ast.expr) -> _Named | _Literal:
        offset = self._offset(node)
        match node:
            case ast.Name(id=name) if name in _BOOLEANS:
                return _Literal(_BOOLEANS[name], offset)
            case ast.Name() | ast.Attribute():
                return self._named(node)
            case ast.Constant(value=bool() | None):
                raise ConditionError("write true or false, in small letters", offset)
            case ast.Constant(value=str() as text):
                return _Literal(text, offset)
            case ast.Constant():
                return _Literal(self._number(node), offset)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float()) as digits) if (
                not isinstance(digits.value, bool)
            ):
                return _Literal(-self._number(digits), offset)
            case ast.Tuple(elts=elements):
                words = [self._word(element) for element in elements]
                return _Literal(tuple(words), offset, tuple(self._offset(element) for element in elements))
            case ast.BinOp() | ast.UnaryOp(op=ast.USub()):
                raise ConditionError("there is no arithmetic in a condition", offset)
            case ast.Call(func=ast.Name(id=name)) if name == SIGNIFICANT:
                raise ConditionError(
                    f"{SIGNIFICANT}() is true or false: write it alone, or after `not`", offset
                )
            case ast.Call():
                raise ConditionError(f"there are no functions in a condition but {SIGNIFICANT}()", offset)
            case ast.BoolOp() | ast.Compare() | ast.UnaryOp():
                raise ConditionError("a comparison cannot be compared", offset)
            case _:
                raise ConditionError("this is not part of the language", offset)

    def _named(self, node: ast.expr) -> _Named:
        offset = self._offset(node)
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            raise ConditionError("this is not the name of a metric", offset)
        name = ".".join((node.id, *reversed(parts)))
        metric = self.catalogue.get(name)
        if metric is None:
            raise ConditionError(unknown("metric", name, self.catalogue), offset)
        return _Named(metric, offset)

    def _number(self, node: ast.Constant) -> Fraction:
        offset = self._offset(node)
        digits = _TOKEN.match(self.source, offset)
        assert digits is not None
        if digits.lastgroup != "number":  # Python reads .5, a decimal has a digit before its point
            raise ConditionError("write a digit before the point, as in 0.5", offset)
        whole, _, decimals = digits.group().partition(".")
        if len(whole) > MAX_DIGITS or len(decimals) > MAX_DIGITS:
            raise ConditionError(
                f"a number has at most {MAX_DIGITS} digits on each side of its point", offset
            )
        return Fraction(digits.group())

    def _word(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        raise ConditionError('a list holds quoted words: ("red", "yellow")', self._offset(node))

    def _offset(self, node: ast.expr) -> int:
        """Python counts bytes, people count characters."""
        before = self.source[self.start :].encode()[: node.col_offset]
        return self.start + len(before.decode())


def _comparison(left: _Named | _Literal, op: Op, right: _Named | _Literal) -> Comparison:
    if isinstance(left, _Named) and isinstance(right, _Named):
        raise ConditionError("compare a metric with a number or text, not with another metric", right.offset)
    if isinstance(left, _Literal) and isinstance(right, _Literal):
        raise ConditionError("one side of a comparison must be a metric", left.offset)
    if isinstance(left, _Literal):
        if op in _LISTS:
            raise ConditionError(f'the metric comes first: metric {op} ("red", "yellow")', left.offset)
        left, op, right = right, op.mirrored, left
    assert isinstance(left, _Named)
    assert isinstance(right, _Literal)
    _check_types(left.metric, op, right)
    if isinstance(right.value, bool) and op is Op.NE:  # one spelling of one meaning
        return Comparison(left.metric, Op.EQ, not right.value)
    return Comparison(left.metric, op, right.value)


def _check_types(metric: Metric, op: Op, literal: _Literal) -> None:
    value, offset = literal.value, literal.offset
    if metric.kind in NUMERIC:
        if isinstance(value, bool) or not isinstance(value, Fraction):
            raise ConditionError(f"{metric.name} is {_NOUNS[metric.kind]}: compare it with a number", offset)
        if metric.kind in WHOLE and value.denominator != 1 and op not in _ORDERS:
            raise ConditionError(f"{metric.name} is a whole number and never equals this one", offset)
    elif metric.kind is Kind.FLAG:
        if not isinstance(value, bool):
            raise ConditionError(f"{metric.name} is true or false: write it alone, or after `not`", offset)
        if op in _ORDERS:
            raise ConditionError(f"{metric.name} is true or false and has no order", offset)
    else:
        if not isinstance(value, (str, tuple)):
            raise ConditionError(f"{metric.name} is text: compare it with quoted text", offset)
        if op in _ORDERS or (isinstance(value, tuple) and op not in _LISTS):
            raise ConditionError(f"{metric.name} is text: compare it with ==, !=, in or not in", offset)
        _check_words(metric, literal)


def _check_words(metric: Metric, literal: _Literal) -> None:
    words = literal.value if isinstance(literal.value, tuple) else (literal.value,)
    if not words:
        raise ConditionError("the list is empty", literal.offset)
    for word, offset in zip(words, literal.offsets or (literal.offset,), strict=True):
        assert isinstance(word, str)
        if metric.words and word not in metric.words:
            raise ConditionError(unknown("word", word, metric.words, f" for {metric.name}"), offset)


def _example(metric: Metric) -> str:
    match metric.kind:
        case Kind.TEXT:
            return f'{metric.name} == "{metric.words[0] if metric.words else "…"}"'
        case Kind.RATIO:
            return f"{metric.name} <= 0.20"
        case _:
            return f"{metric.name} >= 1"
