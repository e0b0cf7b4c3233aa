"""`make bench`: how fast ingest, the sweep, a replay and answers are, as ratios within one run.

Machines differ and drift, so nothing here passes or fails. Jobs take turns, three rounds each, in processes of their
own; what is printed are medians, and ratios within a round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.generate import logins
from benchmarks.year import year
from tests.servers.postgres import Cluster

HERE = Path(__file__).parent
JOBS = ("decode", "naive", "bellwether")


def run(module: str, *arguments: object) -> dict[str, Any]:
    """One job in its own process."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=HERE.parent)
    result: dict[str, Any] = json.loads(answer.stdout)
    return result


def rate(result: dict[str, Any]) -> float:
    """Events a second over the whole job."""
    return float(result["events"] / result["seconds"])


def quarters(result: dict[str, Any]) -> float:
    """The rate of the last quarter of the events over that of the first, at the nearest batch ends."""
    marks, events = result["marks"], result["events"]
    edges = [min(marks, key=lambda mark: abs(mark[0] - events * part / 4)) for part in range(5)]
    rates = [(high[0] - low[0]) / (high[1] - low[1]) for low, high in pairwise(edges)]
    return float(rates[3] / rates[0])


def ingest(events: int, rounds: int, folder: Path) -> None:
    """Print the table of file ingest."""
    path = logins(HERE / "data" / f"logins-{events}.ndjson", events=events)
    results: dict[str, list[dict[str, Any]]] = {job: [] for job in JOBS}
    for number in range(rounds):
        for job in JOBS:
            database = folder / f"{job}-{number}.db"
            results[job].append(run("ingest", job, path, database))
            for each in folder.glob(f"{database.name}*"):
                each.unlink()
    if any(result["events"] != events for each in results.values() for result in each):
        raise SystemExit("a job lost events: its figures mean nothing")
    print(f"file ingest, {events:,} logins of 2,000 accounts and 200,000 users, medians of {rounds} rounds")
    print(f"{'':12}{'events/s':>12}{'x naive':>10}{'x decode':>10}{'last/first quarter':>20}{'peak MB':>9}")
    for job in JOBS:
        mine = results[job]
        ratio = {
            other: statistics.median(rate(a) / rate(b) for a, b in zip(mine, results[other], strict=True))
            for other in ("naive", "decode")
        }
        last = f"{statistics.median(map(quarters, mine)):.2f}" if job == "bellwether" else "-"
        print(
            f"{job:12}{statistics.median(map(rate, mine)):>12,.0f}{ratio['naive']:>10.2f}{ratio['decode']:>10.2f}"
            f"{last:>20}{max(each['peak_mb'] for each in mine):>9}"
        )


def sweep(sizes: list[int], folder: Path) -> None:
    """Print the table of the sweep."""
    folder.chmod(0o755)  # PostgreSQL does not run as root
    cluster = Cluster(folder / "postgres")
    cluster.start()
    print("day close at rest, all shipped rules, 50 users an account, median of 5; CPU is the sweep's own")
    print(
        f"{'accounts':>10} {'database':12}{'open alerts':>11}{'seconds':>10}{'x SQLite':>10}{'CPU s':>9}"
        f"{'CPU µs/account':>16}{'peak MB':>9}"
    )
    try:
        for size in sizes:
            first = 0.0
            for name in ("SQLite", "PostgreSQL"):
                url = f"sqlite:///{folder}/{size}.db" if name == "SQLite" else cluster.new_database()
                result = run("sweep", size, url)
                first = first or result["seconds"]
                print(
                    f"{size:>10,} {name:12}{result['alerts']:>11,}{result['seconds']:>10.3f}"
                    f"{result['seconds'] / first:>10.2f}{result['cpu_seconds']:>9.3f}"
                    f"{result['cpu_seconds'] / size * 1e6:>16.2f}{result['peak_mb']:>9}",
                    flush=True,
                )
    finally:
        cluster.stop()


def replay(events: int, rounds: int) -> None:
    """Print the table of a year's replay: reading alone, and all of it. CPU time is the processes' own."""
    path = year(HERE / "data" / f"year-{events}.ndjson", events=events)
    print(
        f"replay of a year, 1,000 accounts, {events:,} events, all shipped rules at every close, best of {rounds}"
    )
    print(f"{'':12}{'events/s':>12}{'per CPU second':>16}{'seconds':>9}{'peak MB':>9}{'ledger lines':>14}")
    for job in ("read", "replay"):
        results = [run("replay", job, path) for _ in range(rounds)]
        if any(result["events"] != events for result in results):
            raise SystemExit("a job lost events: its figures mean nothing")
        best = min(results, key=lambda result: result["seconds"])
        print(
            f"{job:12}{rate(best):>12,.0f}{events / best['cpu_seconds']:>16,.0f}{best['seconds']:>9.1f}"
            f"{max(each['peak_mb'] for each in results):>9}{best.get('lines', 0):>14,}"
        )


def answers(folder: Path) -> None:
    """Print how long the two heaviest questions take over REST."""
    told = run("retention", 100_000, folder)
    print(
        "GET /v1/portfolio/retention, 100,000 accounts, 24 months, whole request but the socket, median of five"
    )
    print(f"  {told['seconds']:.2f} s, {told['cpu_seconds']:.2f} CPU s, {told['peak_mb']} MB")
    told = run("risk", 10_000, folder)
    print("GET /v1/accounts/{id}/risk, 10,000 accounts, 32 connections, one process")
    print(
        f"  asking without a pause: {told['per_second']:,.0f}/s, p50 {told['closed_p50_ms']:.1f} ms,"
        f" p99 {told['closed_p99_ms']:.1f} ms"
    )
    print(f"  {told['rate']} a second: p50 {told['paced_p50_ms']:.1f} ms, p99 {told['paced_p99_ms']:.1f} ms")


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=["all", "ingest", "sweep", "replay", "answers"], default="all"
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--replayed", type=int, default=5_000_000, help="events of the replay")
    parser.add_argument("--accounts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bellwether-bench-") as folder:
        if chosen.what in {"all", "ingest"}:
            ingest(chosen.events, chosen.rounds, Path(folder))
        if chosen.what in {"all", "sweep"}:
            sweep(chosen.accounts, Path(folder))
        if chosen.what in {"all", "replay"}:
            replay(chosen.replayed, chosen.rounds)
        if chosen.what in {"all", "answers"}:
            answers(Path(folder))


if __name__ == "__main__":
    main()
