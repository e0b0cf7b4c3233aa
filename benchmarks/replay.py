"""A replay in a process of its own: a year of history, all shipped rules at every day's close, or its reading alone.

``python -m benchmarks.replay JOB FILE`` prints one JSON object. ``cpu_seconds`` is the process's own time, which a busy
neighbour stretches less than the clock's.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from alerts.metrics.catalogue import CATALOGUE
from alerts.replay import Summary, replay
from alerts.rules.loader import default_rules
from consumers.days import Calendar
from consumers.file import FileSource
from consumers.history import read_history


def bodies(path: Path) -> Iterator[bytes]:
    """The lines of a file, as the command reads them."""
    source = FileSource(path)
    while chunks := source.poll(10_000, 0.0):
        for chunk in chunks:
            yield from chunk.bodies
    source.close()


def read(path: Path) -> dict[str, int]:
    """Read, de-duplicate and sort by day; judge nothing."""
    history = read_history(bodies(path), Calendar())
    return {"events": history.totals.accepted}


def ledger(path: Path) -> dict[str, int]:
    """As ``bellwether replay`` does it."""
    summary = Summary()
    lines = sum(1 for _ in replay(bodies(path), default_rules(CATALOGUE), Calendar(), summary=summary))
    accepted = summary.totals.accepted
    return {"events": accepted, "accounts": summary.accounts, "days": summary.days, "lines": lines}


JOBS = {"read": read, "replay": ledger}


def main() -> None:
    """Run the job named on the command line."""
    job, path = JOBS[sys.argv[1]], Path(sys.argv[2])
    began, cpu = time.perf_counter(), time.process_time()
    told = job(path)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({**told, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak}))


if __name__ == "__main__":
    main()
