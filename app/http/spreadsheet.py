"""CSV as an answer: what a spreadsheet would run as a formula comes as text, and UTF-8 says that it is UTF-8."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from fastapi import Response

from app.bulk.cells import defused
from app.http.pages import Form
from app.http.problems import refused

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
    """A file to save as ``name``. Without its byte order mark spreadsheets take UTF-8 for something else."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    body = codecs.BOM_UTF8 + csv_text(columns, rows).encode()
    return Response(body, media_type=MEDIA_TYPE, headers=headers)


def comes_whole(query: Form, *names: str) -> None:
    """A CSV has everything. Raises Problem for the first of these fields with which a question asks for less."""
    for name in names:
        if name in query.model_fields_set:
            raise refused(f"query.{name}", "a CSV has all of it; leave this out")
