"""Windows made anew beside the live ones, and put in their place in one transaction.

Whatever runs goes on with the old windows until the swap; then its compare-and-set fails, and it reads on from where
the new ones end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, event, func, insert, literal, select, text, update

from app.database import migrate
from app.database.engine import Database
from app.database.tables import (
    account,
    account_detail,
    account_window,
    family,
    incident,
    position,
    process,
    seen_segment,
    setting,
    touched,
)
from consumers.errors import ConfigurationError
from consumers.facts import ATTRIBUTES

SCHEMA = "bellwether_rebuild"  # on PostgreSQL: a schema beside the live one
ALIVE_US = 60_000_000  # a process that said so within a minute runs
_ROWS = 500
_PROJECTED = (*ATTRIBUTES, "term_months", "renewal_day", "mrr_cents", "currency", "first_day", "last_day")
_REPLACED = (touched, account_window, account_detail, seen_segment, family, position)

_Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Swapped:
    """How many accounts have windows now, how many had some and have none any more, and the positions gone on from."""

    accounts: int
    emptied: int
    positions: int


@contextlib.contextmanager
def beside(live: Database) -> Iterator[Database]:
    """An empty database of this version's schema beside ``live``, gone at the end. Raises StorageError."""
    _clear(live)
    building = Database(_address(live))
    if not live.sqlite:
        with live.write() as connection:
            connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        event.listen(building.engine, "connect", _look_beside, insert=True)
    try:
        migrate.upgrade(building)
        yield building
    finally:
        building.close()
        _clear(live)


def refuse_another_zone_at_work(live: Database, zone: str, now: int) -> None:
    """Raises ConfigurationError if processes run that would go on folding in the zone that was."""
    with live.read() as connection:
        kept = connection.scalar(select(setting.c.value).where(setting.c.key == "timezone"))
        running = connection.scalar(select(func.count()).where(process.c.beat_at > now - ALIVE_US))
    if kept not in {None, zone} and running:
        raise ConfigurationError(
            f"BELLWETHER_TIMEZONE is {zone}, and {running} running processes fold in {kept}\n"
            "stop them, rebuild, and start them with the new zone (one that died counts for a minute)"
        )


def shorter(live: Database, building: Database) -> tuple[int, int | None] | None:
    """The first days that the windows of ``live`` and of ``building`` know of, if the latter begin later or nowhere."""
    first = select(func.min(family.c.first_day))
    with live.read() as old, building.read() as new:
        was, would_be = old.scalar(first), new.scalar(first)
    if was is None or (would_be is not None and would_be <= was + 1):  # a zone further east moves it by a day
        return None
    return was, would_be


def swap(live: Database, building: Database, zone: str, now: int) -> Swapped:
    """Put the windows of ``building`` into ``live``, all or nothing, and mark every account to be judged anew."""
    with building.read() as new, live.write() as old:
        if not live.sqlite:  # from here on no batch can begin, and those that had begun are over
            old.execute(text("LOCK TABLE position, account IN EXCLUSIVE MODE"))
        had = set(old.scalars(select(account_window.c.account_no)))
        last = _last_numbers(old)
        for table in _REPLACED:
            old.execute(delete(table))
        _accounts(new, old)
        numbers = _numbers(new, old)
        for table in (account_window, account_detail):
            _copy(new, old, table, lambda row: {**row, "account_no": numbers[row["account_no"]]})
        _copy(new, old, family, dict)
        # Numbers go on from the old ones: whoever remembers up to one of those still reads all that is new.
        _copy(new, old, seen_segment, lambda row: {**row, "seq": row["seq"] + last.get(row["lane"], 0)})
        _copy(new, old, position, lambda row: {**row, "updated_at": now})
        everybody = select(account_window.c.account_no, literal(""))
        old.execute(insert(touched).from_select(["account_no", "partition"], everybody))
        old.execute(delete(setting).where(setting.c.key == "timezone"))
        old.execute(insert(setting).values(key="timezone", value=zone))
        old.execute(update(incident).where(incident.c.closed_at.is_(None)).values(closed_at=now))
        has = set(old.scalars(select(account_window.c.account_no)))
        positions = old.scalar(select(func.count()).select_from(position)) or 0
    return Swapped(len(has), len(had - has), positions)


def _accounts(new: Connection, old: Connection) -> None:
    """Make the accounts that only the log knows, and say of all of them what the log says."""
    known = set(old.scalars(select(account.c.account_id)))
    old.execute(update(account).values(dict.fromkeys(_PROJECTED)))
    wanted = select(account.c.account_id, *(account.c[name] for name in _PROJECTED))
    for rows in _slices(new, wanted):
        fresh = [row for row in rows if row["account_id"] not in known]
        if fresh:
            old.execute(insert(account), fresh)
        for row in rows:
            if row["account_id"] in known:
                said = {name: row[name] for name in _PROJECTED}
                old.execute(update(account).where(account.c.account_id == row["account_id"]).values(said))


def _numbers(new: Connection, old: Connection) -> dict[int, int]:
    """The live number of each account, by its number in the database beside."""
    wanted = select(account.c.account_id, account.c.no)
    live = {row.account_id: row.no for row in old.execute(wanted)}
    return {row.no: live[row.account_id] for row in new.execute(wanted)}


def _last_numbers(old: Connection) -> dict[str, int]:
    newest = select(seen_segment.c.lane, func.max(seen_segment.c.seq).label("newest")).group_by(
        seen_segment.c.lane
    )
    return {row.lane: row.newest for row in old.execute(newest)}


def _copy(new: Connection, old: Connection, table: Table, changed: Callable[[_Row], dict[str, Any]]) -> None:
    for rows in _slices(new, select(table)):
        old.execute(insert(table), [changed(row) for row in rows])


def _slices(connection: Connection, wanted: Any) -> Iterator[list[dict[str, Any]]]:
    """Rows as dictionaries, some at a time: windows of many accounts do not fit into memory at once."""
    found = connection.execution_options(yield_per=_ROWS).execute(wanted)
    for rows in found.mappings().partitions():
        yield [dict(row) for row in rows]


def _address(live: Database) -> str:
    address = live.url.set(database=f"{live.url.database}.rebuild") if live.sqlite else live.url
    return address.render_as_string(hide_password=False)


def _look_beside(connection: Any, _record: Any) -> None:
    """On PostgreSQL: every name without a schema is in the one beside."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET search_path TO {SCHEMA}")
    connection.commit()


def _clear(live: Database) -> None:
    """Remove what an earlier, killed run left."""
    if live.sqlite:
        for ending in ("", "-wal", "-shm"):
            Path(f"{live.url.database}.rebuild{ending}").unlink(missing_ok=True)
        return
    with live.write() as connection:
        connection.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))
