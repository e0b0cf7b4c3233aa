"""The producing side of Kafka: events keyed by their account, and what was rejected, each durable before it is told.

A producer serves many threads. It is made when it is first needed and thrown away when the broker did not answer
in time: what it still holds then was told to nobody, and a late delivery of it is a repeat that ids make count once.
After that it is left alone for a few seconds, and then asked by one caller at a time: a broker that hangs must not hold
every thread of a web server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xxhash
from kafka import KafkaProducer
from kafka.errors import (
    KafkaConfigurationError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from consumers.errors import ConfigurationError, DeadLettersUnwritable
from consumers.events import Event
from consumers.source import Chunk
from consumers.store import Rejected
from consumers.topics import LogUnavailable, Topics
from consumers.turnstile import TurnedAway, Turnstile

DELIVERY_S = 10.0  # from sending a record to its acknowledgement, or to giving up
LINGER_MS = 2  # for company; whoever waits for one event waits so much longer
_CONNECT_S = 3.0
_REQUEST_S = 4.0
_AWAY_S = 3.0  # a broker that did not answer is not asked again for so long: nobody else waits for it
_SLOW_S = 1.0  # an answer that takes longer is slow; a failure that took longer was one of waiting
MOST_WAITING = 20  # callers at once while it is slow: half of the forty threads of a web server stay free
_BATCH_BYTES = 128 * 1024
_LARGEST = 8 * 1024 * 1024  # bytes of one request: what a topic takes, the broker says
_TRUNCATED = 1_000_000  # bytes of a dead letter that the topic would not take whole
_DETAIL = 1_000  # bytes
_REMEMBERED = 10_000  # dead letters of a partition, for longer than until its next batch
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
Header = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Record:
    """One message: ``key`` decides its partition, None: any."""

    topic: str
    value: bytes
    key: bytes | None = None
    headers: Sequence[Header] = ()


class EventLog:
    """Appends to Kafka's topics. Thread-safe."""

    def __init__(
        self, connection: Mapping[str, Any], topics: Topics, *, delivery_s: float = DELIVERY_S
    ) -> None:
        """``connection`` is what kafka-python's clients take: servers, security, secrets."""
        self._connection = dict(connection)
        self._topics = topics
        self._delivery_s = delivery_s
        self._lock = threading.Lock()
        self._producer: KafkaProducer | None = None
        self._turnstile = Turnstile(MOST_WAITING, slow_s=_SLOW_S, away_s=_AWAY_S, clock=time.monotonic)

    def append(self, events: Sequence[tuple[Event, bytes]]) -> None:
        """Every event with the bytes it came in; durable on all replicas in sync when this returns.

        Raises LogUnavailable, after which any of them may be in the log or not.
        """
        self.send(Record(self._topics.of(event), body, event.account_id.encode()) for event, body in events)

    def send(self, records: Iterable[Record]) -> None:
        """The same for records of any kind. Raises LogUnavailable, or RecordTooLarge with nothing but that wrong."""
        try:
            with self._turnstile.inside():
                self._send(self._made(), records)
        except TurnedAway as away:
            raise self._unavailable(str(away)) from None

    def _send(self, producer: KafkaProducer, records: Iterable[Record]) -> None:
        began = time.monotonic()
        deadline = began + self._delivery_s + 2.0
        topic = ""
        try:
            sent = []
            for record in records:
                topic = record.topic
                headers = list(record.headers) or None
                sent.append((topic, producer.send(topic, record.value, key=record.key, headers=headers)))
            for topic, future in sent:  # noqa: B007 - of the one that failed
                future.get(max(0.001, deadline - time.monotonic()))
        except _TOO_LARGE as error:
            # An idempotent producer repeats such an answer for whatever it is given after it.
            self._drop(producer)
            raise RecordTooLarge(f"a record is larger than {topic} takes: {_said(error)}") from error
        except (KafkaError, AssertionError, RuntimeError) as error:
            said = f"Kafka took no events for {topic}: {_said(error)}"
            waited = time.monotonic() - began > _SLOW_S
            self._drop(producer, said if waited else "")
            raise self._unavailable(said) from error

    def close(self, timeout_s: float = 5.0) -> None:
        """Let what was sent be acknowledged, and disconnect. Safe to call twice."""
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            _end(producer, timeout_s)

    def _made(self) -> KafkaProducer:
        with self._lock:
            if self._producer is None:
                if away := self._turnstile.away:  # found out while we waited for the lock
                    raise self._unavailable(away)
                self._producer = self._make()
            return self._producer

    def _make(self) -> KafkaProducer:
        try:
            return KafkaProducer(
                **self._connection,
                acks="all",
                enable_idempotence=True,
                compression_type="lz4",
                linger_ms=LINGER_MS,
                batch_size=_BATCH_BYTES,
                max_request_size=_LARGEST,
                allow_auto_create_topics=False,
                delivery_timeout_ms=int(self._delivery_s * 1_000),
                request_timeout_ms=int(_REQUEST_S * 1_000),
                max_block_ms=int(_REQUEST_S * 1_000),
                bootstrap_timeout_ms=int(_CONNECT_S * 1_000),
                reconnect_backoff_max_ms=1_000,
                metrics_enabled=False,
            )
        except (KafkaConfigurationError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"Kafka's client refuses the settings: {_said(error)}\ncheck BELLWETHER_KAFKA_*"
            ) from error
        except (KafkaError, OSError) as error:
            said = f"no Kafka broker answers: {_said(error)}"
            self._turnstile.failed(said)
            raise self._unavailable(said) from error

    def _drop(self, broken: KafkaProducer, away: str = "") -> None:
        """Use it no more; ``away`` says that the broker did not answer, and why that is thought."""
        with self._lock:
            if self._producer is broken:  # what an older one says is no news
                self._producer = None
                if away:
                    self._turnstile.failed(away)
        _end(broken, 0.0)

    def _unavailable(self, said: str) -> LogUnavailable:
        return LogUnavailable(f"{said}\nsend them again later; if it stays so: bellwether doctor")


class RecordTooLarge(LogUnavailable):
    """One record is more than its topic takes; the others may be in the log or not."""


class DeadLetterTopic:
    """Implements ``consumers.pipeline.DeadLetters``: what was rejected, with its reason and where it was found.

    Used by one thread, with a log of its own: what is too large for this topic must not cost others their producer.
    What it has sent once it does not send again when the same batch comes back, as after a transaction that failed.
    A record is known by its bytes too: a log that was cut gives an offset to another one.
    """

    def __init__(self, log: EventLog, topics: Topics) -> None:
        self._log = log
        self._topic = topics.dead_letters
        self._sent: dict[
            tuple[str, str], dict[int, int]
        ] = {}  # of partition and log: offset → hash of the record

    def send(self, chunk: Chunk, rejected: Sequence[Rejected]) -> None:
        """Durable when it returns. Raises DeadLettersUnwritable after about ten seconds."""
        sent = self._known(chunk)
        new = [each for each in rejected if sent.get(each.offset) != _hash(each.body)]
        if not new:
            return
        try:
            self._log.send(self._record(chunk, each) for each in new)
        except RecordTooLarge:
            self._one_by_one(chunk, new, sent)
        except LogUnavailable as error:
            raise self._unwritable(chunk, error) from error
        sent.update((each.offset, _hash(each.body)) for each in new)

    def _known(self, chunk: Chunk) -> dict[int, int]:
        """What was sent of its log; of much, only what may come back after a failure."""
        lane = (chunk.partition, chunk.log)
        sent = self._sent.setdefault(lane, {})
        if len(sent) > _REMEMBERED:
            sent = {offset: known for offset, known in sent.items() if offset >= chunk.start}
            self._sent[lane] = sent
        return sent

    def close(self) -> None:
        """Disconnect; nothing is under way."""
        self._log.close(1.0)

    def _one_by_one(self, chunk: Chunk, rejected: Sequence[Rejected], sent: dict[int, int]) -> None:
        """Those that are too large cut to their beginning."""
        for each in rejected:
            try:
                try:
                    self._log.send([self._record(chunk, each)])
                except RecordTooLarge:
                    self._log.send([self._record(chunk, each, _TRUNCATED)])
            except LogUnavailable as error:
                raise self._unwritable(chunk, error) from error
            sent[each.offset] = _hash(each.body)

    def _record(self, chunk: Chunk, rejected: Rejected, most: int | None = None) -> Record:
        topic, _, number = chunk.partition.rpartition("/")
        headers = [
            ("reason", str(rejected.rejection.reason).encode()),
            ("topic", topic.encode()),
            ("partition", number.encode()),
            ("offset", str(rejected.offset).encode()),
            ("detail", rejected.rejection.detail.encode("utf-8", "replace")[:_DETAIL]),
        ]
        body = rejected.body
        if most is not None and len(body) > most:
            headers.append(("truncated", str(len(body)).encode()))
            body = body[:most]
        return Record(self._topic, body, None, headers)

    def _unwritable(self, chunk: Chunk, error: LogUnavailable) -> DeadLettersUnwritable:
        return DeadLettersUnwritable(
            f"{chunk.partition} waits: what was rejected cannot be written to {self._topic}: "
            f"{str(error).splitlines()[0]}\ncheck the topic: bellwether doctor, bellwether topics create"
        )


def _hash(body: bytes) -> int:
    return xxhash.xxh3_64_intdigest(body)


def _end(producer: KafkaProducer, timeout_s: float) -> None:
    """Close it, whatever it still holds; nothing of that was told to anybody as durable."""
    try:
        producer.close(timeout=timeout_s)
    except Exception:  # with something unacknowledged, the library leaves its thread running for ever
        producer._sender.force_close()
        producer._closed = True


def _said(error: BaseException) -> str:
    """An error of the library in one line, with its own name."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return (text if text.startswith(name) else f"{name}: {text}" if text else name)[:300]
