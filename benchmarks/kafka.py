"""`make bench-kafka`: consumers, latencies and peers on one broker and one topic, as ratios within one run.

Nothing here passes or fails. One fast and one slow consumer start are discarded, jobs take turns, what is printed are
medians, and ratios within a round: the machine drifts, and the broker, the database and the consumers share it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app.database import migrate
from app.database.engine import Database
from benchmarks import latency
from benchmarks.generate import logins
from benchmarks.peers import Measured, Peer, measure, peers
from benchmarks.peers.answer import digest, plain
from benchmarks.topic import PARTITIONS, fill
from tests.servers.kafka import Broker
from tests.servers.postgres import Cluster

HERE = Path(__file__).parent
Result = dict[str, Any]


class Bench:
    """One broker, one cluster, one topic."""

    def __init__(self, folder: Path, events: int) -> None:
        folder.chmod(0o755)  # PostgreSQL does not run as root
        self.folder = folder
        self.events = events
        self.broker = Broker(folder / "kafka", memory_mb=1_024)
        self.cluster = Cluster(folder / "postgres")
        self.topic = "bench.logins"

    def __enter__(self) -> Bench:
        self.broker.start()
        self.cluster.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.broker.kill()
        self.cluster.stop()

    def load(self, topic: str, events: int) -> None:
        """Make ``topic`` and fill it."""
        path = logins(HERE / "data" / f"logins-{events}.ndjson", events=events)
        self.broker.create_topic(topic, PARTITIONS, configs={"retention.ms": "-1"})
        fill(self.broker.bootstrap, topic, path, events)

    def database(self, kind: str) -> str:
        """The address of an empty database with the schema."""
        name = uuid.uuid4().hex
        url = self.cluster.new_database() if kind == "postgresql" else f"sqlite:///{self.folder / name}.db"
        opened = Database(url)
        migrate.upgrade(opened)
        opened.close()
        return url

    def consume(self, job: str, *, database: str = "sqlite", processes: int = 1, topic: str = "") -> Result:
        """Run ``processes`` consumers of one group; what they did together."""
        url = "-" if job.startswith(("poll", "source")) else self.database(database)
        command = [sys.executable, "-m", "benchmarks.consume", job, self.broker.bootstrap]
        command += [topic or self.topic, str(self.events), url]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BELLWETHER_")}
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, cwd=HERE.parent, env=environment)
            for _ in range(processes)
        ]
        answers = [json.loads(each.communicate()[0]) for each in running]
        if any(each.returncode for each in running):
            raise SystemExit(f"{job} on {database} failed")
        return _together([each for each in answers if each["marks"]])


def _together(answers: Sequence[Result]) -> Result:
    """Several processes as one: from the first that had records to the last commit."""
    marks = sorted((at, number, count) for number, each in enumerate(answers) for count, at in each["marks"])
    counts: dict[int, int] = {}
    total: list[tuple[int, float]] = []
    for at, number, count in marks:
        counts[number] = count
        total.append((sum(counts.values()), at))
    (first, began), (last, ended) = total[0], total[-1]
    return {
        "events": last,
        "rate": (last - first) / (ended - began),
        "marks": total,
        "peak_mb": max(each["peak_mb"] for each in answers),
    }


def throughput(bench: Bench, rounds: int) -> None:
    """Print the table of consumers."""
    jobs: dict[str, Callable[[], Result]] = {
        "bare poll()": lambda: bench.consume("poll"),
        "source alone": lambda: bench.consume("source"),
        "source alone, batches": lambda: bench.consume("source+fast"),
        "SQLite": lambda: bench.consume("bellwether"),
        "SQLite, batches": lambda: bench.consume("bellwether+fast"),
        "SQLite, 2 processes": lambda: bench.consume("bellwether", processes=2),
        "PostgreSQL": lambda: bench.consume("bellwether", database="postgresql"),
        "PostgreSQL, batches": lambda: bench.consume("bellwether+fast", database="postgresql"),
        "PostgreSQL, 2 processes": lambda: bench.consume("bellwether", database="postgresql", processes=2),
    }
    bench.consume("poll")
    bench.consume("bellwether")
    results: dict[str, list[Result]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            result = job()
            if result["events"] < bench.events:
                raise SystemExit(f"{name} handled {result['events']:,} of {bench.events:,} events")
            results[name].append(result)
    print(f"\nconsumers, {bench.events:,} logins, {PARTITIONS} partitions, medians of {rounds}")
    print(f"{'':26}{'events/s':>12}{'x bare poll()':>15}{'peak MB':>9}")
    for name, mine in results.items():
        ratios = [a["rate"] / b["rate"] for a, b in zip(mine, results["bare poll()"], strict=True)]
        rate = statistics.median(each["rate"] for each in mine)
        peak = max(each["peak_mb"] for each in mine)
        print(f"{name:26}{rate:>12,.0f}{statistics.median(ratios):>15.2f}{peak:>9}", flush=True)


def decay(bench: Bench, events: int) -> None:
    """Print how fast the last tenth of a long topic is beside the first."""
    bench.load("bench.long", events)
    whole, bench.events = bench.events, events
    for name, database in (("SQLite", "sqlite"), ("PostgreSQL", "postgresql")):
        result = bench.consume("bellwether", database=database, topic="bench.long")
        marks = result["marks"]

        def span(low: float, high: float, marks: list[tuple[int, float]] = marks) -> float:
            near = [min(marks, key=lambda mark: abs(mark[0] - part)) for part in (low, high)]
            return (near[1][0] - near[0][0]) / (near[1][1] - near[0][1])

        first, last = span(0, events / 10), span(events * 9 / 10, events)
        print(
            f"{name}: first {events // 10:,} at {first:,.0f}/s, last at {last:,.0f}/s: {last / first:.2f} x,"
            f" peak {result['peak_mb']} MB",
            flush=True,
        )
    bench.events = whole


def against_peers(bench: Bench, rounds: int) -> None:
    """Print the table of others doing the same job on the same topic."""
    path = logins(HERE / "data" / f"logins-{bench.events}.ndjson", events=bench.events)
    with path.open("rb") as lines:
        check = digest(plain(lines))
    ours, theirs = list[float](), {peer.name: list[float]() for peer in peers()}
    running = list(peers())
    for _ in range(rounds):
        ours.append(bench.consume("bellwether")["rate"])
        for peer in list(running):
            rate = _peer(bench, peer, check)
            if rate is None:
                running.remove(peer)
            else:
                theirs[peer.name].append(rate)
    print(f"\nthe same job, {bench.events:,} logins, durable, medians of {rounds}")
    print(f"{'':26}{'events/s':>12}{'Bellwether is':>15}")
    print(f"{'Bellwether, SQLite':26}{statistics.median(ours):>12,.0f}{'':>15}")
    for peer in running:
        rates = theirs[peer.name]
        ratio = statistics.median(a / b for a, b in zip(ours, rates, strict=True))
        label = f"{peer.name} {peer.version}"
        print(f"{label:26}{statistics.median(rates):>12,.0f}{ratio:>14.2f}x", flush=True)


def _peer(bench: Bench, peer: Peer, check: str) -> float | None:
    """Events a second of one run; None, and why is printed, if it did not."""
    with tempfile.TemporaryDirectory(dir=bench.folder) as state:
        done = measure(peer, bench.broker.bootstrap, bench.topic, bench.events, Path(state), check)
    if isinstance(done, Measured):
        return done.events / done.seconds
    print(f"{peer.name}: not run: {done.reason}", flush=True)
    return None


def main() -> None:
    """All tables, or one."""
    parser = argparse.ArgumentParser(prog="make bench-kafka", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=["all", "throughput", "decay", "latency", "peers"], default="all"
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--long", type=int, default=10_000_000, help="events of the long topic")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rates", type=int, nargs="+", default=[2_000, 10_000])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each latency run")
    chosen = parser.parse_args()

    def wanted(what: str) -> bool:
        return chosen.what in {"all", what}

    with (
        tempfile.TemporaryDirectory(prefix="bellwether-bench-") as folder,
        Bench(Path(folder), chosen.events) as bench,
    ):
        if wanted("throughput") or wanted("peers"):
            bench.load(bench.topic, chosen.events)
        if wanted("throughput"):
            throughput(bench, chosen.rounds)
        if wanted("peers"):
            against_peers(bench, chosen.rounds)
        if wanted("latency"):
            for kind in ("sqlite", "postgresql"):
                for rate in chosen.rates:
                    latency.measure(bench.broker, bench.database(kind), kind, rate, chosen.seconds)
        if wanted("decay"):
            decay(bench, chosen.long)


if __name__ == "__main__":
    main()
