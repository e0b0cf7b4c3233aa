"""The directory of accounts: what lists filter and sort by, a page at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    all_,
    and_,
    any_,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
)

from alerts.health.state import BANDS
from app.database.health import read_health
from app.database.portfolio import numbers_in_bands
from app.database.schedule import last_sweep_at
from app.database.tables import account, alert

_NO_DAY = 2**31 - 1  # accounts without a renewal sort after those with one
_SEVERITIES = ("critical", "high", "medium", "low")
_FILTERED_BY_NAME_OR_MAIL = (account.c.owner, account.c.owner_email)


class Sort(StrEnum):
    """Orders of the directory; ``-`` turns one round. Ties go by account id."""

    ACCOUNT_ID = "account_id"
    ACCOUNT_ID_DOWN = "-account_id"
    NAME = "name"
    NAME_DOWN = "-name"
    RISK = "risk_level"
    RISK_DOWN = "-risk_level"  # the worst first
    RENEWAL = "renewal_date"
    RENEWAL_DOWN = "-renewal_date"
    MRR = "mrr"
    MRR_DOWN = "-mrr"

    @property
    def down(self) -> bool:
        """Whether the largest comes first."""
        return self.value.startswith("-")

    @property
    def field(self) -> str:
        """The name without its sign."""
        return self.value.removeprefix("-")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which accounts; None or empty restricts nothing. ``renewal_days`` is an inclusive range of days."""

    owner: str | None = None
    risk_levels: Sequence[str] = ()
    bands: Sequence[str] = ()
    renewal_days: tuple[int, int] | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the directory; days and instants as in the tables. ``sort_value`` is where a next page goes on."""

    no: int
    account_id: str
    name: str | None
    owner: str | None
    owner_email: str | None
    size: str | None
    channel: str | None
    tier: str | None
    use_case: str | None
    touch: str | None
    lifecycle: str | None
    usage_cadence: str | None
    country: str | None
    term_months: int | None
    renewal_day: int | None
    mrr_cents: int | None
    currency: str | None
    first_day: int | None
    last_day: int | None
    risk_level: str
    judged_at: int | None
    evaluated_at: int | None
    open_alerts: int
    sort_value: str | int = ""
    band: str = BANDS[0]  # in which the last day closed


_open_alerts = (
    select(func.count())
    .where(alert.c.account_no == account.c.no, alert.c.status == "firing")
    .scalar_subquery()
    .label("open_alerts")
)
# Statements that never change are built once: building one takes longer than SQLite takes to answer it.
_FIND = select(account, _open_alerts).where(account.c.account_id == bindparam("wanted"))


def page(
    connection: Connection,
    wanted: Filter,
    *,
    sort: Sort = Sort.ACCOUNT_ID,
    after: tuple[str | int, str] | None = None,
    limit: int = 50,
) -> Sequence[Entry]:
    """At most ``limit`` accounts behind ``after``, the (sort value, account id) of the last one already shown."""
    value = _sort_value(sort)
    order = (value.desc(), account.c.account_id.desc()) if sort.down else (value, account.c.account_id)
    query = (
        select(account, literal(0).label("open_alerts"), value.label("sort_value"))
        .where(_matching(connection, wanted))
        .order_by(*order)
        .limit(limit)
    )
    if after is not None:
        query = query.where(_behind(value, sort.down, after))
    swept_at = last_sweep_at(connection)
    entries = _banded(connection, [_entry(row, swept_at) for row in connection.execute(query)])
    # Not in the query: there it may be counted for every account before the page is cut.
    counts = _counts(connection, [entry.no for entry in entries])
    return [replace(entry, open_alerts=counts.get(entry.no, 0)) for entry in entries]


def find(connection: Connection, account_id: str) -> Entry | None:
    """One account by its id."""
    row = connection.execute(_FIND, {"wanted": account_id}).first()
    if row is None:
        return None
    (entry,) = _banded(connection, [_entry(row, last_sweep_at(connection))])
    return entry


def _entry(row: Row[Any], swept_at: int | None) -> Entry:
    """A day's close judges all accounts and writes that down once, not on each."""
    entry = Entry(**row._mapping)
    if entry.judged_at is None or swept_at is None or (entry.evaluated_at or 0) >= swept_at:
        return entry
    return replace(entry, evaluated_at=swept_at)


def _counts(connection: Connection, nos: Sequence[int]) -> Mapping[int, int]:
    wanted = select(alert.c.account_no, func.count()).where(
        alert.c.account_no.in_(nos), alert.c.status == "firing"
    )
    rows = connection.execute(wanted.group_by(alert.c.account_no))
    return {row[0]: int(row[1]) for row in rows}


def _banded(connection: Connection, entries: Sequence[Entry]) -> Sequence[Entry]:
    order = np.argsort([entry.no for entry in entries])
    nos = [entries[place].no for place in order.tolist()]
    bands = read_health(connection, nos)["band"]
    words = dict(zip(nos, (BANDS[band] for band in bands.tolist()), strict=True))
    return [replace(entry, band=words[entry.no]) for entry in entries]


def risk_levels(connection: Connection) -> Mapping[str, int]:
    """How many accounts stand at each risk level."""
    rows = connection.execute(select(account.c.risk_level, func.count()).group_by(account.c.risk_level))
    return {row[0]: int(row[1]) for row in rows}


def _matching(connection: Connection, wanted: Filter) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [true()]
    if wanted.owner is not None:
        conditions.append(or_(*(column == wanted.owner for column in _FILTERED_BY_NAME_OR_MAIL)))
    if wanted.risk_levels:
        conditions.append(account.c.risk_level.in_(wanted.risk_levels))
    if wanted.bands:
        conditions.append(_in_bands(connection, wanted.bands))
    if wanted.renewal_days is not None:
        conditions.append(account.c.renewal_day.between(*wanted.renewal_days))
    if wanted.text:
        conditions.append(
            or_(
                account.c.account_id.icontains(wanted.text, autoescape=True),
                account.c.name.icontains(wanted.text, autoescape=True),
            )
        )
    return and_(*conditions)


def _in_bands(connection: Connection, bands: Sequence[str]) -> ColumnElement[bool]:
    """Numbers as one array, not a parameter each: there may be a hundred thousand."""
    nos, inside = numbers_in_bands(connection, bands)
    if connection.dialect.name == "sqlite":
        listed: Select[Any] = select(literal_column("value")).select_from(func.json_each(json.dumps(nos)))
        return account.c.no.in_(listed) if inside else account.c.no.not_in(listed)
    array = literal(nos, ARRAY(BigInteger))
    return account.c.no == any_(array) if inside else account.c.no != all_(array)


def _sort_value(sort: Sort) -> ColumnElement[Any]:
    """One comparable, never-null value per account, so that a page can go on behind it."""
    match sort.field:
        case "name":
            # Cut, so that a cursor with it stays short enough for an address; equal beginnings go by id.
            return func.substr(func.lower(func.coalesce(account.c.name, account.c.account_id)), 1, 64)
        case "risk_level":
            ranks = {level: 4 - index for index, level in enumerate(_SEVERITIES)}
            return case(*((account.c.risk_level == level, rank) for level, rank in ranks.items()), else_=0)
        case "renewal_date":
            return func.coalesce(account.c.renewal_day, literal(-_NO_DAY if sort.down else _NO_DAY))
        case "mrr":
            return func.coalesce(account.c.mrr_cents, literal(-1))
        case _:
            return account.c.account_id


def _behind(value: ColumnElement[Any], down: bool, after: tuple[str | int, str]) -> ColumnElement[bool]:
    last_value, last_id = after
    if down:
        return or_(value < last_value, and_(value == last_value, account.c.account_id < last_id))
    return or_(value > last_value, and_(value == last_value, account.c.account_id > last_id))
