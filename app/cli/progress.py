"""A progress bar for files, on standard error and only where a person sees it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Progress:
    """How far the files are: in bytes, with the number and the rate of records beside it. ``draw`` shows it."""

    draw: Callable[[int, str], None]
    done_bytes: int = 0  # of files that are finished
    records: int = 0
    name: str = ""
    began: float = field(default_factory=time.monotonic)

    def begin(self, name: str) -> None:
        """Another file."""
        self.name = name
        self.move(0, 0)

    def move(self, read_bytes: int, records: int) -> None:
        """``read_bytes`` of the file are read, and ``records`` more were handled."""
        self.records += records
        rate = self.records / max(time.monotonic() - self.began, 1e-6)
        self.draw(self.done_bytes + read_bytes, f"{self.name}  {self.records:,} records, {rate:,.0f}/s")

    def end(self, total_bytes: int) -> None:
        """The file is finished."""
        self.done_bytes += total_bytes
        self.move(0, 0)


@contextlib.contextmanager
def progress(total_bytes: int) -> Iterator[Progress]:
    """A bar over ``total_bytes``; silent where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield Progress(lambda _done, _text: None)
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from app.cli.output import console, plain

    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Bar(*columns, console=console(errors=True), transient=True) as bar:
        task = bar.add_task("", total=max(total_bytes, 1))
        yield Progress(lambda done, text: bar.update(task, completed=done, description=plain(text)))
