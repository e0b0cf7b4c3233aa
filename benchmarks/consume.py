"""One measured consumer in a process of its own: bare polling, the source alone, or the service's own consumer.

``python -m benchmarks.consume JOB BOOTSTRAP TOPIC EVENTS DATABASE`` prints one JSON object. EVENTS is what all
consumers of the group handle together; a process ends when nothing came for three seconds and it owns no lag.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import threading
import time
import zlib
from collections.abc import Callable

from kafka import KafkaConsumer, TopicPartition

from app.bootstrap import House
from app.clock import Clock
from app.database.engine import Database
from app.settings import Settings
from consumers.kafka.source import KafkaSource
from consumers.loop import Handled

QUIET_S = 3.0
Done = Callable[[int], None]


def poll(bootstrap: str, topic: str, events: int, _database: str, done: Done, *, fast: bool) -> int:
    """kafka-python's ``poll()`` and nothing else: no group, no decoding. It is what there is to be had."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=1 << 20,
        max_poll_records=2_000,
    )
    consumer.assign([TopicPartition(topic, each) for each in consumer.partitions_for_topic(topic) or ()])
    count = 0
    while count < events:
        for records in consumer.poll(1_000).values():
            count += len(records)
        done(count)
    consumer.close()
    return count


def source(bootstrap: str, topic: str, events: int, _database: str, done: Done, *, fast: bool) -> int:
    """Our source alone: chunks of bytes, positions from nowhere."""
    ours = _source(_settings(bootstrap, "sqlite:///unused.db"), topic, fast)
    count = 0
    while count < events:
        for partition in ours.waiting():
            ours.seek(partition, None)
        for chunk in ours.poll(50_000, 0.5):
            count += len(chunk.bodies)
        done(count)
    ours.close()
    return count


def bellwether(bootstrap: str, topic: str, events: int, database: str, done: Done, *, fast: bool) -> int:
    """Poll, decode, de-duplicate, fold, commit: as the role ``consumer`` does it."""
    settings = _settings(bootstrap, database)
    opened = Database(settings.database_url)
    house = House.build(settings, Clock(), opened, folds=True)
    stop, count, newest = threading.Event(), 0, time.monotonic()

    def heard(handled: Handled) -> None:
        nonlocal count, newest
        count += handled.totals.accepted
        newest = time.monotonic()
        done(count)
        if count >= events:
            stop.set()

    def polled() -> None:
        if count and time.monotonic() - newest > QUIET_S:
            stop.set()

    ours = _source(settings, topic, fast)
    loop = house.consumer(ours, heard, polled=polled)
    gc.collect()
    gc.freeze()
    loop.run(stop)
    ours.close()
    opened.close()
    return count


JOBS = {"poll": poll, "source": source, "bellwether": bellwether}


def _settings(bootstrap: str, database: str) -> Settings:
    return Settings(
        database_url=database,
        kafka_bootstrap_servers=bootstrap,
        kafka_group_id=f"bench-{zlib.crc32(database.encode())}",
    )


def _source(settings: Settings, topic: str, fast: bool) -> KafkaSource:
    return KafkaSource(settings.kafka_client(), [topic], clock=time.monotonic, fast=fast)


def main() -> None:
    """Run the job named on the command line; ``+fast`` after its name reads record batches directly."""
    job, _, fast = sys.argv[1].partition("+")
    bootstrap, topic, events, database = sys.argv[2:6]
    marks: list[tuple[int, float]] = []
    events_done = JOBS[job](
        bootstrap,
        topic,
        int(events),
        database,
        lambda count: marks.append((count, time.time())),
        fast=fast == "fast",
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    # The clock starts with the first records in hand: joining a group is not what is measured.
    print(json.dumps({"job": sys.argv[1], "events": events_done, "marks": marks, "peak_mb": peak}))


if __name__ == "__main__":
    main()
