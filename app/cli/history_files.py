"""Files of events that a command reads whole, to judge the past with them: no database, nothing sent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.progress import Progress, progress
from consumers.errors import BellwetherError, ConfigurationError, SourceError

if TYPE_CHECKING:
    from consumers.days import Calendar
    from consumers.history import History

Files = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="One JSON object a line, plain or gzipped.")
]
FromDay = Annotated[str, typer.Option("--from", metavar="DAY", help="The first day to judge, as 2026-11-22.")]
UntilDay = Annotated[str, typer.Option("--until", metavar="DAY", help="The last day to judge.")]
_READ_AT_ONCE = 10_000  # lines between two moves of the progress bar


def check_readable(files: Sequence[Path]) -> None:
    """Raises SourceError for the first that is missing, before anything is begun."""
    for file in files:
        if not file.exists():
            raise SourceError(f"{file} does not exist")
        if not os.access(file, os.R_OK):
            raise SourceError(f"{file} may not be read by this user")


def days(calendar: Calendar, from_: str, until: str) -> tuple[int | None, int | None]:
    """Both options as days, None where not given. Raises ConfigurationError."""
    first, last = _day(calendar, from_, "--from"), _day(calendar, until, "--until")
    if first is not None and last is not None and first > last:
        raise ConfigurationError(f"--from {from_} is after --until {until}\nname an earlier and a later day")
    return first, last


def read_files(
    files: Sequence[Path], calendar: Calendar, now_us: int | None, is_internal: Callable[[str], bool]
) -> History:
    """All events of the files, with a progress bar."""
    from consumers.history import read_history

    with progress(sum(file.stat().st_size for file in files)) as bar:
        return read_history(bodies(files, bar), calendar, now_us=now_us, is_internal=is_internal)


def _day(calendar: Calendar, text: str, option: str) -> int | None:
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
