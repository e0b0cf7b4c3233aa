"""One metric of one account as a clause judges it: the numbers behind the value, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from alerts.alert import Verdict
from alerts.rules.condition import COMPARE
from alerts.rules.expression import WHOLE, Clause, Op, Significance
from alerts.rules.significance import is_significant
from alerts.values import Metric, Status, Values


@dataclass(frozen=True, slots=True)
class Reading:
    """One account's entry of :class:`~alerts.values.Values`, in Python's own integers."""

    numerator: int
    denominator: int = 1
    status: int = Status.OK
    text: str | None = None
    parts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Values, index: int) -> Reading:
        """The account at ``index``."""
        return cls(
            int(values.numerator.item(index)),  # of an array's entries item() is the cheapest
            int(values.denominator.item(index)),
            int(values.status.item(index)),
            None if values.text is None else values.text[index],
            {name: int(counts.item(index)) for name, counts in values.parts.items()},
        )

    def ratio(self, metric: Metric) -> tuple[int, int]:
        """The exact value over what; a count or a number of days is its numerator, as everywhere."""
        return self.numerator, 1 if metric.kind in WHOLE else self.denominator

    def verdict(self, clause: Clause) -> Verdict:
        """What the clause says of it, as the sweep says it for all accounts."""
        if self.status != Status.OK:
            return Verdict.FALSE if self.status == Status.NOT_APPLICABLE else Verdict.UNKNOWN
        return Verdict.TRUE if self.meets(clause) else Verdict.FALSE

    def meets(self, clause: Clause) -> bool:
        """Whether the clause holds of the numbers as they are, whatever their status."""
        if isinstance(clause, Significance):
            later, earlier = clause.counts
            return is_significant(self.parts[later], self.parts[earlier], clause.level)
        match clause.threshold:
            case Fraction() as edge:
                # cross-multiplied: what clears a clause is sought in many steps
                denominator = 1 if clause.metric.kind in WHOLE else self.denominator
                left, right = self.numerator * edge.denominator, edge.numerator * denominator
                return bool(COMPARE[clause.op](left, right))
            case bool() as wanted:
                return (bool(self.numerator) is wanted) is (clause.op is Op.EQ)
            case words:
                listed = (words,) if isinstance(words, str) else words
                return (self.text in listed) is (clause.op in {Op.EQ, Op.IN})
