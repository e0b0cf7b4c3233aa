"""The loops of a service one by one: they outlive what nobody foresaw, say that they turn, and reload in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from app.clock import Clock
from app.database import migrate
from app.database.engine import Database
from app.notifier import Notifier
from app.service import Service
from app.settings import Delivery, Settings

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
    assert [rule.id for rule in book.configuration.rules] == ["second"]
    clock.held = False
    clock.go.release()
    one.join(10)
    two.join(10)
    assert [rule.id for rule in book.configuration.rules] == ["third"]
    assert service.house.schedule.rules_version() == book.configuration.version


def test_a_notifier_that_is_to_send_is_asked_after(service: Service, settings: Settings) -> None:
    assert "notifier" in service._probes()
    silent = Service(settings.model_copy(update={"delivery": Delivery.SHADOW}))
    assert "notifier" not in silent._probes()
    silent.stop()
