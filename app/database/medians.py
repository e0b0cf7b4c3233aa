"""The portfolio's median change in logins, kept for the day that closed, and what it is worked out of."""

# ruff: noqa: S608 - names and numbers in these texts are ours; values never are in them
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from alerts.account_rows import AccountRows, MedianChange
from app.database.drivers import Driver
from app.database.engine import Database
from app.database.tables import account, setting
from app.database.upsert import put_setting

_MEDIAN = "median_change"
_KEPT = select(setting.c.value).where(setting.c.key == _MEDIAN)
_PAGE = (
    "SELECT account_no, profile, days FROM account_window WHERE account_no > ? ORDER BY account_no LIMIT ?"
)


def read_median(connection: Connection) -> MedianChange | None:
    """That of the newest close; None before the first."""
    text = connection.scalar(_KEPT)
    return None if text is None else msgspec.json.decode(text, type=MedianChange)


def keep_median(connection: Connection, median: MedianChange) -> None:
    """Write it down over the one before."""
    put_setting(connection, _MEDIAN, msgspec.json.encode(asdict(median)).decode())


def login_pages(database: Database, size: int) -> Iterator[AccountRows]:
    """All accounts in pages of up to ``size``, by number, held by nobody: profiles, daily logins and attributes.

    Each page is a snapshot of its own, so that no long one keeps the database from tidying up.
    """
    after = 0
    while True:
        with database.read() as connection:
            found = Driver(connection).rows(_PAGE, after, size)
            if not found:
                return
            nos, profiles, days = (list(column) for column in zip(*found, strict=True))
            yield _rows(connection, nos, profiles, days)
        after = nos[-1]


def _rows(connection: Connection, nos: list[int], profiles: list[bytes], days: list[bytes]) -> AccountRows:
    driver = Driver(connection)

    def attribute(name: str) -> list[Any]:
        these, values = driver.among("no", nos)
        told = dict(driver.rows(f"SELECT no, {account.c[name].name} FROM account WHERE {these}", *values))
        return [told[no] for no in nos]  # between the numbers there may be accounts without windows

    nothing = [b""] * len(nos)
    return AccountRows(
        nos=nos,
        account_ids=[""] * len(nos),
        profiles=profiles,
        days=days,
        users=nothing,
        attributes=attribute,
        login_maps=lambda: nothing,
    )
