"""The servers that tests stand on keep what they were given: killed, restarted, and with one node of two gone."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.servers.kafka import Broker, create_topic, delete_topic
from tests.servers.postgres import Cluster
from tests.servers.process import NotStarted, await_answer, free_port

BODIES = [b"%d" % number for number in range(100)]


def _write(bootstrap: str, topic: str, bodies: list[bytes]) -> None:
    with closing(KafkaProducer(bootstrap_servers=bootstrap, acks="all")) as producer:
        for sent in [producer.send(topic, body, partition=0) for body in bodies]:
            sent.get(timeout=30)


def _read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    read: list[bytes] = []
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)) as consumer:
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        consumer.seek_to_beginning(place)

        def enough() -> bool | None:
            read.extend(record.value for batch in consumer.poll(timeout_ms=200).values() for record in batch)
            return len(read) >= count or None

        await_answer(enough, "the records", 30)
    return read


def test_the_shared_broker_takes_and_gives_records(kafka: str) -> None:
    create_topic(kafka, "servers.shared", partitions=3)
    _write(kafka, "servers.shared", BODIES)
    assert _read(kafka, "servers.shared", len(BODIES)) == BODIES
    delete_topic(kafka, "servers.shared")


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
def test_every_codec_of_kafka_can_be_read(kafka: str, codec: str) -> None:
    topic = create_topic(kafka, f"servers.{codec}")
    with closing(
        KafkaProducer(bootstrap_servers=kafka, compression_type=codec, linger_ms=50, batch_size=1_000_000)
    ) as producer:
        sent = [producer.send(topic, body * 1000) for body in BODIES]
        for each in sent:
            each.get(timeout=30)
    assert _read(kafka, topic, len(BODIES)) == [body * 1000 for body in BODIES]


def test_a_killed_broker_has_its_records_when_it_is_back(own_broker: Broker) -> None:
    own_broker.create_topic("kept")
    _write(own_broker.bootstrap, "kept", BODIES)
    bootstrap = own_broker.bootstrap
    own_broker.kill()
    assert not own_broker.running
    own_broker.restart()
    assert own_broker.bootstrap == bootstrap
    assert _read(bootstrap, "kept", len(BODIES)) == BODIES


def test_what_two_nodes_hold_outlives_either(own_broker: Broker, tmp_path: Path) -> None:
    with Broker(tmp_path / "second", joins=own_broker) as second:
        own_broker.create_topic("twice", replication=2)
        _write(own_broker.bootstrap, "twice", BODIES)
        assert sorted(own_broker.in_sync("twice")) == [1, 2]
        second.kill()
        await_answer(lambda: own_broker.in_sync("twice") == [1] or None, "node 1 alone", 30)
        assert _read(own_broker.bootstrap, "twice", len(BODIES)) == BODIES


def test_a_broker_that_cannot_start_says_why(program: Callable[[str], str], tmp_path: Path) -> None:
    program("java")
    with socket.create_server(("127.0.0.1", 0)) as other:
        blocked = Broker(tmp_path, port=other.getsockname()[1])
        with pytest.raises(NotStarted, match="Address already in use"), blocked:
            pass
    assert not blocked.running


def test_a_killed_cluster_has_its_rows_when_it_is_back(own_cluster: Cluster) -> None:
    url = own_cluster.new_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
    own_cluster.kill()
    own_cluster.restart()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*), sum(number) FROM kept").fetchone() == (1000, 500_500)
    own_cluster.stop()
    own_cluster.start()
    own_cluster.drop_database(url)


def test_a_database_of_a_test_is_empty_and_another_has_the_schema(
    postgres: str, postgres_migrated: str
) -> None:
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    with psycopg.connect(postgres) as empty, psycopg.connect(postgres_migrated) as migrated:
        assert empty.execute(tables).fetchone() == (0,)
        assert migrated.execute("SELECT version_num FROM alembic_version").fetchone() is not None
        assert migrated.execute(tables).fetchone() > (10,)  # type: ignore[operator]  # a count has one row


def test_a_free_port_is_not_one_of_those_that_clients_are_given() -> None:
    assert all(15_000 <= free_port() < 32_000 for _ in range(50))
