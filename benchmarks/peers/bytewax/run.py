"""The job by Bytewax: one process, one worker, pre-aggregated, recovery store with a snapshot every 5 s.

Each Kafka partition is a partition of the source, whose resume state is the next offset. Every poll is folded into
one partial per account before it reaches the state; state is one value per account.

Durable: at the end of every epoch (5 s) Bytewax writes the state of each account touched since, and the offsets, to
its SQLite recovery store; a crash loses the state of at most one epoch and reads its events again from the stored
offsets, so state counts each event once. At the end of the stream the last epoch is closed and written before
``run_main`` returns, which is where the clock stops.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, run_main
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from benchmarks.peers.answer import DayNumbers, report

EPOCH = timedelta(seconds=5)
BATCH = 10_000  # records of one poll at most; more of them make fewer partials
SETTINGS = {
    "group.id": "bench-bytewax",  # librdkafka wants one; partitions are assigned and nothing is committed
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "fetch.queue.backoff.ms": 5,  # 1 s as shipped: a full queue would then leave the worker idle
}


class Login(msgspec.Struct, gc=False):
    """The fields the job needs."""

    account_id: str
    user_id: str
    occurred_at: str


Partial = tuple[dict[int, int], dict[str, int]]  # logins by day, last day by user


class Partition(StatefulSourcePartition[list[bytes], int]):
    """One Kafka partition, from the oldest record or the offset of the last snapshot to its end."""

    began = 0.0  # when the first record of any partition was in hand

    def __init__(self, bootstrap: str, topic: str, number: int, resume: int | None) -> None:
        self.next = OFFSET_BEGINNING if resume is None else resume
        self.over = False
        self.consumer = Consumer({**SETTINGS, "bootstrap.servers": bootstrap})
        self.consumer.assign([TopicPartition(topic, number, self.next)])

    def next_batch(self) -> Iterable[list[bytes]]:
        """All that has arrived, as one item, so that the next step sees whole polls."""
        if self.over:
            raise StopIteration
        values: list[bytes] = []
        messages: list[Any] = self.consumer.consume(BATCH, 0.001)
        for message in messages:
            error = message.error()
            if error is None:
                values.append(message.value())
                self.next = message.offset() + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                self.over = True
            else:
                raise KafkaException(error)
        if values and not Partition.began:
            Partition.began = time.perf_counter()
        return [values] if values else []

    def snapshot(self) -> int:
        """The offset to go on from."""
        return self.next

    def close(self) -> None:
        """Leave the broker."""
        self.consumer.close()


class Topic(FixedPartitionedSource[list[bytes], int]):
    """All partitions of a topic."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.bootstrap, self.topic = bootstrap, topic

    def list_parts(self) -> list[str]:
        """The partitions' numbers."""
        client = Consumer({**SETTINGS, "bootstrap.servers": self.bootstrap})
        numbers = client.list_topics(self.topic, timeout=30).topics[self.topic].partitions
        client.close()
        return [str(number) for number in numbers]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> Partition:
        """Open one of them."""
        return Partition(self.bootstrap, self.topic, int(for_part), resume_state)


class Fold:
    """Decodes polls and adds them up per account."""

    def __init__(self) -> None:
        self.decode = msgspec.json.Decoder(Login).decode
        self.number = DayNumbers()

    def __call__(self, polls: list[list[bytes]]) -> Iterable[tuple[str, Partial]]:
        """The partials of some polls, keyed by account."""
        decode, number = self.decode, self.number
        days: defaultdict[str, dict[int, int]] = defaultdict(Counter)
        users: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for poll in polls:
            for value in poll:
                login = decode(value)
                day = number[login.occurred_at[:10]]
                account, user = login.account_id, login.user_id
                days[account][day] += 1
                seen = users[account]
                if seen.get(user, 0) < day:
                    seen[user] = day
        return [(account, (each, users[account])) for account, each in days.items()]


class Account(StatefulBatchLogic[Partial, Partial, bytes]):
    """The state of one account. Its snapshot is MessagePack: a copy and its encoding in one, faster than a pickle."""

    def __init__(self, resume: bytes | None) -> None:
        self.days: dict[int, int]
        self.users: dict[str, int]
        self.days, self.users = ({}, {}) if resume is None else msgspec.msgpack.decode(resume, type=Partial)

    def on_batch(self, values: list[Partial]) -> tuple[Iterable[Partial], bool]:
        """Add the partials; keep the state."""
        for days, users in values:
            for day, count in days.items():
                self.days[day] = self.days.get(day, 0) + count
            for user, day in users.items():
                if self.users.get(user, 0) < day:
                    self.users[user] = day
        return [], False

    def on_eof(self) -> tuple[Iterable[Partial], bool]:
        """Hand the state out, and keep it."""
        return [(self.days, self.users)], False

    def snapshot(self) -> bytes:
        """What goes to the recovery store."""
        return msgspec.msgpack.encode((self.days, self.users))


def main() -> None:
    """``BOOTSTRAP TOPIC EVENTS STATE_FOLDER``."""
    bootstrap, topic, events, state = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    state.mkdir(parents=True, exist_ok=True)
    init_db_dir(state, 1)
    out: list[tuple[str, Partial]] = []
    flow = Dataflow("logins")
    polls: Any = op.input("topic", flow, Topic(bootstrap, topic))
    partials = op.flat_map_batch("fold", polls, Fold())
    accounts = op.stateful_batch("account", partials, Account)
    op.output("out", accounts, TestingSink(out))
    run_main(flow, epoch_interval=EPOCH, recovery_config=RecoveryConfig(state))
    seconds = time.perf_counter() - Partition.began
    days = {account: each for account, (each, _) in out}
    users = {account: each for account, (_, each) in out}
    report("bytewax", events, seconds, days, users)


if __name__ == "__main__":
    main()
