"""One membership in Kafka's group: kafka-python's consumer, set up for reading from positions that somebody else keeps.

The library's own trouble stays in here: what it does on its own thread, what it knows but does not tell in public.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from consumers.kafka.answers import Answers
from consumers.kafka.client import KafkaClient

# The protocol to speak at most; an older broker is spoken to in its own. Naming one spares the constructor from
# waiting 30 s for a broker and failing: whoever is away is found by the polls.
_PROTOCOL = (4, 0)
# How long a dead member keeps its partitions. Heartbeats come from a thread of the library's own, so a batch of some
# seconds is no death; ten seconds without one is.
_SESSION_MS = 10_000
_HEARTBEAT_MS = 2_000
_METADATA_MS = 15_000  # a topic made later is read that soon; ids are looked at more often than that
_MISSING_MS = 2_000  # the same while one is known not to be there
_FETCH_WAIT_MS = 50  # what comes to a partition left out of a running fetch waits for its end
# One fetch of a batch of 50,000 events in 8 partitions; the second bounds memory when partitions are many.
_PARTITION_BYTES = 1 << 20
_FETCH_BYTES = 16 << 20
_REQUEST_MS = 15_000
_RECONNECT_MS = 2_000  # at most, after a broker was away: it is noticed within two seconds that it is back
_CLOSE_MS = 700
_COMMIT_MS = 500
_NOBODY = "00000000-0000-0000-0000-000000000000"


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
    """What the group gave us. Called on the library's thread, so it does nothing but note it.

    Partitions that come are put at 0 and paused: no committed offset is looked up, and nothing comes from them until
    somebody says from where.
    """

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self.owned: frozenset[TopicPartition] = frozenset()
        self.epoch = 0

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Ours now, those that we had among them."""
        assigned = frozenset(assigned)
        for partition in assigned:
            self._consumer.seek(partition, 0)
            self._consumer.pause(partition)
        self.owned = assigned
        self.epoch += 1

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Ours no longer, or not before the group has agreed anew."""
        self.owned -= frozenset(revoked)
        self.epoch += 1


class Connection:
    """A consumer in the classic group. Not thread-safe. Every call is bounded in time; KafkaError may come of any."""

    def __init__(self, client: KafkaClient, topics: Sequence[str], clock: Callable[[], float]) -> None:
        """Does not wait for a broker. Range, not cooperative-sticky: it gives partition n of every topic to the same
        member, so that one process writes an account's windows, and it has no memory: kafka-python's sticky one tells
        the group, after it lost its membership, that it still owns what others have read since.
        """
        self._consumer = KafkaConsumer(
            **client.arguments(),
            group_id=client.group_id,
            group_instance_id=client.instance_id or None,
            api_version=_PROTOCOL,
            partition_assignment_strategy=(RangePartitionAssignor,),
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            session_timeout_ms=_SESSION_MS,
            heartbeat_interval_ms=_HEARTBEAT_MS,
            metadata_max_age_ms=_METADATA_MS,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            max_partition_fetch_bytes=_PARTITION_BYTES,
            fetch_max_bytes=_FETCH_BYTES,
            request_timeout_ms=_REQUEST_MS,
            reconnect_backoff_max_ms=_RECONNECT_MS,
            metrics_enabled=False,
        )
        self.membership = Membership(self._consumer)
        self.answers = Answers(self._consumer._fetcher, clock)
        self._consumer.subscribe(topics=list(topics), listener=self.membership)
        self._cluster = self._consumer._cluster
        self._retry_ms = self._cluster.config["retry_backoff_ms"]
        self._asked: Any = None

    @property
    def fetcher(self) -> Any:
        """The library's, for :mod:`consumers.kafka.batches`."""
        return self._consumer._fetcher

    @property
    def group_silent_s(self) -> float:
        """Seconds since the group last answered this member, by a heartbeat or by letting it join."""
        heartbeat = self._consumer._coordinator.heartbeat
        return float(time.monotonic() - max(heartbeat.last_receive, heartbeat.last_reset))

    def poll(self, limit: int, timeout_s: float) -> Mapping[TopicPartition, Sequence[Any]]:
        """The library's poll: at most ``limit`` records."""
        found: Mapping[TopicPartition, Sequence[Any]] = self._consumer.poll(
            timeout_ms=max(0, int(timeout_s * 1000)), max_records=limit
        )
        return found

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Fetch from ``offset`` next; what was fetched before is dropped."""
        self._consumer.seek(partition, offset)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Fetch nothing from them; the membership stays."""
        assigned = self._consumer.assignment()
        self._consumer.pause(*(each for each in partitions if each in assigned))

    def only(self, partitions: Iterable[TopicPartition]) -> None:
        """Fetch from these and from no others."""
        wanted = set(partitions)
        assigned = self._consumer.assignment()
        paused = self._consumer.paused()
        self._consumer.resume(*(wanted & paused))
        self._consumer.pause(*(assigned - wanted - paused))

    def position(self, partition: TopicPartition) -> int | None:
        """The offset that is fetched next; None if it is not ours."""
        state = self._consumer._subscription.assignment.get(partition)
        return None if state is None or state.position is None else int(state.position.offset)

    def end(self, partition: TopicPartition) -> int | None:
        """The offset after the newest record, as of the last answer, however long ago that was."""
        state = self._consumer._subscription.assignment.get(partition)
        return None if state is None or state.highwater is None else int(state.highwater)

    def left(self, partition: TopicPartition) -> int:
        """How many offsets there are known to be beyond what was given."""
        return max(0, (self.end(partition) or 0) - (self.position(partition) or 0))

    def edges(
        self, partitions: Sequence[TopicPartition], timeout_s: float
    ) -> Mapping[TopicPartition, tuple[int, int]]:
        """The oldest offset and the one after the newest of each. Raises KafkaError if any cannot be had in time."""
        timeout_ms = int(timeout_s * 1000 / 2)
        first = self._consumer.beginning_offsets(list(partitions), timeout_ms=timeout_ms)
        after = self._consumer.end_offsets(list(partitions), timeout_ms=timeout_ms)
        return {each: (first[each], after[each]) for each in partitions}

    def log_of(self, topic: str) -> str | None:
        """Which log its offsets count in now, ``<cluster id>/<topic id>``; None while nobody knows the topic."""
        number = self._cluster.topic_id(topic)
        if not self._cluster.partitions_for_topic(topic) or str(number) == _NOBODY:
            return None
        return f"{self._cluster.cluster_id or ''}/{number or ''}"

    def led(self, partition: TopicPartition) -> bool:
        """Whether a broker is known that leads the partition."""
        return self._cluster.leader_for_partition(partition) not in (None, -1)

    def answered(self) -> bool:
        """Whether the cluster told of itself since it was asked last; asks again, without waiting."""
        told = self._asked is not None and self._asked.is_done and self._asked.succeeded()
        if self._asked is None or self._asked.is_done:
            self._asked = self._cluster.request_update()
        return bool(told)

    def missing(self, topics: Iterable[str]) -> Sequence[str]:
        """Those that the cluster, when it told of itself last, did not have.

        For those the library asks again ten times a second, and logs it each time: not while they are missing.
        """
        known = self._cluster.unauthorized_topics
        lacking = [
            each for each in topics if each not in known and not self._cluster.partitions_for_topic(each)
        ]
        self._cluster.config["retry_backoff_ms"] = _MISSING_MS if lacking else self._retry_ms
        return lacking

    def shape(self, topics: Iterable[str]) -> Mapping[str, tuple[str | None, int]]:
        """What partitions are given out by: of each topic the log and how many partitions it has."""
        return {
            each: (self.log_of(each), len(self._cluster.partitions_for_topic(each) or ())) for each in topics
        }

    def rejoin(self) -> None:
        """Have the group give out its partitions once more, with one of the next polls."""
        self._consumer._coordinator.request_rejoin()

    def refusal(self) -> str | None:
        """Why a broker would not have us, if one said so."""
        failures = self._consumer._client._manager._auth_failures
        return next((str(each) for each in failures.values()), None)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Tell the group how far we are, without waiting, and without asking whether it worked."""
        self._consumer.commit_async(_committed(offsets), lambda _offsets, _result: None)

    def close(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Tell the group how far we are and leave it; takes two seconds at most, whether anybody answers or not."""
        with contextlib.suppress(Exception):  # it is for lag tools only, and there is nobody left to tell
            if offsets and self.membership.owned:
                self._consumer.commit(_committed(offsets), timeout_ms=_COMMIT_MS)
        with contextlib.suppress(KafkaError):
            self._consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)
        # Where leaving took too long, that has kept its sockets; twice is harmless.
        with contextlib.suppress(Exception):
            self._consumer._client.close()


def _committed(offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
    return {partition: OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}
