"""What tests do with a Kafka topic: fill it, and read it as the consumer's loop does, positions kept in a dict."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

from kafka import KafkaProducer

from consumers.errors import PartitionStopped
from consumers.kafka.client import KafkaClient
from consumers.kafka.source import KafkaSource
from consumers.source import Chunk, Position

PATIENCE_S = 30.0


def fresh(stem: str) -> str:
    """A name that nothing on the broker has yet."""
    return f"{stem}.{uuid.uuid4().hex[:8]}"


def numbered(count: int, first: int = 0) -> list[bytes]:
    """Bodies that differ."""
    return [b'{"id": "evt-%d"}' % number for number in range(first, first + count)]


def eventually(happened: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until ``happened`` is true."""
    end = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < end, f"not within {patience_s:g} s: {what}"
        time.sleep(0.02)


@contextmanager
def producing(bootstrap: str, **options: object) -> Iterator[KafkaProducer]:
    """A producer; all that it was given is in the log at the end."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, **{"linger_ms": 5, **options})
    try:
        yield producer
        producer.flush(timeout=PATIENCE_S)
    finally:
        producer.close(timeout=5)


def fill(bootstrap: str, topic: str, *values: bytes | None, partition: int = 0, **options: object) -> None:
    """Append records to one partition."""
    with producing(bootstrap, **options) as producer:
        sent = [
            producer.send(topic, value, key=None if value is not None else b"k", partition=partition)
            for value in values
        ]
        for each in sent:
            each.get(PATIENCE_S)


class Reader:
    """A source and the positions of what it gave, as a database would keep them."""

    def __init__(
        self,
        bootstrap: str,
        topics: Sequence[str],
        *,
        group: str | None = None,
        positions: Mapping[str, Position] | None = None,
        fast: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.said: list[str] = []
        self.source = KafkaSource(
            KafkaClient([bootstrap], group_id=group or fresh("group")),
            topics,
            clock=clock,
            fast=fast,
            said=self.said.append,
        )
        self.positions = dict(positions or {})
        self.chunks: list[Chunk] = []
        self.stopped: list[PartitionStopped] = []

    def step(self, limit: int = 1000, timeout_s: float = 0.2) -> Sequence[Chunk]:
        """Seek what waits, poll, keep what came."""
        for partition in self.source.waiting():
            try:
                self.source.seek(partition, self.positions.get(partition))
            except PartitionStopped as stopped:
                self.stopped.append(stopped)
        came = self.source.poll(limit, timeout_s)
        for chunk in came:
            known = self.positions.get(chunk.partition)
            assert known is None or known.next == chunk.start, (known, chunk)
            self.positions[chunk.partition] = Position(chunk.next, chunk.log)
        self.chunks += came
        self.source.done(came)
        return came

    def until(self, happened: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
        """Step until ``happened`` is true."""
        end = time.monotonic() + patience_s
        while not happened():
            assert time.monotonic() < end, f"not within {patience_s:g} s: {what}; {self.source.trouble}"
            self.step()

    def read(self, count: int) -> list[bytes]:
        """Step until ``count`` bodies came in all; all of them."""
        self.until(lambda: len(self.bodies) >= count, f"{count} records, {len(self.bodies)} are here")
        return self.bodies

    @property
    def bodies(self) -> list[bytes]:
        """All that came."""
        return [body for chunk in self.chunks for body in chunk.bodies]

    def of(self, partition: str) -> list[tuple[int, bytes]]:
        """All that came of one partition, with offsets."""
        return [
            pair
            for chunk in self.chunks
            if chunk.partition == partition
            for pair in zip(chunk.offsets, chunk.bodies, strict=True)
        ]


@contextmanager
def reading(bootstrap: str, *topics: str, **options: object) -> Iterator[Reader]:
    """A reader for the length of a block."""
    reader = Reader(bootstrap, topics, **options)  # type: ignore[arg-type]
    with closing(reader.source):
        yield reader
