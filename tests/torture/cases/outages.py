"""Cases 5, 6, 8, 9 and 10: the broker or the database is away, slow or full."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

from kafka.errors import KafkaError

from app.notifier import AT_ONCE
from tests.servers.kafka import admin
from tests.servers.process import free_port
from tests.torture.feeding import feeding
from tests.torture.process import Process, ask
from tests.torture.proxy import BLACK_HOLE, FAIR, HALF_OPEN, Weather
from tests.torture.result import Result
from tests.torture.site import Site, until
from tests.torture.stage import Stage

CPU_SHARE = 0.20


def broker_down(stage: Stage, result: Result) -> None:
    """Case 5: the broker is killed in the middle of a stream and comes back; then the line to it misbehaves."""
    away_s, events = stage.scale(60, 6), stage.scale(60_000, 4_000)
    if not stage.long:
        result.scaled = f"{away_s} s away"
    stream = stage.stream(5)
    with stage.site("broker-down", shaky=True) as site:
        site.phase(stream.history())
        running = [site.serve(role) for role in ("consumer", "scheduler", "notifier")]
        api, port = site.serve_api()
        site.settled()
        statuses = set()
        with feeding(site, stream.phase(events, share=0.2), per_s=events / (away_s * 2)):
            time.sleep(away_s / 4)
            stage.broker.kill()
            back = time.monotonic() + away_s
            while time.monotonic() < back:
                statuses.add(site.get(port, f"/v1/accounts/{stream.accounts[0]}/risk")[0])
                statuses.add(site.get(port, "/metrics")[0])
                time.sleep(0.5)
            stage.broker.start()
            returned = time.monotonic()
        until(lambda: _lag(site) < 100, "lag below 100", 120)
        result.most("lag back below 100 after", time.monotonic() - returned, 60.0, "s")
        site.settled()
        for weather in (BLACK_HOLE, HALF_OPEN, Weather(latency_s=0.3), Weather(cut_after=20_000)):
            with feeding(site, stream.phase(200, share=0.1), per_s=200):
                stage.line.weather = weather
                time.sleep(stage.scale(20, 2))
                stage.line.weather = FAIR
                stage.line.reset()
            site.settled()
        result.exactly("REST while it was away", sorted(statuses), [200])
        result.exactly("lost", site.lost(), 0)
        result.exactly("processes that ended", sum(not each.alive for each in [*running, api]), 0)
        result.holds(site.broken())


def _lag(site: Site) -> int:
    positions = site.books.positions()
    return sum(end - positions.get(partition, 0) for partition, end in site.topics.ends.items())


def broker_down_at_the_start(stage: Stage, result: Result) -> None:
    """Case 6: nobody answers when the service starts."""
    away_s = stage.scale(60, 5)
    if not stage.long:
        result.scaled = f"{away_s} s away"
    stream = stage.stream(6, accounts=20)
    with stage.site("broker-down-at-start", shaky=True) as site:
        site.phase(stream.history(days=2))
        stage.line.refuse()
        try:
            probe = free_port()
            site.environment["BELLWETHER_PROBE_PORT"] = str(probe)
            consumer = site.start("consumer")
            until(lambda: ask(probe, "/livez")[0] == 200, "/livez answers", 30)
            live, ready = set(), set()
            end = time.monotonic() + away_s
            used = consumer.cpu_s()
            while time.monotonic() < end:
                live.add(ask(probe, "/livez")[0])
                ready.add(ask(probe, "/readyz")[0])
                time.sleep(0.2)
            used = consumer.cpu_s() - used
        finally:
            stage.line.accept()
        began = time.monotonic()
        until(lambda: ask(probe, "/readyz")[0] == 200, "/readyz says yes", 90)
        result.tell("ready again after s", time.monotonic() - began)
        site.settled(sent=False)
        result.exactly("/livez meanwhile", sorted(live), [200])
        result.exactly("/readyz meanwhile", sorted(ready), [503])
        result.exactly("still the same process", consumer.alive, True)
        result.most("processor meanwhile", used / away_s, CPU_SHARE)
        result.exactly("tracebacks", len(site.surprises()), 0)
        result.holds(site.leaks())


def database_down(stage: Stage, result: Result) -> None:
    """Case 8: the database is away, or locked, for a while."""
    away_s, events = stage.scale(60, 12), stage.scale(30_000, 3_000)
    if not stage.long:
        result.scaled = f"{away_s} s away"
    stream = stage.stream(8)
    with stage.site("database-down") as site:
        site.phase(stream.history())
        running = [site.serve(role) for role in ("consumer", "notifier")]
        site.settled()
        members = _members(site)
        with feeding(site, stream.phase(events, share=0.3), per_s=events / (away_s * 1.5)):
            time.sleep(1.0)
            with _database_away(stage, site):
                time.sleep(away_s)
            back = time.monotonic()
            sent = len(site.recorder.told)
        if until(lambda: len(site.recorder.told) > sent or site.books.sent(), "the outbox goes on", 60):
            result.most("outbox goes on after", time.monotonic() - back, 10.0, "s")
        site.settled()
        result.exactly("members of the group are the same", _members(site) == members and bool(members), True)
        result.exactly("processes that ended", sum(not each.alive for each in running), 0)
        result.exactly("lost", site.lost(), 0)
        result.exactly("tracebacks", len(site.surprises()), 0)
        result.holds(site.broken(copies=AT_ONCE if stage.cluster else 0))


@contextmanager
def _database_away(stage: Stage, site: Site) -> Iterator[None]:
    """PostgreSQL is killed, SQLite locked by somebody who writes and does not end."""
    if stage.cluster is not None:
        stage.cluster.kill()
        try:
            yield
        finally:
            stage.cluster.start()
        return
    connection = site.books.lock()
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        connection.close()


def _members(site: Site) -> set[str]:
    """The ids of the group's members, as the broker knows them; they change with every new membership."""
    group = site.environment["BELLWETHER_KAFKA_GROUP_ID"]
    with contextlib.suppress(KafkaError), admin(site.topics.bootstrap) as client:
        described = client.describe_groups([group])
        return _member_ids(described)
    return set()


def _member_ids(described: object) -> set[str]:
    """Every ``member_id`` in an answer, whatever its shape."""
    if isinstance(described, dict):
        own = {str(described["member_id"])} if described.get("member_id") else set()
        return own.union(*map(_member_ids, described.values()))
    if isinstance(described, (list, tuple)):
        return set().union(*map(_member_ids, described))
    return _member_ids(vars(described)) if hasattr(described, "__dict__") else set()


def database_down_for_long(stage: Stage, result: Result) -> None:
    """Case 9: longer than the group waits for a poll."""
    interval_s, away_s = stage.scale(20, 6), stage.scale(75, 16)
    result.scaled = f"{away_s} s away with an interval of {interval_s} s between polls, for 600 s with 300 s"
    stream = stage.stream(9)
    options = ("--set", f"kafka:KafkaConsumer.DEFAULT_CONFIG(max_poll_interval_ms)={interval_s * 1000}")
    with stage.site("database-down-for-long") as site:
        site.phase(stream.history())
        consumer = site.serve("consumer", *options)
        site.settled(sent=False)
        members = _members(site)
        with feeding(site, stream.phase(stage.scale(10_000, 1_000), share=0.3), per_s=500):
            time.sleep(0.5)
            with _database_away(stage, site):
                time.sleep(away_s)
        site.settled(sent=False)
        evicted = _members(site) != members
        result.tell("evicted from the group", "yes, and came back" if evicted else "no")
        result.exactly("still the same process", consumer.alive, True)
        result.exactly("lost", site.lost(), 0)
        result.exactly("tracebacks", len(site.surprises()), 0)
        result.holds(site.broken(all_sent=False))


def disk_full(stage: Stage, result: Result) -> None:
    """Case 10: no byte more fits on the disk, then there is room again."""
    if stage.cluster is not None:
        result.scaled = "not tried on PostgreSQL, whose disk is its own server's"
        return
    full_s = stage.scale(60, 6)
    if not stage.long:
        result.scaled = f"{full_s} s full"
    stream = stage.stream(10)
    with stage.site("disk-full") as site:
        site.phase(stream.history())
        probe = free_port()
        site.environment["BELLWETHER_PROBE_PORT"] = str(probe)
        consumer = site.serve("consumer")
        site.settled(sent=False)
        _limit_files(consumer, 4_096)
        before = site.books.positions()
        site.phase(stream.phase(stage.scale(20_000, 2_000), share=0.3))
        ready, used, end = [], consumer.cpu_s(), time.monotonic() + full_s
        while time.monotonic() < end:
            ready.append(ask(probe, "/readyz"))
            time.sleep(0.2)
        used = consumer.cpu_s() - used
        kept = site.books.positions()
        moved = sum(kept[partition] - before[partition] for partition in before)
        counted = site.books.counters().total()
        said = any("room" in str(line) for line in list(consumer.lines))
        _limit_files(consumer, resource.RLIM_INFINITY)
        site.settled(sent=False)
        result.exactly("integrity_check", site.books.sound(), True)
        result.exactly("offsets moved meanwhile", moved, 0)
        result.tell("records counted by then", counted)
        result.exactly("not ready at the end of it", ready[-1][0], 503)
        result.exactly("says why in the log", said, True)
        result.most("processor meanwhile", used / full_s, CPU_SHARE)
        result.exactly("still the same process", consumer.alive, True)
        result.exactly("lost", site.lost(), 0)
        result.holds(site.broken(all_sent=False))


def _limit_files(process: Process, most: int) -> None:
    """No file of the process grows beyond ``most`` bytes from now on: every write of a database fails."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
