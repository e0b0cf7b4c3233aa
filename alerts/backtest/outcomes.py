"""What became of accounts: on which days they churned, and on which they renewed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from consumers.days import Calendar
from consumers.errors import BellwetherError, SourceError
from consumers.history import History

_CHURNED, _RENEWED = "churned_on", "renewed_on"
_BOM = "\ufeff"


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


def read_outcomes(path: Path, calendar: Calendar) -> Outcomes:
    """A CSV file with ``account_id`` and ``churned_on``, ``renewed_on`` or both; other columns are ignored.

    Dates are ``YYYY-MM-DD`` or instants. A row may have either date, both or none, and an account any number of rows.
    Raises SourceError with file and line for what cannot be read, and for churns that contradict each other.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _outcomes(path, file, calendar)
    except UnicodeDecodeError:
        raise SourceError(f"{path}: not UTF-8 text\nsave it as CSV in UTF-8") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None


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


class _Row(NamedTuple):
    line: int
    day: int
    churned: bool


def _outcomes(path: Path, lines: Iterable[str], calendar: Calendar) -> Outcomes:
    reader = csv.reader(lines, strict=True)
    found: dict[str, list[_Row]] = {}
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        columns = _columns(path, names)
        for cells in reader:
            if not any(map(str.strip, cells)):
                continue
            line = reader.line_num
            if len(cells) != len(names):
                raise SourceError(f"{path}:{line}: {len(cells)} cells under {len(names)} column names")
            account_id = cells[names.index("account_id")].strip()
            if not account_id:
                raise SourceError(f"{path}:{line}: no account_id")
            rows = found.setdefault(account_id, [])
            for at, churned in columns:
                if text := cells[at].strip():
                    rows.append(_Row(line, _day(path, line, names[at], text, calendar), churned))
    except csv.Error as error:
        raise SourceError(f"{path}:{reader.line_num}: not CSV: {error}") from None
    return Outcomes({account_id: _course(path, account_id, rows) for account_id, rows in found.items()})


def _columns(path: Path, names: Sequence[str]) -> list[tuple[int, bool]]:
    """Where the dates are, and whether they are churns."""
    for name in ("account_id", _CHURNED, _RENEWED):
        if names.count(name) > 1:
            raise SourceError(f"{path}:1: two columns are called {name}")
    wanted = [(names.index(name), name == _CHURNED) for name in (_CHURNED, _RENEWED) if name in names]
    if "account_id" not in names or not wanted:
        raise SourceError(
            f"{path}:1: its first line has no column "
            + (
                "account_id"
                if wanted
                else f"{_CHURNED} or {_RENEWED}"
                if "account_id" in names
                else "account_id"
            )
            + "\nwrite the names of the columns there: account_id,churned_on"
        )
    return wanted


def _day(path: Path, line: int, column: str, text: str, calendar: Calendar) -> int:
    try:
        return calendar.parse_day(text)
    except (ValueError, BellwetherError):
        raise SourceError(
            f"{path}:{line}: {column} {text[:40]!r} is not a day\nwrite it as 2026-11-22"
        ) from None


def _course(path: Path, account_id: str, rows: Sequence[_Row]) -> Course:
    ordered = sorted(set(rows), key=lambda row: (row.day, row.line))
    churned: _Row | None = None
    kinds: dict[int, bool] = {}
    for row in ordered:
        if kinds.setdefault(row.day, row.churned) != row.churned:
            raise SourceError(f"{path}:{row.line}: {account_id} churned and renewed on the same day")
        if row.churned and churned is not None and churned.day != row.day:
            raise SourceError(
                f"{path}:{row.line}: {account_id} churned already, in line {churned.line}\n"
                f"say in {_RENEWED} when it came back in between"
            )
        churned = row if row.churned else None
    return Course(
        tuple(day for day, churned_on in kinds.items() if churned_on),
        tuple(day for day, churned_on in kinds.items() if not churned_on),
    )
