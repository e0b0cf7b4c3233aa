"""KafkaSource where the broker is away, comes back, or has damaged what it keeps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import leave_out
from tests.contract.kafka_reading import fill, fresh, numbered, reading
from tests.servers import jars
from tests.servers.kafka import Broker


@pytest.fixture(params=[False, True], ids=["plain", "fast"])
def fast(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of this file's own, to be killed and damaged: not started before a test wants it."""
    if lacking := jars.missing():
        leave_out(lacking)
    broker = Broker(tmp_path_factory.mktemp("breakable") / "broker")
    yield broker
    broker.kill()


@contextmanager
def running(broker: Broker) -> Iterator[Broker]:
    """The same, running; whoever comes next finds it as it is left."""
    yield broker if broker.running else broker.start()


def test_without_a_broker_it_waits_says_so_and_closes_quickly(tmp_path: Path) -> None:
    with reading("127.0.0.1:1", "any") as reader:
        for _ in range(3):
            began = time.monotonic()
            assert reader.source.poll(10, 0.3) == []
            reader.source.idle()
            assert time.monotonic() - began < 5.0
        assert not reader.source.connected
        assert "127.0.0.1:1 has not answered" in str(reader.source.trouble)
        began = time.monotonic()
        reader.source.close()
        assert time.monotonic() - began < 5.0


def test_a_broker_that_comes_late_and_goes_meanwhile_costs_nothing_but_time(breakable: Broker) -> None:
    breakable.kill()
    with reading(breakable.bootstrap, "late") as reader:
        assert reader.source.poll(10, 0.3) == []
        breakable.start()
        breakable.create_topic("late")
        fill(breakable.bootstrap, "late", *numbered(10))
        reader.read(10)
        breakable.kill()
        for _ in range(5):
            assert reader.step() == []
        breakable.start()
        fill(breakable.bootstrap, "late", *numbered(10, 10))
        assert reader.read(20) == numbered(20)


def test_a_batch_that_fails_its_checksum_becomes_one_body_and_its_neighbours_are_read(
    breakable: Broker, fast: bool
) -> None:
    damaged, sound = fresh("damaged"), fresh("sound")
    partition = f"{damaged}/0"
    with running(breakable) as broker:
        broker.create_topic(damaged)
        broker.create_topic(sound)
        for first in (0, 20, 40):
            fill(broker.bootstrap, damaged, *numbered(20, first), linger_ms=500)
        fill(broker.bootstrap, sound, *numbered(5, 100))
        flip(next((broker.folder / "data" / f"{damaged}-0").glob("*.log")), b"evt-25")
        with reading(broker.bootstrap, damaged, sound, fast=fast) as reader:
            reader.until(
                lambda: len(reader.of(partition)) >= 41 and reader.of(f"{sound}/0"), "all that can be read"
            )
            found = reader.of(partition)
            assert [body for offset, body in found if offset < 20] == numbered(20)
            assert [body for offset, body in found if offset >= 40] == numbered(20, 40)
            told = b"\xff offsets 20 to 39 of %s fail their checksum" % partition.encode()
            assert [each for each in found if 20 <= each[0] < 40] == [(20, told)]
            assert reader.of(f"{sound}/0") == list(enumerate(numbered(5, 100)))
            fill(broker.bootstrap, damaged, *numbered(3, 60))
            reader.until(lambda: reader.positions[partition].next == 63, "what comes later")


def test_it_closes_quickly_though_the_broker_is_gone(breakable: Broker) -> None:
    topic = fresh("gone")
    with running(breakable) as broker, reading(broker.bootstrap, topic) as reader:
        broker.create_topic(topic)
        fill(broker.bootstrap, topic, *numbered(3))
        reader.read(3)
        broker.kill()
        began = time.monotonic()
        reader.source.close()
        assert time.monotonic() - began < 5.0


def flip(path: Path, where: bytes) -> None:
    """Change one bit of a file that a broker has open, in the first place that reads like this."""
    with path.open("r+b") as file:
        data = file.read()
        place = data.index(where)
        file.seek(place)
        file.write(bytes([data[place] ^ 0x01]))
