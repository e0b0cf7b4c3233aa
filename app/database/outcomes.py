"""What outcomes read of all accounts, in one pass over their windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from app.database.tables import account, account_window, family

_LEDGERS = (
    account_window.c.ledger,
    account_window.c.moments,
    account_window.c.active_days,
    account_window.c.profile,
)
_AT_ONCE = 2_000
_NAMED = (account_window.c.ledger, account.c.account_id, account.c.name)


@dataclass(frozen=True, slots=True)
class StoredOutcomes:
    """Columns of one length, an entry for each account, laid out as :mod:`consumers.windows` says."""

    ledgers: Sequence[bytes]
    moments: Sequence[bytes]
    active_days: Sequence[bytes]
    profiles: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class NamedLedgers:
    """The same for the waterfall of each account, in the order of their ids."""

    ledgers: Sequence[bytes]
    account_ids: Sequence[str]
    names: Sequence[str | None]


def everything(connection: Connection) -> StoredOutcomes:
    """Of every account; what was never written of one is empty."""
    return StoredOutcomes(*map(_whole, _columns(connection, _LEDGERS)))


def by_account(connection: Connection) -> NamedLedgers:
    """Of every account, with what it is called."""
    ledgers, ids, names = _columns(connection, _NAMED)
    order = sorted(range(len(ids)), key=ids.__getitem__)  # by code point, whatever the database's collation
    return NamedLedgers(
        ledgers=[ledgers[place] or b"" for place in order],
        account_ids=[ids[place] for place in order],
        names=[names[place] for place in order],
    )


def first_days(connection: Connection) -> Mapping[str, int]:
    """The first day of each family of events that was ever received."""
    return {row[0]: int(row[1]) for row in connection.execute(select(family.c.name, family.c.first_day))}


def _whole(blobs: Sequence[bytes | None]) -> Sequence[bytes]:
    return [blob or b"" for blob in blobs]


def _columns(connection: Connection, wanted: Sequence[ColumnElement[Any]]) -> Sequence[Sequence[Any]]:
    query = select(*wanted).select_from(account_window)
    if wanted is _NAMED:
        query = query.join(account)
    result = connection.execute(query.order_by(account_window.c.account_no))
    columns: list[list[Any]] = [[] for _ in wanted]
    # The driver's own tuples, some at a time: a hundred thousand that live on are work for the garbage collector.
    while result.cursor is not None and (rows := result.cursor.fetchmany(_AT_ONCE)):
        for column, cells in zip(columns, zip(*rows, strict=True), strict=True):
            column.extend(cells)
    result.close()
    return columns
