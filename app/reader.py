"""Answers what an account's risk is: its windows read in one snapshot, judged by the same code as alerts are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Row, select

from alerts.configuration import Configuration
from alerts.health.view import health_view
from alerts.metrics.others import LOST_WITHIN_DAYS
from alerts.metrics.readings import Readings, iso, snapshot
from alerts.portfolio import AccountRows, Moment, Portfolio
from alerts.rules.explain import Explanation, explain
from alerts.signals import signals
from app.database import alert_queries
from app.database.engine import Database
from app.database.health import read_health
from app.database.medians import read_median
from app.database.schedule import last_sweep_at
from app.database.tables import account, account_detail, account_window, family
from app.http.instants import day_or_none, instant_or_none, money
from consumers.days import Calendar
from consumers.state import AccountState
from consumers.usage import Usage, feature_hash

_MOST_OPEN = 200  # more rules than that nobody has


class AccountReader:
    """Implements ``app.http.services.RiskReader``. Thread-safe."""

    def __init__(
        self,
        database: Database,
        calendar: Calendar,
        configuration: Callable[[], Configuration],
        now: Callable[[], int],
        *,
        stale: Callable[[int], Collection[str]] = lambda _now: (),
    ) -> None:
        """``now`` is the moment of judgement in epoch microseconds; ``stale(now)`` what we may not have heard."""
        self._database = database
        self._calendar = calendar
        self._configuration = configuration
        self._now = now
        self._stale = stale

    def risk(self, account_id: str) -> dict[str, Any] | None:
        """What ``/v1/accounts/{id}/risk`` answers (/openapi.json); None for an unknown account."""
        with self._database.read() as connection:
            row = _row(connection, account_id)
            if row is None:
                return None
            readings = self._readings(connection, row)
            details = self._details(connection, row, readings.portfolio)
            wanted = alert_queries.Filter(account_id=account_id, status=("pending", "firing"))
            open_alerts = alert_queries.page(connection, wanted, limit=_MOST_OPEN)
            judged = [at for at in (row.evaluated_at, last_sweep_at(connection)) if at is not None]
        return {
            "account_id": account_id,
            "as_of": iso(readings.portfolio.as_of),
            "evaluated_at": instant_or_none(max(judged) if row.judged_at is not None else None),
            "risk_level": row.risk_level,
            "health": health_view(readings.portfolio, 0),
            "signals": signals(readings, 0, self._configuration().rules, details),
            "open_alerts": [_open_alert(each) for each in open_alerts],
            "renewal_date": day_or_none(row.renewal_day),
            "mrr": money(row.mrr_cents),
        }

    def metrics(self, account_id: str) -> dict[str, Any] | None:
        """What ``/v1/accounts/{id}/metrics`` answers (/openapi.json); None for an unknown account."""
        with self._database.read() as connection:
            row = _row(connection, account_id)
            if row is None:
                return None
            readings = self._readings(connection, row)
            details = self._details(connection, row, readings.portfolio)
        return {
            "account_id": account_id,
            "as_of": iso(readings.portfolio.as_of),
            "metrics": snapshot(readings, 0, self._configuration().rules, details),
        }

    def explain(self, account_id: str, rule_id: str) -> Explanation | None:
        """Why a rule does or does not hold; None for an unknown account or rule."""
        rule = self._configuration().rule(rule_id)
        with self._database.read() as connection:
            row = _row(connection, account_id)
            if row is None or rule is None:
                return None
            readings = self._readings(connection, row)
        return explain(rule, readings, 0)

    def _readings(self, connection: Connection, row: Row[Any]) -> Readings:
        today = self._calendar.day_of_us(self._now())
        first_days = connection.execute(select(family.c.name, family.c.first_day))
        moment = Moment(
            as_of=today - 1,
            today=today,
            zone=self._calendar.zone,
            families={each.name: each.first_day for each in first_days},
            stale=frozenset(self._stale(self._now())),
            model=self._configuration().model,
            median_change=read_median(connection),
        )
        health = read_health(connection, [row.no])
        rows = AccountRows(
            nos=[row.no],
            account_ids=[row.account_id],
            profiles=[row.profile],
            days=[row.days],
            users=[row.users],
            attributes=lambda name: [row._mapping[name]],
            login_maps=lambda: [row.login_maps],
            moments=lambda: [row.moments or b""],
            features=lambda: [row.features or b""],
            sessions=lambda: [row.sessions or b""],
            active_days=lambda: [row.active_days or b""],
            health=lambda: health,
        )
        return Readings(Portfolio(rows, moment))

    def _details(
        self, connection: Connection, row: Row[Any], portfolio: Portfolio
    ) -> dict[str, dict[str, Any]]:
        """What evidence names beside the numbers: the profile has no room for it, so the facts are read again."""
        wanted = select(account_detail.c.facts).where(account_detail.c.account_no == row.no)
        facts = connection.scalar(wanted)
        told = AccountState(row.account_id, facts_blob=facts or b"").details(self._calendar)
        counted = [
            each for each in told["integrations"] if each["lost_day"] > portfolio.as_of - LOST_WITHIN_DAYS
        ]
        return {
            "champion": told["champions"],
            "seats": {"purchased": told["seats"]},
            "features": {"abandoned": _abandoned(connection, row.no, portfolio)},
            "sponsor": {"contacts": _with_dates(told["sponsors"])},
            "escalations": {"open": _with_dates(told["escalations"])},
            "integrations": {"lost": _with_dates(counted)},
        }


def _abandoned(connection: Connection, account_no: int, portfolio: Portfolio) -> list[str]:
    """The names of the core features that were given up, read only if there are any."""
    hashes = set(portfolio.abandoned_features(0))
    if not hashes:
        return []
    wanted = select(account_detail.c.features).where(account_detail.c.account_no == account_no)
    names = Usage(connection.scalar(wanted) or b"").numbers
    return sorted(name for name in names if feature_hash(name) in hashes)


def _with_dates(told: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Days as ISO dates, under names that no longer say that they are days."""
    return [
        {
            name.removesuffix("_day"): iso(value) if name.endswith("_day") else value
            for name, value in each.items()
        }
        for each in told
    ]


def _row(connection: Connection, account_id: str) -> Row[Any] | None:
    wanted = select(account, account_window).join(account_window).where(account.c.account_id == account_id)
    return connection.execute(wanted).first()


def _open_alert(row: alert_queries.Row) -> dict[str, Any]:
    """As much of an alert as says what to do next; ``/v1/alerts/{id}`` has all of it."""
    return {
        "id": row["id"],
        "rule": row["rule"],
        "severity": row["severity"],
        "status": row["status"],
        "title": row["title"],
        "baseline": row["baseline"],
        "fired_at": instant_or_none(row["fired_at"]),
        "due_at": instant_or_none(row["due_at"]),
        "acknowledged_at": instant_or_none(row["acknowledged_at"]),
    }
