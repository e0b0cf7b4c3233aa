"""What would clear it: the smallest change after which a clause, or a whole condition, says something else.

Found exactly, on the integers that the verdict rests on: with one unit less the clause still says what it says. Of a
whole condition the clauses are cleared that need to be: one side of an ``and``, every side of an ``or`` that holds. A
change that moves several metrics at once (an active seat is one less unused) is told once, and the condition is judged
again with it before it is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from alerts.alert import Verdict
from alerts.rules.expression import (
    NUMERIC,
    WHOLE,
    And,
    Clause,
    Comparison,
    Node,
    Not,
    Op,
    Or,
    Significance,
)
from alerts.rules.levers import LEVERS, Move, Option, Sort, Turn
from alerts.rules.reading import Reading
from alerts.values import Status

_NEGATED = {Verdict.TRUE: Verdict.FALSE, Verdict.FALSE: Verdict.TRUE, Verdict.UNKNOWN: Verdict.UNKNOWN}
_ROUNDS = (
    4  # a clause that a change breaks is looked at again; what then still turns in circles has no answer
)


@dataclass(frozen=True, slots=True)
class Change:
    """One lever of one metric pulled: ``units`` of a move, or an act (then 1)."""

    metric: str
    option: Option
    units: int
    text: str

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two changes one: the same thing done, or another word for the same metric."""
        if isinstance(self.option, Move):
            return (self.option.text, self.option.many)
        return (self.metric,)

    def describe(self) -> dict[str, Any]:
        """As JSON: ``{"text": "31 more logins", "by": 31, "unit": "logins"}``; an act has no number."""
        if isinstance(self.option, Move):
            return {"text": self.text, "by": self.units, "unit": self.option.many}
        return {"text": self.text, "by": None, "unit": None}


def smallest_change(clause: Clause, reading: Reading) -> Change | None:
    """The smallest change after which the clause says the opposite of what it says of the account now.

    None where nothing does it, and where the value does not stand.
    """
    if reading.status != Status.OK:
        return None
    wanted = _NEGATED[reading.verdict(clause)]
    found = [
        change
        for option in LEVERS.get(clause.metric.name, ())
        if (change := _pulled(option, clause, reading, wanted)) is not None
    ]
    return min(found, key=lambda change: (change.option.sort, change.units), default=None)


def way_out(goal: Node, wanted: Verdict, reading_of: Callable[[str], Reading]) -> tuple[Change, ...] | None:
    """The smallest changes after which ``goal`` has the verdict ``wanted``, TRUE or FALSE; None if there are none.

    ``reading_of`` gives the account's reading of a metric. Of several ways the one that somebody can go, then the one
    of fewest changes, then of fewest units, then the first that the condition names. No fraction is brought to an
    exact number: one change moves several metrics, and what brings one to its number takes another from it.
    """
    world = _World(reading_of)
    for _ in range(_ROUNDS):
        needed = _needed(goal, wanted, world.reading)
        if needed is None:
            return None
        if not needed:
            return tuple(world.done.values())
        if not world.pull(needed):
            return None
    return tuple(world.done.values()) if _needed(goal, wanted, world.reading) == () else None


def _is_to_hit(clause: Clause, wanted: Verdict) -> bool:
    """Whether a fraction would have to become an exact number."""
    if not isinstance(clause, Comparison) or clause.op is not (Op.EQ if wanted is Verdict.TRUE else Op.NE):
        return False
    return clause.metric.kind in NUMERIC and clause.metric.kind not in WHOLE


def described(changes: tuple[Change, ...] | None) -> dict[str, Any] | None:
    """Changes as JSON: one text, and each step with its metric; None if there are none."""
    if not changes:
        return None
    return {
        "text": " and ".join(change.text for change in changes),
        "steps": [{"metric": change.metric, **change.describe()} for change in changes],
    }


class _World:
    """The account as it would be once some changes were made."""

    def __init__(self, reading_of: Callable[[str], Reading]) -> None:
        self._reading_of = reading_of
        self.done: dict[tuple[str, ...], Change] = {}

    def reading(self, metric: str) -> Reading:
        """The metric's reading, moved by all that was done."""
        reading = self._reading_of(metric)
        if reading.status != Status.OK:
            return reading
        for change in self.done.values():
            if isinstance(change.option, Turn):
                if change.metric == metric:
                    reading = change.option.after(reading)
                continue
            for option in LEVERS.get(metric, ()):
                if isinstance(option, Move) and (option.text, option.many) == change.key:
                    reading = option.after(reading, change.units)
        return reading

    def pull(self, changes: tuple[Change, ...]) -> bool:
        """Make more changes; False where two of them are against each other: more and fewer of the same."""
        before = {key: change.units for key, change in self.done.items()}
        for change in changes:
            if isinstance(change.option, Turn):
                self.done[change.key] = change
                continue
            if self._is_against(change.option):
                return False
            first = self.done.get(change.key, replace(change, units=0))
            units = max(before.get(change.key, 0) + change.units, first.units)
            self.done[change.key] = replace(first, units=units, text=change.option.told(units))
        return True

    def _is_against(self, move: Move) -> bool:
        return any(
            isinstance(other.option, Move)
            and other.option.many == move.many
            and other.option.step != move.step
            for other in self.done.values()
        )


def _needed(node: Node, wanted: Verdict, reading_of: Callable[[str], Reading]) -> tuple[Change, ...] | None:
    """Changes that give ``node`` the verdict, unless they get into each other's way; None if there are none."""
    match node:
        case Comparison() | Significance():
            reading = reading_of(node.metric.name)
            if reading.verdict(node) is wanted:
                return ()
            change = None if _is_to_hit(node, wanted) else smallest_change(node, reading)
            return None if change is None else (change,)
        case Not(operand):
            return _needed(operand, _NEGATED[wanted], reading_of)
        case And(operands) | Or(operands):
            sides = [_needed(operand, wanted, reading_of) for operand in operands]
    ways = [side for side in sides if side is not None]
    if isinstance(node, And) is (wanted is Verdict.TRUE):
        if len(ways) < len(sides):
            return None
        return tuple(change for way in ways for change in way)
    best = ways[0] if ways else None
    for way in ways[1:]:
        if best is not None and _is_less(way, best):
            best = way
    return best


def _is_less(way: tuple[Change, ...], other: tuple[Change, ...]) -> bool:
    """Whether a way is smaller than one that the condition names before it."""

    def cost(changes: tuple[Change, ...]) -> tuple[int, int]:
        return max((change.option.sort for change in changes), default=Sort.WORK), len(
            {change.key for change in changes}
        )

    if cost(way) != cost(other):
        return cost(way) < cost(other)
    mine, theirs = _units(way), _units(other)
    return mine.keys() == theirs.keys() and sum(mine.values()) < sum(theirs.values())


def _units(way: tuple[Change, ...]) -> dict[tuple[str, ...], int]:
    units: dict[tuple[str, ...], int] = {}
    for change in way:
        units[change.key] = max(units.get(change.key, 0), change.units)
    return units


def _pulled(option: Option, clause: Clause, reading: Reading, wanted: Verdict) -> Change | None:
    """The smallest use of one lever that gives the clause the verdict; None if no use of it does."""
    name = clause.metric.name
    if isinstance(option, Turn):
        fits = option.word is None or option.word == reading.text
        if not fits or option.after(reading).verdict(clause) is not wanted:
            return None
        return Change(name, option, 1, option.told(reading))
    units = _least(option, clause, reading, wanted)
    return None if units is None else Change(name, option, units, option.told(units))


def _least(move: Move, clause: Clause, reading: Reading, wanted: Verdict) -> int | None:
    """The smallest number of units: on the way to ``edge`` the verdict changes once, so halving finds where."""
    edge, most, near = clause, move.limit(reading), 1
    holds = wanted is Verdict.TRUE
    if isinstance(clause, Significance):
        if wanted is Verdict.FALSE:  # beyond the other count the change is significant again, the other way
            later, earlier = clause.counts
            most = min(most, abs(reading.parts[later] - reading.parts[earlier]))
    else:
        if (clause.op is Op.EQ) is holds and clause.op in {
            Op.EQ,
            Op.NE,
        }:  # a number is to be hit: first reached
            below = reading.meets(Comparison(clause.metric, Op.LT, clause.threshold))
            edge, holds = Comparison(clause.metric, Op.GE if below else Op.LE, clause.threshold), True
        near = _near(move, clause, reading)

    def turns(units: int) -> bool:
        return move.after(reading, units).meets(edge) is holds

    if most < 1 or not turns(most):
        return None
    low, high = 0, most  # it has turned with high, not yet with low
    for guess in (near, near + 1, near - 1):
        if low < guess < high:
            low, high = (low, guess) if turns(guess) else (guess, high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if turns(middle) else (middle, high)
    return high if move.after(reading, high).verdict(clause) is wanted else None


def _near(move: Move, clause: Comparison, reading: Reading) -> int:
    """Where the value meets the threshold if each unit does as much as the first: a guess to begin with."""
    if not isinstance(clause.threshold, Fraction):
        return 1
    p, q = clause.threshold.numerator, clause.threshold.denominator
    denominator = 1 if clause.metric.kind in WHOLE else reading.denominator
    first = move.after(reading, 1)
    more = first.denominator - denominator if clause.metric.kind not in WHOLE else 0
    pace = (first.numerator - reading.numerator) * q - p * more
    return (p * denominator - reading.numerator * q) // pace if pace else 1
