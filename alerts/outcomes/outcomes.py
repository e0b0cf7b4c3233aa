"""Outcomes over a portfolio: retention by month, by segment and by account, and monthly churn (METRICS section 4).

A month's t is the close of its last day, and of the month that is still running the close of the last complete day D.
An account with MRR in another than the reporting currency at either end of a span is left out of it whole, and counted:
whether it came, grew or left cannot be told from a part of what it pays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from alerts.arrays import BoolArray, IntArray
from alerts.outcomes.books import Books
from alerts.outcomes.months import Month, year_before
from alerts.outcomes.movement import Movement, Waterfall, movement, movements
from alerts.values import Status

CHURN_MONTHS = 13


@dataclass(frozen=True, slots=True)
class Span:
    """From the close of the day ``start`` to that of ``end``; ``complete`` says whether the month is over."""

    month: Month
    start: int
    end: int
    complete: bool

    @classmethod
    def year_to(cls, month: Month, as_of: int) -> Span:
        """The twelve months that end with ``month``, or with D while it runs."""
        end = min(month.last_day, as_of)
        return cls(month, year_before(end), end, month.last_day <= as_of)

    @classmethod
    def month_itself(cls, month: Month, as_of: int) -> Span:
        """From the close of the day before the month's first."""
        return cls(month, month.first_day - 1, min(month.last_day, as_of), month.last_day <= as_of)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a cohort over a span. ``status`` is that of every rate: ok, not_applicable when S is 0,
    insufficient_history when the portfolio's first subscription came after the start, unknown when none ever came."""

    span: Span
    status: Status
    movement: Movement


class Outcomes:
    """Those of ``months`` calendar months up to ``at``; D is ``as_of``.

    ``subscribed`` is the first day on which the portfolio received a subscription, None if it never did. Raises
    ValueError if ``at`` begins after D.
    """

    def __init__(self, books: Books, at: Month, months: int, *, as_of: int, subscribed: int | None) -> None:
        if at.first_day > as_of:
            raise ValueError(f"{at} has no complete day yet")
        self.books = books
        self._subscribed = subscribed
        self.spans = [Span.year_to(at.before(back), as_of) for back in reversed(range(months))]
        self.churn_spans = [
            Span.month_itself(at.before(back), as_of) for back in reversed(range(CHURN_MONTHS))
        ]

    @property
    def span(self) -> Span:
        """The twelve months up to ``at``."""
        return self.spans[-1]

    @cached_property
    def months(self) -> Sequence[Outcome]:
        """The trailing twelve months at the end of each month, the oldest first."""
        return [self._outcome(span, movement(*self._ends(span))) for span in self.spans]

    @cached_property
    def churn(self) -> Sequence[Outcome]:
        """Thirteen calendar months by themselves, the oldest first: logos and MRR that were there at the month's start
        and gone at its end."""
        return [self._outcome(span, movement(*self._ends(span))) for span in self.churn_spans]

    @cached_property
    def waterfall(self) -> Waterfall:
        """Each account's twelve months up to ``at``."""
        return Waterfall.between(*self._ends(self.span))

    def segments(self, name: str) -> Mapping[str | None, Outcome]:
        """The twelve months up to ``at`` by a segment as it was at their start, by name, the untold last.

        Together they are the whole, to the account and to the cent.
        """
        groups, names = self.books.segments(name, self.span.start)
        parts = movements(*self._ends(self.span), groups, len(names))
        found = [
            (segment, self._outcome(self.span, part))
            for segment, part in zip(names, parts, strict=True)
            if part.accounts or part.new_accounts
        ]
        return dict(sorted(found, key=lambda each: (each[0] is None, each[0] or "")))

    def left_out(self) -> dict[str, int]:
        """How many accounts had MRR in another currency at either end of any span, by currency."""
        return self.books.left_out(self._days)

    def churned_with_mrr(self) -> int:
        """Accounts whose lifecycle is ``churned`` at t and that have MRR all the same: MRR decides, so they count."""
        return int((self.books.churned(self.span.end) & (self._mrr[self.span.end] > 0)).sum())

    @property
    def _days(self) -> set[int]:
        return {day for span in (*self.spans, *self.churn_spans) for day in (span.start, span.end)}

    @cached_property
    def _mrr(self) -> Mapping[int, IntArray]:
        return self.books.mrr(self._days)

    @cached_property
    def _foreign(self) -> Mapping[int, BoolArray]:
        return self.books.foreign(self._days)

    def _ends(self, span: Span) -> tuple[IntArray, IntArray]:
        """Cents per account at both ends, 0 and 0 of those that are left out."""
        counted = ~(self._foreign[span.start] | self._foreign[span.end])
        return self._mrr[span.start] * counted, self._mrr[span.end] * counted

    def _outcome(self, span: Span, moved: Movement) -> Outcome:
        if self._subscribed is None:
            return Outcome(span, Status.UNKNOWN, moved)
        if self._subscribed > span.start:
            return Outcome(span, Status.INSUFFICIENT_HISTORY, moved)
        return Outcome(span, Status.OK if moved.start else Status.NOT_APPLICABLE, moved)
