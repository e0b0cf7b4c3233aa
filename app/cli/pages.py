"""A page of REST as the person at the terminal wants it: tables, or JSON or CSV as REST answers."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from app.cli import output
from app.cli.opened import opened
from app.cli.rest import Parameters, ask, ask_csv


class Out(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


OutOption = Annotated[Out, typer.Option("--output", "-o", help="Tables, or JSON or CSV as REST answers.")]


def show(path: str, asked: Parameters, out: Out, tables: Callable[[Any], None]) -> None:
    """Write what REST answers at ``path``; ``tables`` prints it for people. Raises BellwetherError."""
    with opened() as house:
        answer = ask_csv(house, path, asked) if out is Out.CSV else ask(house, path, asked)
    if out is Out.CSV:
        output.spreadsheet(answer)
    elif out is Out.JSON:
        output.document(answer)
    else:
        tables(answer)
