"""The layout of the windows in the database: which one it is, and windows of an older one made anew.

It is a setting beside the schema's revision, because rows say nothing of it, and because making 100,000 accounts anew
takes longer than a schema may be locked: some are done at a time, and how far that got is kept with them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from app.database.engine import Database
from app.database.tables import account, account_detail, account_window, setting
from app.database.upsert import put_setting
from consumers.days import Calendar
from consumers.errors import ConfigurationError
from consumers.facts import PROFILE
from consumers.layout import Stored, renewed
from consumers.state import AccountState
from consumers.windows import WINDOWS_LAYOUT

LAYOUT = "windows_layout"
_REACHED = "windows_layout_reached"  # "layout:number": accounts up to that number are of that layout already
_AT_ONCE = 500
_BLOBS = {
    account_window: ("profile", "days", "users", "login_maps", "active_days", "sessions"),
    account_detail: ("user_ids", "features", "facts"),
}


def check_layout(database: Database) -> None:
    """Raises ConfigurationError, StorageError unless the windows have this version's layout."""
    with database.read() as connection:
        found = _setting(connection, LAYOUT)
    if found != str(WINDOWS_LAYOUT):
        raise ConfigurationError(
            f"the windows of {database.label} have layout {found or 1}, this version works on {WINDOWS_LAYOUT}\n"
            "run: bellwether db upgrade"
        )


def set_current(connection: Connection) -> None:
    """All windows have this version's layout."""
    connection.execute(delete(setting).where(setting.c.key == _REACHED))
    put_setting(connection, LAYOUT, str(WINDOWS_LAYOUT))


def renew(database: Database) -> int:
    """Make windows of another layout anew. Returns how many accounts that were; 0 where there was nothing to do.

    Raises StorageError. A release before that still runs cannot read what is done; accounts that it adds are found too.
    """
    with database.read() as connection:
        if _setting(connection, LAYOUT) == str(WINDOWS_LAYOUT):
            return 0
        calendar = Calendar(_setting(connection, "timezone") or "UTC")
        layout, _, number = (_setting(connection, _REACHED) or "0:0").partition(":")
    reached = int(number) if layout == str(WINDOWS_LAYOUT) else 0
    done = 0
    while True:
        with database.write() as connection:
            rows = _rows(connection, reached) or _rows(connection, 0, only_odd=True)
            for row in rows:
                _store(connection, renewed(Stored(**row), calendar))
            if not rows:
                set_current(connection)
                return done
            done += len(rows)
            reached = max(reached, rows[-1]["no"])
            put_setting(connection, _REACHED, f"{WINDOWS_LAYOUT}:{reached}")


def _rows(connection: Connection, after: int, *, only_odd: bool = False) -> list[dict[str, Any]]:
    """Some accounts above a number, held until the end; or only those whose profile has another size, whatever wrote
    them."""
    windows = account_window.join(account_detail, account_detail.c.account_no == account_window.c.account_no)
    wanted = (
        select(account_window.c.account_no).select_from(windows).where(account_window.c.account_no > after)
    )
    if only_odd:
        wanted = wanted.where(func.length(account_window.c.profile) != PROFILE.size)
    nos = list(connection.scalars(wanted.order_by(account_window.c.account_no).limit(_AT_ONCE)))
    held = select(account.c.no).where(account.c.no.in_(nos)).order_by(account.c.no)
    connection.execute(held.with_for_update(key_share=True))  # by number, as everybody takes them
    columns = [table.c[name] for table, names in _BLOBS.items() for name in names]
    found = connection.execute(
        select(account.c.no, account.c.account_id, *columns)
        .select_from(windows.join(account, account.c.no == account_window.c.account_no))
        .where(account.c.no.in_(nos))
        .order_by(account.c.no)
    )
    return [_named(row._mapping) for row in found]


def _named(row: Any) -> dict[str, Any]:
    told = {name: row[name] or b"" for names in _BLOBS.values() for name in names}
    told["usage"] = told.pop("features")
    return {"no": row["no"], "account_id": row["account_id"], **told}


def _store(connection: Connection, state: AccountState) -> None:
    connection.execute(
        update(account_window)
        .where(account_window.c.account_no == state.no)
        .values(
            profile=state.profile.blob(),
            users=bytes(state.users.cells),
            active_days=bytes(state.active_days),
            moments=state.moments,
            features=state.features,
            sessions=state.sessions,
            ledger=state.ledger,
        )
    )
    connection.execute(
        update(account_detail)
        .where(account_detail.c.account_no == state.no)
        .values(features=state.stored_usage(), facts=state.stored_facts())
    )


def _setting(connection: Connection, key: str) -> str | None:
    return connection.scalar(select(setting.c.value).where(setting.c.key == key))
