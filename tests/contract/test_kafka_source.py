"""KafkaSource on a real broker: nothing lost, nothing twice, whatever becomes of the log, the group and the broker."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager

import pytest
from kafka import KafkaAdminClient, TopicPartition

from consumers.days import Calendar
from consumers.errors import SourceError
from consumers.kafka.client import KafkaClient
from consumers.kafka.source import KafkaSource
from consumers.loop import ConsumerLoop
from consumers.pipeline import Pipeline
from consumers.source import Position
from tests.contract.kafka_reading import Reader, eventually, fill, fresh, numbered, producing, reading
from tests.contract.memory_windows import MemoryWindows
from tests.servers.kafka import create_topic, delete_topic

NOW = 1_780_000_000_000_000


@pytest.fixture(params=[False, True], ids=["plain", "fast"])
def fast(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def login(number: int) -> bytes:
    return json.dumps(
        {
            "id": f"evt-{number}",
            "type": "user.login",
            "account_id": f"acct-{number % 7}",
            "user_id": f"user-{number % 31}",
            "occurred_at": "2026-05-01T10:00:00Z",
        }
    ).encode()


# --- what is in the log comes once, in order ---------------------------------------------------------------------


def test_everything_comes_once_and_in_order_from_every_partition(kafka: str, fast: bool) -> None:
    topic = create_topic(kafka, fresh("order"), 3)
    for number in range(3):
        fill(kafka, topic, *numbered(1000, 1000 * number), partition=number)
    with reading(kafka, topic, fast=fast) as reader:
        reader.read(3000)
        for number in range(3):
            assert reader.of(f"{topic}/{number}") == list(enumerate(numbered(1000, 1000 * number)))
        assert {chunk.end for chunk in reader.chunks} == {1000}
        assert reader.source.connected
        assert reader.source.trouble is None


def test_a_poll_gives_no_more_than_was_asked_for(kafka: str, fast: bool) -> None:
    topic = create_topic(kafka, fresh("limit"))
    fill(kafka, topic, *numbered(100))
    with reading(kafka, topic, fast=fast) as reader:
        while len(reader.bodies) < 100:
            assert sum(len(chunk.bodies) for chunk in reader.step(limit=7)) <= 7
        assert reader.bodies == numbered(100)
        assert [chunk.behind for chunk in reader.chunks][-1] is False
        assert all(chunk.behind for chunk in reader.chunks[:-1])


def test_behind_a_chunk_is_gathered_from_several_fetches(kafka: str, fast: bool) -> None:
    topic = create_topic(kafka, fresh("gather"))
    fill(
        kafka, topic, *(body.ljust(400) for body in numbered(8000)), linger_ms=20
    )  # three fetches of 1 MiB and more
    with reading(kafka, topic, fast=fast) as reader:
        while not (came := reader.step(limit=50_000, timeout_s=1.0)):
            pass
        assert len(came[0].bodies) > 6000


def test_every_codec_is_read(kafka: str, fast: bool) -> None:
    topic = create_topic(kafka, fresh("codecs"))
    codecs = [None, "gzip", "snappy", "lz4", "zstd"]
    for number, codec in enumerate(codecs):
        fill(kafka, topic, *numbered(50, 50 * number), compression_type=codec)
    with reading(kafka, topic, fast=fast) as reader:
        assert reader.read(250) == numbered(250)


def test_a_reader_goes_on_in_the_middle_of_a_batch(kafka: str, fast: bool) -> None:
    topic = create_topic(kafka, fresh("middle"))
    fill(kafka, topic, *numbered(300), linger_ms=500, compression_type="lz4")
    for start in (0, 1, 137, 299):
        with reading(kafka, topic, fast=fast, positions={f"{topic}/0": Position(start)}) as reader:
            assert reader.read(300 - start) == numbered(300 - start, start)
            assert reader.chunks[0].start == start


def test_a_tombstone_is_an_empty_body(kafka: str, fast: bool) -> None:
    topic = create_topic(kafka, fresh("tombstone"))
    fill(kafka, topic, b"a", None, b"b")
    with reading(kafka, topic, fast=fast) as reader:
        assert reader.read(3) == [b"a", b"", b"b"]


def test_a_cloudevent_in_headers_becomes_one_in_json(kafka: str, fast: bool) -> None:
    topic = create_topic(kafka, fresh("cloudevents"))
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"evt-1"),
        ("ce_source", b"shop"),
        ("ce_type", b"user.login"),
        ("content-type", b"application/json"),
    ]
    with producing(kafka) as producer:
        producer.send(topic, b'{"user_id": "u"}', headers=headers)
        producer.send(topic, b"{}", headers=[("trace", b"1")])
    with reading(kafka, topic, fast=fast) as reader:
        first, second = reader.read(2)
        assert json.loads(first)["specversion"] == "1.0"
        assert json.loads(first)["data"] == {"user_id": "u"}
        assert second == b"{}"


def test_what_was_aborted_does_not_come_and_the_end_is_reached_all_the_same(kafka: str, fast: bool) -> None:
    topic = create_topic(kafka, fresh("aborted"))
    with producing(kafka, transactional_id=fresh("tx")) as producer:
        producer.init_transactions()
        for number, keep in enumerate([True, False, True, False]):
            producer.begin_transaction()
            for body in numbered(20, 20 * number):
                producer.send(topic, body, partition=0)
            producer.flush()  # what was not sent would not be aborted but forgotten
            producer.commit_transaction() if keep else producer.abort_transaction()
    with reading(kafka, topic, fast=fast) as reader:
        reader.until(lambda: reader.chunks and not reader.chunks[-1].behind, "the end")
        assert reader.bodies == numbered(20) + numbered(20, 40)
        assert reader.positions[f"{topic}/0"].next == 84  # 80 records, four markers


# --- the log changes ---------------------------------------------------------------------------------------------


def test_what_retention_took_is_counted_as_lost(kafka: str) -> None:
    topic = create_topic(kafka, fresh("gap"))
    fill(kafka, topic, *numbered(50))
    delete_before(kafka, topic, 20)
    with reading(kafka, topic, positions={f"{topic}/0": Position(5)}) as reader:
        assert reader.read(30) == numbered(30, 20)
        assert (reader.chunks[0].start, reader.chunks[0].lost, reader.chunks[0].offsets[0]) == (5, 15, 20)
        assert [chunk.lost for chunk in reader.chunks[1:]] == [0] * (len(reader.chunks) - 1)


def test_retention_that_overtakes_a_reader_is_counted_as_well(kafka: str) -> None:
    topic = create_topic(kafka, fresh("overtaken"))
    fill(kafka, topic, *numbered(50))
    partition = f"{topic}/0"
    with reading(kafka, topic) as reader:
        reader.read(50)
        reader.source.rest(partition, 60)
        fill(kafka, topic, *numbered(50, 50))
        delete_before(kafka, topic, 80)
        reader.source.rest(partition, 0)
        reader.read(70)
        assert reader.bodies == numbered(50) + numbered(20, 80)
        assert sum(chunk.lost for chunk in reader.chunks) == 30


def test_a_log_without_any_records_left_still_moves_the_position(kafka: str) -> None:
    topic = create_topic(kafka, fresh("emptied"))
    fill(kafka, topic, *numbered(10))
    delete_before(kafka, topic, 10)
    with reading(kafka, topic, positions={f"{topic}/0": Position(4)}) as reader:
        reader.until(lambda: reader.chunks, "a chunk")
        assert (reader.chunks[0].start, reader.chunks[0].next, reader.chunks[0].lost) == (4, 10, 6)
        assert not reader.chunks[0].bodies


def test_a_topic_made_anew_while_it_is_read_stops_until_its_position_is_reset(kafka: str) -> None:
    topic = create_topic(kafka, fresh("anew"))
    other = create_topic(kafka, fresh("beside"))
    partition = f"{topic}/0"
    fill(kafka, topic, *numbered(10))
    with reading(kafka, topic, other) as reader:
        reader.read(10)
        delete_topic(kafka, topic)
        create_topic(kafka, topic)
        fill(kafka, topic, *numbered(15, 100))
        fill(kafka, other, *numbered(3, 500))
        reader.until(
            lambda: reader.stopped and reader.of(f"{other}/0"), "the partition stops, the other does not"
        )
        assert [(each.partition, each.kind) for each in reader.stopped] == [(partition, "recreated")]
        assert "positions reset" in str(reader.stopped[0])
        reader.chunks.clear()
        reader.positions[partition] = Position(2)
        reader.source.rest(partition, 0)  # looked at again now, not in five seconds
        assert reader.read(13) == numbered(13, 102)


def test_a_position_in_another_log_or_behind_the_end_stops_only_its_partition(kafka: str) -> None:
    topic = create_topic(kafka, fresh("refused"), 3)
    for number in range(3):
        fill(kafka, topic, *numbered(5, 10 * number), partition=number)
    positions = {f"{topic}/0": Position(3, "elsewhere/1"), f"{topic}/1": Position(9)}
    with reading(kafka, topic, positions=positions) as reader:
        reader.read(5)
        assert {(each.partition, each.kind) for each in reader.stopped} == {
            (f"{topic}/0", "recreated"),
            (f"{topic}/1", "truncated"),
        }
        assert reader.bodies == numbered(5, 20)
        reader.until(
            lambda: not set(reader.positions) - {f"{topic}/{each}" for each in range(3)}, "nothing more"
        )
        for number in range(2):
            reader.source.rest(f"{topic}/{number}", 0)
        reader.until(lambda: len(reader.stopped) == 4, "they were asked about again, and said the same")
        assert reader.bodies == numbered(5, 20)
        assert reader.source.trouble is None


def test_a_log_that_grows_past_the_position_again_is_not_read_before_somebody_says_from_where(
    kafka: str,
) -> None:
    topic = create_topic(kafka, fresh("grown"))
    partition = f"{topic}/0"
    fill(kafka, topic, *map(login, range(5)))
    skipped = [0.0]
    source = KafkaSource(
        KafkaClient([kafka], group_id=fresh("group")), [topic], clock=lambda: time.monotonic() + skipped[0]
    )
    store = MemoryWindows(reached={partition: Position(9)})
    pipeline = Pipeline(store, Calendar("UTC"), lane=lambda partition: partition)
    loop = ConsumerLoop(source, pipeline, store, now=lambda: NOW)
    with closing(source):
        eventually(lambda: loop.step(100, 0.1) or store.incidents, "it stops")
        fill(kafka, topic, *map(login, range(5, 12)))
        for _ in range(4):
            skipped[0] += 6  # it is looked at again each time
            for _ in range(3):
                loop.step(100, 0.1)
        assert store.totals.total() == 0
        store.reached[partition] = Position(5)
        store.recovered("truncated", partition)
        skipped[0] += 6
        eventually(lambda: loop.step(100, 0.1) or store.totals["accepted"] == 7, "it is read from there")


def test_a_topic_that_is_not_there_yet_keeps_no_other_from_being_read(kafka: str) -> None:
    topic, later = create_topic(kafka, fresh("there")), fresh("later")
    fill(kafka, topic, *numbered(5))
    with reading(kafka, topic, later) as reader:
        reader.read(5)
        create_topic(kafka, later)
        fill(kafka, later, *numbered(5, 5))
        assert reader.read(10) == numbered(10)


def test_a_topic_whose_making_the_library_missed_is_read_all_the_same(kafka: str) -> None:
    topic, later = create_topic(kafka, fresh("there")), fresh("later")
    fill(kafka, topic, *numbered(5))
    with reading(kafka, topic, later) as reader:
        reader.read(5)
        connection = reader.source._link.connection
        assert connection is not None
        # As if it had learnt of the topic while it gave partitions out: then nothing has changed since.
        connection._consumer._coordinator._assignment_snapshot = None
        create_topic(kafka, later)
        fill(kafka, later, *numbered(5, 5))
        assert reader.read(10) == numbered(10)


def test_topics_that_are_not_there_are_named_and_looked_for_gently(
    kafka: str, caplog: pytest.LogCaptureFixture
) -> None:
    missing = [fresh("absent"), fresh("absent")]
    with reading(kafka, *missing) as reader:
        reader.until(lambda: "topics create" in str(reader.source.trouble), "it says what is missing")
        assert all(name in str(reader.source.trouble) for name in missing)
        caplog.clear()
        before = time.monotonic()
        reader.until(lambda: time.monotonic() > before + 1.0, "some time")
        said = [each for each in caplog.messages if "not found in cluster metadata" in each]
        assert len(said) <= 2 * len(missing)  # a look is one line of the library's for each
        create_topic(kafka, missing[0])
        fill(kafka, missing[0], *numbered(5))
        assert reader.read(5) == numbered(5)
        reader.until(lambda: reader.source.trouble is None, "one that is there is enough")
        assert missing[1] in reader.said[-1]


# --- read to the end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared_out_anew", [False, True])
def test_a_partition_whose_leader_does_not_answer_is_not_said_to_be_read_to_its_end(
    kafka: str, shared_out_anew: bool
) -> None:
    topic = create_topic(kafka, fresh("leaderless"), 2)
    for number in range(2):
        fill(kafka, topic, *numbered(5), partition=number)
    skipped = [0.0]
    with reading(kafka, topic, clock=lambda: time.monotonic() + skipped[0]) as reader:
        reader.read(10)
        reader.until(lambda: len(reader.source.current()) == 2, "both are read to their ends")
        connection = reader.source._link.connection
        assert connection is not None
        led = connection._cluster.leader_for_partition
        connection._cluster.leader_for_partition = lambda which: -1 if which.partition == 1 else led(which)
        if shared_out_anew:
            epoch = connection.membership.epoch
            connection.rejoin()
            reader.until(lambda: connection.membership.epoch > epoch, "the group shares out anew")
        for _ in range(8):
            reader.step()
            skipped[0] += 2.0
        reader.until(lambda: reader.source.current() == [f"{topic}/0"], "only one is known to be")
        named = f"nobody has answered for {topic}/1 for"
        reader.until(lambda: named in str(reader.source.trouble), "and the other is named")
        connection._cluster.leader_for_partition = led
        reader.until(lambda: len(reader.source.current()) == 2, "the other is there again")
        reader.until(lambda: reader.source.trouble is None, "nothing is wrong")


def test_a_quiet_partition_that_the_group_gives_back_is_known_to_be_read_to_its_end(kafka: str) -> None:
    topic = create_topic(kafka, fresh("quiet"))
    fill(kafka, topic, *numbered(5))
    with reading(kafka, topic) as reader:
        reader.read(5)
        reader.until(reader.source.current, "it is read to its end")
        connection = reader.source._link.connection
        assert connection is not None
        epoch = connection.membership.epoch
        connection.rejoin()
        reader.until(lambda: connection.membership.epoch > epoch, "the group shares out anew")
        reader.until(reader.source.current, "it still is", 10)


# --- the group ---------------------------------------------------------------------------------------------------


def test_nothing_comes_from_a_partition_before_it_was_sought(kafka: str) -> None:
    topic = create_topic(kafka, fresh("unsought"))
    fill(kafka, topic, *numbered(5))
    with reading(kafka, topic) as reader:
        eventually(lambda: reader.source.poll(100, 0.2) or reader.source.waiting(), "the partition")
        assert reader.source.waiting() == [f"{topic}/0"]
        assert [*reader.source.poll(100, 0.5), *reader.source.poll(100, 0.5)] == []
        with pytest.raises(SourceError, match="not given"):
            reader.source.seek(f"{topic}/7", None)


def test_a_member_that_leaves_gives_its_partitions_away_at_once(kafka: str) -> None:
    topic, group = create_topic(kafka, fresh("leaves"), 2), fresh("group")
    with reading(kafka, topic, group=group) as stays, reading(kafka, topic, group=group) as leaves:
        together(lambda: stays.source.partitions() and leaves.source.partitions(), stays, leaves)
        began = time.monotonic()
        leaves.source.close()
        assert time.monotonic() - began < 5.0
        stays.until(lambda: len(stays.source.partitions()) == 2, "both partitions", 10)


def test_while_it_idles_it_stays_a_member_and_reads_on_where_it_was(kafka: str) -> None:
    topic = create_topic(kafka, fresh("idles"))
    fill(kafka, topic, *numbered(5))
    with reading(kafka, topic) as reader:
        reader.read(5)
        fill(kafka, topic, *numbered(5, 5))
        for _ in range(5):
            reader.source.idle()
        assert reader.source.partitions() == [f"{topic}/0"]
        assert reader.bodies == numbered(5)
        assert reader.read(10) == numbered(10)


def test_going_back_gives_the_same_again(kafka: str, fast: bool) -> None:
    topic = create_topic(kafka, fresh("back"))
    fill(kafka, topic, *numbered(30))
    with reading(kafka, topic, fast=fast) as reader:
        while not reader.step(limit=10):
            pass
        first = reader.chunks[-1]
        reader.source.seek(first.partition, Position(first.start, first.log))
        reader.positions[first.partition] = Position(first.start, first.log)
        reader.chunks.clear()
        assert reader.read(30 - first.start) == numbered(30 - first.start, first.start)


def test_members_that_come_and_go_lose_nothing_and_count_nothing_twice(kafka: str, fast: bool) -> None:
    topic, group = create_topic(kafka, fresh("rebalance"), 4), fresh("group")
    store, count = SharedWindows(), 2000
    with consuming(kafka, topic, group, store, fast):
        with ExitStack() as members, producing(kafka) as producer:
            for number in range(count):
                producer.send(topic, login(number), key=b"acct-%d" % (number % 7))
                if number == count // 4:
                    members.enter_context(consuming(kafka, topic, group, store, fast))
                if number == count // 2:
                    members.close()
        eventually(lambda: store.kept.totals.total() >= count, f"{count} events")
        end = time.monotonic() + 0.5
        eventually(lambda: time.monotonic() > end, "nothing more comes")
    assert dict(store.kept.totals) == {"accepted": count}
    assert sum(position.next for position in store.kept.reached.values()) == count


# --- tools -------------------------------------------------------------------------------------------------------


class SharedWindows:
    """A store for several loops: one batch at a time, as a database would have it."""

    def __init__(self) -> None:
        self.kept = MemoryWindows()
        self.lock = threading.Lock()
        self.positions = self.kept.positions
        self.current = self.kept.current
        self.segments = self.kept.segments
        self.troubles = self.kept.troubles
        self.incident = self.kept.incident
        self.recovered = self.kept.recovered

    @contextmanager
    def transaction(self) -> Iterator[MemoryWindows]:
        with self.lock, self.kept.transaction() as work:
            yield work


@contextmanager
def consuming(
    bootstrap: str, topic: str, group: str, store: SharedWindows, fast: bool
) -> Iterator[KafkaSource]:
    """A member that consumes in a thread of its own."""
    source = KafkaSource(KafkaClient([bootstrap], group_id=group), [topic], clock=time.monotonic, fast=fast)
    pipeline = Pipeline(store, Calendar("UTC"), lane=lambda partition: partition)
    loop = ConsumerLoop(source, pipeline, store, now=lambda: NOW)
    stop = threading.Event()
    thread = threading.Thread(target=loop.run, args=(stop,))
    thread.start()
    eventually(source.partitions, "partitions")
    try:
        yield source
    finally:
        stop.set()
        thread.join(10)
        source.close()


def together(happened: object, *readers: Reader) -> None:
    """Step all of them, each in a thread, until it has happened."""
    stop = threading.Event()

    def run(reader: Reader) -> None:
        while not stop.is_set():
            reader.step()

    threads = [threading.Thread(target=run, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        eventually(happened, "what they do together")  # type: ignore[arg-type]
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)


def delete_before(bootstrap: str, topic: str, offset: int) -> None:
    """Take the oldest records away, as retention does."""
    client: AbstractContextManager[KafkaAdminClient] = closing(KafkaAdminClient(bootstrap_servers=bootstrap))
    with client as admin:
        admin.delete_records({TopicPartition(topic, 0): offset}, timeout_ms=30_000)
