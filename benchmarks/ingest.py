"""One measured job in a process of its own, so that its peak memory is its own: decode, naive or bellwether.

``python -m benchmarks.ingest JOB FILE DATABASE`` prints one JSON object: seconds, events, the time after each quarter.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from app.bootstrap import House
from app.clock import Clock
from app.database import migrate
from app.database.engine import Database
from app.settings import Settings
from benchmarks import naive as usual
from consumers.file import FileSource
from consumers.loop import Handled


class Login(msgspec.Struct, gc=False):
    """What a bare loop decodes: the same fields, nothing checked."""

    id: str
    type: str
    account_id: str
    user_id: str
    occurred_at: datetime


def decode(path: Path, _database: Path, done: Callable[[int], None]) -> int:
    """Decode each line, keep nothing."""
    decoder = msgspec.json.Decoder(Login).decode
    count = 0
    with path.open("rb") as lines:
        for line in lines:
            decoder(line)
            count += 1
    done(count)
    return count


def naive(path: Path, database: Path, done: Callable[[int], None]) -> int:
    """As most people would write it."""
    count = usual.ingest(path, database)
    done(count)
    return count


def bellwether(path: Path, database: Path, done: Callable[[int], None]) -> int:
    """As ``bellwether ingest`` does it, but for the judging at the end. Its first mark is when the file is known."""
    settings = Settings(database_url=f"sqlite:///{database}")
    opened = Database(settings.database_url)
    migrate.upgrade(opened)
    house = House.build(settings, Clock(), opened)
    count = 0

    def heard(handled: Handled) -> None:
        nonlocal count
        count += handled.totals.accepted
        done(count)

    source = FileSource(path)
    done(0)
    house.consumer(source, heard).drain()
    opened.close()
    return count


JOBS = {"decode": decode, "naive": naive, "bellwether": bellwether}


def main() -> None:
    """Run the job named on the command line."""
    job, path, database = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    marks: list[tuple[int, float]] = []
    began = time.perf_counter()
    events = JOBS[job](path, database, lambda count: marks.append((count, time.perf_counter() - began)))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"job": job, "events": events, "seconds": seconds, "marks": marks, "peak_mb": peak}))


if __name__ == "__main__":
    main()
