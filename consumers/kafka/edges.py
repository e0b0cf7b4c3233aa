"""What the logs of partitions say of themselves: asked for all that came together in one go, and never for long."""

from __future__ import annotations

from collections.abc import Callable, Collection

from kafka import TopicPartition
from kafka.errors import KafkaError

from consumers.kafka.connection import Connection
from consumers.kafka.places import LogState

_PATIENCE_S = (
    3.0  # for one question; the thread that waits does nothing else, it does not even hear that it should end
)
_FRESH_S = 1.0  # an answer serves those that are sought right after
_QUIET_S = 0.5  # nothing is asked after a question without an answer: one of a round is enough
_ALONE_S = 15.0  # after that each is asked about by itself, lest one without an answer keeps the others
_NEVER = float("-inf")


class Edges:
    """Where logs begin and end, as of a second ago at most."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[TopicPartition, tuple[int, int]] = {}
        self._known_at = _NEVER
        self._quiet_until = _NEVER
        self._alone_until = _NEVER
        self._unanswered: dict[TopicPartition, float] = {}
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

    def unanswered_at(self, which: TopicPartition) -> float:
        """When a question about it stayed without an answer: those that did so first are asked about first."""
        return self._unanswered.get(which, _NEVER)

    def state(
        self, connection: Connection, which: TopicPartition, others: Collection[TopicPartition]
    ) -> LogState | None:
        """The log of ``which`` now; ``others`` are likely to be asked for next.

        None while no broker leads it, and right after a question without an answer. That one raises KafkaError.
        """
        log = _log(connection, which)
        if log is None:
            return None
        if which not in self._known or self._clock() - self._known_at > _FRESH_S:
            if self._clock() < self._quiet_until:
                return None
            self._ask(connection, which, others)
        beginning, end = self._known.pop(which)
        return LogState(log, beginning, end, self._diverged.get(which))

    def _ask(self, connection: Connection, which: TopicPartition, others: Collection[TopicPartition]) -> None:
        asked = [which]
        if self._clock() >= self._alone_until:
            asked += [each for each in others if each != which and _log(connection, each) is not None]
        try:
            self._known = dict(connection.edges(asked, _PATIENCE_S))
        except KafkaError:
            now = self._clock()
            self._unanswered[which] = now
            self._quiet_until, self._alone_until = now + _QUIET_S, now + _ALONE_S
            raise
        self._unanswered.pop(which, None)
        self._known_at = self._clock()


def _log(connection: Connection, which: TopicPartition) -> str | None:
    return connection.log_of(which.topic) if connection.led(which) else None
