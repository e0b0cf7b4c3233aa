"""Windows on SQLite: the driver's executemany, in a transaction that is alone by itself."""

# ruff: noqa: S608 - names and conditions in these texts are ours; values never are in them
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from app.database.drivers import driver_rows
from app.database.window_statements import DIRECTORY, Ask, Put, StoredAccount

_FIND = """
SELECT a.no, a.account_id, w.profile, w.days, w.users, w.login_maps, w.active_days, w.features, w.sessions,
  d.user_ids, d.features, d.facts
FROM json_each(?) AS wanted
JOIN account AS a ON a.account_id = wanted.value
JOIN account_window AS w ON w.account_no = a.no
JOIN account_detail AS d ON d.account_no = a.no
"""
_NUMBERS = (
    "SELECT a.account_id, a.no FROM json_each(?) AS wanted JOIN account AS a ON a.account_id = wanted.value"
)
_WINDOW = """
INSERT INTO account_window (account_no, profile, days, users, login_maps, active_days) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (account_no) DO UPDATE SET
  profile = excluded.profile, days = excluded.days, users = excluded.users, login_maps = excluded.login_maps,
  active_days = excluded.active_days
"""
_NEW_WINDOW = """
INSERT INTO account_window
  (account_no, profile, days, users, login_maps, active_days, moments, features, sessions, ledger)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (account_no) DO UPDATE SET
  profile = excluded.profile, days = excluded.days, users = excluded.users, login_maps = excluded.login_maps,
  active_days = excluded.active_days, moments = excluded.moments, features = excluded.features,
  sessions = excluded.sessions, ledger = excluded.ledger
"""
_DETAIL = """
INSERT INTO account_detail (account_no, user_ids, features, facts) VALUES (?, ?, ?, ?)
ON CONFLICT (account_no) DO UPDATE SET
  user_ids = excluded.user_ids, features = excluded.features, facts = excluded.facts
"""
_SEGMENTS_OF = """
FROM json_each(?) AS given CROSS JOIN seen_segment AS s ON s.lane = json_extract(given.value, '$[0]')
"""
_ASK = {
    Ask.POSITIONS: """
        SELECT partition, next FROM json_each(?) AS given
        JOIN position ON partition = json_extract(given.value, '$[0]')""",
    Ask.SEGMENTS: f"""
        SELECT s.lane, s.seq, s.batches, s.newest_day,
          CASE WHEN s.seq > json_extract(given.value, '$[1]') AND s.newest_day >= json_extract(given.value, '$[2]')
            THEN s.ids END,
          CASE WHEN s.seq > json_extract(given.value, '$[1]') AND s.newest_day >= json_extract(given.value, '$[2]')
            THEN s.prints END
        {_SEGMENTS_OF} AND s.seq >= json_extract(given.value, '$[1]') ORDER BY s.lane, s.seq""",
    Ask.NEWEST: f"""
        SELECT s.lane, s.seq, s.newest_day, length(s.ids) / 8 {_SEGMENTS_OF} AND s.seq IN (
          SELECT seq FROM seen_segment WHERE lane = json_extract(given.value, '$[0]') ORDER BY seq DESC LIMIT 32)
        ORDER BY s.lane, s.seq DESC""",
    Ask.MERGED: f"""
        SELECT s.lane, s.batches, s.newest_day, s.ids, s.prints
        {_SEGMENTS_OF} AND s.seq > json_extract(given.value, '$[1]') ORDER BY s.lane, s.seq""",
}
_PUT = {
    Put.POSITION: """
        UPDATE position SET next = ?, "end" = ?, behind = ?, origin = ?, log = ?, updated_at = ?,
          current_at = COALESCE(?, current_at)
        WHERE partition = ?""",
    Put.NEW_POSITION: """
        INSERT INTO position (partition, next, "end", behind, origin, log, updated_at, current_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING""",
    Put.SEGMENT: """
        INSERT INTO seen_segment (lane, seq, batches, newest_day, ids, prints) VALUES (?, ?, ?, ?, ?, ?)""",
    Put.NO_MERGED: "DELETE FROM seen_segment WHERE lane = ? AND seq > ?",
    Put.NO_EXPIRED: "DELETE FROM seen_segment WHERE lane = ? AND newest_day < ? AND seq < ?",
    Put.NEW_WINDOW: _NEW_WINDOW,
    Put.WINDOW: _WINDOW,
    Put.MOMENTS: "UPDATE account_window SET moments = ?, ledger = ? WHERE account_no = ?",
    Put.USAGE: "UPDATE account_window SET features = ?, sessions = ? WHERE account_no = ?",
    Put.NEW_DETAIL: _DETAIL,
    Put.DETAIL: _DETAIL,
    Put.DAYS: "UPDATE account SET first_day = ?, last_day = ? WHERE no = ?",
    Put.DIRECTORY: f"UPDATE account SET {', '.join(f'{name} = ?' for name in DIRECTORY)} WHERE no = ?",
    Put.TOUCHED: "INSERT INTO touched (account_no, partition) VALUES (?, ?) ON CONFLICT DO NOTHING",
    Put.DEAD_LETTER: """
        INSERT INTO dead_letter (partition, log, "offset", reason, detail, origin, body, received_at, status)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'waiting') ON CONFLICT DO NOTHING""",
    Put.OTHER_DEAD_LETTER: """
        INSERT INTO dead_letter (partition, log, "offset", reason, detail, origin, body, received_at, status)
        SELECT ?1, ?2 || ?9, ?3, ?4, ?5, ?6, ?7, ?8, 'waiting' WHERE EXISTS (
          SELECT 1 FROM dead_letter WHERE partition = ?1 AND log = ?2 AND "offset" = ?3 AND body <> ?7)
        ON CONFLICT DO NOTHING""",
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

    def ask(self, what: Ask, rows: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
        """What is there of each of ``rows``."""
        return self._rows(_ASK[what], rows)

    def hold_lanes(self, lanes: Sequence[str]) -> None:
        """Held already."""

    def find(self, account_ids: Sequence[str]) -> Iterable[StoredAccount]:
        """The accounts that have windows."""
        return self._rows(_FIND, account_ids)

    def number(self, account_ids: Sequence[str]) -> Mapping[str, int]:
        """Numbers for new accounts."""
        self._connection.exec_driver_sql(
            "INSERT INTO account (account_id) VALUES (?) ON CONFLICT DO NOTHING",
            [(account_id,) for account_id in account_ids],
        )
        rows = self._connection.exec_driver_sql(_NUMBERS, (json.dumps(list(account_ids)),))
        return {row[0]: row[1] for row in rows}

    def put(self, what: Put, rows: Sequence[tuple[Any, ...]]) -> int:
        """Write rows."""
        return self._connection.exec_driver_sql(_PUT[what], list(rows)).rowcount if rows else 0

    def _rows(self, statement: str, values: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        return driver_rows(self._connection.exec_driver_sql(statement, (json.dumps(list(values)),)))
