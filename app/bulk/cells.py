"""Values as cells of a spreadsheet, and back: what is written is read as the same value."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from consumers.table import value_of

# What a spreadsheet takes for a formula, behind any number of quotes that defused one before.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_WHOLE = re.compile(r"([0-9]{1,18})\.0+")  # as programs write a whole number that stood among empty cells
_DEFUSED = re.compile(r"'+[=+\-@\t\r\n]")


def cell_of(value: Any) -> str:
    """A value of an event as one cell; None is an empty one."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case Mapping():
            return json.dumps(value, ensure_ascii=False, sort_keys=True)
        case Sequence():
            joined = ";".join(value)
            plain = all(each == each.strip() and each and ";" not in each for each in value)
            plain = plain and joined[:1] not in "[" and joined.lower() != "null"
            return joined if plain else json.dumps(list(value), ensure_ascii=False)
        case _:
            return str(value)


def read_cell(cell: str, kind: Any) -> Any:
    """The value of a cell that is not empty, as the type of its column wants it; itself where it fits nothing."""
    whole = _WHOLE.fullmatch(cell.strip())
    if whole and kind is not str:
        with contextlib.suppress(msgspec.ValidationError):
            if isinstance(msgspec.convert(int(whole[1]), kind), int):
                return int(whole[1])
    value = value_of(cell, kind)
    return cell if value is None else value  # JSON's null is no word of a spreadsheet


def defused(cell: str) -> str:
    """With a quote before what a spreadsheet would run as a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def as_meant(cell: str) -> str:
    """Without the quote of :func:`defused`."""
    return cell[1:] if _DEFUSED.match(cell) else cell
