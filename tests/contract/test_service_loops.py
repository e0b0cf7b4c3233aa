"""The loops of a service one by one: they outlive what nobody foresaw, say that they turn, and reload in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from sqlalchemy import QueuePool

from alerts.delivery import Telling
from alerts.evaluation import Evaluator, Summary
from app.clock import Clock
from app.database import migrate
from app.database.engine import Database
from app.database.outbox import SqlOutbox
from app.notifier import Notifier
from app.service import Service
from app.settings import Settings
from consumers.errors import StorageBusy

RULES = """
rules:
  - {{id: {id}, when: champion.departed, severity: high, title: "The champion left"}}
"""


class StubbornOutbox:
    """Fails in a way that nobody foresaw, every time."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)

    def due(self, _now: int) -> list[str]:
        self.asked.release()
        raise LookupError("nobody foresaw this")


def test_a_notifier_outlives_what_nobody_foresaw_and_tells_it_once() -> None:
    outbox, stop, bell, turns = StubbornOutbox(), threading.Event(), threading.Event(), list[None]()
    sender: Any = None  # nothing is ever sent
    notifier = Notifier(outbox, sender, {})  # type: ignore[arg-type]
    with structlog.testing.capture_logs() as logs:
        thread = threading.Thread(target=lambda: notifier.run(stop, bell, polled=lambda: turns.append(None)))
        thread.start()
        for _ in range(3):
            assert outbox.asked.acquire(timeout=5)
            bell.set()
        stop.set()
        bell.set()
        thread.join(5)
    assert not thread.is_alive()
    assert len(turns) >= 3
    assert [(line["event"], line["error"]) for line in logs] == [
        ("notifier_failed", "LookupError('nobody foresaw this')")
    ]


class SlowClock:
    """While ``held``, whoever asks for the real time waits to be let go."""

    def __init__(self) -> None:
        self.asked, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.held = False

    def now_us(self) -> int:
        return Clock().now_us()

    def real_us(self) -> int:
        if self.held:
            self.asked.release()
            assert self.go.acquire(timeout=10)
        return Clock().real_us()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    config = tmp_path / "rules.yaml"
    config.write_text(RULES.format(id="first"))
    return Settings(database_url=f"sqlite:///{tmp_path / 'bellwether.db'}", config=config)


@pytest.fixture
def clock() -> SlowClock:
    return SlowClock()


@pytest.fixture
def service(settings: Settings, clock: SlowClock) -> Iterator[Service]:
    database = Database(settings.database_url)
    migrate.upgrade(database)
    database.close()
    service = Service(settings, clock=cast("Clock", clock))
    yield service
    service.stop()


def test_of_two_reloads_at_once_the_second_begins_when_the_first_is_through(
    service: Service, settings: Settings, clock: SlowClock
) -> None:
    book = service.house.book

    def begin(rule: str) -> threading.Thread:
        assert settings.config is not None
        settings.config.write_text(RULES.format(id=rule))
        thread = threading.Thread(target=service.reload)
        thread.start()
        return thread

    clock.held = True
    one = begin("second")
    assert clock.asked.acquire(timeout=10)
    two = begin("third")
    two.join(0.1)
    assert [rule.id for rule in book.configuration.rules] == ["first"]
    clock.held = False
    clock.go.release()
    one.join(10)
    two.join(10)
    assert [rule.id for rule in book.configuration.rules] == ["third"]
    assert service.house.schedule.rules_version() == book.configuration.version


DESTINATION = """
destinations:
  - {name: crm, type: webhook, url: "https://crm.example/hook", secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}
"""


def test_when_the_database_refuses_a_reload_nothing_of_it_is_in_force(
    service: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, notified = service.house.book.page, list[object]()
    seen: list[tuple[object, list[str]]] = []

    def refuse(outbox: SqlOutbox, configured: Mapping[str, str], now: int) -> None:
        seen.append((service.house.book.page, list(configured)))
        raise StorageBusy("the database is locked by another process")

    assert settings.config is not None
    settings.config.write_text(RULES.format(id="second") + DESTINATION)
    monkeypatch.setattr(SqlOutbox, "sync_destinations", refuse)
    monkeypatch.setattr(Notifier, "use", lambda _self, channels: notified.append(channels))
    with pytest.raises(StorageBusy):
        service.reload()
    assert seen == [(page, ["crm"])]  # a destination is known before anything can be queued for it
    assert service.house.book.page is page
    assert notified == []


def test_accounts_that_could_not_be_judged_by_new_rules_are_judged_later(
    service: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([StorageBusy("the database is locked by another process")] * 2)
    evaluate_all = Evaluator.evaluate_all

    def judge(evaluator: Evaluator, now: int, **more: Any) -> Summary:
        if (failure := next(failures, None)) is not None:
            raise failure
        return evaluate_all(evaluator, now, **more)

    assert settings.config is not None
    settings.config.write_text(RULES.format(id="second"))
    monkeypatch.setattr(Evaluator, "evaluate_all", judge)
    monkeypatch.setattr("app.service.AGAIN_S", 0.01)
    with structlog.testing.capture_logs() as logs:
        page = service.reload()
        assert service.house.book.page is page
        for thread in service._threads:
            thread.join(10)
    assert service.house.schedule.rules_version() == page.configuration.version
    assert [line["event"] for line in logs] == [
        "configuration reloaded",
        "judging by the new rules in trouble",
        "judged by the new rules",
    ]


def test_a_later_reload_takes_over_from_one_that_could_not_judge(
    service: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([StorageBusy("the database is locked by another process")])
    judged = []

    def judge(_evaluator: Evaluator, _now: int, **_more: Any) -> None:
        if (failure := next(failures, None)) is not None:
            raise failure
        judged.append(service.house.book.page)

    assert settings.config is not None
    monkeypatch.setattr(Evaluator, "evaluate_all", judge)
    monkeypatch.setattr("app.service.AGAIN_S", 0.3)
    settings.config.write_text(RULES.format(id="second"))
    service.reload()
    settings.config.write_text(RULES.format(id="third"))
    page = service.reload()
    for thread in service._threads:
        thread.join(10)
    assert judged == [page]


def test_one_deadline_holds_for_all_that_hang_together(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.service.END_S", 1.0)
    over = threading.Event()

    def hang() -> None:
        over.wait(30)

    for number in range(20):
        service._begin(f"hung-{number}", hang)
    began = time.monotonic()
    service.end()
    service.stop()
    assert time.monotonic() - began < 10
    over.set()


@pytest.mark.parametrize(("role", "connections"), [("api", 20), ("all", 20), ("notifier", 8)])
def test_a_role_takes_the_connections_it_needs_and_waits_for_no_statement_for_ever(
    postgres_migrated: str, role: str, connections: int
) -> None:
    service = Service(Settings(database_url=postgres_migrated), role)
    pool = service.house.database.engine.pool
    assert isinstance(pool, QueuePool)
    assert (pool.size(), pool._max_overflow) == (connections, 0)
    with service.house.database.read() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "30s"
    service.stop()


def test_a_notifier_that_is_to_send_is_asked_after(service: Service, settings: Settings) -> None:
    assert "notifier" in service._probes()
    silent = Service(settings.model_copy(update={"delivery": Telling.SHADOW}))
    assert "notifier" not in silent._probes()
    silent.stop()
