"""Files that a command reads whole, to judge the past with them: events and outcomes; no database, nothing sent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import output
from app.cli.progress import Progress, progress
from consumers.errors import BellwetherError, ConfigurationError, SourceError

if TYPE_CHECKING:
    from alerts.backtest.outcomes import Outcomes
    from consumers.days import Calendar
    from consumers.history import History

Files = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="One JSON object a line, plain or gzipped.")
]
FromDay = Annotated[str, typer.Option("--from", metavar="DAY", help="The first day to judge, as 2026-11-22.")]
UntilDay = Annotated[str, typer.Option("--until", metavar="DAY", help="The last day to judge.")]
_READ_AT_ONCE = 10_000  # lines between two moves of the progress bar
_ACCOUNT, _CHURNED, _RENEWED = "account_id", "churned_on", "renewed_on"


def check_readable(files: Sequence[Path]) -> None:
    """Raises SourceError for the first that is missing, before anything is begun."""
    for file in files:
        if not file.exists():
            raise SourceError(f"{file} does not exist")
        if not os.access(file, os.R_OK):
            raise SourceError(f"{file} may not be read by this user")


def days(calendar: Calendar, from_: str, until: str) -> tuple[int | None, int | None]:
    """Both options as days, None where not given. Raises ConfigurationError."""
    first, last = day(calendar, from_, "--from"), day(calendar, until, "--until")
    if first is not None and last is not None and first > last:
        raise ConfigurationError(f"--from {from_} is after --until {until}\nname an earlier and a later day")
    return first, last


def read_files(
    files: Sequence[Path], calendar: Calendar, frozen_at: int | None, is_internal: Callable[[str], bool]
) -> History:
    """All events of the files, with a progress bar, but for those after now, which ``frozen_at`` may fix."""
    from app.clock import Clock
    from consumers.history import read_history

    now_us = Clock(frozen_at).now_us()  # else one stray date would move the end of the data by decades
    with progress(sum(file.stat().st_size for file in files)) as bar:
        return read_history(bodies(files, bar), calendar, now_us=now_us, is_internal=is_internal)


def rejected(history: History) -> dict[str, int]:
    """How many events were rejected, by reason; said on standard error as well."""
    found = history.totals.rejected
    for reason, count in found.most_common():
        output.note(f"{count:,} event{'s' * (count != 1)} rejected: {reason}")
    return dict(sorted(found.items()))


def read_outcomes(path: Path, calendar: Calendar) -> Outcomes:
    """A CSV file with ``account_id`` and ``churned_on``, ``renewed_on`` or both; other columns are ignored.

    It is read as every other one is that people and spreadsheets write. Dates are ``YYYY-MM-DD`` or instants. A row may
    have either date, both or none, and an account any number of rows. Raises SourceError with file and line for what
    cannot be read, and for churns that contradict each other.
    """
    from alerts.backtest.outcomes import Dated, outcomes_told
    from app.bulk.sheet import read_records

    records = read_records(path)
    header = records.header
    _check_columns(f"{path}:{records.found[0][0]}", header)
    rows, refused = records.rows(left_out=set(header).difference((_ACCOUNT, _CHURNED, _RENEWED)))
    if refused:
        raise SourceError(f"{path}:{min(refused, key=lambda refusal: refusal.line)}")
    dates: dict[str, list[Dated]] = {}
    for row in rows:
        account_id = row.cells.get(_ACCOUNT, "").strip()
        if not account_id:
            raise SourceError(f"{path}:{row.line}: no {_ACCOUNT}")
        own = dates.setdefault(account_id, [])
        for column in (_CHURNED, _RENEWED):
            if text := row.cells.get(column, "").strip():
                own.append(
                    Dated(
                        row.line,
                        _day_told(calendar, text, f"{path}:{row.line}: {column}"),
                        column == _CHURNED,
                    )
                )
    return outcomes_told(dates, path)


def _check_columns(place: str, header: Collection[str]) -> None:
    for name in (_ACCOUNT, _CHURNED, _RENEWED):
        if list(header).count(name) > 1:
            raise SourceError(f"{place}: two columns are called {name}\nkeep one of them")
    missing = _ACCOUNT if _ACCOUNT not in header else f"{_CHURNED} or {_RENEWED}"
    if _ACCOUNT not in header or not {_CHURNED, _RENEWED}.intersection(header):
        raise SourceError(
            f"{place}: its first line has no column {missing}\n"
            f"write the names of the columns there: {_ACCOUNT},{_CHURNED}"
        )


def _day_told(calendar: Calendar, text: str, place: str) -> int:
    try:
        return calendar.parse_day(text)
    except (ValueError, BellwetherError):
        raise SourceError(f"{place} {text[:40]!r} is not a day\nwrite it as 2026-11-22") from None


def day(calendar: Calendar, text: str, option: str) -> int | None:
    """An option as a day, None where it is empty. Raises ConfigurationError."""
    if not text:
        return None
    try:
        return calendar.parse_day(text)
    except (ValueError, BellwetherError):
        raise ConfigurationError(f"{option} {text!r} is not a day\nwrite it as 2026-11-22") from None


def bodies(files: Sequence[Path], bar: Progress) -> Iterator[bytes]:
    """The lines of the files, one after the other."""
    from consumers.file import FileSource

    for file in files:
        with contextlib.closing(FileSource(file)) as source:
            bar.begin(file.name)
            while chunks := source.poll(_READ_AT_ONCE, 0.0):
                for chunk in chunks:
                    yield from chunk.bodies
                    bar.move(source.read_bytes, len(chunk.bodies))
            bar.end(source.total_bytes)
