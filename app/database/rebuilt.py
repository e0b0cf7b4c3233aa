"""Windows made anew beside the live ones, and put in their place in one transaction.

Whatever runs goes on with the old windows until the swap; then its compare-and-set fails, and it reads on from where
the new ones end.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, event, func, insert, literal, select, text, update
from sqlalchemy.exc import DBAPIError

from app.database import layout, migrate
from app.database.engine import Database
from app.database.failures import named_error
from app.database.incidents import STALE_SOURCE
from app.database.rebuild_loss import DIRECTORY
from app.database.tables import (
    account,
    account_detail,
    account_window,
    family,
    feed,
    incident,
    position,
    process,
    seen_segment,
    setting,
    touched,
)
from consumers.errors import ConfigurationError, StorageBusy, StorageError

SCHEMA = "bellwether_rebuild"  # on PostgreSQL: a schema beside the live one
ALIVE_US = 60_000_000  # a process that said so within a minute runs
_TURN = 0x72656275  # PostgreSQL's number of the lock that one rebuild at a time holds
_ROWS = 500
_PROJECTED = (*DIRECTORY, "first_day", "last_day")
_REPLACED = (touched, account_window, account_detail, seen_segment, family, position)

_Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Swapped:
    """How many accounts have windows now, how many had some and have none any more, and the positions gone on from.

    ``not_given`` names files that had been folded into the windows before and were not now.
    """

    accounts: int
    emptied: int
    positions: int
    not_given: Sequence[str] = ()


@contextlib.contextmanager
def turn(live: Database) -> Iterator[Callable[[], None]]:
    """Be the only one who rebuilds ``live``, for the length of a block; gone with the process, however that ends.

    Gives a check that it still is so. Both raise StorageError; StorageBusy while another one rebuilds.
    """
    with _turn_by_file(live) if live.sqlite else _turn_by_session(live) as still:
        yield still


@contextlib.contextmanager
def _turn_by_file(live: Database) -> Iterator[Callable[[], None]]:
    import fcntl  # noqa: PLC0415 - not everywhere

    path = Path(f"{live.url.database}.rebuild.lock")
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(file.fileno()), path.stat()):  # one that just ended removed it
                raise FileNotFoundError
        except (BlockingIOError, FileNotFoundError):
            raise _another(live) from None
        try:
            yield lambda: None
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _turn_by_session(live: Database) -> Iterator[Callable[[], None]]:
    """A lock of a session: no transaction stays open for it."""

    def ask(statement: Any) -> Any:
        try:
            return connection.scalar(statement)
        except DBAPIError as error:
            raise named_error(error, live.label) from error

    with live.engine.connect() as pooled:
        connection = pooled.execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # closed at the end, and the lock with it
        if not ask(select(func.pg_try_advisory_lock(_TURN))):
            raise _another(live)
        try:
            yield lambda: ask(select(1))
        finally:
            with contextlib.suppress(StorageError):  # a server that is gone has let go of it
                ask(select(func.pg_advisory_unlock(_TURN)))


def _another(live: Database) -> StorageBusy:
    return StorageBusy(f"another process rebuilds the windows of {live.label}\nwait until it is through")


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
        _refuse_another_zone(connection, zone, now)


def _refuse_another_zone(connection: Connection, zone: str, now: int) -> None:
    kept = connection.scalar(select(setting.c.value).where(setting.c.key == "timezone"))
    running = connection.scalar(select(func.count()).where(process.c.beat_at > now - ALIVE_US))
    if kept not in {None, zone} and running:
        raise ConfigurationError(
            f"BELLWETHER_TIMEZONE is {zone}, and {running} running processes fold in {kept}\n"
            "stop them, rebuild, and start them with the new zone (one that died counts for a minute)"
        )


def swap(live: Database, building: Database, zone: str, now: int) -> Swapped:
    """Put the windows of ``building`` into ``live``, all or nothing, and mark every account to be judged anew.

    Raises ConfigurationError if meanwhile a process came that folds in another zone, StorageBusy if others do not let
    go of the tables in time, StorageError.
    """
    with building.read() as new, live.write() as old:
        if not live.sqlite:  # from here on no batch can begin, and those that had begun are over
            old.execute(text("LOCK TABLE position, account IN EXCLUSIVE MODE"))
        _refuse_another_zone(old, zone, now)
        had = set(old.scalars(select(account_window.c.account_no)))
        last = _last_numbers(old)
        folded = _files(old)
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
        layout.set_current(old)
        if not old.scalar(select(func.count()).select_from(feed)):  # else it knows more than the log
            _copy(new, old, feed, dict)
        of_partitions = incident.c.closed_at.is_(None), incident.c.kind != STALE_SOURCE
        old.execute(update(incident).where(*of_partitions).values(closed_at=now))
        has = set(old.scalars(select(account_window.c.account_no)))
        positions = old.scalar(select(func.count()).select_from(position)) or 0
        given = _files(old)
    not_given = sorted(origin for partition, origin in folded.items() if partition not in given)
    return Swapped(len(has), len(had - has), positions, not_given)


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


def _files(connection: Connection) -> dict[str, str]:
    """The files that were folded, by partition, with their names."""
    wanted = select(position.c.partition, position.c.origin).where(position.c.partition.startswith("file:"))
    return {row.partition: row.origin for row in connection.execute(wanted)}


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
