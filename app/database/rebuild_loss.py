"""What a rebuild would lose: what the live windows held when it began, set beside what the log gave.

Noted at the beginning, not compared at the end: what a running consumer learns meanwhile lies behind the place where
the log is read to, and is no loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, MetaData, Row, String, Table, insert, select

from app.database.engine import Database
from app.database.tables import account, account_window, family
from consumers.days import Calendar
from consumers.facts import ATTRIBUTES, Profile

DIRECTORY = (*ATTRIBUTES, "term_months", "renewal_day", "mrr_cents", "currency")
"""The columns of ``account`` that come from facts."""
_HELD = ("windows", *DIRECTORY, "seats", "subscription", "notice_days", "champion")
_WINDOWS = 1  # the bit of the first
_ROWS = 1_000
_NAMED = 6  # kinds of facts in a message

_before = Table(
    "rebuild_before",
    MetaData(),
    Column("account_id", String(128), primary_key=True),
    Column("held", BigInteger, nullable=False),
    comment="In the database beside, and gone with it: which of _HELD an account has in the live one, as bits",
)
_STATE = (*(account.c[name] for name in DIRECTORY), account_window.c.profile)


@dataclass(frozen=True, slots=True)
class Loss:
    """``families`` begin later than they did or nowhere: first day then, first day now. ``emptied`` accounts would have
    no windows, ``poorer`` others lack facts that were known; ``facts`` are the names of those, most frequent first."""

    families: Mapping[str, tuple[int, int | None]]
    emptied: int
    poorer: int
    facts: Sequence[str]

    def describe(self, calendar: Calendar) -> str:
        """In a line."""
        said = []
        for name, (was, would_be) in self.families.items():
            begins = (
                "are not in the log" if would_be is None else f"begin on {calendar.date(would_be)} in the log"
            )
            said.append(f"{name} {begins}, in the windows on {calendar.date(was)}")
        if self.emptied:
            said.append(f"{self.emptied:,} accounts would have no windows any more")
        if self.poorer:
            more = ", ..." if len(self.facts) > _NAMED else ""
            said.append(f"{self.poorer:,} accounts would lose facts ({', '.join(self.facts[:_NAMED])}{more})")
        return "; ".join(said)


def note(live: Database, building: Database) -> Mapping[str, int]:
    """Write down in ``building`` what ``live`` holds of each account; returns the first day of each family."""
    wanted = select(account.c.account_id, *_STATE).join(
        account_window, account_window.c.account_no == account.c.no, isouter=True
    )
    with live.read() as old, building.write() as new:
        _before.create(new)
        for rows in old.execution_options(yield_per=_ROWS).execute(wanted).partitions():
            new.execute(insert(_before), [{"account_id": row.account_id, "held": _held(row)} for row in rows])
        return _families(old)


def loss(families: Mapping[str, int], building: Database) -> Loss | None:
    """What ``building`` lacks of what :func:`note` found; None if nothing."""
    wanted = (
        select(_before.c.held, *_STATE)
        .join(account, account.c.account_id == _before.c.account_id, isouter=True)
        .join(account_window, account_window.c.account_no == account.c.no, isouter=True)
    )
    emptied = poorer = 0
    lacking = dict.fromkeys(_HELD, 0)
    with building.read() as new:
        now = _families(new)
        for row in new.execution_options(yield_per=_ROWS).execute(wanted):
            lost = row.held & ~_held(row)
            if lost & _WINDOWS:
                emptied += 1
                continue
            poorer += bool(lost)
            for bit, name in enumerate(_HELD):
                lacking[name] += lost >> bit & 1
    # A zone further east moves a first day by one.
    later = {
        name: (was, now.get(name)) for name, was in families.items() if name not in now or now[name] > was + 1
    }
    facts = [name for name in sorted(lacking, key=lacking.__getitem__, reverse=True) if lacking[name]]
    return Loss(later, emptied, poorer, facts) if later or emptied or poorer else None


def _held(row: Row[Any]) -> int:
    """Which of _HELD a row of _STATE has, as bits."""
    known: list[bool] = [row.profile is not None, *(getattr(row, name) is not None for name in DIRECTORY)]
    profile = Profile() if row.profile is None else Profile.load(row.profile)
    known += [bool(profile.told & 1), bool(profile.told & 2), profile.notice_days >= 0, profile.champion != 0]
    return sum(1 << bit for bit, each in enumerate(known) if each)


def _families(connection: Connection) -> dict[str, int]:
    return {row.name: row.first_day for row in connection.execute(select(family.c.name, family.c.first_day))}
