"""Answers what an account's risk is: its windows read in one snapshot, judged by the same code as alerts are."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from alerts.account_rows import Moment
from alerts.configuration import Configuration
from alerts.health.view import health_view
from alerts.metrics.details import details
from alerts.metrics.readings import Readings, iso, snapshot
from alerts.portfolio import Portfolio
from alerts.rules.explain import Explanation, explain
from alerts.signals import signals
from app.database import alert_queries
from app.database.account_rows import ACCOUNTS, account_rows
from app.database.engine import Database
from app.database.feeds import received
from app.database.medians import read_median
from app.database.schedule import last_sweep_at
from app.database.tables import account, account_detail
from app.http.instants import day_or_none, instant_or_none, money
from consumers.days import Calendar

_ONE = ACCOUNTS.where(account.c.account_id == bindparam("wanted"))
_OF_ONE = account_detail.c.account_no == bindparam("wanted")
_FACTS = select(account_detail.c.facts).where(_OF_ONE)
_FACTS_AND_USAGE = select(account_detail.c.facts, account_detail.c.features).where(_OF_ONE)


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
            open_alerts = alert_queries.open_alerts(connection, row.no)
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
        now, (first_days, newest) = self._now(), received(connection)
        moment = Moment.live(
            self._calendar,
            now,
            families=first_days,
            stale=self._stale(now),
            model=self._configuration().model,
            median_change=read_median(connection),
            newest=lambda: newest,
        )
        return Readings(Portfolio(account_rows(connection, [row]), moment))

    def _details(
        self, connection: Connection, row: Row[Any], portfolio: Portfolio
    ) -> dict[str, dict[str, Any]]:
        """What evidence names beside the numbers; who uses what is read only where something was given up."""
        statement = _FACTS_AND_USAGE if portfolio.abandoned_features(0) else _FACTS
        found = connection.execute(statement, {"wanted": row.no}).first()
        facts, usage = (*(found or ()), b"", b"")[:2]
        return details(portfolio, 0, self._calendar, facts=facts or b"", usage=usage or b"")


def _row(connection: Connection, account_id: str) -> Row[Any] | None:
    return connection.execute(_ONE, {"wanted": account_id}).first()


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
