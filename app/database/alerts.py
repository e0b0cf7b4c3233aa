"""Alerts in the database: accounts taken to be judged, alerts and history written with what is to be told.

On SQLite a writing transaction is alone by itself. On PostgreSQL the rows of the accounts are locked before their marks
are cleared and their windows read, so that no event can slip in between a reading and the judgement of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from alerts.alert import Alert, AlertStatus, Move, Reason, Severity
from alerts.delivery import Delivery, Outbox
from alerts.portfolio import AccountRows
from alerts.risk import RiskLevel
from alerts.store import AccountCard, AlertMoved, Batch, Judged, Standing, Waiting
from app.database.engine import Database
from app.database.tables import (
    account,
    account_window,
    alert,
    alert_history,
    family,
    position,
    setting,
    touched,
)

_BASELINE = "baseline_untold"  # the setting that outlives a run killed before its summary
_BY_HAND = ""  # the partition of a mark that no partition made: it never waits
_SLICE = 5_000  # values in one IN list; SQLite takes 32,766

_OPEN = alert.c.status != AlertStatus.RESOLVED
_SETTLED = and_(
    alert.c.status == AlertStatus.FIRING,
    alert.c.false_since.is_(None),
    alert.c.unknown_since_day.is_(None),
    alert.c.check_at.is_(None),
)
_STANDING = (
    alert.c.id,
    alert.c.account_no,
    alert.c.rule,
    alert.c.episode,
    alert.c.severity,
    (alert.c.status == AlertStatus.FIRING).label("firing"),
    _SETTLED.label("settled"),
    alert.c.dismissed,
)
_WINDOWS = (account_window.c.profile, account_window.c.days, account_window.c.users)
_CARD = tuple(account.c[each.name] for each in fields(AccountCard) if each.name != "account_no")
_WORDS = {"status": AlertStatus, "severity": Severity, "reason": Reason}
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
        with self._database.read() as connection:
            held = _held(connection, self._real_us() - patience_us)
            due = exists().where(alert.c.check_at <= now, *_not_held(alert.c.account_no, held))
            marked = exists().where(*_not_held(touched.c.account_no, held)).select_from(touched)
            untold = exists().where(setting.c.key == _BASELINE)
            row = connection.execute(select(marked, due, untold)).one()
        return Waiting(*map(bool, row))

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
        self._outbox = outbox
        self._real_us = real_us

    # --- accounts to judge

    def touched(self, limit: int, patience_us: int, cooling_since: int | None) -> Batch:
        """Take up to ``limit`` marked accounts that need not wait, and clear their marks."""
        free = _not_held(touched.c.account_no, _held(self._connection, self._real_us() - patience_us))
        marked = select(touched.c.account_no).distinct().where(*free)
        nos = self._numbers(marked.order_by(touched.c.account_no).limit(limit))
        batch = self._batch(nos, cooling_since)
        for these in _among(touched.c.account_no, nos):
            self._connection.execute(delete(touched).where(these))
        return replace(batch, marked=batch.rows.nos)

    def due(self, now: int, limit: int, patience_us: int, cooling_since: int | None) -> Batch:
        """Up to ``limit`` accounts of alerts whose ``check_at`` has come; that of resolved ones is cleared."""
        free = _not_held(alert.c.account_no, _held(self._connection, self._real_us() - patience_us))
        ringing = select(alert.c.account_no).distinct().where(alert.c.check_at <= now, *free)
        nos = self._numbers(ringing.order_by(alert.c.account_no).limit(limit))
        batch = self._batch(nos, cooling_since)
        for these in _among(alert.c.account_no, nos):
            rung = update(alert).where(alert.c.check_at <= now, ~_OPEN, these)
            self._connection.execute(rung.values(check_at=None))
        return batch

    def after(self, account_no: int, limit: int, patience_us: int, cooling_since: int | None) -> Batch:
        """Up to ``limit`` accounts with numbers above ``account_no``, but for those that wait."""
        held = _held(self._connection, self._real_us() - patience_us)
        number = account_window.c.account_no
        if self._connection.dialect.name != "sqlite":
            following = select(account.c.no).where(account.c.no > account_no).order_by(account.c.no)
            self._connection.execute(following.limit(limit).with_for_update())
        wanted = (
            select(number, *_WINDOWS).where(number > account_no, *_not_held(number, held)).order_by(number)
        )
        return self._as_batch(self._driver_rows(wanted.limit(limit)), cooling_since)

    def families(self) -> Mapping[str, int]:
        """The first day of each family of events over the portfolio."""
        rows = self._connection.execute(select(family.c.name, family.c.first_day))
        return {row.name: row.first_day for row in rows}

    def cards(self, account_nos: Iterable[int]) -> Mapping[int, AccountCard]:
        """What messages say of these accounts."""
        return {row[0]: AccountCard(*row) for row in self._of_accounts((account.c.no, *_CARD), account_nos)}

    def judge(self, judged: Judged) -> None:
        """Write down that accounts were evaluated, and their risk levels."""
        for these in _among(account.c.no, judged.nos):
            first = func.coalesce(account.c.judged_at, judged.at)
            evaluated = update(account).where(these)
            self._connection.execute(evaluated.values(evaluated_at=judged.at, judged_at=first))
        if judged.risk:
            self._connection.execute(
                update(account).where(account.c.no == bindparam("of")).values(risk_level=bindparam("level")),
                [{"of": no, "level": level} for no, level in judged.risk.items()],
            )

    def touch(self, account_nos: Iterable[int]) -> None:
        """Mark accounts to be judged, whatever their partitions are up to."""
        rows = [{"account_no": no, "partition": _BY_HAND} for no in account_nos]
        if rows:
            dialect = postgresql if self._connection.dialect.name == "postgresql" else sqlite
            self._connection.execute(dialect.insert(touched).on_conflict_do_nothing(), rows)

    # --- alerts

    def alerts(self, ids: Sequence[str]) -> Mapping[str, Alert]:
        """These alerts by id, whole."""
        found = {}
        for some in _slices(ids):
            for row in self._connection.execute(select(alert).where(alert.c.id.in_(some))):
                found[row.id] = _alert(row)
        return found

    def open_alerts(self, account_no: int) -> Sequence[Alert]:
        """An account's open alerts, whole."""
        wanted = select(alert).where(alert.c.account_no == account_no, _OPEN).order_by(alert.c.id)
        return [_alert(row) for row in self._connection.execute(wanted)]

    def orphans(self, rules: Sequence[str], limit: int) -> Sequence[Alert]:
        """Up to ``limit`` open alerts of rules that are none of ``rules``."""
        wanted = select(alert).where(_OPEN, alert.c.rule.not_in(rules)).order_by(alert.c.id).limit(limit)
        return [_alert(row) for row in self._connection.execute(wanted)]

    def last_episodes(self, account_nos: Sequence[int]) -> Mapping[str, int]:
        """The number of the newest episode of each key that the accounts ever had."""
        found: dict[str, int] = {}
        for these in _among(alert.c.account_no, account_nos):
            newest = select(alert.c.key, func.max(alert.c.episode)).where(these)
            found.update(
                (key, number) for key, number in self._connection.execute(newest.group_by(alert.c.key))
            )
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
        wanted = select(setting.c.value).where(setting.c.key == _BASELINE).with_for_update()
        return self._connection.scalar(wanted)

    def keep_baseline(self, text: str | None) -> None:
        """Keep what the next summary will say; None when it was told."""
        self._connection.execute(delete(setting).where(setting.c.key == _BASELINE))
        if text is not None:
            self._connection.execute(insert(setting).values(key=_BASELINE, value=text))

    # --- reading many accounts

    def _numbers(self, wanted: Any) -> list[int]:
        """The account numbers of a query, their rows locked where the database locks rows."""
        nos = list(self._connection.scalars(wanted))
        if self._connection.dialect.name != "sqlite":
            for these in _among(account.c.no, nos):
                lock = select(account.c.no).where(these).order_by(account.c.no)
                self._connection.execute(lock.with_for_update())
        return nos

    def _batch(self, nos: Sequence[int], cooling_since: int | None) -> Batch:
        return self._as_batch(self._of_accounts((account.c.no, *_WINDOWS), nos, windows=True), cooling_since)

    def _as_batch(self, found: Sequence[Sequence[Any]], cooling_since: int | None) -> Batch:
        numbers, profiles, days, users = zip(*found, strict=True) if found else ((),) * 4
        levels, judged = self._how_they_stood(numbers)

        def one(column: ColumnElement[Any], *, windows: bool = False) -> list[Any]:
            wanted = self._of_accounts((account.c.no, column), numbers, windows=windows)
            return [row[1] for row in wanted]

        rows = AccountRows(
            nos=numbers,
            account_ids=_Lazily(lambda: one(account.c.account_id)),
            profiles=profiles,
            days=days,
            users=users,
            attributes=lambda name: one(account.c[name]),
            login_maps=lambda: one(account_window.c.login_maps, windows=True),
        )
        return Batch(rows, levels, judged, self._standings(numbers, cooling_since))

    def _how_they_stood(self, nos: Sequence[int]) -> tuple[list[str], list[bool]]:
        """Each account's risk level, and whether it was judged before. Only those that say something are read."""
        levels, judged = dict.fromkeys(nos, RiskLevel.LOW.value), dict.fromkeys(nos, True)
        telling = or_(account.c.risk_level != RiskLevel.LOW, account.c.judged_at.is_(None))
        for these in _among(account.c.no, nos):
            wanted = select(account.c.no, account.c.risk_level, account.c.judged_at).where(these, telling)
            for no, level, judged_at in self._driver_rows(wanted):
                levels[no], judged[no] = level, judged_at is not None
        return list(levels.values()), list(judged.values())

    def _standings(self, nos: Sequence[int], cooling_since: int | None) -> list[Standing]:
        wanted = or_(_OPEN, alert.c.dismissed)
        if cooling_since is not None:
            wanted = or_(wanted, alert.c.resolved_at > cooling_since)
        found: list[Standing] = []
        for these in _among(alert.c.account_no, nos):
            standing = select(*_STANDING).where(these, wanted)
            ordered = standing.order_by(alert.c.account_no, alert.c.rule, alert.c.episode)
            found += map(Standing._make, self._driver_rows(ordered))
        return found

    def _driver_rows(self, wanted: Select[Any]) -> list[tuple[Any, ...]]:
        """The driver's own tuples: wrapping each row of a sweep would cost as much again as reading it."""
        result = self._connection.execute(wanted)
        found = list(result.cursor.fetchall()) if result.cursor is not None else []
        result.close()
        return found

    def _of_accounts(
        self, columns: Sequence[ColumnElement[Any]], nos: Iterable[int], *, windows: bool = False
    ) -> list[Sequence[Any]]:
        """Columns of these accounts, in the order of their numbers."""
        found: list[Sequence[Any]] = []
        for these in _among(account.c.no, sorted(nos)):
            query = select(*columns).where(these).order_by(account.c.no)
            found += self._connection.execute(query.join(account_window) if windows else query).all()
        return found


class _Lazily(Sequence[str]):
    """Values that only the few accounts that move are asked for."""

    def __init__(self, read: Callable[[], list[str]]) -> None:
        self._read = read
        self._values: list[str] | None = None

    def _known(self) -> list[str]:
        if self._values is None:
            self._values = self._read()
        return self._values

    def __getitem__(self, place: Any) -> Any:
        return self._known()[place]

    def __len__(self) -> int:
        return len(self._known())


def _held(connection: Connection, progress_since: int) -> Sequence[str]:
    """The partitions that are behind and on their way."""
    behind = and_(position.c.behind, position.c.updated_at > progress_since)
    return list(connection.scalars(select(position.c.partition).where(behind)))


def _not_held(account_no: ColumnElement[int], held: Sequence[str]) -> list[ColumnElement[bool]]:
    if not held:
        return []
    marks = touched.alias()
    return [account_no.not_in(select(marks.c.account_no).where(marks.c.partition.in_(held)))]


def _among(number: ColumnElement[int], nos: Sequence[int]) -> Iterator[ColumnElement[bool]]:
    """Conditions, one for each statement, under which ``number`` is one of ``nos``, which are in order.

    A sweep's are mostly all there are from the first to the last, which costs a tenth of naming each.
    """
    if nos and nos[-1] - nos[0] + 1 == len(nos):
        yield number.between(nos[0], nos[-1])
        return
    for some in _slices(nos):
        yield number.in_(some)


def _slices(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _SLICE):
        yield values[start : start + _SLICE]


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
    return {
        "alert_id": move.after.id,
        "seq": move.after.seq,
        "at": now,
        "kind": move.kind,
        "reason": "" if move.reason is None else move.reason.value,
        "actor": move.actor,
        "detail": _json(alert_then),
    }


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
