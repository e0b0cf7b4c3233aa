"""The REST application over a real database in a file: built as it is in production, asked without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import insert

from alerts.alert import Alert, AlertStatus, Move, Reason, Severity, alert_id, alert_key
from alerts.announcement import Announcer, Telling
from alerts.configuration import read_configuration
from alerts.desk import AlertDesk
from alerts.metrics.catalogue import CATALOGUE
from app.database import keys
from app.database.alerts import SqlAlertStore
from app.database.engine import Database
from app.database.journal import Doorbell
from app.database.keys import KeyRing, Scope
from app.database.outbox import SqlOutbox
from app.database.tables import account, metadata
from app.http.application import create_app
from app.http.services import Services
from consumers.days import DAY_US, Calendar, micros, parse_instant

NOW = micros(parse_instant("2026-11-22T10:00:00Z"))
TODAY = NOW // DAY_US
CONFIGURATION = """
extends: defaults
destinations:
  - {name: crm, type: webhook, url: "https://crm.example/hook", secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}
"""


@dataclass
class Dial:
    """A clock that a test turns by hand, in epoch microseconds."""

    now: int = NOW

    def read(self) -> int:
        return self.now


@dataclass
class Readings:
    """Answers of risk and metrics, by account."""

    risks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    metric_sets: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def risk(self, account_id: str) -> Mapping[str, Any] | None:
        return self.risks.get(account_id)

    def metrics(self, account_id: str) -> Mapping[str, Any] | None:
        return self.metric_sets.get(account_id)


class Api:
    """A client of one application; ``key`` is sent with every request that brings no header of its own."""

    def __init__(self, services: Services, key: str | None = None) -> None:
        self.services = services
        self.app = create_app(services)
        self.key = key

    def request(self, method: str, path: str, *, host: str = "localhost", **given: Any) -> httpx.Response:
        headers = {
            **({"Authorization": f"Bearer {self.key}"} if self.key else {}),
            **given.pop("headers", {}),
        }

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
                return await client.request(method, path, headers=headers, **given)

        return asyncio.run(ask())

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.request("GET", path, **given)

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.request("POST", path, **given)

    def walk(self, path: str, **params: Any) -> list[Any]:
        """Every row of a list, page by page."""
        rows: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            answer = self.get(path, params={**params, **cursor})
            assert answer.status_code == 200, answer.text
            rows += answer.json()["data"]
            if answer.json()["next_cursor"] is None:
                return rows
            cursor = {"cursor": answer.json()["next_cursor"]}


class House:
    """What is behind the application, and how tests put things into it."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder}/bellwether.db", busy_timeout_s=0.2)
        metadata.create_all(self.database.engine)
        self.dial = Dial()
        self.doorbell = Doorbell()
        self.readings = Readings()
        self.configuration = read_configuration(CONFIGURATION, "rules.yaml", CATALOGUE)
        self.outbox = SqlOutbox(self.database)
        self.alerts = SqlAlertStore(self.database, self.outbox, self.dial.read)
        self.announcer = Announcer(Telling.LIVE, destinations=["crm"])

    def services(self, **changes: Any) -> Services:
        calendar = Calendar("UTC")
        services = Services(
            database=self.database,
            keys=KeyRing(self.database),
            now=self.dial.read,
            wall=self.dial.read,
            today=lambda: calendar.day_of_us(self.dial.now),
            bell=self.doorbell.ring,
            risk=self.readings,
            desk=lambda connection: AlertDesk(self.alerts.within(connection), self.announcer, calendar),
            outbox=self.outbox,
            configuration=lambda: self.configuration,
            reload=lambda: self.configuration,
            loopback=True,
        )
        return replace(services, **changes)

    def key(self, *scopes: Scope) -> str:
        with self.database.write() as connection:
            return keys.create(connection, name="test", scopes=frozenset(scopes), created_at=NOW)[1]

    def add_account(self, account_id: str, **columns: Any) -> int:
        with self.database.write() as connection:
            inserted = connection.execute(insert(account).values(account_id=account_id, **columns))
            return int(inserted.inserted_primary_key[0])

    def add_alert(
        self, account_no: int, account_id: str, rule: str = "login-decline", **changes: Any
    ) -> Alert:
        """A firing alert with its first move in the history, and a delivery for each destination."""
        at = changes.pop("at", NOW)
        episode = changes.pop("episode", 1)
        key = alert_key(rule, account_id)
        after = Alert(
            id=alert_id(key, episode),
            key=key,
            rule=rule,
            account_no=account_no,
            account_id=account_id,
            episode=episode,
            status=AlertStatus.FIRING,
            severity=Severity.HIGH,
            title="Logins fell 25 % in four weeks",
            rule_version="v1",
            updated_at=at,
            reason=Reason.CONDITION_TRUE,
            seq=1,
            fired_at=at,
            evidence={"metrics": {"logins.change_28d": -0.25}},
        )
        after = replace(after, **changes)
        move = Move(None, after, "firing", Reason.CONDITION_TRUE, tells=True)
        with self.alerts.transaction() as work:
            cards = work.cards([account_no])
            work.apply([move], self.announcer.deliveries([move], cards, today=TODAY, now=at), at)
        return after
