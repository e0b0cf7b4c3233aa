"""Windows on PostgreSQL: arrays in binary, one for each column, and locks in one order for all.

At READ COMMITTED every statement sees what was committed when it began. So what must not change is locked by one
statement and read by the next; a rival who was first is then seen whole. The locks of a batch, always in this order:

1. the partitions' positions (sorted), of which those that are not there yet are inserted at once;
2. the lanes of its event ids (sorted), an advisory lock each: a lane may be shared, and its segments are numbered;
3. its accounts that are there, by number; then those that are not are inserted, by id, which waits for a rival who is
   just inserting one; then what he has inserted is locked too;
4. last, for the time of the commit alone, the counters, by name.

A row of an account is locked FOR NO KEY UPDATE: those who write its windows, judge it or mark it keep each other out,
while foreign keys that point at it do not wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from app.database.drivers import driver_rows, spoken
from app.database.locks import alone_in_lanes
from app.database.window_statements import DIRECTORY, Ask, Put, StoredAccount

_LOCK_ACCOUNTS = (
    "SELECT no, account_id FROM account WHERE account_id = ANY(%b::text[]) ORDER BY no FOR NO KEY UPDATE"
)
_NEW_ACCOUNTS = """
INSERT INTO account (account_id) SELECT * FROM unnest(%b::text[]) ON CONFLICT DO NOTHING RETURNING no, account_id
"""
_WINDOWS = """
SELECT w.account_no, w.profile, w.days, w.users, w.login_maps, w.active_days, w.features, w.sessions,
  d.user_ids, d.features, d.facts
FROM account_window AS w JOIN account_detail AS d USING (account_no) WHERE w.account_no = ANY(%b::bigint[])
"""


def _arrays(*types: str) -> str:
    return f"unnest({', '.join(f'%b::{each}[]' for each in types)})"


_FROM_WINDOWS = (
    f"{_arrays('bigint', *['bytea'] * 5)} AS given (no, profile, days, users, login_maps, active_days)"
)
_FROM_DETAILS = f"{_arrays('bigint', *['bytea'] * 3)} AS given (no, user_ids, features, facts)"
_DIRECTORY_TYPES = {"term_months": "int", "renewal_day": "int", "mrr_cents": "bigint"}
_LANE_AND_SEQ = (
    f"{_arrays('text', 'bigint')} AS given (lane, seq) JOIN seen_segment AS s ON s.lane = given.lane"
)
# ruff: noqa: S608 - what is put into these texts, names and types, is all ours; values never are
_ASK = {
    Ask.POSITIONS: """
        SELECT partition, next FROM position WHERE partition = ANY(%b::text[]) ORDER BY partition FOR UPDATE""",
    Ask.SEGMENTS: f"""
        SELECT s.lane, s.seq, s.batches, s.newest_day,
          CASE WHEN s.seq > given.seq AND s.newest_day >= given.day THEN s.ids END,
          CASE WHEN s.seq > given.seq AND s.newest_day >= given.day THEN s.prints END
        FROM {_arrays("text", "bigint", "int")} AS given (lane, seq, day)
        JOIN seen_segment AS s ON s.lane = given.lane AND s.seq >= given.seq ORDER BY s.lane, s.seq""",
    Ask.NEWEST: f"""
        SELECT given.lane, s.seq, s.newest_day, s.size FROM {_arrays("text")} AS given (lane) CROSS JOIN LATERAL (
          SELECT seq, newest_day, length(ids) / 8 AS size
          FROM seen_segment WHERE lane = given.lane ORDER BY seq DESC LIMIT 32
        ) AS s ORDER BY given.lane, s.seq DESC""",
    Ask.MERGED: f"""
        SELECT s.lane, s.batches, s.newest_day, s.ids, s.prints
        FROM {_LANE_AND_SEQ} AND s.seq > given.seq ORDER BY s.lane, s.seq""",
}
_PUT = {
    Put.POSITION: f"""
        UPDATE position SET next = given.next, "end" = given.end, behind = given.behind, origin = given.origin,
          log = given.log, updated_at = given.updated_at, current_at = COALESCE(given.current_at, position.current_at)
        FROM {_arrays("bigint", "bigint", "boolean", "text", "text", "bigint", "bigint", "text")}
          AS given (next, "end", behind, origin, log, updated_at, current_at, partition)
        WHERE position.partition = given.partition""",
    Put.NEW_POSITION: f"""
        INSERT INTO position (partition, next, "end", behind, origin, log, updated_at, current_at)
        SELECT * FROM {_arrays("text", "bigint", "bigint", "boolean", "text", "text", "bigint", "bigint")}
        ON CONFLICT DO NOTHING""",
    Put.SEGMENT: f"""
        INSERT INTO seen_segment (lane, seq, batches, newest_day, ids, prints)
        SELECT * FROM {_arrays("text", "bigint", "bigint", "int", "bytea", "bytea")}""",
    Put.NO_MERGED: f"""
        DELETE FROM seen_segment AS s USING {_arrays("text", "bigint")} AS given (lane, seq)
        WHERE s.lane = given.lane AND s.seq > given.seq""",
    Put.NO_EXPIRED: f"""
        DELETE FROM seen_segment AS s USING {_arrays("text", "int", "bigint")} AS given (lane, day, seq)
        WHERE s.lane = given.lane AND s.newest_day < given.day AND s.seq < given.seq""",
    Put.NEW_WINDOW: f"""
        INSERT INTO account_window
          (account_no, profile, days, users, login_maps, active_days, moments, features, sessions, ledger)
        SELECT * FROM {_arrays("bigint", *["bytea"] * 9)}
        ON CONFLICT (account_no) DO UPDATE SET profile = excluded.profile, days = excluded.days,
          users = excluded.users, login_maps = excluded.login_maps, active_days = excluded.active_days,
          moments = excluded.moments, features = excluded.features, sessions = excluded.sessions,
          ledger = excluded.ledger""",
    Put.WINDOW: f"""
        UPDATE account_window SET profile = given.profile, days = given.days, users = given.users,
          login_maps = given.login_maps, active_days = given.active_days
        FROM {_FROM_WINDOWS} WHERE account_no = given.no""",
    Put.MOMENTS: f"""
        UPDATE account_window SET moments = given.moments, ledger = given.ledger
        FROM {_arrays("bytea", "bytea", "bigint")} AS given (moments, ledger, no) WHERE account_no = given.no""",
    Put.USAGE: f"""
        UPDATE account_window SET features = given.features, sessions = given.sessions
        FROM {_arrays("bytea", "bytea", "bigint")} AS given (features, sessions, no) WHERE account_no = given.no""",
    Put.NEW_DETAIL: f"""
        INSERT INTO account_detail (account_no, user_ids, features, facts) SELECT * FROM {_FROM_DETAILS}
        ON CONFLICT (account_no) DO UPDATE SET user_ids = excluded.user_ids, features = excluded.features,
          facts = excluded.facts""",
    Put.DETAIL: f"""
        UPDATE account_detail SET user_ids = given.user_ids, features = given.features, facts = given.facts
        FROM {_FROM_DETAILS} WHERE account_no = given.no""",
    Put.DAYS: f"""
        UPDATE account SET first_day = given.first_day, last_day = given.last_day
        FROM {_arrays("int", "int", "bigint")} AS given (first_day, last_day, no) WHERE account.no = given.no""",
    Put.DIRECTORY: f"""
        UPDATE account SET {", ".join(f"{name} = given.{name}" for name in DIRECTORY)}
        FROM {_arrays(*(_DIRECTORY_TYPES.get(name, "text") for name in DIRECTORY), "bigint")}
          AS given ({", ".join(DIRECTORY)}, no) WHERE account.no = given.no""",
    Put.TOUCHED: f"""
        INSERT INTO touched (account_no, partition) SELECT * FROM {_arrays("bigint", "text")}
        ON CONFLICT DO NOTHING""",
    Put.DEAD_LETTER: f"""
        INSERT INTO dead_letter (partition, log, "offset", reason, detail, origin, body, received_at, status)
        SELECT *, 'waiting' FROM {_arrays("text", "text", "bigint", "text", "text", "text", "bytea", "bigint")}
        ON CONFLICT DO NOTHING""",
    Put.OTHER_DEAD_LETTER: f"""
        INSERT INTO dead_letter (partition, log, "offset", reason, detail, origin, body, received_at, status)
        SELECT given.partition, given.log || mark, given."offset", given.reason, given.detail, given.origin, given.body,
          given.received_at, 'waiting'
        FROM {_arrays("text", "text", "bigint", "text", "text", "text", "bytea", "bigint", "text")}
          AS given (partition, log, "offset", reason, detail, origin, body, received_at, mark)
        JOIN dead_letter AS kept ON kept.partition = given.partition AND kept.log = given.log
          AND kept."offset" = given."offset" AND kept.body <> given.body
        ON CONFLICT DO NOTHING""",
    Put.FAMILY: f"""
        INSERT INTO family (name, first_day) SELECT * FROM {_arrays("text", "int")}
        ON CONFLICT (name) DO UPDATE SET first_day = least(family.first_day, excluded.first_day)""",
    Put.COUNTER: f"""
        INSERT INTO counter (name, value) SELECT * FROM {_arrays("text", "bigint")}
        ON CONFLICT (name) DO UPDATE SET value = counter.value + excluded.value""",
}


class PostgresqlStatements:
    """Implements ``WindowStatements``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._new: dict[str, int] = {}

    def run(self, statement: str, values: tuple[Any, ...]) -> Any:
        """One small statement."""
        return self._connection.exec_driver_sql(spoken(statement), values)

    def ask(self, what: Ask, rows: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
        """What is there of each of ``rows``."""
        return driver_rows(self._connection.exec_driver_sql(_ASK[what], _columns(rows))) if rows else ()

    def hold_lanes(self, lanes: Sequence[str]) -> None:
        """By advisory locks, which end with the transaction."""
        alone_in_lanes(self._connection, lanes)

    def find(self, account_ids: Sequence[str]) -> Iterable[StoredAccount]:
        """The accounts that have windows, those among them that a rival has just made; the others get their row."""
        names = self._locked(account_ids)
        known = set(names.values())
        if unknown := sorted(each for each in account_ids if each not in known):
            self._new = {
                account_id: no
                for no, account_id in self._connection.exec_driver_sql(_NEW_ACCOUNTS, (unknown,))
            }
            if theirs := [each for each in unknown if each not in self._new]:
                names |= self._locked(theirs)
        if not names:
            return []
        rows = driver_rows(self._connection.exec_driver_sql(_WINDOWS, (list(names),)))
        self._new |= {names[no]: no for no in names.keys() - {row[0] for row in rows}}
        return [(row[0], names[row[0]], *row[1:]) for row in rows]

    def number(self, account_ids: Sequence[str]) -> Mapping[str, int]:
        """Their rows were made when they were looked for."""
        return self._new

    def put(self, what: Put, rows: Sequence[tuple[Any, ...]]) -> int:
        """Write rows: an array for each column."""
        return self._connection.exec_driver_sql(_PUT[what], _columns(rows)).rowcount if rows else 0

    def _locked(self, account_ids: Sequence[str]) -> dict[int, str]:
        """Account ids by number."""
        return dict(driver_rows(self._connection.exec_driver_sql(_LOCK_ACCOUNTS, (list(account_ids),))))


def _columns(rows: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    return tuple(map(list, zip(*rows, strict=True)))
