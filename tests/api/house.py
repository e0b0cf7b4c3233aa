"""The REST application over a real database in a file: built as it is in production, asked without a socket."""

from __future__ import annotations

import asyncio
import codecs
import csv
import functools
import io
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import httpx
from sqlalchemy import event, insert
from starlette.routing import BaseRoute

from alerts.alert import Alert, AlertStatus, Move, Reason, Severity, alert_id, alert_key
from alerts.delivery import Telling
from app import bootstrap
from app.clock import Clock
from app.database import keys
from app.database.engine import Database
from app.database.journal import Doorbell, JournalSource
from app.database.keys import KeyRing, Scope
from app.database.tables import account, metadata
from app.http.application import create_app
from app.http.services import Services
from app.settings import Settings
from consumers.days import DAY_US, micros, parse_instant

NOW = micros(parse_instant("2026-11-22T10:00:00Z"))
TODAY = NOW // DAY_US
CONFIGURATION = """
extends: defaults
destinations:
  - {name: crm, type: webhook, url: "https://crm.example/hook", secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}
"""


def csv_rows(answer: httpx.Response) -> list[dict[str, str]]:
    """The lines of a CSV by their columns, as a spreadsheet opens it."""
    assert answer.headers["content-type"] == "text/csv; charset=utf-8", answer.text
    assert answer.content.startswith(codecs.BOM_UTF8)
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


@dataclass
class Dial:
    """A clock that a test turns by hand, in epoch microseconds."""

    now: int = NOW

    def now_us(self) -> int:
        return self.now

    def real_us(self) -> int:
        return self.now


class Api:
    """A client of one application; ``key`` is sent with every request that brings no header of its own."""

    _routes: ClassVar[list[BaseRoute]] = []

    def __init__(self, services: Services, key: str | None = None) -> None:
        self.services = services
        self.app = create_app(services)
        # FastAPI works a route out at its first request: as long as many a test, and the same for every application,
        # whose services routes find in the request.
        self.app.router.routes = Api._routes = Api._routes or self.app.router.routes
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


@functools.cache
def _no_rows() -> bytes:
    """The file of a database in which all tables are and nothing is in them."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/empty.db")
        metadata.create_all(database.engine)
        database.close()
        return Path(folder, "empty.db").read_bytes()


class House:
    """What is behind the application, as the composition root makes it, and how tests put things into it."""

    def __init__(self, folder: Path) -> None:
        (folder / "bellwether.db").write_bytes(_no_rows())
        self.database = Database(f"sqlite:///{folder}/bellwether.db", busy_timeout_s=0.2)
        # No test here cuts the power; waiting for the disk would be most of their time.
        event.listen(self.database.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        (folder / "rules.yaml").write_text(CONFIGURATION)
        self.dial = Dial()
        self.doorbell = Doorbell()
        settings = Settings(config=folder / "rules.yaml", delivery=Telling.LIVE)
        self.parts = bootstrap.House.build(settings, cast("Clock", self.dial), self.database)
        self.outbox = self.parts.outbox
        self.configuration = self.parts.book.configuration

    def services(self, **changes: Any) -> Services:
        return replace(self.parts.services(intake=self.parts.intake(self.doorbell.ring)), **changes)

    def take_in(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Send events, and let everything follow that follows from them."""
        body = "\n".join(json.dumps(each) for each in events)
        answer = Api(self.services(keys=KeyRing(self.database, "x")), "x").post(
            "/v1/events", content=body, headers={"Content-Type": "application/x-ndjson"}
        )
        assert answer.json()["rejected"] == []
        self.parts.consumer(JournalSource(self.database)).drain()
        while self.parts.evaluator.evaluate_touched(1_000, self.dial.now).more:
            pass

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
        with self.parts.alerts.transaction() as work:
            cards = work.cards([account_no])
            work.apply(
                [move], self.parts.book.rulebook.announcer.deliveries([move], cards, today=TODAY, now=at), at
            )
        return after
