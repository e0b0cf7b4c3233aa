"""The consumer's threads outlive what keeps their source from being made."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

from app.bootstrap import House
from app.consuming import KAFKA, Consuming
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
