"""What REST and the command line read of alerts: lists, one with its history, an account's timeline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    bindparam,
    func,
    or_,
    select,
    tuple_,
    update,
)

from app.database.tables import account, alert, alert_history, delivery

Row = RowMapping

# When an episode began never changes, so a list by it stays put while alerts move.
_opened_at = func.coalesce(alert.c.pending_since, alert.c.fired_at, alert.c.updated_at).label("opened_at")

# Statements that never change are built once: building one takes longer than SQLite takes to answer it.
_MOST_SHOWN = 1_000
_MOST_OPEN = 200  # of one account: more rules than that nobody has
_WITH_ACCOUNT = select(
    alert, _opened_at, account.c.name.label("account_name"), account.c.owner, account.c.owner_email
).join(account, account.c.no == alert.c.account_no)
_FIND = _WITH_ACCOUNT.where(alert.c.id == bindparam("wanted"))
_OPEN = (
    select(
        *(alert.c.account_no, alert.c.id, alert.c.rule, alert.c.severity, alert.c.status, alert.c.title),
        *(alert.c.baseline, alert.c.fired_at, alert.c.due_at, alert.c.acknowledged_at),
    )
    .where(
        alert.c.account_no.in_(bindparam("wanted", expanding=True)),
        or_(alert.c.status == "pending", alert.c.status == "firing"),
    )
    .order_by(_opened_at.desc(), alert.c.id.desc())
)
_HISTORY = (
    select(alert_history)
    .where(alert_history.c.alert_id == bindparam("wanted"))
    .order_by(alert_history.c.seq.desc())
    .limit(_MOST_SHOWN)
)
_DELIVERIES = (
    select(*(column for column in delivery.c if column.name != "payload"))
    .where(delivery.c.alert_id == bindparam("wanted"))
    .order_by(delivery.c.id)
    .limit(_MOST_SHOWN)
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which alerts; empty restricts nothing."""

    status: Sequence[str] = ()
    account_id: str | None = None
    rule: Sequence[str] = ()
    severity: Sequence[str] = ()
    owner: str | None = None
    outcome: Sequence[str] = ()


def page(
    connection: Connection, wanted: Filter, *, after: tuple[int, str] | None = None, limit: int = 50
) -> Sequence[Row]:
    """The newest episodes first, behind ``after``, the (opened_at, id) of the last one already shown."""
    query = (
        _WITH_ACCOUNT.where(*_matching(wanted)).order_by(_opened_at.desc(), alert.c.id.desc()).limit(limit)
    )
    if after is not None:
        opened_at, id_ = after
        query = query.where(or_(_opened_at < opened_at, and_(_opened_at == opened_at, alert.c.id < id_)))
    return [row._mapping for row in connection.execute(query)]


def open_alerts(connection: Connection, account_nos: Sequence[int]) -> Mapping[int, Sequence[Row]]:
    """What is open of each account that has any, the newest episodes first, and of each alert what to do next."""
    found: dict[int, list[Row]] = {}
    for row in connection.execute(_OPEN, {"wanted": account_nos}):
        found.setdefault(row.account_no, []).append(row._mapping)
    return {no: rows[:_MOST_OPEN] for no, rows in found.items()}


def find(connection: Connection, alert_id: str) -> Row | None:
    """One alert, as the list shows it and with its evidence."""
    row = connection.execute(_FIND, {"wanted": alert_id}).first()
    return None if row is None else row._mapping


def history(connection: Connection, alert_id: str) -> Sequence[Row]:
    """How the alert moved, oldest first; of a very long life the end."""
    return [row._mapping for row in connection.execute(_HISTORY, {"wanted": alert_id})][::-1]


def deliveries(connection: Connection, alert_id: str) -> Sequence[Row]:
    """What was sent about the alert, oldest first; without the payloads."""
    return [row._mapping for row in connection.execute(_DELIVERIES, {"wanted": alert_id})]


def timeline(
    connection: Connection, account_no: int, *, after: tuple[int, str, int] | None = None, limit: int = 50
) -> Sequence[Row]:
    """Every move of every alert of one account, newest first, behind ``after``: (at, alert id, seq)."""
    place = (alert_history.c.at, alert_history.c.alert_id, alert_history.c.seq)
    query = (
        select(alert_history, alert.c.rule, alert.c.label, alert.c.severity, alert.c.title, alert.c.baseline)
        .join(alert, alert.c.id == alert_history.c.alert_id)
        .where(alert.c.account_no == account_no)
        .order_by(*(column.desc() for column in place))
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(*place) < tuple_(*after))
    return [row._mapping for row in connection.execute(query)]


def annotate(connection: Connection, alert_id: str, seq: int, said: Mapping[str, Any]) -> None:
    """Add what a person said to the detail of the move that the person made."""
    place = (alert_history.c.alert_id == alert_id, alert_history.c.seq == seq)
    detail = connection.scalar(select(alert_history.c.detail).where(*place))
    if detail is not None:
        noted = json.dumps({**json.loads(detail), **said}, separators=(",", ":"), ensure_ascii=False)
        connection.execute(update(alert_history).where(*place).values(detail=noted))


def open_counts(connection: Connection) -> Sequence[tuple[str, str, str, int]]:
    """How many alerts are open, by (rule, status, severity)."""
    rows = connection.execute(
        select(alert.c.rule, alert.c.status, alert.c.severity, func.count())
        .where(alert.c.status != "resolved")
        .group_by(alert.c.rule, alert.c.status, alert.c.severity)
    )
    return [(row[0], row[1], row[2], int(row[3])) for row in rows]


def outcome_counts(connection: Connection, since: int) -> Sequence[tuple[str, str | None, int]]:
    """How many alerts fired and were closed since that instant, by (rule, outcome)."""
    rows = connection.execute(
        select(alert.c.rule, alert.c.outcome, func.count())
        .where(alert.c.status == "resolved", alert.c.resolved_at >= since, alert.c.fired_at.is_not(None))
        .group_by(alert.c.rule, alert.c.outcome)
    )
    return [(row[0], row[1], int(row[2])) for row in rows]


def _matching(wanted: Filter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.status:
        conditions.append(alert.c.status.in_(wanted.status))
    if wanted.account_id is not None:
        conditions.append(account.c.account_id == wanted.account_id)
    if wanted.rule:
        conditions.append(alert.c.rule.in_(wanted.rule))
    if wanted.severity:
        conditions.append(alert.c.severity.in_(wanted.severity))
    if wanted.outcome:
        conditions.append(alert.c.outcome.in_(wanted.outcome))
    if wanted.owner is not None:
        conditions.append(or_(account.c.owner == wanted.owner, account.c.owner_email == wanted.owner))
    return conditions
