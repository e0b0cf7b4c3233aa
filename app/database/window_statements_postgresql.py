"""Windows on PostgreSQL: arrays in binary, one for each column, and locks in one order for all.

At READ COMMITTED every statement sees what was committed when it began. So what must not change is locked by one
statement and read by the next; a rival who was first is then seen whole. The locks of a batch, always in this order:

1. the partitions' positions, by the compare-and-set itself (partitions sorted);
2. the lanes of its event ids (sorted), an advisory lock each: a lane may be shared, and its segments are numbered;
3. its accounts that are there, by number; then those that are not are inserted, by id, which waits for a rival who is
   just inserting one; then what he has inserted is locked too;
4. last, for the time of the commit alone, the counters, by name.

A row of an account is locked FOR NO KEY UPDATE: those who write its windows, judge it or mark it keep each other out,
while foreign keys that point at it do not wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection

from app.database.locks import alone_in_lane
from app.database.window_statements import DIRECTORY, Put, StoredAccount

_LOCK_ACCOUNTS = (
    "SELECT no, account_id FROM account WHERE account_id = ANY(%b::text[]) ORDER BY no FOR NO KEY UPDATE"
)
_NEW_ACCOUNTS = """
INSERT INTO account (account_id) SELECT * FROM unnest(%b::text[]) ON CONFLICT DO NOTHING RETURNING no, account_id
"""
_WINDOWS = """
SELECT w.account_no, w.profile, w.days, w.users, w.login_maps, d.user_ids, d.features, d.facts
FROM account_window AS w JOIN account_detail AS d USING (account_no) WHERE w.account_no = ANY(%b::bigint[])
"""


def _arrays(*types: str) -> str:
    return f"unnest({', '.join(f'%b::{each}[]' for each in types)})"


_FROM_WINDOWS = f"{_arrays('bigint', *['bytea'] * 4)} AS given (no, profile, days, users, login_maps)"
_FROM_DETAILS = f"{_arrays('bigint', *['bytea'] * 3)} AS given (no, user_ids, features, facts)"
_DIRECTORY_TYPES = {"term_months": "int", "renewal_day": "int", "mrr_cents": "bigint"}
# ruff: noqa: S608 - what is put into these texts, names and types, is all ours; values never are
_PUT = {
    Put.NEW_WINDOW: f"""
        INSERT INTO account_window (account_no, profile, days, users, login_maps) SELECT * FROM {_FROM_WINDOWS}
        ON CONFLICT (account_no) DO UPDATE SET profile = excluded.profile, days = excluded.days,
          users = excluded.users, login_maps = excluded.login_maps""",
    Put.WINDOW: f"""
        UPDATE account_window SET profile = given.profile, days = given.days, users = given.users,
          login_maps = given.login_maps
        FROM {_FROM_WINDOWS} WHERE account_no = given.no""",
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
        return self._connection.exec_driver_sql(_spoken(statement), values)

    def hold_lane(self, lane: str) -> None:
        """By an advisory lock, which ends with the transaction."""
        alone_in_lane(self._connection, lane)

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
        rows = self._connection.exec_driver_sql(_WINDOWS, (list(names),)).all()
        self._new |= {names[no]: no for no in names.keys() - {row[0] for row in rows}}
        return [(row[0], names[row[0]], *row[1:]) for row in rows]

    def number(self, account_ids: Sequence[str]) -> Mapping[str, int]:
        """Their rows were made when they were looked for."""
        return self._new

    def put(self, what: Put, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write rows: an array for each column."""
        if rows:
            columns = tuple(map(list, zip(*rows, strict=True)))
            self._connection.exec_driver_sql(_PUT[what], columns)

    def _locked(self, account_ids: Sequence[str]) -> dict[int, str]:
        """Account ids by number."""
        rows = self._connection.exec_driver_sql(_LOCK_ACCOUNTS, (list(account_ids),))
        return {row[0]: row[1] for row in rows}


@cache
def _spoken(statement: str) -> str:
    return statement.replace("?", "%s")
