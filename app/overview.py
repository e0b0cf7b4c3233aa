"""How the whole portfolio does: health by band, segment and day, and what a week's review goes through.

Each view is read in one snapshot. Customers who churned are in none, also not in the days before they did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.account_rows import Moment
from alerts.alert import Severity
from alerts.arrays import BoolArray, IntArray
from alerts.health.history import NO_SCORE
from alerts.health.state import BANDS, RED, Records, blank, closed, disappeared
from alerts.metrics import sentiment
from alerts.metrics.catalogue import CATALOGUE
from alerts.model import COMPONENTS
from alerts.portfolio import Portfolio
from alerts.queue import Customer
from alerts.rules.rule import Rule
from app.database import portfolio as stored
from app.database.engine import Database
from app.database.health import PAGE
from app.database.portfolio import HistoryPage, OpenAlert
from consumers.facts import RATINGS

REVIEWED = (91, 180)  # days to the renewal of those that a review begins with
_STEPS = 10  # of the distribution, 10 points each
_ENOUGH = 6_000  # hundredths of a percent of coverage, below which there is no band
_WHOLE = 10_000
_DAY_0 = date(1970, 1, 1)
_WORST_FIRST = {severity.value: 4 - severity.rank for severity in Severity}
_FAR = 2**31


@dataclass(frozen=True, slots=True)
class Tally:
    """Some accounts: how many are in each band, and the mean of their scores in points, None without any."""

    bands: Mapping[str, int]
    mean_score: float | None

    @property
    def accounts(self) -> int:
        """How many they are."""
        return sum(self.bands.values())


@dataclass(frozen=True, slots=True)
class Disappeared:
    """An input of an account's health that it had once and no longer counts: somebody should look at the data."""

    account_id: str
    name: str | None
    component: str
    closes: int


@dataclass(frozen=True, slots=True)
class HealthOverview:
    """All that ``/v1/portfolio/health`` tells. ``distribution`` counts scores by tens of points; ``coverage`` has the
    mean share of 1 and counts; ``trend`` a tally for each day that was closed."""

    churned: int
    whole: Tally
    segments: Mapping[str, Sequence[tuple[str | None, Tally]]]
    distribution: Sequence[int]
    coverage: Mapping[str, float | int | None]
    disappeared: Mapping[str, int]
    notices: Sequence[Disappeared]
    trend: Sequence[tuple[int, Tally]]


@dataclass(frozen=True, slots=True)
class Line:
    """One account in one list of a week's review. ``since`` is the day that the list is about: on which the band turned
    red, or the rating was given; ``rating`` the newest one's word."""

    customer: Customer
    band: str
    days_to_renewal: int | None
    since: int | None = None
    rating: str | None = None
    alerts: Sequence[OpenAlert] = ()

    @property
    def worst(self) -> int:
        """0 for critical up to 4 for info, 5 without alerts."""
        return min((_WORST_FIRST[each.severity] for each in self.alerts), default=5)


@dataclass(frozen=True, slots=True)
class Operations:
    """All that ``/v1/portfolio/operations`` tells, in the week that began on the day ``monday``."""

    monday: int
    whole: Tally
    lists: Mapping[str, Sequence[Line]]


def read_health_overview(
    database: Database, *, as_of: int, days: int, dimensions: Iterable[str]
) -> HealthOverview:
    """Of the bands in which the last day closed, and of the closes of ``days`` days up to ``as_of``."""
    with database.read() as connection:
        known = stored.directory(connection)
        numbers, found = stored.closed_health(connection)
        pages = stored.history_pages(connection, as_of - days + 1, as_of)
        here = ~known.churned
        nos = known.nos[here]
        records = _of(nos, numbers, found)
        lost = disappeared(records)
        named = {
            each.account_no: each for each in stored.customers(connection, nos[lost.any(axis=1)].tolist())
        }
    return HealthOverview(
        churned=int(known.churned.sum()),
        whole=_tally(records),
        segments={name: _segments(known.segments[name], here, records) for name in dimensions},
        distribution=_distribution(records),
        coverage=_coverage(records),
        disappeared=dict(zip(COMPONENTS, lost.sum(axis=0).tolist(), strict=True)),
        notices=_notices(nos, records, lost, named),
        trend=_trend(nos, pages),
    )


def read_operations(database: Database, rules: Sequence[Rule], *, as_of: int, today: int) -> Operations:
    """The week of ``as_of``, the last complete day."""
    monday = as_of - (_DAY_0 + timedelta(days=as_of)).weekday()
    with database.read() as connection:
        known = stored.directory(connection)
        numbers, found = stored.closed_health(connection)
        nos = known.nos[~known.churned]
        records = _of(nos, numbers, found)
        rated = Portfolio(stored.rated(connection), Moment(as_of=as_of, today=today))
        told = {name: _reading(rules, reads) for name, reads in _ABOUT.items()}
        firing = stored.firing(connection, rules=sorted(set[str]().union(*told.values())))
        about = {name: [each for each in firing if each.rule in by] for name, by in told.items()}
        for name in _AT_RISK:
            about[name] = [each for each in about[name] if each.severity != Severity.INFO]
        turned = (records["band"] == RED) & (records["since_day"] >= monday)
        named = {each.account_no for alerts in about.values() for each in alerts}
        ratings = _ratings(rated)
        named |= {*nos[turned].tolist(), *rated.nos[np.concatenate([*ratings.values()])].tolist()}
        customers = {each.account_no: each for each in stored.customers(connection, sorted(named))}
    bands = dict(zip(nos.tolist(), records["band"].tolist(), strict=True))

    def line(no: int, **more: Any) -> Line:
        customer = customers[no]
        return Line(customer, BANDS[bands.get(no, 0)], customer.days_to_renewal(today), **more)

    lists = {
        "newly_red": [
            line(no, since=since)
            for no, since in zip(nos[turned].tolist(), records["since_day"][turned].tolist(), strict=True)
        ],
        **{name: _rated(rated, places, line, customers) for name, places in ratings.items()},
        **{name: _by_account(alerts, line, customers) for name, alerts in about.items()},
    }
    order = {name: _in_review if name == "review" else _by_urgency for name in lists}
    return Operations(
        monday, _tally(records), {name: sorted(lines, key=order[name]) for name, lines in lists.items()}
    )


# --- health -------------------------------------------------------------------------------------------------


def _of(nos: IntArray, numbers: IntArray, found: Records) -> Records:
    """The records of these accounts, zeros of those never closed; both lists of numbers are in order."""
    records = blank(len(nos))
    if len(numbers):
        places = np.minimum(np.searchsorted(numbers, nos), len(numbers) - 1)
        hit = numbers[places] == nos
        records[hit] = found[places[hit]]
    return records


def _tally(records: Records) -> Tally:
    (found,) = _tallies(records["band"], np.where(closed(records), records["score"], -1))
    return found


def _tallies(bands: Any, scores: Any, codes: Any = 0, count: int = 1) -> list[Tally]:
    """One for each of ``count`` codes. Scores are hundredths of a point, -1 where there is none."""
    scores = np.asarray(scores, dtype=np.int64)
    codes = np.broadcast_to(codes, len(bands))
    known = scores >= 0
    by_band = np.bincount(codes * len(BANDS) + bands, minlength=count * len(BANDS)).reshape(count, len(BANDS))
    sums = np.bincount(codes[known], weights=scores[known], minlength=count)  # whole numbers, exact
    of = np.bincount(codes[known], minlength=count)
    return [
        Tally(dict(zip(BANDS, counts, strict=True)), round(total / scored / 100, 2) if scored else None)
        for counts, total, scored in zip(by_band.tolist(), sums.tolist(), of.tolist(), strict=True)
    ]


def _segments(
    values: Sequence[str | None], here: BoolArray, records: Records
) -> list[tuple[str | None, Tally]]:
    """The largest first; None for the accounts of which it was never told."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    codes = np.fromiter(map(numbers.__getitem__, values), dtype=np.int64, count=len(values))[here]
    scores = np.where(closed(records), records["score"], -1)
    parts = zip(numbers, _tallies(records["band"], scores, codes, len(numbers)), strict=True)
    return sorted(
        (part for part in parts if part[1].accounts), key=lambda part: (-part[1].accounts, part[0] or "")
    )


def _distribution(records: Records) -> list[int]:
    scores = records["score"][closed(records) & (records["score"] >= 0)]
    steps = np.minimum(scores // (_WHOLE // _STEPS), _STEPS - 1)
    counts: list[int] = np.bincount(steps, minlength=_STEPS).tolist()
    return counts


def _coverage(records: Records) -> dict[str, float | int | None]:
    told = closed(records)
    shares = records["coverage"][told]
    return {
        "mean": round(int(shares.sum(dtype=np.int64)) / len(shares) / _WHOLE, 4) if len(shares) else None,
        "whole": int((shares >= _WHOLE).sum()),
        "enough": int(((shares >= _ENOUGH) & (shares < _WHOLE)).sum()),
        "too_little": int((shares < _ENOUGH).sum()),
        "never_closed": int((~told).sum()),
    }


def _notices(
    nos: IntArray, records: Records, lost: BoolArray, named: Mapping[int, Customer]
) -> list[Disappeared]:
    found = []
    for place, component in np.argwhere(lost).tolist():
        customer = named[int(nos[place])]
        closes = int(records["missing"][place, component])
        found.append(Disappeared(customer.account_id, customer.name, COMPONENTS[component], closes))
    return sorted(found, key=lambda each: (each.account_id, each.component))


def _trend(nos: IntArray, pages: Sequence[HistoryPage]) -> list[tuple[int, Tally]]:
    here = np.zeros((int(nos.max()) // PAGE + 1) * PAGE if len(nos) else 0, dtype=np.bool_)
    here[nos] = True
    by_day: dict[int, list[Any]] = {}
    for day, page, records in pages:
        told = here[page * PAGE : page * PAGE + len(records)]
        entries = records[: len(told)][told]
        by_day.setdefault(day, []).append(entries[entries.view("<u4") != 0])  # zeros: not closed on that day
    found = []
    for day, parts in by_day.items():
        entries = np.concatenate(parts)
        scores = np.where(entries["score"] == NO_SCORE, -1, entries["score"].astype(np.int64))
        found.append((day, _tallies(entries["band"], scores)[0]))
    return found


# --- operations ---------------------------------------------------------------------------------------------

_Reads = Callable[[str], bool]


_ABOUT: Mapping[str, _Reads] = {
    "utilization": lambda metric: metric.startswith("seats.utilization"),
    "logins": lambda metric: metric.startswith("logins."),
    "review": lambda metric: CATALOGUE[metric].leads,
}
_AT_RISK = ("utilization", "logins")  # lists without information only, such as seats that run out


def _reading(rules: Sequence[Rule], reads: _Reads) -> set[str]:
    return {rule.id for rule in rules if any(map(reads, rule.metrics))}


def _ratings(rated: Portfolio) -> dict[str, NDArray[np.intp]]:
    """The places of those rated red, and of those who should have been rated again (METRICS 2.11)."""
    overdue = sentiment.overdue(rated, None)
    return {
        "ratings_red": np.flatnonzero(rated.number("sentiment") == RATINGS.index("red")),
        "ratings_overdue": np.flatnonzero(overdue.ok() & (overdue.numerator == 1)),
    }


def _rated(
    rated: Portfolio,
    places: NDArray[np.intp],
    line: Callable[..., Line],
    customers: Mapping[int, Customer],
) -> list[Line]:
    of = zip(
        rated.nos[places].tolist(),
        rated.number("sentiment_day")[places].tolist(),
        rated.number("sentiment")[places].tolist(),
        strict=True,
    )
    return [line(no, since=day, rating=RATINGS[code]) for no, day, code in of if no in customers]


def _by_account(
    alerts: Sequence[OpenAlert], line: Callable[..., Line], customers: Mapping[int, Customer]
) -> list[Line]:
    by_account: dict[int, list[OpenAlert]] = {}
    for each in alerts:
        if each.account_no in customers:
            by_account.setdefault(each.account_no, []).append(each)
    return [line(no, alerts=tuple(mine)) for no, mine in by_account.items()]


def _by_urgency(line: Line) -> tuple[int, int, int, str]:
    """The worst alert, the nearest renewal, the largest MRR, the account id; what is not known comes last."""
    mrr = line.customer.mrr_cents
    days = _FAR if line.days_to_renewal is None else line.days_to_renewal
    return line.worst, days, 1 if mrr is None else -mrr, line.customer.account_id


def _in_review(line: Line) -> tuple[Any, ...]:
    """Renewals in 91 to 180 days first, so that work starts before the window opens."""
    days = line.days_to_renewal
    return (days is None or not REVIEWED[0] <= days <= REVIEWED[1], *_by_urgency(line))
