"""How far we are, told to Kafka's group once a second: for lag tools alone, so nobody's data asks whether it works."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping

from kafka import TopicPartition
from kafka.errors import KafkaError

from consumers.kafka.connection import Connection

_EVERY_S = 1.0


class Commits:
    """The offsets that were not told yet."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told_at = float("-inf")
        self._untold: dict[TopicPartition, int] = {}

    @property
    def untold(self) -> Mapping[TopicPartition, int]:
        """The next offset of each partition."""
        return self._untold

    def forget(self) -> None:
        """The partitions may be somebody else's by now."""
        self._untold = {}

    def tell(self, connection: Connection | None, reached: Iterable[tuple[TopicPartition, int]]) -> None:
        """Note the next offset of each, and pass on what was noted if it is time; without waiting."""
        self._untold.update(reached)
        now = self._clock()
        if connection is None or not self._untold or now - self._told_at < _EVERY_S:
            return
        self._told_at = now
        with contextlib.suppress(KafkaError):
            connection.commit(self._untold)
        self._untold = {}
