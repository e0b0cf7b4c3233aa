"""What the logs of partitions say of themselves: asked for all that came together in one go, and never for long."""

from __future__ import annotations

from collections.abc import Callable, Collection

from kafka import TopicPartition
from kafka.errors import KafkaError

from consumers.kafka_connection import Connection
from consumers.kafka_places import LogState

_PATIENCE_S = 3.0
_FRESH_S = 1.0  # an answer serves those that are sought right after


class Edges:
    """Where logs begin and end, as of a second ago at most."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[TopicPartition, tuple[int, int]] = {}
        self._known_at = float("-inf")
        self._alone = False
        self._diverged: dict[TopicPartition, int] = {}

    def diverges(self, which: TopicPartition, at: int) -> None:
        """From ``at`` on, its log is known not to be what was read before."""
        self._diverged[which] = at

    def agreed(self, which: TopicPartition) -> None:
        """It is read from where that does not matter."""
        self._diverged.pop(which, None)

    def forget(self) -> None:
        """Ask again, whatever was said."""
        self._known.clear()

    def state(
        self, connection: Connection, which: TopicPartition, others: Collection[TopicPartition]
    ) -> LogState | None:
        """The log of ``which`` now, None while no broker leads it; ``others`` are likely to be asked for next.

        Raises KafkaError if there is no answer in time; then the others are left out once, lest one keeps them all.
        """
        log = _log(connection, which)
        if log is None:
            return None
        if which not in self._known or self._clock() - self._known_at > _FRESH_S:
            asked = [which]
            if not self._alone:
                asked += [each for each in others if each != which and _log(connection, each) is not None]
            try:
                self._known = dict(connection.edges(asked, _PATIENCE_S))
            except KafkaError:
                self._alone = True
                raise
            self._known_at = self._clock()
            self._alone = False
        beginning, end = self._known.pop(which)
        return LogState(log, beginning, end, self._diverged.get(which))


def _log(connection: Connection, which: TopicPartition) -> str | None:
    return connection.log_of(which.topic) if connection.led(which) else None
