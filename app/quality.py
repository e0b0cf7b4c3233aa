"""How good the data is: what accounts lack, what was received, and for how many of them each metric stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from alerts.account_rows import AccountRows, Moment
from alerts.columns import MOMENT_DTYPE, Stack, stacked
from alerts.metrics.catalogue import CATALOGUE
from alerts.metrics.holidays import has_calendar
from alerts.metrics.readings import Readings, iso
from alerts.portfolio import Portfolio
from alerts.values import Status
from app.bootstrap import House, Opened
from app.database import dead_letters
from app.database.account_rows import ACCOUNTS, account_rows
from app.database.tables import account, account_detail, family
from consumers.champions import DEPARTED, UNMAPPED
from consumers.events import FAMILY, TYPES, FeatureUsed, SessionEnded, UserLogin
from consumers.state import AccountState
from consumers.usage import Usage
from consumers.windows import KEPT_DAYS, NEVER

AT_ONCE = 5_000  # accounts judged together
EXAMPLES = 5
_NAME = {kind: name for name, kind in TYPES.items()}
_STATUSES = [status.word for status in Status]
_NARROW = 2 * KEPT_DAYS  # bytes of daily counts that fit 16 bits


@dataclass(slots=True)
class Lack:
    """How many accounts lack something, and the first few of them."""

    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Received:
    """One type of event: how many accounts have any, how many are kept (None: not one by one), and the first day of
    its family over the portfolio."""

    type: str
    accounts: int
    kept: int | None
    since: str | None


@dataclass(slots=True)
class Quality:
    """What there is to say of the data of all accounts."""

    as_of: str
    accounts: int = 0
    lacks: dict[str, Lack] = field(default_factory=dict)
    countries: list[tuple[str, int]] = field(default_factory=list)  # that no calendar knows
    types: list[Received] = field(default_factory=list)
    not_understood: Mapping[str, int] = field(default_factory=dict)  # by what their types are
    features: list[tuple[str, int]] = field(default_factory=list)
    metrics: dict[str, dict[str, int]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {
            "as_of": self.as_of,
            "accounts": self.accounts,
            "without": {
                name: {"accounts": each.count, "examples": each.examples} for name, each in self.lacks.items()
            },
            "countries": [{"country": name, "accounts": count} for name, count in self.countries],
            "events": [
                {"type": each.type, "accounts": each.accounts, "kept": each.kept, "since": each.since}
                for each in self.types
            ],
            "not_understood": [
                {"detail": detail, "events": count} for detail, count in self.not_understood.items()
            ],
            "features": [{"feature": name, "accounts": count} for name, count in self.features],
            "metrics": self.metrics,
        }


@dataclass(slots=True)
class _Counts:
    """What is added up over the pages."""

    lacks: dict[str, Lack]
    statuses: dict[str, Counter[str]]
    having: Counter[str] = field(default_factory=Counter)  # accounts by type of event
    kept: Counter[str] = field(default_factory=Counter)
    features: Counter[str] = field(default_factory=Counter)
    countries: Counter[str] = field(default_factory=Counter)
    accounts: int = 0


def data_quality(opened: Opened) -> Quality:
    """Every account looked at once, in one snapshot. Raises ConfigurationError, StorageError."""
    house = House.build(opened.settings, opened.clock, opened.database)
    with opened.database.read() as connection:
        first_days = {row.name: row.first_day for row in connection.execute(select(family))}
        moment = _moment(house, first_days)
        counts = _Counts({name: Lack() for name in _LACKS}, {name: Counter() for name in CATALOGUE})
        for rows in _pages(connection):
            _count(counts, Portfolio(rows, moment))
            _count_details(counts, connection, rows)
        not_understood = dead_letters.not_understood(connection)
    return Quality(
        as_of=iso(moment.as_of) or "",
        accounts=counts.accounts,
        lacks=counts.lacks,
        countries=_most_first(counts.countries),
        types=_received(counts, first_days),
        not_understood=not_understood,
        features=_most_first(counts.features),
        metrics={name: dict(sorted(found.items())) for name, found in counts.statuses.items()},
    )


def _moment(house: House, first_days: Mapping[str, int]) -> Moment:
    now = house.clock.now_us()
    return Moment.live(
        house.calendar,
        now,
        families=first_days,
        stale=house.hearing.stale(now),
        model=house.book.configuration.model,
        median_change=house.alerts.median_change(),
    )


_LACKS: Mapping[str, Callable[[Portfolio], Any]] = {
    "any activity": lambda portfolio: portfolio.number("first_day") == NEVER,
    "an owner": lambda portfolio: portfolio.attribute("owner") == None,  # noqa: E711 - over an array
    "a renewal date": lambda portfolio: portfolio.number("renewal_day") == NEVER,
    "seats": lambda portfolio: portfolio.number("seats") == 0,
    "a champion": lambda portfolio: np.isin(portfolio.number("champion"), (UNMAPPED, DEPARTED)),
    "a holiday calendar of their country": lambda portfolio: np.array(
        [_has_no_calendar(country) for country in portfolio.attribute("country")]
    ),
}


def _has_no_calendar(country: str | None) -> bool:
    """Whether a country was told and no calendar is of that name: its business days are Monday to Friday."""
    return bool(country and not has_calendar(country))


def _count(counts: _Counts, portfolio: Portfolio) -> None:
    counts.accounts += portfolio.size
    for name, lacking in _LACKS.items():
        found = np.flatnonzero(lacking(portfolio))
        lack = counts.lacks[name]
        lack.count += len(found)
        room = EXAMPLES - len(lack.examples)
        lack.examples += [portfolio.account_ids[int(place)] for place in found[:room]]
    counts.countries.update(filter(_has_no_calendar, portfolio.attribute("country")))
    readings = Readings(portfolio)
    for name in CATALOGUE:
        by_status = np.bincount(readings.values(name).status, minlength=len(_STATUSES))
        counts.statuses[name].update(
            {word: int(count) for word, count in zip(_STATUSES, by_status, strict=False) if count}
        )


def _count_details(counts: _Counts, connection: Connection, rows: AccountRows) -> None:
    """What facts and usage say, which the windows have no room for."""
    wanted = select(account_detail.c.features, account_detail.c.facts).where(
        account_detail.c.account_no.between(rows.nos[0], rows.nos[-1])
    )
    for usage_blob, facts_blob in connection.execute(wanted):
        usage = Usage(usage_blob or b"")
        counts.features.update(usage.numbers.keys())
        counts.having[_NAME[FeatureUsed]] += bool(usage.numbers)
        kinds = Counter(fact.kind for fact in AccountState("", facts_blob=facts_blob or b"").facts())
        counts.kept.update(kinds)
        counts.having.update(kinds.keys())
    if rows.sessions is not None:
        counts.having[_NAME[SessionEnded]] += int((stacked(rows.sessions(), MOMENT_DTYPE).sizes > 0).sum())
    assert not isinstance(rows.days, Stack), "a database gives each account's own"
    for days in rows.days:
        ring = np.frombuffer(days, dtype="<u2" if len(days) == _NARROW else "<u4")
        logins = int(ring.sum())
        counts.having[_NAME[UserLogin]] += logins > 0
        counts.kept[_NAME[UserLogin]] += logins


def _most_first(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def _received(counts: _Counts, first_days: Mapping[str, int]) -> list[Received]:
    found = []
    for kind, of_family in FAMILY.items():
        name = _NAME[kind]
        if counts.having[name]:
            since = None if of_family is None else first_days.get(of_family)
            kept = None if kind in (FeatureUsed, SessionEnded) else counts.kept[name]
            found.append(Received(name, counts.having[name], kept, None if since is None else iso(since)))
    return found


def _pages(connection: Connection) -> Iterator[AccountRows]:
    """All accounts as the sweep reads them, but without holding any."""
    wanted = ACCOUNTS.order_by(account.c.no).limit(AT_ONCE)
    found = connection.execute(wanted).all()
    while found:
        yield account_rows(connection, found)
        found = connection.execute(wanted.where(account.c.no > found[-1].no)).all()
