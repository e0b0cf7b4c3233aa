"""A CSV file of events: a line of column names, then one event a line."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import fields

from consumers.errors import SourceError
from consumers.events import TYPES
from consumers.file import FileSource
from consumers.source import Chunk

_ENVELOPE = ("id", "type", "account_id", "user_id", "occurred_at", "source")
_NEEDED = ("id", "type", "account_id", "occurred_at")
_DELIMITERS = ",;\t"
_BOM = b"\xef\xbb\xbf"


class CsvSource(FileSource):
    """As :class:`FileSource`, but each line is made into the JSON of an event.

    The first line names the columns: those of the envelope, and fields of ``data``, with or without ``data.`` before
    them. An empty cell says nothing. A line that has not as many cells is given as it is, for decoding to refuse; so
    is one of several that are one cell in quotes. Raises SourceError when the first line names too little.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        # Whoever reads it as lines first, by mistake, can read it as what it is then.
        self.partition = self.partition.replace("file:", "csv:", 1)
        try:
            first = super().poll(1, 0.0)
        except BaseException:
            self.close()
            raise
        self._names: Sequence[str] = ()
        self._header = -1
        if first:
            head = first[0].bodies[0].removeprefix(_BOM).decode("utf-8", "replace")
            self._delimiter = delimiter_of(head)
            self._names = [name.strip().removeprefix("data.") for name in _cells(head, self._delimiter) or ()]
            self._header = first[0].offsets[0]
            missing = [name for name in _NEEDED if name not in self._names]
            if missing:
                self.close()
                raise SourceError(
                    f"{path}: its first line has no column {', '.join(missing)}\n"
                    "write the names of the columns there, such as id,type,account_id,user_id,occurred_at"
                )
        self.seek(self.partition, None)

    def poll(self, limit: int, timeout_s: float) -> Sequence[Chunk]:
        """The next lines as JSON, at most ``limit``; none at the end."""
        chunks = []
        for chunk in super().poll(limit, timeout_s):
            told = [
                (offset, event_of(line, self._names, self._delimiter))
                for offset, line in zip(chunk.offsets, chunk.bodies, strict=True)
                if offset != self._header
            ]
            chunks.append(
                replace(chunk, bodies=[body for _, body in told], offsets=[offset for offset, _ in told])
            )
        return chunks


def event_of(line: bytes, names: Sequence[str], delimiter: str = ",") -> bytes:
    """One line as the JSON of an event; the line itself where it cannot be taken apart."""
    try:
        cells = _cells(line.decode().strip("\r\n"), delimiter)
    except UnicodeDecodeError:
        return line
    if cells is None or len(cells) != len(names):
        return line
    told = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
    kinds = kinds_of(told.get("type", ""))
    data = {
        name: value_of(cell, kinds.get(name, str)) for name, cell in told.items() if name not in _ENVELOPE
    }
    return json.dumps({**{name: told[name] for name in _ENVELOPE if name in told}, "data": data}).encode()


def delimiter_of(head: str) -> str:
    """What stands between the names of a first line: a comma, a semicolon or a tab."""
    return max(_DELIMITERS, key=head.count)


def _cells(line: str, delimiter: str) -> Sequence[str] | None:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), None)
    except csv.Error:
        return None


@functools.cache
def kinds_of(name: str) -> Mapping[str, Any]:
    """The fields of an event type's ``data`` with their types, as ``consumers.events`` has them; none of no type."""
    if name not in TYPES:
        return {}
    specs = {spec.encode_name: spec for spec in fields(TYPES[name])}
    if "data" not in specs:
        return {}
    return {spec.encode_name: spec.type for spec in fields(specs["data"].type)}


def value_of(cell: str, kind: Any) -> Any:
    """A cell is text where text fits; else a number, true or false, JSON, or a list with semicolons."""
    for value in _readings(cell):
        try:
            msgspec.convert(value, kind)
        except (msgspec.ValidationError, ArithmeticError, ValueError):
            continue
        return value
    return cell  # decoding says what is wrong with it


def _readings(cell: str) -> Sequence[Any]:
    readings: list[Any] = [cell]
    for text in (cell, cell.lower()):
        try:
            readings.append(json.loads(text))
        except (ValueError, RecursionError):
            continue
    return [*readings, [part.strip() for part in cell.split(";") if part.strip()]]
