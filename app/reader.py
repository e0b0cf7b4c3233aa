"""Answers what an account's risk is: its windows read in one snapshot, judged by the same code as alerts are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, select

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

_THESE = ACCOUNTS.where(account.c.account_id.in_(bindparam("wanted", expanding=True))).order_by(account.c.no)
_OF_THESE = account_detail.c.account_no.in_(bindparam("wanted", expanding=True))
_FACTS = select(account_detail.c.account_no, account_detail.c.facts).where(_OF_THESE)
_USAGE = select(account_detail.c.account_no, account_detail.c.features).where(_OF_THESE)


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

    def risks(self, account_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """What ``/v1/accounts/{id}/risk`` answers (/openapi.json), by id; nothing of unknown accounts."""
        with self._database.read() as connection:
            rows = _rows(connection, account_ids)
            if not rows:
                return {}
            readings = self._readings(connection, rows)
            told = self._details(connection, rows, readings.portfolio)
            alerts = alert_queries.open_alerts(connection, [row.no for row in rows])
            swept_at = last_sweep_at(connection)
        as_of, rules = iso(readings.portfolio.as_of), self._configuration().rules
        return {
            row.account_id: {
                "account_id": row.account_id,
                "as_of": as_of,
                "evaluated_at": instant_or_none(_judged_at(row, swept_at)),
                "risk_level": row.risk_level,
                "health": health_view(readings.portfolio, index),
                "signals": signals(readings, index, rules, told[index]),
                "open_alerts": [_open_alert(each) for each in alerts.get(row.no, ())],
                "renewal_date": day_or_none(row.renewal_day),
                "mrr": money(row.mrr_cents),
            }
            for index, row in enumerate(rows)
        }

    def metrics(self, account_id: str) -> dict[str, Any] | None:
        """What ``/v1/accounts/{id}/metrics`` answers (/openapi.json); None for an unknown account."""
        with self._database.read() as connection:
            rows = _rows(connection, [account_id])
            if not rows:
                return None
            readings = self._readings(connection, rows)
            [told] = self._details(connection, rows, readings.portfolio)
        return {
            "account_id": account_id,
            "as_of": iso(readings.portfolio.as_of),
            "metrics": snapshot(readings, 0, self._configuration().rules, told),
        }

    def explain(self, account_id: str, rule_id: str) -> Explanation | None:
        """Why a rule does or does not hold; None for an unknown account or rule."""
        rule = self._configuration().rule(rule_id)
        with self._database.read() as connection:
            rows = _rows(connection, [account_id])
            if not rows or rule is None:
                return None
            readings = self._readings(connection, rows)
        return explain(rule, readings, 0)

    def _readings(self, connection: Connection, rows: Sequence[Row[Any]]) -> Readings:
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
        return Readings(Portfolio(account_rows(connection, rows), moment))

    def _details(
        self, connection: Connection, rows: Sequence[Row[Any]], portfolio: Portfolio
    ) -> list[dict[str, dict[str, Any]]]:
        """What evidence names beside the numbers, of each account; who uses what is read only where something was
        given up."""
        facts = _blobs(connection, _FACTS, [row.no for row in rows])
        gave_up = [row.no for index, row in enumerate(rows) if portfolio.abandoned_features(index)]
        usage = _blobs(connection, _USAGE, gave_up) if gave_up else {}
        return [
            details(
                portfolio,
                index,
                self._calendar,
                facts=facts.get(row.no) or b"",
                usage=usage.get(row.no) or b"",
            )
            for index, row in enumerate(rows)
        ]


def _rows(connection: Connection, account_ids: Collection[str]) -> Sequence[Row[Any]]:
    """In the order of their numbers, each once."""
    return connection.execute(_THESE, {"wanted": list(account_ids)}).all()


def _blobs(connection: Connection, statement: Select[Any], nos: Sequence[int]) -> dict[int, bytes | None]:
    return {row[0]: row[1] for row in connection.execute(statement, {"wanted": nos})}


def _judged_at(row: Row[Any], swept_at: int | None) -> int | None:
    """When the account was judged last, by itself or with all others; None for one that never was."""
    if row.judged_at is None:
        return None
    return max(at for at in (row.evaluated_at, swept_at) if at is not None)


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
