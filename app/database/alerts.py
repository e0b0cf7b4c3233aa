"""Alerts in the database: written with their history and what is to be told, in one transaction with the judgement.

Which accounts are judged, and why no two do so at once, is in :mod:`app.database.account_batches`. An alert moves only
while its account is locked, by a person too: so nobody waits for somebody who waits for him.
"""

# ruff: noqa: S608 - names and conditions in these texts are ours; values never are in them
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from alerts.account_rows import AccountRows, MedianChange
from alerts.alert import Alert, AlertStatus, Move, Outcome, Reason, Severity
from alerts.delivery import Delivery, Outbox
from alerts.health.state import Records
from alerts.store import AccountCard, AlertMoved, Batch, Judged, Waiting
from app.database.account_batches import (
    MARKED,
    OPEN,
    RINGING,
    AccountBatches,
    moving,
    slices,
)
from app.database.drivers import Driver
from app.database.engine import Database
from app.database.health import keep_health
from app.database.locks import Lock, alone
from app.database.medians import keep_median, login_pages, read_median
from app.database.tables import account, alert, alert_history, setting, touched
from app.database.upsert import inserting

_BASELINE = "baseline_untold"  # the setting that outlives a run killed before its summary
_WAITING = f"SELECT EXISTS ({MARKED}), EXISTS ({RINGING}), EXISTS (SELECT 1 FROM setting WHERE key = ?)"
_BY_HAND = ""  # the partition of a mark that no partition made: it never waits
_WORDS = {"status": AlertStatus, "severity": Severity, "reason": Reason, "outcome": Outcome}
_FIXED = frozenset(
    {"id", "key", "rule", "account_no", "account_id", "label", "episode", "baseline", "evidence"}
)
_MUTABLE = [each.name for each in fields(Alert) if each.name not in _FIXED]


class SqlAlertStore:
    """Implements ``alerts.store.AlertStore``. Thread-safe: each transaction has its own connection."""

    def __init__(self, database: Database, outbox: Outbox[Connection], real_us: Callable[[], int]) -> None:
        """``real_us`` gives the real time, from which on deliveries are due: it does not stand still in a trial."""
        self._database = database
        self._outbox = outbox
        self._real_us = real_us

    def waiting(self, now: int, patience_us: int) -> Waiting:
        """What there is to do, read without asking for the right to write."""
        with self._database.glance() as connection:
            on_their_way = moving(self._real_us() - patience_us)
            (row,) = Driver(connection).rows(_WAITING, *on_their_way, *on_their_way, now, _BASELINE)
        return Waiting(*map(bool, row))

    def families(self) -> Mapping[str, int]:
        """The first day of each family of events over the portfolio."""
        with self._database.read() as connection:
            return _families(Driver(connection))

    def median_change(self) -> MedianChange | None:
        """The portfolio's median change of the newest close; None before the first."""
        with self._database.read() as connection:
            return read_median(connection)

    def login_pages(self, size: int) -> Iterator[AccountRows]:
        """All accounts in pages of up to ``size``, by number: profiles, daily logins and attributes."""
        return login_pages(self._database, size)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[SqlAlertTransaction]:
        """Begin: committed at the end, rolled back on any error."""
        with self._database.write() as connection:
            yield self.within(connection)

    def within(self, connection: Connection) -> SqlAlertTransaction:
        """As part of a writing transaction that somebody else has begun and will commit."""
        return SqlAlertTransaction(connection, self._outbox, self._real_us)


class SqlAlertTransaction:
    """Implements ``alerts.store.AlertTransaction`` on one connection."""

    def __init__(
        self, connection: Connection, outbox: Outbox[Connection], real_us: Callable[[], int]
    ) -> None:
        self._connection = connection
        self._accounts = AccountBatches(connection)
        self._driver = Driver(connection)
        self._outbox = outbox
        self._real_us = real_us

    # --- accounts to judge

    def touched(self, limit: int, patience_us: int, cooling_since: int | None) -> Batch:
        """Take up to ``limit`` marked accounts that need not wait, and clear their marks."""
        return self._accounts.marked(limit, self._real_us() - patience_us, cooling_since)

    def due(self, now: int, limit: int, patience_us: int, cooling_since: int | None) -> Batch:
        """Up to ``limit`` accounts of alerts whose ``check_at`` has come; that of resolved ones is cleared."""
        return self._accounts.ringing(now, limit, self._real_us() - patience_us, cooling_since)

    def after(self, account_no: int, limit: int, patience_us: int, cooling_since: int | None) -> Batch:
        """Up to ``limit`` accounts with numbers above ``account_no``, but for those that wait."""
        return self._accounts.following(account_no, limit, self._real_us() - patience_us, cooling_since)

    def families(self) -> Mapping[str, int]:
        """The first day of each family of events over the portfolio."""
        return _families(self._driver)

    def newest(self) -> Mapping[str, int]:
        """The instant of the newest event of each family of activity, of whatever source."""
        return dict(self._driver.rows("SELECT family, max(newest_at) FROM feed GROUP BY family"))

    def facts(self, account_nos: Sequence[int]) -> Mapping[int, bytes]:
        """What is stored of the facts of these accounts, which are in order; those without any are left out."""
        return self._details("facts", account_nos)

    def usage(self, account_nos: Sequence[int]) -> Mapping[int, bytes]:
        """The same of the features that they use."""
        return self._details("features", account_nos)

    def _details(self, column: str, account_nos: Sequence[int]) -> Mapping[int, bytes]:
        if not account_nos:
            return {}
        these, values = self._driver.among("account_no", account_nos)
        return dict(
            self._driver.rows(f"SELECT account_no, {column} FROM account_detail WHERE {these}", *values)
        )

    def cards(self, account_nos: Iterable[int]) -> Mapping[int, AccountCard]:
        """What messages say of these accounts."""
        return self._accounts.cards(account_nos)

    def judge(self, judged: Judged) -> None:
        """Write down that accounts were evaluated, and their risk levels."""
        if judged.nos:
            these, values = self._driver.among("no", judged.nos)
            evaluated = "UPDATE account SET evaluated_at = ?, judged_at = COALESCE(judged_at, ?)"
            self._driver.run(f"{evaluated} WHERE {these}", judged.at, judged.at, *values)
        if judged.risk:
            self._connection.execute(
                update(account).where(account.c.no == bindparam("of")).values(risk_level=bindparam("level")),
                [{"of": no, "level": level} for no, level in judged.risk.items()],
            )

    def keep_health(self, account_nos: Sequence[int], records: Records, day: int) -> None:
        """Write what the close of ``day`` left of the health of these accounts, which are held and in order."""
        keep_health(self._connection, account_nos, records, day)

    def median_change(self) -> MedianChange | None:
        """The portfolio's median change of the newest close; None before the first."""
        return read_median(self._connection)

    def keep_median(self, median: MedianChange) -> None:
        """Keep that of a day that closed, in place of the one before."""
        keep_median(self._connection, median)

    def touch(self, account_nos: Iterable[int]) -> None:
        """Mark accounts to be judged, whatever their partitions are up to."""
        nos = sorted(set(account_nos))
        if nos:
            self._accounts.lock(nos)
            marks = inserting(self._connection, touched).on_conflict_do_nothing()
            self._connection.execute(marks, [{"account_no": no, "partition": _BY_HAND} for no in nos])

    # --- alerts

    def alerts(self, ids: Sequence[str]) -> Mapping[str, Alert]:
        """These alerts by id, whole. From now on nobody else moves them."""
        for some in slices(ids):
            self._accounts.lock(
                self._connection.scalars(select(alert.c.account_no).where(alert.c.id.in_(some)))
            )
        found = {}
        for some in slices(ids):
            for row in self._connection.execute(select(alert).where(alert.c.id.in_(some))):
                found[row.id] = _alert(row)
        return found

    def open_alerts(self, account_no: int) -> Sequence[Alert]:
        """An account's open alerts, whole."""
        wanted = select(alert).where(alert.c.account_no == account_no, OPEN).order_by(alert.c.id)
        return [_alert(row) for row in self._connection.execute(wanted)]

    def orphans(self, rules: Sequence[str], limit: int) -> Sequence[Alert]:
        """Up to ``limit`` open alerts of rules that are none of ``rules``."""
        orphaned = and_(OPEN, alert.c.rule.not_in(rules))
        wanted = select(alert.c.id).where(orphaned).order_by(alert.c.id).limit(limit)
        found = self.alerts(list(self._connection.scalars(wanted)))
        return [each for _, each in sorted(found.items()) if each.open]

    def last_episodes(self, account_nos: Sequence[int]) -> Mapping[str, int]:
        """The number of the newest episode of each key that the accounts ever had."""
        found: dict[str, int] = {}
        if account_nos:
            these, values = self._driver.among("account_no", account_nos)
            newest = f"SELECT key, max(episode) FROM alert WHERE {these} GROUP BY key"
            found.update(self._driver.rows(newest, *values))
        return found

    def apply(self, moves: Sequence[Move], deliveries: Sequence[Delivery], now: int) -> None:
        """Write moved alerts, their history and what is to be told. Raises AlertMoved if a rival was first."""
        self._insert([move.after for move in moves if move.before is None])
        changed = [move for move in moves if move.before is not None]
        self._update([move for move in changed if move.after.evidence], ["evidence", *_MUTABLE])
        self._update([move for move in changed if not move.after.evidence], _MUTABLE)
        if moves:
            self._connection.execute(insert(alert_history), [_history(move, now) for move in moves])
        if deliveries:
            due_at = self._real_us()
            self._outbox.enqueue(self._connection, [replace(each, next_at=due_at) for each in deliveries])

    def _insert(self, alerts: Sequence[Alert]) -> None:
        if not alerts:
            return
        names = [each.name for each in fields(Alert)]
        try:
            self._connection.execute(insert(alert), [_row(each, names) for each in alerts])
        except IntegrityError as error:
            raise AlertMoved("another process opened the same alert first; its word stands") from error

    def _update(self, moves: Sequence[Move], names: Sequence[str]) -> None:
        if not moves:
            return
        statement = (
            update(alert)
            .where(alert.c.id == bindparam("moved_id"), alert.c.seq == bindparam("moved_seq"))
            .values({name: bindparam(name) for name in names})
        )
        rows = [
            {"moved_id": move.after.id, "moved_seq": move.before.seq, **_row(move.after, names)}
            for move in moves
            if move.before is not None
        ]
        if self._connection.execute(statement, rows).rowcount != len(rows):
            raise AlertMoved("another process moved the same alert first; its word stands")

    # --- the summary of what was true from the start

    def baseline(self) -> str | None:
        """What was kept and no summary has told yet."""
        alone(self._connection, Lock.BASELINE)
        return self._connection.scalar(select(setting.c.value).where(setting.c.key == _BASELINE))

    def keep_baseline(self, text: str | None) -> None:
        """Keep what the next summary will say; None when it was told."""
        self._connection.execute(delete(setting).where(setting.c.key == _BASELINE))
        if text is not None:
            self._connection.execute(insert(setting).values(key=_BASELINE, value=text))


def _families(driver: Driver) -> dict[str, int]:
    return dict(driver.rows("SELECT name, first_day FROM family"))


def _alert(row: Row[Any]) -> Alert:
    values = dict(row._mapping)
    for name, word in _WORDS.items():
        values[name] = None if values[name] is None else word(values[name])
    values["evidence"] = msgspec.json.decode(values["evidence"])
    return Alert(**values)


def _row(each: Alert, names: Sequence[str]) -> dict[str, Any]:
    row = {name: getattr(each, name) for name in names}
    if "evidence" in row:
        row["evidence"] = _json(row["evidence"])
    return row


def _history(move: Move, now: int) -> dict[str, Any]:
    alert_then: dict[str, Any] = {"severity": move.after.severity.value}
    if move.after.evidence:
        alert_then["evidence"] = move.after.evidence
    if move.after.snoozed_until is not None:
        alert_then["snoozed_until"] = move.after.snoozed_until
    if move.after.outcome is not None and _outcome(move.after) != _outcome(move.before):
        alert_then["outcome"] = move.after.outcome.value
    return {
        "alert_id": move.after.id,
        "seq": move.after.seq,
        "at": now,
        "kind": move.kind,
        "reason": "" if move.reason is None else move.reason.value,
        "actor": move.actor,
        "detail": _json(alert_then),
    }


def _outcome(each: Alert | None) -> tuple[Any, ...] | None:
    return None if each is None else (each.outcome, each.outcome_at, each.outcome_by, each.outcome_note)


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
