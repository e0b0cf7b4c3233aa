"""Whether Kafka can be reached: the connection, made when it is wanted, waited for, made anew, and what is wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from consumers.kafka.batches import install
from consumers.kafka.client import KafkaClient
from consumers.kafka.connection import Connection
from consumers.kafka.refusals import overhear, refusal

_WATCH_S = 2.0  # between two looks at the cluster: is it there, are the topics still the same
_EAGER_S = 0.1  # the same until it first answers
_FORGOTTEN_S = 60.0  # three times what a rebalance may take with a member that died
_UNHEEDED_S = 5.0  # a change of topics is given out anew within a second or two
_SILENT_S = 10.0  # without an answer for so long it counts as away
_BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0)
_MAKE_THEM = "`bellwether topics create` makes them"
_HOPELESS = 8  # failures one after another until the consumer is made anew: nothing that it knew has helped


class Link:
    """One connection at a time. Nothing in here waits for longer than it is told."""

    def __init__(
        self,
        client: KafkaClient,
        topics: Sequence[str],
        clock: Callable[[], float],
        *,
        fast: bool,
        said: Callable[[str], None],
    ) -> None:
        self._client = client
        self._topics = topics
        self._clock = clock
        self._fast = fast
        overhear()
        self._said = said
        self._closed = threading.Event()
        self._opened_at = clock()
        self._watched_at = float("-inf")
        self._answered_at: float | None = None
        self._retry_at = float("-inf")
        self._failures = 0
        self._missing: Sequence[str] = ()
        self._shape: Mapping[str, tuple[str | None, int]] = {}
        self._unheeded: tuple[float, int] | None = None  # since when, and the membership's epoch then
        self.connection: Connection | None = None
        self.problem: str | None = None

    @property
    def alive(self) -> bool:
        """Whether the cluster answers."""
        return self._answered_at is not None and self._clock() - self._answered_at < _SILENT_S

    @property
    def trouble(self) -> str | None:
        """What is wrong, in a line; None if nothing is."""
        if self.alive:
            return self.problem or self._nothing_to_read()
        since = self._opened_at if self._answered_at is None else self._answered_at
        silent = f"{self._client.origin} has not answered for {self._clock() - since:.0f} s"
        why = self.connection.refusal() if self.connection else None
        if why is None and self._answered_at is None:
            why = refusal(self._client.security_protocol)
        if why:
            return f"{silent}: {why.replace(chr(10), '; ')}"
        return self.problem or silent

    @property
    def backs_off(self) -> bool:
        """Whether it failed so lately that it should be left alone."""
        return self.connection is None or self._clock() < self._retry_at

    def ready(self, timeout_s: float) -> Connection | None:
        """The connection, made if there is none; None, after ``timeout_s`` at most, while it should be left alone."""
        wait = min(self._retry_at - self._clock(), timeout_s)
        if wait > 0:
            self._closed.wait(wait)
        if self._closed.is_set() or self._clock() < self._retry_at:
            return None
        if self.connection is None:
            try:
                self.connection = Connection(self._client, self._topics, self._clock)
            except (
                Exception
            ) as error:  # a file that cannot be read, a name that does not resolve: it may come right
                self.failed(f"{self._client.origin} cannot be reached: {in_a_line(error)}")
                return None
            if problem := install(self.connection.fetcher, self._fast):
                self._said(problem)
        return self.connection

    def worked(self) -> None:
        """A poll came through."""
        self._failures = 0

    def failed(self, problem: str) -> bool:
        """Something did not work: leave it alone for a while. Whether the connection was given up for a new one."""
        self.problem = problem
        self._retry_at = self._clock() + _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
        self._failures += 1
        if self._failures % _HOPELESS or self.connection is None:
            return False
        connection, self.connection = self.connection, None
        connection.close({})
        return True

    def heard(self) -> None:
        """The cluster has answered just now."""
        self._answered_at = self._clock()

    def watch(self) -> bool:
        """Look from time to time whether the cluster is there. True when it told of itself again."""
        now = self._clock()
        if self.connection is None or now - self._watched_at < (_WATCH_S if self.alive else _EAGER_S):
            return False
        self._watched_at = now
        if not self.connection.answered():
            return False
        self.heard()
        self._look_for_topics(self.connection)
        self._see_that_changes_are_heeded(self.connection, now)
        if self.connection.group_silent_s > _FORGOTTEN_S:
            self._begin_anew()
            return False
        return not self._failures

    def _begin_anew(self) -> None:
        """The cluster answers and the group does not: its other members may have our partitions, or nobody has them.

        The library's heartbeats end for good after some errors, and polling goes on as if nothing were.
        """
        self._said(
            f"{self._client.origin}: the group has not answered for {_FORGOTTEN_S:.0f} s, joining it anew"
        )
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close({})

    def _see_that_changes_are_heeded(self, connection: Connection, now: float) -> None:
        """A topic that was made, made anew or grew is given out by the group; if it is not, ask for that.

        The library compares what it knew when it last gave partitions out with what it knows now. What it learns
        in between, on another thread, can be in both, and then nobody ever reads the new partitions.
        """
        shape = connection.shape(self._topics)
        if shape != self._shape:
            self._shape, self._unheeded = shape, (now, connection.membership.epoch)
        elif self._unheeded is not None:
            since, epoch = self._unheeded
            if connection.membership.epoch != epoch:
                self._unheeded = None
            elif now - since > _UNHEEDED_S:
                self._unheeded = None
                connection.rejoin()

    def _look_for_topics(self, connection: Connection) -> None:
        """Say once which are not there: the others are read meanwhile, so it keeps nothing from working."""
        missing = connection.missing(self._topics)
        if missing and missing != self._missing:
            self._said(f"{self._client.origin} has no topic {', '.join(missing)}\n{_MAKE_THEM}")
        self._missing = missing

    def _nothing_to_read(self) -> str | None:
        # What was missing at the last look may have been given to us since.
        if len(self._missing) < len(self._topics) or (self.connection and self.connection.membership.owned):
            return None
        return f"{self._client.origin} has none of the topics {', '.join(self._missing)}: {_MAKE_THEM}"

    def close(self) -> Connection | None:
        """No more connections. Returns the last one, to be closed."""
        self._closed.set()
        connection, self.connection = self.connection, None
        return connection


def in_a_line(error: Exception) -> str:
    """What an error says, for a message of ours."""
    return " ".join(str(error).split())[:200] or type(error).__name__
