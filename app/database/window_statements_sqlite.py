"""Windows on SQLite: the driver's executemany, in a transaction that is alone by itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from app.database.window_statements import DIRECTORY, Put, StoredAccount

_FIND = """
SELECT a.no, a.account_id, w.profile, w.days, w.users, w.login_maps, d.user_ids, d.features, d.facts
FROM json_each(?) AS wanted
JOIN account AS a ON a.account_id = wanted.value
JOIN account_window AS w ON w.account_no = a.no
JOIN account_detail AS d ON d.account_no = a.no
"""
_NUMBERS = (
    "SELECT a.account_id, a.no FROM json_each(?) AS wanted JOIN account AS a ON a.account_id = wanted.value"
)
_WINDOW = """
INSERT INTO account_window (account_no, profile, days, users, login_maps) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (account_no) DO UPDATE SET
  profile = excluded.profile, days = excluded.days, users = excluded.users, login_maps = excluded.login_maps
"""
_DETAIL = """
INSERT INTO account_detail (account_no, user_ids, features, facts) VALUES (?, ?, ?, ?)
ON CONFLICT (account_no) DO UPDATE SET
  user_ids = excluded.user_ids, features = excluded.features, facts = excluded.facts
"""
_PUT = {
    Put.NEW_WINDOW: _WINDOW,
    Put.WINDOW: _WINDOW,
    Put.NEW_DETAIL: _DETAIL,
    Put.DETAIL: _DETAIL,
    Put.DAYS: "UPDATE account SET first_day = ?, last_day = ? WHERE no = ?",
    Put.DIRECTORY: f"UPDATE account SET {', '.join(f'{name} = ?' for name in DIRECTORY)} WHERE no = ?",  # noqa: S608 - names are ours
    Put.TOUCHED: "INSERT INTO touched (account_no, partition) VALUES (?, ?) ON CONFLICT DO NOTHING",
    Put.DEAD_LETTER: """
        INSERT INTO dead_letter (partition, log, "offset", reason, detail, origin, body, received_at, status)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'waiting') ON CONFLICT DO NOTHING""",
    Put.FAMILY: """
        INSERT INTO family (name, first_day) VALUES (?, ?)
        ON CONFLICT (name) DO UPDATE SET first_day = min(first_day, excluded.first_day)""",
    Put.COUNTER: """
        INSERT INTO counter (name, value) VALUES (?, ?)
        ON CONFLICT (name) DO UPDATE SET value = value + excluded.value""",
}


class SqliteStatements:
    """Implements ``WindowStatements``. The write lock is held since BEGIN IMMEDIATE: nothing else is to be locked."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, statement: str, values: tuple[Any, ...]) -> Any:
        """One small statement."""
        return self._connection.exec_driver_sql(statement, values)

    def hold_lane(self, lane: str) -> None:
        """Held already."""

    def find(self, account_ids: Sequence[str]) -> Iterable[StoredAccount]:
        """The accounts that have windows."""
        return self._connection.exec_driver_sql(_FIND, (json.dumps(list(account_ids)),))

    def number(self, account_ids: Sequence[str]) -> Mapping[str, int]:
        """Numbers for new accounts."""
        self._connection.exec_driver_sql(
            "INSERT INTO account (account_id) VALUES (?) ON CONFLICT DO NOTHING",
            [(account_id,) for account_id in account_ids],
        )
        rows = self._connection.exec_driver_sql(_NUMBERS, (json.dumps(list(account_ids)),))
        return {row[0]: row[1] for row in rows}

    def put(self, what: Put, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write rows."""
        if rows:
            self._connection.exec_driver_sql(_PUT[what], list(rows))
