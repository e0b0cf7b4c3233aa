"""The command on a real broker: topics of a test's own, records put straight into them, and what is in them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.e2e.command import Command
from tests.e2e.running import Running, prepared, until
from tests.servers.kafka import create_topics

EVENTS = ("logins", "seats", "features", "accounts", "relationships", "billing")


def on_kafka(folder: Path, bootstrap: str, **settings: str) -> Command:
    """The command beside a new SQLite database, on ``bootstrap``, with a prefix and a group of its own."""
    name = f"t{secrets.token_hex(4)}."
    return prepared(
        folder,
        **{
            "kafka_bootstrap_servers": bootstrap,
            "topic_prefix": name,
            "kafka_group_id": name,
            **settings,
        },
    )


def topic(command: Command, name: str) -> str:
    """The full name of a topic."""
    return command.variables["BELLWETHER_TOPIC_PREFIX"] + name


def bootstrap(command: Command) -> str:
    """The broker it is on."""
    return command.variables["BELLWETHER_KAFKA_BOOTSTRAP_SERVERS"]


def readiness(service: Running) -> tuple[int, dict[str, Any]]:
    """What /readyz says: its status, and of every part."""
    status, said, _ = service.request("GET", "/readyz")
    return status, said["parts"]


def make_topics(command: Command, partitions: int = 2, dead_letters: Mapping[str, str] | None = None) -> None:
    """The seven topics; ``dead_letters`` configures the one that takes them."""
    topics = {topic(command, name): {"num_partitions": partitions} for name in EVENTS}
    letters = {"num_partitions": 1, "configs": dict(dead_letters or {})}
    create_topics(bootstrap(command), {**topics, topic(command, "dead-letters"): letters})


def put(command: Command, name: str, *values: bytes | Mapping[str, Any], partition: int = 0) -> None:
    """Records straight into one partition of a topic, acknowledged."""
    producer = KafkaProducer(bootstrap_servers=bootstrap(command), acks="all")
    try:
        for value in values:
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            producer.send(topic(command, name), body, partition=partition).get(10)
    finally:
        producer.close()


def records(command: Command, name: str) -> Sequence[Any]:
    """Everything that is in a topic now."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap(command), auto_offset_reset="earliest")
    try:
        full = topic(command, name)
        numbers = until(lambda: consumer.partitions_for_topic(full), f"{full} is there")
        partitions = [TopicPartition(full, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        found: list[Any] = []
        while any(consumer.position(each) < ends[each] for each in partitions):
            for several in consumer.poll(timeout_ms=500).values():
                found += several
        return found
    finally:
        consumer.close()


def counted(service: Running, result: str) -> float:
    """How many events have ended so, over all processes."""
    return metric(service, f'bellwether_events_total{{result="{result}"}}')


def metric(service: Running, name: str) -> float:
    """One sample of /metrics; 0 if there is none."""
    for line in service.get("/metrics")["text"].splitlines():
        if line.startswith(f"{name} "):
            return float(line.rpartition(" ")[2])
    return 0.0
