"""What views over the whole portfolio read: bands of the last close, the directory's columns, alerts that fire.

Who churned is nobody's customer any more and in none of them: by ``lifecycle``, or as the profile says, which knows
whether an MRR of 0 fell to it or never was more.
"""

# ruff: noqa: S608 - names and numbers in these texts are ours; values never are in them
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from alerts.account_rows import AccountRows
from alerts.arrays import BoolArray, IntArray
from alerts.columns import PROFILE_DTYPE
from alerts.health.history import HISTORY_DTYPE
from alerts.health.state import BANDS, HEALTH_DTYPE, UNKNOWN, Records, blank
from alerts.queue import Customer
from app.database.drivers import Driver
from app.database.health import PAGE
from consumers.ledger import SEGMENTS

_CHURNED_AT = PROFILE_DTYPE.fields["churned"][1] + 1 if PROFILE_DTYPE.fields else 0
# CASE and not AND, both sides of which SQLite works out: a look into everybody's windows costs more than all the rest.
_CHURNED = f"""
(COALESCE(a.lifecycle, '') = 'churned' OR CASE WHEN a.mrr_cents = 0 THEN EXISTS (
  SELECT 1 FROM account_window AS w WHERE w.account_no = a.no AND substr(w.profile, {_CHURNED_AT}, 2) = ?)
  ELSE FALSE END)
"""
_YES = (1).to_bytes(2, "little")
_DIRECTORY = (
    f"SELECT a.no, {', '.join(f'a.{name}' for name in SEGMENTS)}, {_CHURNED} FROM account AS a ORDER BY a.no"
)
_COLUMNS = (
    "no",
    "account_id",
    "name",
    "owner",
    "owner_email",
    "renewal_day",
    "term_months",
    "mrr_cents",
    "currency",
)
_CUSTOMERS = f"SELECT {', '.join(f'a.{name}' for name in _COLUMNS)} FROM account AS a WHERE NOT {_CHURNED}"
_FIRING = """
SELECT id, account_no, rule, severity, title, fired_at, due_at, acknowledged_by FROM alert WHERE status = 'firing'
"""
_SAID = """
SELECT account_no, outcome, outcome_at, outcome_by, outcome_note FROM alert
WHERE outcome_by IS NOT NULL
"""
_CLOSED = """
SELECT id, seq FROM alert WHERE account_no = ? AND status = 'resolved' AND fired_at IS NOT NULL AND severity <> 'info'
ORDER BY resolved_at DESC, id DESC LIMIT 1
"""


class OpenAlert(NamedTuple):
    """An alert that fires, as views over many accounts list it."""

    id: str
    account_no: int
    rule: str
    severity: str
    title: str
    fired_at: int
    due_at: int | None
    acknowledged_by: str | None


class SaidOutcome(NamedTuple):
    """What a person last said came of one of the account's alerts."""

    outcome: str
    at: int
    by: str
    note: str | None


class Directory(NamedTuple):
    """Every account: its number, in order, its segments by dimension, and whether it churned."""

    nos: IntArray
    segments: Mapping[str, Sequence[str | None]]
    churned: BoolArray


class HistoryPage(NamedTuple):
    """What the close of ``day`` said of the accounts of one page (alerts/health/history.py)."""

    day: int
    page: int
    records: NDArray[Any]


def directory(connection: Connection) -> Directory:
    """The whole directory, as segments count it."""
    rows = Driver(connection).rows(_DIRECTORY, _YES)
    nos, *segments, churned = zip(*rows, strict=True) if rows else [()] * (len(SEGMENTS) + 2)
    return Directory(
        np.array(nos, dtype=np.int64),
        dict(zip(SEGMENTS, segments, strict=True)),
        np.array(churned, dtype=np.bool_),
    )


def closed_health(connection: Connection) -> tuple[IntArray, Records]:
    """What the last close left of every account that was ever closed: their numbers, in order, and a record each."""
    found = [blank(0)]
    nos: list[IntArray] = [np.zeros(0, dtype=np.int64)]
    for page, blob in Driver(connection).rows("SELECT page, records FROM health_state ORDER BY page"):
        records = np.frombuffer(bytes(blob), dtype=HEALTH_DTYPE)
        places = np.flatnonzero(records["day"] != 0)
        found.append(records[places])
        nos.append(places.astype(np.int64) + page * PAGE)
    return np.concatenate(nos), np.concatenate(found)


def numbers_in_bands(connection: Connection, bands: Sequence[str]) -> tuple[list[int], bool]:
    """The accounts in any of these bands, in order, or, with False, those that are in none of them.

    Unknown is also the band of who was never closed, which only those that are not in it can tell.
    """
    nos, records = closed_health(connection)
    inside = BANDS[UNKNOWN] not in bands
    wanted = [number for number, band in enumerate(BANDS) if (band in bands) is inside]
    return nos[np.isin(records["band"], wanted)].tolist(), inside


def history_pages(connection: Connection, first: int, last: int) -> Sequence[HistoryPage]:
    """What the closes of the days [first..last] said of everybody, in order."""
    wanted = "SELECT day, page, records FROM health_history WHERE day BETWEEN ? AND ? ORDER BY day, page"
    rows = Driver(connection).rows(wanted, first, last)
    return [
        HistoryPage(day, page, np.frombuffer(bytes(blob), dtype=HISTORY_DTYPE)) for day, page, blob in rows
    ]


def customers(
    connection: Connection,
    nos: Sequence[int],
    *,
    owner: str | None = None,
    renewing: tuple[int, int] | None = None,
) -> list[Customer]:
    """Those of the accounts, which are in order, that are customers still, by number.

    ``owner`` is a name or an e-mail address, exactly; ``renewing`` an inclusive range of days.
    """
    if not nos:
        return []
    driver = Driver(connection)
    these, values = driver.among("a.no", nos)
    query, given = f"{_CUSTOMERS} AND {these}", [_YES, *values]
    if owner is not None:
        query, given = f"{query} AND (a.owner = ? OR a.owner_email = ?)", [*given, owner, owner]
    if renewing is not None:
        query, given = f"{query} AND a.renewal_day BETWEEN ? AND ?", [*given, *renewing]
    return [Customer(*row) for row in driver.rows(f"{query} ORDER BY a.no", *given)]


def firing(
    connection: Connection, *, nos: Sequence[int] | None = None, rules: Sequence[str] | None = None
) -> list[OpenAlert]:
    """The alerts that fire, of these accounts (in order) or all, of these rules or all; worst and oldest first."""
    driver = Driver(connection)
    query, given = _FIRING, []
    if nos is not None:
        these, values = driver.among("account_no", nos)
        query, given = f"{query} AND {these}", [*values]
    if rules is not None:
        query = f"{query} AND rule IN ({', '.join('?' * len(rules))})" if rules else f"{query} AND FALSE"
        given += rules
    found = [OpenAlert(*row) for row in driver.rows(query, *given)]
    return sorted(found, key=lambda each: (_RANKS[each.severity], each.fired_at, each.rule, each.id))


def last_said(connection: Connection, nos: Sequence[int]) -> dict[int, SaidOutcome]:
    """The newest outcome that a person gave to an alert of each of these accounts, which are in order."""
    if not nos:
        return {}
    driver = Driver(connection)
    these, values = driver.among("account_no", nos)
    rows = driver.rows(f"{_SAID} AND {these} ORDER BY outcome_at, id", *values)
    return {row[0]: SaidOutcome(*row[1:]) for row in rows}


def newest_closed(connection: Connection, account_no: int) -> tuple[str, int] | None:
    """Of the account's alerts that fired, ``info`` aside, the one closed last: its id and seq; None without any."""
    rows = Driver(connection).rows(_CLOSED, account_no)
    return (rows[0][0], rows[0][1]) if rows else None


def rated(connection: Connection) -> AccountRows:
    """The accounts that were ever rated, as far as metrics of ratings read them (METRICS 2.11)."""
    driver = Driver(connection)
    profiles = driver.rows("SELECT account_no, profile FROM account_window ORDER BY account_no")
    told = np.frombuffer(b"".join(row[1] for row in profiles), dtype=PROFILE_DTYPE)
    chosen = np.flatnonzero((told["sentiment"] != 0) & (told["churned"] == 0)).tolist()
    nos = [profiles[place][0] for place in chosen]
    rest: Sequence[tuple[Any, ...]] = ()
    if nos:
        these, values = driver.among("no", nos)
        wanted = f"SELECT no, account_id, size FROM account WHERE {these} ORDER BY no"
        rest = driver.rows(wanted, *values)
    sizes = [row[2] for row in rest]
    # Of the others no metric of ratings asks when they were last spoken to.
    if large := [row[0] for row in rest if row[2] == "enterprise"]:
        these, values = driver.among("account_no", large)
        wanted = f"SELECT account_no, moments FROM account_window WHERE {these}"
        spoken = dict(driver.rows(wanted, *values))
    else:
        spoken = {}
    moments = [spoken.get(no) or b"" for no in nos]
    nothing = [b""] * len(nos)
    return AccountRows(
        nos=nos,
        account_ids=[row[1] for row in rest],
        profiles=[profiles[place][1] for place in chosen],
        days=nothing,
        users=nothing,
        attributes=lambda name: sizes if name == "size" else [None] * len(nos),
        login_maps=lambda: nothing,
        moments=lambda: moments,
    )


_RANKS = {word: rank for rank, word in enumerate(("critical", "high", "medium", "low", "info"))}
