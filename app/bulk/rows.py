"""One row of a file as what it says: its events, judged by the same decoding as events from anywhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import msgspec

from app.bulk.cells import read_cell
from app.bulk.kinds import ACCOUNT, STATUS, WHEN, Kind, advice
from app.bulk.sheet import Refusal, Row
from app.http.instants import instant
from consumers.days import Calendar, micros, parse_moment
from consumers.decode import decode
from consumers.events import Event, StateEvent
from consumers.facts import Fact
from consumers.fold import fact_of
from consumers.rejection import Rejection

SOURCE = "import"
_fact = msgspec.msgpack.Decoder(Fact)
_TYPES = re.compile(r" \(expected `[^`]*`, got `[^`]*`\)")
_UNTOLD = "0"  # stands in for the amount of a subscription whose row does not say it


@dataclass(frozen=True, slots=True)
class Said:
    """One event that a row says: its type, its user, and its data as facts hold them."""

    type: str
    user_id: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spoken:
    """What one row says of an account, from ``at`` on in epoch microseconds; None: from now on."""

    line: int
    account_id: str
    at: int | None
    said: Sequence[Said]


def spoken(row: Row, kind: Kind, calendar: Calendar, now: int) -> Spoken | list[Refusal]:
    """What ``row`` says; everything that is wrong with it."""
    refused = []
    at: int | None = None
    if ACCOUNT not in row.cells:
        refused.append(Refusal(row.line, ACCOUNT, "it is empty; say which account"))
    if WHEN in row.cells:
        moment = _instant(row.cells[WHEN], calendar)
        if isinstance(moment, str):
            refused.append(Refusal(row.line, WHEN, moment))
        else:
            at = moment
    told = {
        name: read_cell(cell, kind.type_of(name))
        for name, cell in row.cells.items()
        if name not in (ACCOUNT, WHEN)
    }
    try:
        sayings = kind.says(told)
    except ValueError as error:
        return [*refused, Refusal(row.line, STATUS, str(error))]
    account_id = row.cells.get(ACCOUNT, "unknown")
    found: list[Said] = []
    for name, data in sayings:
        said = _said(name, data, account_id, at, now)
        if isinstance(said, Said):
            found.append(said)
        else:
            refused += [_refusal(row.line, column, problem, kind) for column, problem in said]
    return _once(refused) if refused else Spoken(row.line, account_id, at, found)


def build(
    name: str, account_id: str, user_id: str, *, at: int, event_id: str, data: Mapping[str, Any], now: int
) -> tuple[Event, bytes] | Rejection:
    """The event and its bytes, judged as if it had come from outside."""
    body = {
        "id": event_id,
        "source": SOURCE,
        "type": name,
        "account_id": account_id,
        **({"user_id": user_id} if user_id else {}),
        "occurred_at": instant(at),
        "data": data,
    }
    written = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    judged = decode(written, now)
    return judged if isinstance(judged, Rejection) else (judged, written)


def kept_of(event: Event) -> Fact:
    """An event of a row as the fact that is stored of it and read again."""
    return _fact.decode(msgspec.msgpack.encode(fact_of(cast("StateEvent", event))))


def _said(
    name: str, told: Mapping[str, Any], account_id: str, at: int | None, now: int
) -> Said | list[tuple[str, str]]:
    """One event of a row as it will be kept, or every column that is wrong with what is wrong."""
    of_user = name in ("user.updated", "survey.answered")
    user_id = str(told.get("user_id", "")) if of_user else ""
    data = {field: value for field, value in told.items() if not (of_user and field == "user_id")}
    amount = "mrr" in data or name != "subscription.changed"
    if not amount:
        data["mrr"] = _UNTOLD
    problems: list[tuple[str, str]] = []
    while True:
        since = now if at is None else at
        built = build(name, account_id, user_id, at=since, event_id="check", data=data, now=now)
        if not isinstance(built, Rejection):
            break
        column, problem = _place(built.detail)
        if column not in data:  # nothing more can be found out
            known = any(column == before for before, _ in problems)
            return problems if known else [*problems, (column, problem)]
        problems.append((column, problem))
        del data[column]
    if problems:
        return problems
    kept = dict(kept_of(built[0]).data)
    if not amount:
        del kept["mrr"]
    return Said(name, user_id, kept)


def _place(detail: str) -> tuple[str, str]:
    """A rejection's detail as (column, problem)."""
    if detail.endswith(" is missing"):
        return detail.removesuffix(" is missing").removeprefix("data."), "it is empty and needed"
    place, colon, problem = detail.partition(": ")
    if not colon or " " in place:
        return "", detail
    column = place.removeprefix("data.").partition(".")[0].partition("[")[0]
    return column, problem


def _refusal(line: int, column: str, problem: str, kind: Kind) -> Refusal:
    more = "" if column in (ACCOUNT, WHEN) else advice(kind, column)
    return Refusal(line, column, f"{_TYPES.sub('', problem)}; {more}" if more else problem)


def _once(refused: Sequence[Refusal]) -> list[Refusal]:
    return list(dict.fromkeys(refused))


def _instant(cell: str, calendar: Calendar) -> int | str:
    """The instant of a cell, a date's at its start in the organisation's zone; or what is wrong with it."""
    text = cell.strip()
    try:
        moment = parse_moment(text)
    except ValueError as error:
        return f"{text[:40]!r} is {error}; write it as 2026-12-31"
    if isinstance(moment, datetime):
        return micros(moment)
    return calendar.start_us(calendar.parse_day(text))
