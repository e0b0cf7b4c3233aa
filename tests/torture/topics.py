"""What was produced: a plain producer that writes down every record with its partition and offset."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.servers.kafka import admin
from tests.torture.stream import Record

# As the contract names them; one partition is enough where no case looks.
NAMES = ("logins", "seats", "features", "accounts", "relationships", "billing")
DEAD_LETTERS = "dead-letters"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of the dead-letter topic, by its headers."""

    partition: str
    offset: int
    reason: str
    body: bytes | None
    size: int  # of the headers, in bytes


class Topics:
    """The topics of one case, made with ``partitions`` each under a prefix of their own."""

    def __init__(self, bootstrap: str, prefix: str, partitions: int = 4) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.partitions = partitions
        self.ends: Counter[str] = Counter()  # partition as the database names it → its end
        self.produced: dict[tuple[str, int], Record] = {}
        self._producer: KafkaProducer | None = None

    def make(self) -> None:
        """Create them all, and wait for their leaders."""
        names = [self.prefix + name for name in (*NAMES, DEAD_LETTERS)]
        wanted = {
            name: {
                "num_partitions": 1 if name.endswith(DEAD_LETTERS) else self.partitions,
                "replication_factor": 1,
                "configs": {"retention.ms": "-1"},
            }
            for name in names
        }
        with admin(self.bootstrap) as client:
            client.create_topics(wanted, timeout_ms=30_000)
            client.wait_for_topics(names, timeout_ms=30_000)

    def produce(self, records: Sequence[Record], per_s: float | None = None) -> None:
        """Send in order, ``per_s`` records a second or as fast as it goes; durable when it returns."""
        producer = self._open()
        began, last = time.monotonic(), {}
        for number, record in enumerate(records):
            if per_s and number % 20 == 0:
                time.sleep(max(0.0, began + number / per_s - time.monotonic()))
            lane = record.lane(self.partitions)
            topic = self.prefix + record.topic
            name = f"{topic}/{lane}"
            last[name] = producer.send(
                topic, key=record.key, value=record.body, partition=lane, headers=list(record.headers)
            )
            self.produced[name, self.ends[name]] = record
            self.ends[name] += 1
        producer.flush(timeout=60)
        for name, future in last.items():
            offset = future.get(timeout=60).offset
            assert offset == self.ends[name] - 1, f"{name}: {offset}, expected {self.ends[name] - 1}"

    def adopt(self, record: Record) -> int:
        """Write down what somebody else has produced meanwhile, all of it like ``record``. Returns how many."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap)
        try:
            places = [TopicPartition(self.prefix + record.topic, number) for number in range(self.partitions)]
            ends = consumer.end_offsets(places)
        finally:
            consumer.close()
        count = 0
        for place in places:
            name = f"{place.topic}/{place.partition}"
            while self.ends[name] < ends[place]:
                self.produced[name, self.ends[name]] = record
                self.ends[name] += 1
                count += 1
        return count

    def _open(self) -> KafkaProducer:
        if self._producer is None:
            self._producer = KafkaProducer(
                bootstrap_servers=self.bootstrap,
                acks="all",
                linger_ms=5,
                max_request_size=8 << 20,
                retries=1_000,
                delivery_timeout_ms=300_000,
            )
        return self._producer

    def dead_letters(self, timeout_s: float = 10.0) -> list[DeadLetter]:
        """Everything in the dead-letter topic."""
        return list(self._read(self.prefix + DEAD_LETTERS, timeout_s))

    def _read(self, topic: str, timeout_s: float) -> Iterator[DeadLetter]:
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        try:
            place = TopicPartition(topic, 0)
            consumer.assign([place])
            consumer.seek_to_beginning(place)
            end, deadline = consumer.end_offsets([place])[place], time.monotonic() + timeout_s
            while consumer.position(place) < end and time.monotonic() < deadline:
                for records in consumer.poll(timeout_ms=500).values():
                    yield from (_dead(record.headers, record.value) for record in records)
        finally:
            consumer.close()

    def close(self) -> None:
        """Close the producer."""
        if self._producer is not None:
            self._producer.close(timeout=5)
            self._producer = None


def _dead(headers: Iterable[tuple[str, bytes]], body: bytes | None) -> DeadLetter:
    said = {name: value.decode(errors="replace") for name, value in headers}
    return DeadLetter(
        partition=f"{said.get('topic', '?')}/{said.get('partition', '?')}",
        offset=int(said.get("offset", -1)),
        reason=said.get("reason", ""),
        body=body,
        size=sum(len(name) + len(value) for name, value in headers),
    )
