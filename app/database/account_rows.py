"""Accounts as one reads them who only wants to know: as they are now, held by nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from alerts.account_rows import AccountRows
from alerts.columns import Blobs
from app.database.health import read_health
from app.database.tables import account, account_window

ACCOUNTS = select(account, account_window).join(account_window)


def account_rows(connection: Connection, found: Sequence[Row[Any]]) -> AccountRows:
    """``found``, rows of ACCOUNTS in the order of their numbers, as columns; complete, whatever becomes of the
    connection."""

    def column(name: str) -> list[Any]:
        return [row._mapping[name] for row in found]

    def blobs(name: str) -> Callable[[], Blobs]:
        return lambda: [blob or b"" for blob in column(name)]

    nos = column("no")
    health = read_health(connection, nos)
    return AccountRows(
        nos=nos,
        account_ids=column("account_id"),
        profiles=column("profile"),
        days=column("days"),
        users=column("users"),
        attributes=column,
        login_maps=blobs("login_maps"),
        moments=blobs("moments"),
        features=blobs("features"),
        sessions=blobs("sessions"),
        health=lambda: health,
    )
