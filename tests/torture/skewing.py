"""The service with a wrong clock: `python -m tests.torture.skewing --by FILE -- serve --role scheduler`.

The real time that the product, APScheduler and the libraries ask for is moved by the seconds that stand in FILE, which
the harness rewrites while the process runs. The monotonic clock stays right, as it does when a clock is set.
"""

from __future__ import annotations

import argparse
import datetime as calendar
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_REAL_TIME, _REAL_NS = time.time, time.time_ns
_READERS = (
    "app.scheduler",
    "apscheduler.schedulers.base",
    "apscheduler.schedulers.blocking",
    "apscheduler.util",
)


def skew(by: Path) -> None:
    """From now on the real time is off by what ``by`` says."""

    def seconds() -> float:
        try:
            return float(by.read_text() or 0)
        except (OSError, ValueError):  # it is being written
            return seconds()

    class Moved(calendar.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return calendar.datetime.fromtimestamp(_REAL_TIME() + seconds(), tz)

    time.time = lambda: _REAL_TIME() + seconds()
    time.time_ns = lambda: _REAL_NS() + int(seconds() * 1e9)
    for name in _READERS:
        module = importlib.import_module(name)
        if hasattr(module, "datetime"):
            module.datetime = Moved  # type: ignore[attr-defined]


def main(arguments: Sequence[str]) -> None:
    """Move the clock, then run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.skewing")
    parser.add_argument("--by", type=Path, required=True, metavar="FILE")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    skew(options.by)
    from app.cli import run

    sys.exit(run(options.command))


if __name__ == "__main__":
    main(sys.argv[1:])
