"""What there is to ask and to change of Kafka's topics from outside: which exist, where they begin and end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaConfigurationError, KafkaError, KafkaTimeoutError, for_code

from consumers.errors import ConfigurationError
from consumers.kafka.refusals import overhear, refusal
from consumers.topics import LogUnavailable, Topics

Answer = TypeVar("Answer")
OLDEST, END = -2, -1
"""Kafka's own numbers for a time before all records and one after them."""
ACTIVITY_KEPT_DAYS = 420  # every window looks back 416 days at most, and may have to be rebuilt from the log
DEAD_LETTERS_KEPT_DAYS = 30
_LARGEST_DEAD_LETTER = 4 * 1024 * 1024  # a record as large as a broker takes, and where it came from
_PATIENCE_MS = 10_000
# For one call of the library, whatever it does: it waits for some answers without any bound of its own.
_DEADLINE_S = 25.0
_DAY_MS = 86_400_000
_EXISTS, _UNKNOWN = 36, 3


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. ``log`` is what its offsets count in, ``<cluster id>/<topic id>``."""

    name: str
    partitions: int
    log: str

    @property
    def partition_names(self) -> tuple[str, ...]:
        """Its partitions as the database names them."""
        return tuple(f"{self.name}/{number}" for number in range(self.partitions))


class TopicKeeper:
    """Asks and changes. Not thread-safe; made by :func:`keeping_topics`. All raise LogUnavailable."""

    def __init__(self, client: KafkaAdminClient, deadline_s: float = _DEADLINE_S) -> None:
        """``deadline_s`` bounds each question."""
        self._client = client
        self._deadline_s = deadline_s

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        with _named_errors():
            return _within(self._deadline_s, question)

    def brokers(self) -> int:
        """How many answer."""
        return len(self._ask(self._client.describe_cluster)["brokers"])

    def look(self, names: Sequence[str]) -> Mapping[str, Topic]:
        """Those of ``names`` that exist."""
        cluster = self._ask(self._client.describe_cluster)["cluster_id"]
        described = self._ask(lambda: self._client.describe_topics(list(names)))
        found = {}
        for each in described:
            if each["error_code"] not in {0, _UNKNOWN}:
                raise LogUnavailable(f"topic {each['name']}: {for_code(each['error_code']).__name__}\n{_ASK}")
            if each["error_code"] == 0:
                found[each["name"]] = Topic(
                    each["name"], len(each["partitions"]), f"{cluster}/{each['topic_id']}"
                )
        return found

    def create(self, topics: Topics, partitions: int, replication: int) -> Sequence[str]:
        """Make those that are missing; returns their names. What exists is left as it is."""
        wanted = [name for name in topics.all if name not in self.look(topics.all)]
        if not wanted:
            return []
        options: dict[str, dict[str, Any]] = {}
        for name in wanted:
            options[name] = {
                "num_partitions": partitions if name != topics.dead_letters else 1,
                "replication_factor": replication,
                "configs": self._configs(topics, name),
            }
        if replication > 2:
            for each in options.values():
                each["configs"] = {**each["configs"], "min.insync.replicas": "2"}
        answer = self._ask(
            lambda: self._client.create_topics(options, timeout_ms=_PATIENCE_MS, raise_errors=False)
        )
        for each in answer["topics"]:
            if each["error_code"] not in {0, _EXISTS}:
                said = each["error_message"] or for_code(each["error_code"]).__name__
                raise LogUnavailable(f"topic {each['name']} cannot be made: {said}\n{_ASK}")
        self._ask(lambda: self._client.wait_for_topics(wanted, timeout_ms=_PATIENCE_MS))
        return wanted

    def _configs(self, topics: Topics, name: str) -> dict[str, str]:
        if name == topics.dead_letters:
            return _DEAD_LETTERS
        return _ACTIVITY if name in topics.activity else _STATE

    def offsets(self, partitions: Sequence[str], at: int) -> Mapping[str, int]:
        """The offset of the first record at or after ``at``, epoch milliseconds; OLDEST and END are the ends.

        Where no record is so late it is the end.
        """
        if not partitions:
            return {}
        asked = {_named(partition): at for partition in partitions}
        found = self._offsets(asked)
        late = [each for each in asked if found.get(each, -1) < 0]
        if late:
            found |= self._offsets(dict.fromkeys(late, END))
        return {f"{each.topic}/{each.partition}": offset for each, offset in found.items()}

    def _offsets(self, asked: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        told = self._ask(lambda: self._client.list_partition_offsets(asked, timeout_ms=_PATIENCE_MS))
        return {each: answer.offset for each, answer in told.items()}


@contextlib.contextmanager
def keeping_topics(connection: Mapping[str, Any]) -> Iterator[TopicKeeper]:
    """For the length of a block; ``connection`` is what kafka-python's clients take. Raises LogUnavailable."""
    arguments = {**connection, "bootstrap_timeout_ms": _PATIENCE_MS, "request_timeout_ms": _PATIENCE_MS}
    overhear()
    with _named_errors(connection["security_protocol"]):
        client = _within(_DEADLINE_S, lambda: KafkaAdminClient(**arguments))
    try:
        yield TopicKeeper(client)
    finally:
        with contextlib.suppress(KafkaError):  # nothing is lost with it
            _within(_DEADLINE_S, client.close)


_ASK = "see: bellwether doctor"
_ACTIVITY = {"retention.ms": str(ACTIVITY_KEPT_DAYS * _DAY_MS)}
# Who pays how much for how many seats holds until somebody says otherwise, be it years ago; such events are few.
_STATE = {"retention.ms": "-1"}
_DEAD_LETTERS = {
    "retention.ms": str(DEAD_LETTERS_KEPT_DAYS * _DAY_MS),
    "max.message.bytes": str(_LARGEST_DEAD_LETTER),
}


def _within(deadline_s: float, call: Callable[[], Answer]) -> Answer:
    """What ``call`` returns or raises; KafkaTimeoutError if that takes too long. Then its thread is left behind."""
    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except Exception as error:
            answer.set_exception(error)

    thread = threading.Thread(target=run, name="kafka-topics", daemon=True)
    thread.start()
    thread.join(deadline_s)
    if thread.is_alive():
        raise KafkaTimeoutError(f"no answer within {deadline_s:g} s")
    return answer.result()


def _named(partition: str) -> TopicPartition:
    topic, _, number = partition.rpartition("/")
    return TopicPartition(topic, int(number))


@contextlib.contextmanager
def _named_errors(security_protocol: str | None = None) -> Iterator[None]:
    """``security_protocol`` is given where a connection is made for the first time."""
    try:
        yield
    except (KafkaConfigurationError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"Kafka's client refuses the settings: {error}\ncheck BELLWETHER_KAFKA_*"
        ) from error
    except (KafkaError, OSError) as error:
        if security_protocol and (why := refusal(security_protocol)):
            raise LogUnavailable(f"Kafka would not have us: {why}") from error
        said = " ".join(str(error).split())[:300]
        raise LogUnavailable(
            f"Kafka does not answer as it should: {said}\ncheck that the broker runs and is reached"
        ) from error
