"""CSV as an answer: what a spreadsheet would run as a formula comes as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from fastapi import Response

from app.bulk.cells import defused

MEDIA_TYPE = "text/csv"
CONTENT: Mapping[str, Any] = {MEDIA_TYPE: {"schema": {"type": "string"}}}
"""What OpenAPI says of it, beside JSON."""


class Format(StrEnum):
    """How the answer comes."""

    JSON = "json"
    CSV = "csv"


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Lines that end with CR LF (RFC 4180), the columns' names first. None is an empty cell; all text is defused."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows(map(_cell, row) for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    match value:
        case str():
            return defused(value)
        case bool():
            return "true" if value else "false"
        case _:
            return value


def csv_answer(name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """A file to save as ``name``."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(csv_text(columns, rows), media_type=MEDIA_TYPE, headers=headers)
