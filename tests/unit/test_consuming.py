"""The consumer's threads outlive what keeps their source from being made; a process whose loop hangs does not last."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

import app.consuming
from app.bootstrap import House
from app.consuming import HUNG, KAFKA, WATCHDOG, Consuming, Watchdog
from app.database.journal import Doorbell
from consumers.errors import ConfigurationError


def test_a_source_that_cannot_be_made_is_said_and_tried_again() -> None:
    stop = threading.Event()
    said: list[tuple[str, str]] = []

    def complain(name: str, error: Exception) -> None:
        said.append((name, str(error)))
        if len(said) == 2:
            stop.set()

    def dead_letter_topic() -> Any:
        raise ConfigurationError("the CA file is not there")

    house = SimpleNamespace(settings=SimpleNamespace(kafka=True), dead_letter_topic=dead_letter_topic)
    consuming = Consuming(
        cast(House, house),
        Doorbell(),
        heard=lambda _handled: None,
        complain=complain,
        turned=lambda _name: None,
    )
    consuming.loops()[KAFKA](stop)
    assert said == [(KAFKA, "the CA file is not there")] * 2
    assert consuming.kafka_trouble() == "not connected yet"


def looked(watchdog: Watchdog, times: int) -> None:
    for _ in range(times):
        watchdog.look()


def test_a_loop_that_has_not_turned_for_five_minutes_ends_the_process_with_a_code() -> None:
    ended: list[int] = []
    watchdog = Watchdog(ended.append)
    watchdog.turned("consumer")
    watchdog.turned("kafka")
    for _ in range(10):
        looked(watchdog, 59)
        watchdog.turned("consumer")
        watchdog.turned("kafka")
    assert ended == []
    for _ in range(60):
        watchdog.turned("consumer")
        watchdog.look()
    assert ended == [HUNG]


def test_nobody_is_watched_before_the_first_turn() -> None:
    ended: list[int] = []
    looked(Watchdog(ended.append), 100)
    assert ended == []


def test_a_thread_that_hangs_is_ended_and_one_in_trouble_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.consuming, "_LOOK_S", 0.001)
    monkeypatch.setattr(app.consuming, "_AGAIN_S", 0.001)
    stop, hangs, asked = threading.Event(), threading.Event(), threading.Semaphore(0)
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        hangs.set()
        stop.set()

    def dead_letter_topic() -> Any:
        asked.release()
        if hanging:
            hangs.wait(30)
        raise ConfigurationError("the CA file is not there")

    hanging = False
    house = SimpleNamespace(settings=SimpleNamespace(kafka=True), dead_letter_topic=dead_letter_topic)
    consuming = Consuming(
        cast(House, house),
        Doorbell(),
        heard=lambda _handled: None,
        complain=lambda _name, _error: None,
        turned=lambda _name: None,
        end=end,
    )
    threads = [
        threading.Thread(target=consuming.loops()[name], args=(stop,), daemon=True)
        for name in (KAFKA, WATCHDOG)
    ]
    for thread in threads:
        thread.start()
    for _ in range(100):
        assert asked.acquire(timeout=10)
    assert codes == []
    hanging = True
    for thread in threads:
        thread.join(10)
    assert codes == [HUNG]
