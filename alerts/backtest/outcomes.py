"""What became of accounts: on which days they churned, and on which they renewed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from consumers.errors import SourceError
from consumers.history import History


class Dated(NamedTuple):
    """A day on which a line of a file has an account churn, or renew."""

    line: int
    day: int
    churned: bool


class Term(NamedTuple):
    """Days [first..last] as a customer. ``churned`` is the day after the last one if that was the end of it."""

    first: int
    last: int
    churned: int | None


@dataclass(frozen=True, slots=True)
class Course:
    """One account's churns and renewals, each in order and each day once; no day is both.

    Two churns have a renewal between them.
    """

    churns: tuple[int, ...] = ()
    renewals: tuple[int, ...] = ()

    def terms(self, first: int, last: int) -> Iterator[Term]:
        """The terms of an account that is known since ``first``, as far as they begin by ``last``."""
        begins: int | None = first
        for churn in self.churns:
            if churn > last:
                break
            if begins is not None and begins < churn:
                yield Term(begins, churn - 1, churn)
            back = next((day for day in self.renewals if day > churn), None)
            begins = None if back is None else max(back, first)
        if begins is not None and begins <= last:
            yield Term(begins, last, None)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The courses of accounts, by id; those without one are customers throughout.

    ``settled_before_end`` is for how many days at the end of the data nothing can be said yet.
    """

    courses: Mapping[str, Course] = field(default_factory=dict)
    settled_before_end: int = 0

    def course(self, account_id: str) -> Course:
        """The account's, or one without events."""
        return self.courses.get(account_id, _UNEVENTFUL)


_UNEVENTFUL = Course()


def outcomes_told(dates: Mapping[str, Iterable[Dated]], path: Path) -> Outcomes:
    """From what a file says of each account; a date that it says twice counts once.

    Raises SourceError with file and line for churns that contradict each other.
    """
    return Outcomes({account_id: _course(path, account_id, own) for account_id, own in dates.items()})


def outcomes_of_silence(history: History, days: int) -> Outcomes:
    """Churn told from logins alone: an account has churned on the day after its last login if ``days`` days without one
    follow, and has renewed when it logs in again.

    Of the last ``days`` - 1 days of the data nobody can say so yet. An account that never logged in has no outcome.
    """
    logged_in: dict[str, list[int]] = {}
    for day, deltas in history.days():
        for account_id, delta in deltas.items():
            if delta.activity.logins:
                logged_in.setdefault(account_id, []).append(day)
    end = history.span[1] if history.span else 0
    courses = {}
    for account_id, seen in logged_in.items():
        gaps = [(day, after) for day, after in zip(seen, [*seen[1:], None], strict=True)]
        long = [(day, after) for day, after in gaps if (end + 1 if after is None else after) - day > days]
        if long:
            churns = tuple(day + 1 for day, _ in long)
            courses[account_id] = Course(churns, tuple(after for _, after in long if after is not None))
    return Outcomes(courses, settled_before_end=days - 1)


def _course(path: Path, account_id: str, dates: Iterable[Dated]) -> Course:
    ordered = sorted(set(dates), key=lambda row: (row.day, row.line))
    churned: Dated | None = None
    kinds: dict[int, bool] = {}
    for row in ordered:
        if kinds.setdefault(row.day, row.churned) != row.churned:
            raise SourceError(f"{path}:{row.line}: {account_id} churned and renewed on the same day")
        if row.churned and churned is not None and churned.day != row.day:
            raise SourceError(
                f"{path}:{row.line}: {account_id} churned already, in line {churned.line}\n"
                "say in renewed_on when it came back in between"
            )
        churned = row if row.churned else None
    return Course(
        tuple(day for day, churned_on in kinds.items() if churned_on),
        tuple(day for day, churned_on in kinds.items() if not churned_on),
    )
