"""A CSV file as people and spreadsheets write it: its kind, its rows by line, and what is wrong with others."""

from __future__ import annotations

import codecs
import csv
import io
import os
import stat
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from app.bulk.cells import as_meant, defused
from app.bulk.kinds import Kind, check_header, column_named, kind_named, kind_of
from consumers.errors import ConfigurationError, SourceError
from consumers.table import delimiter_of

_SPREADSHEET = "save it as CSV in UTF-8"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line it begins on, and its cells that are not empty by column."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is wrong with a line, and what to do; ``column`` is empty where it is the whole line."""

    line: int
    column: str
    problem: str

    def __str__(self) -> str:
        return f"{self.line}: {self.column + ': ' if self.column else ''}{self.problem}"


@dataclass(frozen=True, slots=True)
class Sheet:
    """One file. ``when`` is what it calls the column ``occurred_at``."""

    name: str
    kind: Kind
    rows: Sequence[Row]
    refused: Sequence[Refusal]
    when: str = "occurred_at"


@dataclass(slots=True)
class Records:
    """What the CSV reader made of a text: (line, cells), the names of the columns first; and where it could not."""

    found: list[tuple[int, list[str]]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    @property
    def header(self) -> list[str]:
        """The names of the columns, spelt as ours are."""
        return [_name(name) for name in self.found[0][1]]

    def rows(self, left_out: Collection[str] = ()) -> tuple[list[Row], list[Refusal]]:
        """The rows with a cell in a column that is not ``left_out``, and what is wrong with others."""
        rows, refused, header = list[Row](), list(self.refused), self.header
        for line, cells in self.found[1:]:
            row = _row(line, cells, header, left_out)
            if isinstance(row, Refusal):
                refused.append(row)
            elif row.cells:
                rows.append(row)
        return rows, refused


def read_records(path: Path) -> Records:
    """Of a file of any kind. Raises SourceError for one that cannot be read, or has nothing in it."""
    records = _records(_text(path))
    if not records.found:
        raise SourceError(f"{path}: there is nothing in it\nits first line names the columns")
    return records


def read_sheet(path: Path, kind: str = "", skip: Collection[str] = ()) -> Sheet:
    """A file of the kind named, or of that which its first line shows; the columns ``skip`` are left out.

    Raises SourceError for a file that cannot be read, ConfigurationError for columns that are of no kind.
    """
    records = read_records(path)
    first, header = records.found[0][0], records.header
    left_out = {_name(name) for name in skip}
    unknown = sorted(left_out.difference(header))
    if unknown:
        raise ConfigurationError(f"{path}:{first}: --skip {unknown[0]}: there is no such column")
    read = [name for name in header if name not in left_out]
    place = f"{path}:{first}"
    if kind:
        of_kind = kind_named(kind)
        check_header(of_kind, read, place)
    else:
        of_kind = kind_of(read, place)
        check_header(of_kind, read, place)
    rows, refused = records.rows(left_out)
    when = next((name for name in read if column_named(name) == "occurred_at"), "occurred_at")
    return Sheet(str(path), of_kind, rows, refused, when)


def _row(line: int, cells: Sequence[str], header: Sequence[str], left_out: Collection[str]) -> Row | Refusal:
    if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
        much = f"{len(cells)} cells where the first line names {len(header)} columns"
        return Refusal(line, "", f"{much}; put cells that hold separators between double quotes")
    told = {
        name: cell
        for name, cell in zip(header, map(as_meant, cells), strict=False)
        if cell.strip() and name not in left_out
    }
    if "" in told:
        return Refusal(
            line, "", f"{told[''][:40]!r} stands in a column without a name; name it in the first line"
        )
    return Row(line, {column_named(name): cell for name, cell in told.items()})


def _name(text: str) -> str:
    """A column's name however a person spells it: ``Account ID`` is ``account_id``."""
    return text.strip().removeprefix("data.").lower().replace(" ", "_").replace("-", "_")


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"PK\x03\x04", b"\x1f\x8b")):
        raise SourceError(f"{path} is not CSV in UTF-8\n{_SPREADSHEET}")
    try:
        return raw.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"{path}:{line}: byte {raw[error.start]:#04x} is not UTF-8\n{_SPREADSHEET}"
        ) from None


def _records(text: str) -> Records:
    """Every record that is not blank. A quoted cell may go over several lines; the first one counts."""
    records = Records()
    head = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(head), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return records
        except csv.Error as error:
            open_quote = "unexpected end" in str(error)
            problem = "a double quote begins a cell and none ends it" if open_quote else str(error)
            records.refused.append(Refusal(line, "", f"{problem}; write a quote inside a cell twice"))
            continue
        if any(cell.strip() for cell in cells):
            records.found.append((line, cells))


def write_sheet(header: Sequence[str], rows: Iterable[Sequence[str]], into: Path | None) -> int:
    """Write rows under ``header``, formulas defused; returns how many. Into a file, or to standard output.

    A file is there whole or not at all, for its owner alone to read, and begins with a byte order mark: without one
    spreadsheets take UTF-8 for something else. So does standard output where it is the beginning of a file.
    """
    with _opened(into) as file:
        out = csv.writer(file)
        out.writerow(header)
        written = 0
        for row in rows:
            out.writerow([defused(cell) for cell in row])
            written += 1
    return written


def begins_a_file(descriptor: int) -> bool:
    """Whether what is written there becomes the first of a file: no terminal, no pipe, and nothing is in it yet."""
    there = os.fstat(descriptor)
    return stat.S_ISREG(there.st_mode) and there.st_size == 0


@contextmanager
def _opened(path: Path | None) -> Iterator[IO[str]]:
    if path is None or str(path) == "-":
        standard = sys.stdout.fileno()
        encoding = "utf-8-sig" if begins_a_file(standard) else "utf-8"
        with open(standard, "w", encoding=encoding, newline="", closefd=False) as file:
            yield file
        return
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ConfigurationError(f"{path}: there is no folder {folder}\ncreate it first")
    if path.exists() and not path.is_file():  # /dev/stdout, a pipe
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="") as file:
            yield file
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
