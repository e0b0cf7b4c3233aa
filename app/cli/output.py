"""What a terminal gets: tables for people, JSON for programs, and customers' text always as text."""

from __future__ import annotations

import codecs
import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

_PIPED_WIDTH = 1_000  # into a pipe or file, lines are not folded
SEVERITY_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "green", "info": "dim"}


class Output(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="A table, or JSON as REST answers it.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")]


def console(*, errors: bool = False) -> Console:
    """Standard output, or standard error, as rich writes to it: no markup, no guessing of what is a number."""
    from rich.console import Console  # 60 ms that most commands into pipes do not need

    stream = sys.stderr if errors else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def line(text: str = "") -> None:
    """One line of standard output."""
    sys.stdout.write(plain(text) + "\n")


def note(text: str) -> None:
    """One line of standard error: what is worth knowing beside the answer."""
    sys.stderr.write(plain(text) + "\n")


def document(answer: Any) -> None:
    """JSON, indented, with the letters as they are."""
    sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")


def spreadsheet(answer: bytes) -> None:
    """CSV as REST answers it; with its byte order mark only where it begins a file, which a spreadsheet may open."""
    from app.bulk.sheet import begins_a_file

    sys.stdout.flush()
    marked = begins_a_file(sys.stdout.fileno())
    sys.stdout.buffer.write(answer if marked else answer.removeprefix(codecs.BOM_UTF8))


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    empty: str,
    styles: Mapping[str, str] | None = None,
) -> None:
    """Rows under their headings, or ``empty`` where there are none. A cell that is a key of ``styles`` is coloured."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.startswith(">")
        drawn.add_column(column.removeprefix(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        cells = ["" if cell is None else plain(str(cell)) for cell in row]
        drawn.add_row(*(Text(cell, style=(styles or {}).get(cell, "")) for cell in cells))
    if drawn.row_count == 0:
        note(empty)
    else:
        console().print(drawn)


def plain(text: str) -> str:
    """``text`` without what steers a terminal: a customer's name must not clear the screen or write backwards."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if each in "\t\n" else "\N{REPLACEMENT CHARACTER}" if _steers(each) else each for each in text
    )


def _steers(character: str) -> bool:
    category = unicodedata.category(character)
    # Cf holds the direction overrides, and the joiners that emoji and some scripts need.
    return category in {"Cc", "Cs", "Co", "Zl", "Zp"} or (
        category == "Cf" and character not in "\u200c\u200d\u00ad"
    )


def number(value: Any) -> str:
    """A metric's value as a person reads it; a dash where it does not stand."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case _:
            return str(value)


def more(cursor: str | None) -> None:
    """Say that a list goes on, and how to go on with it."""
    if cursor:
        note(f"there are more: --cursor {cursor}")
