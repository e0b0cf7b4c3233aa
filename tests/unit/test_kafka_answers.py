"""Which partitions are known to be read to their end: only those whose own leader said so a moment ago."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from kafka import TopicPartition

from consumers.kafka.answers import Answers
from consumers.kafka.client import KafkaClient
from consumers.kafka.connection import Connection
from consumers.kafka.source import KafkaSource, _Reading

A, B = TopicPartition("logins", 0), TopicPartition("logins", 1)
NEAR, FAR = 1, 2  # brokers


class Fetcher:
    """As much of the library's as is listened to: who is to be fetched, answers, and what is made of them."""

    def __init__(self) -> None:
        self.fetchable = [A, B]
        self._session_handlers: dict[int, Any] = {}
        self._subscriptions = SimpleNamespace(assignment={})
        self.came: list[Any] = []
        self.spoilt = False

    def _fetchable_partitions(self) -> list[TopicPartition]:
        return self.fetchable

    def _handle_fetch_response(self, node: int, fetched: Any, sent_at: float, response: Any) -> None:
        self._session_handlers[node] = SimpleNamespace(next_metadata=SimpleNamespace(is_full=False))
        self.came += [
            SimpleNamespace(topic_partition=TopicPartition(topic.topic, each.partition_index))
            for topic in response.responses
            for each in topic.partitions
        ]

    def _parse_fetched_data(self, completed: Any) -> object:
        return None if self.spoilt else object()


class Cluster:
    """A fetcher, its answers, and time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.fetcher = Fetcher()
        self.answers = Answers(self.fetcher, lambda: self.now)

    def ask(self, s: float = 0.0) -> None:
        self.fetcher._fetchable_partitions()
        self.now += s

    def answer(
        self,
        node: int,
        *fetched: TopicPartition,
        told: tuple[TopicPartition, ...] = (),
        error: int = 0,
        session_error: int = 0,
        throttled: int = 0,
    ) -> None:
        """To a question about ``fetched``; ``told`` are in it, the others have not changed."""
        parts = [
            SimpleNamespace(
                topic=each.topic,
                partitions=[SimpleNamespace(partition_index=each.partition, error_code=error)],
            )
            for each in told
        ]
        response = SimpleNamespace(responses=parts, error_code=session_error, throttle_time_ms=throttled)
        self.fetcher._handle_fetch_response(node, dict.fromkeys(fetched, 0), 0.0, response)

    def look(self) -> None:
        """What the thread that polls makes of what came."""
        while self.fetcher.came:
            self.fetcher._parse_fetched_data(self.fetcher.came.pop())


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_a_leader_that_does_not_answer_leaves_its_partition_unknown_and_only_that(cluster: Cluster) -> None:
    for node, which in ((NEAR, A), (FAR, B)):
        cluster.answer(node, which, told=(which,))
    cluster.look()
    for _ in range(12):
        cluster.ask(1.0)
        cluster.answer(NEAR, A)  # nothing new
    assert cluster.answers.age_s(A) == 0.0
    assert cluster.answers.age_s(B) == 12.0
    cluster.ask()
    assert cluster.answers.silent_s() == {A: 0.0, B: 12.0}


def test_what_was_never_told_is_unknown(cluster: Cluster) -> None:
    cluster.ask(1.0)
    assert cluster.answers.age_s(A) == float("inf")


def test_an_answer_counts_when_it_was_looked_into_and_as_of_when_it_came(cluster: Cluster) -> None:
    """Until then the library's word about the end is that of an older one."""
    cluster.answer(NEAR, A, told=(A,))
    assert cluster.answers.age_s(A) == float("inf")
    cluster.now += 60
    cluster.look()
    assert cluster.answers.age_s(A) == 60.0
    cluster.answer(NEAR, A, told=(A,))
    cluster.fetcher.spoilt = True  # as when it answers a question about another offset
    cluster.look()
    assert cluster.answers.age_s(A) == 60.0


@pytest.mark.parametrize(
    ("told", "error", "session_error", "throttled"),
    [((A,), 6, 0, 0), ((), 0, 70, 0), ((), 0, 0, 500)],
    ids=["not the leader", "no session", "throttled"],
)
def test_an_answer_that_says_nothing_of_a_partition_is_none(
    cluster: Cluster, told: tuple[TopicPartition, ...], error: int, session_error: int, throttled: int
) -> None:
    cluster.answer(NEAR, A, told=(A,))
    cluster.look()
    for _ in range(20):
        cluster.ask(1.0)
        cluster.answer(NEAR, A, told=told, error=error, session_error=session_error, throttled=throttled)
        cluster.fetcher.came.clear()
    assert cluster.answers.age_s(A) == 20.0
    assert cluster.answers.silent_s()[A] == 20.0


def test_what_the_first_answer_of_a_session_leaves_out_it_says_nothing_of(cluster: Cluster) -> None:
    cluster.answer(NEAR, A, B, told=(A,))
    cluster.look()
    assert cluster.answers.age_s(B) == float("inf")


def test_what_is_not_asked_about_is_not_waited_for(cluster: Cluster) -> None:
    cluster.ask(20.0)
    cluster.fetcher.fetchable = [A]
    cluster.ask()
    assert cluster.answers.silent_s() == {A: 20.0}
    cluster.fetcher.fetchable = [A, B]
    cluster.ask(3.0)
    assert cluster.answers.silent_s() == {A: 23.0, B: 3.0}


def test_what_waits_for_its_leader_before_it_can_be_fetched_is_waited_for(cluster: Cluster) -> None:
    def state(paused: bool, fetchable: bool) -> Any:
        return SimpleNamespace(paused=paused, is_fetchable=lambda: fetchable)

    cluster.ask(20.0)
    cluster.fetcher.fetchable = []
    cluster.fetcher._subscriptions.assignment = {A: state(False, False), B: state(True, False)}
    cluster.ask(1.0)
    assert cluster.answers.silent_s() == {A: 21.0}
    cluster.fetcher._subscriptions.assignment[A] = state(
        False, True
    )  # what came of it is not looked into yet
    cluster.ask()
    assert cluster.answers.silent_s() == {}


# --- what the source makes of it ---------------------------------------------------------------------------------


class Member:
    """A connection to a cluster whose group has given out two partitions, both read to 1000."""

    def __init__(self, cluster: Cluster) -> None:
        self.answers = cluster.answers
        self.membership = SimpleNamespace(owned=frozenset({A, B}), epoch=1)
        self.positions = {A: 1000, B: 1000}
        self.shares_out_anew = False

    def log_of(self, topic: str) -> str:
        return "c/1"

    def position(self, which: TopicPartition) -> int:
        if self.shares_out_anew and which == B:
            self.membership.epoch += 1
        return self.positions[which]

    def end(self, which: TopicPartition) -> int:
        return 1000


@pytest.fixture
def member(cluster: Cluster) -> Member:
    return Member(cluster)


@pytest.fixture
def source(cluster: Cluster, member: Member) -> KafkaSource:
    made = KafkaSource(KafkaClient(["broker:9092"], group_id="g"), ["logins"], clock=lambda: cluster.now)
    made._link.connection = cast(Connection, member)
    made._follow()
    made._reading = {which: _Reading("c/1", 0, 1000) for which in (A, B)}
    return made


def test_only_what_its_leader_told_within_ten_seconds_is_current(
    cluster: Cluster, source: KafkaSource
) -> None:
    for node, which in ((NEAR, A), (FAR, B)):
        cluster.answer(node, which, told=(which,))
    cluster.look()
    source._link.heard()
    assert source.current() == ["logins/0", "logins/1"]
    for _ in range(11):
        cluster.ask(1.0)
        cluster.answer(NEAR, A)
    source._link.heard()  # others of the cluster answer
    assert source.current() == ["logins/0"]


def test_partitions_of_leaders_that_do_not_answer_are_named(cluster: Cluster, source: KafkaSource) -> None:
    connection = cast(Connection, source._link.connection)
    cluster.ask(10.0)
    assert source._without_answer(connection) is None
    cluster.ask(1.0)
    cluster.answer(NEAR, A, told=(A,))
    assert (
        source._without_answer(connection) == "kafka broker:9092: nobody has answered for logins/1 for 11 s"
    )
    source._reading.clear()  # the group shares out anew: they may be somebody else's
    assert source._without_answer(connection) is None


@pytest.mark.parametrize("lost", [0, 5])
def test_a_partition_put_back_by_the_group_gives_no_chunk_before_the_group_has_said_so(
    source: KafkaSource, member: Member, lost: int
) -> None:
    source._reading[A].lost = lost
    member.positions = {A: 0, B: 1010}
    chunks = source._chunks(cast(Connection, member), {A: ([b"x"], [1000]), B: ([b"y"], [1005])})
    assert [(each.partition, each.start, each.next) for each in chunks] == [("logins/1", 1000, 1010)]


def test_a_gap_without_any_record_behind_it_moves_the_position(source: KafkaSource, member: Member) -> None:
    source._reading[A].lost = 5
    member.positions[A] = 1005
    [chunk] = source._chunks(cast(Connection, member), {})
    assert (chunk.start, chunk.next, chunk.lost) == (1000, 1005, 5)
    assert source._chunks(cast(Connection, member), {}) == []


def test_what_was_read_while_the_group_shared_out_anew_is_read_again(
    source: KafkaSource, member: Member
) -> None:
    member.positions = {A: 1003, B: 1003}
    member.shares_out_anew = True
    assert source._chunks(cast(Connection, member), {}) == []
    assert source.waiting() == ["logins/0", "logins/1"]
