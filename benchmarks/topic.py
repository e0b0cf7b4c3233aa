"""Fills topics: with a file of events as fast as it goes, or at a steady rate with the instant each was sent.

librdkafka's producer, since a bench of consumers should not wait ten minutes for its input; keyed by account, in
batches of up to 900 kB as producers are asked to.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

_KEY = b'"account_id":"'
PARTITIONS = 8
PROBES = 1_000  # accounts with a champion to lose


def fill(bootstrap: str, topic: str, path: Path, events: int) -> None:
    """Produce the first ``events`` lines of ``path``. Raises SystemExit if any was refused."""
    refused: list[str] = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 50,
            "batch.size": 900_000,
            "queue.buffering.max.messages": 1_000_000,
            "partitioner": "murmur2_random",  # the one of Java's clients and kafka-python: an account has one partition
        }
    )

    def told(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            refused.append(str(error))

    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            if number == events:
                break
            start = line.index(_KEY) + len(_KEY)
            key = line[start : line.index(b'"', start)]
            while True:
                try:
                    producer.produce(topic, line[:-1], key, on_delivery=told)
                    break
                except BufferError:
                    producer.poll(0.1)
            if number % 10_000 == 0:
                producer.poll(0)
    producer.flush(120)
    if refused:
        raise SystemExit(f"{len(refused)} events were not produced: {refused[0]}")


@dataclass(slots=True)
class Sent:
    """When each record went out, by partition and offset, and each probe, by account; seconds since the epoch."""

    records: dict[tuple[int, int], float] = field(default_factory=dict)
    probes: dict[str, float] = field(default_factory=dict)


def steadily(
    bootstrap: str, logins: str, probes: str, *, rate: int, seconds: float, probe_rate: int, run: str
) -> Sent:
    """Produce ``rate`` logins and ``probe_rate`` departed champions, each of another account, for ``seconds``.

    Without a ``probe_rate`` the accounts get their champions instead: an account's first judgement tells nobody.
    """
    sent = Sent()
    refused: list[str] = []
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 2, "partitioner": "murmur2_random", "acks": "all"}
    )

    def told(stamp: float, error: KafkaError | None, message: Message) -> None:
        if error is None:
            sent.records[(int(message.partition() or 0), int(message.offset() or 0))] = stamp
        else:
            refused.append(str(error))

    if not probe_rate:
        for each in range(PROBES):
            is_champion = {"contact_id": "c1", "user_id": "u1", "roles": ["champion"]}
            account = f"probe-{run}-{each:06d}"
            producer.produce(
                probes, _event(f"{run}-c{each}", "contact.updated", account, data=is_champion), account
            )
    began = time.time()
    number = probed = 0
    while (passed := time.time() - began) < seconds:
        while number < passed * rate:
            now = time.time()
            account = f"account-{number % 2_000:05d}"
            producer.produce(
                logins,
                _event(f"{run}-l{probe_rate}-{number}", "user.login", account, user_id=f"u{number % 20_000}"),
                account,
                on_delivery=partial(told, now),
            )
            number += 1
        while probed < passed * probe_rate:
            account = f"probe-{run}-{probed:06d}"
            sent.probes[account] = time.time()
            left = {"kind": "left_company", "previous_user_id": "u1"}
            producer.produce(
                probes, _event(f"{run}-p{probed}", "champion.changed", account, data=left), account
            )
            probed += 1
        producer.poll(0.001)
    producer.flush(30)
    if refused:
        raise SystemExit(f"{len(refused)} events were not produced: {refused[0]}")
    return sent


def _event(event_id: str, kind: str, account: str, **more: object) -> bytes:
    at = datetime.now(UTC).isoformat()
    return json.dumps(
        {"id": event_id, "type": kind, "account_id": account, "occurred_at": at, **more}
    ).encode()


def percentiles(latencies: Iterable[float]) -> tuple[float, float]:
    """The 50th and 99th percentile, in milliseconds."""
    ordered = sorted(latencies)
    return tuple(1000 * ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.99))  # type: ignore[return-value]


def lines(path: Path) -> Iterator[dict[str, object]]:
    """The JSON objects of a file."""
    with path.open("rb") as written:
        for line in written:
            yield json.loads(line)
