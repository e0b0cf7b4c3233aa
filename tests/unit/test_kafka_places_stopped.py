"""A partition that stopped is read again when a person has said from where, whatever its log does meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError

from consumers.days import Calendar
from consumers.errors import PartitionStopped, StorageBusy, StorageError
from consumers.kafka.edges import Edges
from consumers.kafka.places import LogState, place
from consumers.loop import UNWRITABLE, ConsumerLoop
from consumers.pipeline import Pipeline
from consumers.source import Chunk, Position, SteadySource
from tests.contract.memory_windows import MemoryWindows

NOW = 1_780_000_000_000_000
PARTITION = "logins/0"


class Log(SteadySource):
    """One partition with a log that a test cuts and grows; a look at it costs nothing."""

    origin = "broker"

    def __init__(self, end: int, log: str = "c/1") -> None:
        self.end, self.log = end, log
        self._waits = True
        self._next = 0
        self.given: list[int] = []

    def partitions(self) -> Sequence[str]:
        return [PARTITION]

    def waiting(self) -> Sequence[str]:
        return [PARTITION] if self._waits else []

    def seek(self, partition: str, position: Position | None) -> None:
        self._waits = True
        found = place(partition, position, LogState(self.log, 0, self.end))
        if isinstance(found, PartitionStopped):
            raise found
        self._next, self._waits = found.next, False

    def poll(self, limit: int, timeout_s: float) -> Sequence[Chunk]:
        if self._waits or self._next >= self.end:
            return []
        offsets = list(range(self._next, self.end))
        start, self._next = self._next, self.end
        self.given += offsets
        return [Chunk(PARTITION, start, self.end, list(map(login, offsets)), offsets, self.end, log=self.log)]

    def close(self) -> None:
        pass


class Windows(MemoryWindows):
    """A store that refuses to write incidents as often as a test says."""

    refusals = 0

    def incident(self, kind: str, partition: str, detail: str) -> None:
        if Windows.refusals:
            Windows.refusals -= 1
            raise StorageBusy("locked")
        super().incident(kind, partition, detail)


@pytest.fixture
def store() -> Iterator[Windows]:
    Windows.refusals = 0
    yield Windows(reached={PARTITION: Position(1000, "c/1")})
    Windows.refusals = 0


def login(number: int) -> bytes:
    event = {"id": f"evt-{number}", "type": "user.login", "account_id": "acct-1", "user_id": "u"}
    return json.dumps({**event, "occurred_at": "2026-05-01T10:00:00Z"}).encode()


def looping(source: Log, store: Windows, told: list[Exception] | None = None) -> ConsumerLoop:
    pipeline = Pipeline(store, Calendar("UTC"), lane=lambda partition: partition)
    return ConsumerLoop(
        source, pipeline, store, now=lambda: NOW, trouble=(told if told is not None else []).append
    )


def turn(loop: ConsumerLoop, times: int = 30) -> None:
    for _ in range(times):
        loop.step(100, 0.0)


def open_kinds(store: Windows) -> list[str]:
    return [kind for kind, _, _, is_open in store.incidents if is_open]


def reset(store: Windows, to: int, log: str = "c/1") -> None:
    """What ``bellwether positions reset`` does."""
    store.reached[PARTITION] = Position(to, log)
    for kind in ("recreated", "truncated"):
        store.recovered(kind, PARTITION)


def test_a_log_cut_below_the_position_is_not_read_when_it_has_grown_past_it_again(store: Windows) -> None:
    source = Log(end=600)
    told: list[Exception] = []
    loop = looping(source, store, told)
    turn(loop)
    source.end = 1200
    turn(loop)
    turn(looping(source, store))  # a restart, or a rebalance
    assert (source.given, open_kinds(store), len(told)) == ([], ["truncated"], 1)

    reset(store, to=600)
    turn(loop)
    assert source.given == list(range(600, 1200))
    assert store.totals["accepted"] == 600
    assert open_kinds(store) == []


def test_a_reset_to_where_it_stood_reads_on_from_there(store: Windows) -> None:
    source = Log(end=600)
    loop = looping(source, store)
    turn(loop)
    source.end = 1200
    reset(store, to=1000)
    turn(loop)
    assert source.given == list(range(1000, 1200))


def test_what_could_not_be_written_down_stops_the_partition_all_the_same(store: Windows) -> None:
    source = Log(end=600)
    loop = looping(source, store)
    for _ in range(3):
        Windows.refusals = 1
        with pytest.raises(StorageError):
            loop.step(100, 0.0)
        source.end = 1200
    turn(loop)
    assert (source.given, open_kinds(store)) == ([], ["truncated"])


def test_an_incident_that_somebody_closed_is_opened_again_while_the_position_does_not_fit(
    store: Windows,
) -> None:
    source = Log(end=1200, log="c/2")
    loop = looping(source, store)
    turn(loop)
    store.recovered("recreated", PARTITION)
    assert open_kinds(store) == []
    turn(loop)
    assert (source.given, open_kinds(store)) == ([], ["recreated"])


def test_dead_letters_that_can_be_written_again_end_the_trouble_whoever_had_it(store: Windows) -> None:
    store.incident(UNWRITABLE, PARTITION, "of a process that is no more")
    source = Log(end=1010)
    loop = looping(source, store)
    turn(loop)
    assert (len(source.given), open_kinds(store)) == (10, [])

    store.incident(UNWRITABLE, PARTITION, "of one that has lost the partition and did not know")
    turn(loop)
    assert open_kinds(store) == [UNWRITABLE]
    source.end = 1020
    turn(loop)
    assert (len(source.given), open_kinds(store)) == (20, [])


class Cluster:
    """A connection that counts what it is asked, and whose brokers answer or do not; a question without answer
    lasts three seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.silent: set[TopicPartition] = set()
        self.asked: list[int] = []

    def clock(self) -> float:
        return self.now

    def log_of(self, topic: str) -> str:
        return f"c/{topic}"

    def led(self, partition: TopicPartition) -> bool:
        return True

    def edges(
        self, partitions: Sequence[TopicPartition], timeout_s: float
    ) -> dict[TopicPartition, tuple[int, int]]:
        self.asked.append(len(partitions))
        if self.silent.intersection(partitions):
            self.now += timeout_s
            raise KafkaTimeoutError
        return dict.fromkeys(partitions, (0, 7))


def sought(edges: Edges, cluster: Cluster, wanted: set[TopicPartition]) -> set[TopicPartition]:
    """One round over all that wait; those that were answered."""
    found = set()
    for which in sorted(wanted, key=lambda each: (edges.unanswered_at(each), each)):
        try:
            if edges.state(cluster, which, wanted) is not None:  # type: ignore[arg-type]
                found.add(which)
        except KafkaTimeoutError:
            pass
    return found


def test_a_round_waits_once_for_brokers_that_are_away_however_many_partitions_came() -> None:
    cluster = Cluster()
    edges = Edges(cluster.clock)
    wanted = {TopicPartition("logins", number) for number in range(48)}
    cluster.silent = set(wanted)
    assert sought(edges, cluster, wanted) == set()
    assert (cluster.now, cluster.asked) == (3.0, [48])
    cluster.silent.clear()
    cluster.now += 1
    assert sought(edges, cluster, wanted) == wanted


def test_partitions_without_an_answer_do_not_keep_the_others_for_long() -> None:
    cluster = Cluster()
    edges = Edges(cluster.clock)
    wanted = {TopicPartition("logins", number) for number in range(12)}
    cluster.silent = {TopicPartition("logins", number) for number in (0, 1, 5)}
    rounds = 0
    while wanted != cluster.silent:
        before = cluster.now
        wanted -= sought(edges, cluster, wanted)
        assert cluster.now - before <= 3.0
        cluster.now += 1
        rounds += 1
    assert rounds <= 5
