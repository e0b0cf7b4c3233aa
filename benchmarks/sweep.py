"""A day's close over a portfolio at rest: read, measure, judge by every shipped rule, find what moves.

``python -m benchmarks.sweep ACCOUNTS URL`` fills an empty database and prints one JSON object. The first close opens
the alerts that are there, the second has evaluated everything before; what is measured is the median of the next five.
Processor time is our own, without that of a server.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time

from app.bootstrap import House
from app.clock import Clock
from app.settings import Settings
from benchmarks.portfolio import fill

DAY = 20_600
NOW = ((DAY + 1) * 86_400 + 3_600) * 1_000_000


def main() -> None:
    """Build, settle, measure."""
    accounts, url = int(sys.argv[1]), sys.argv[2]
    database = fill(url, accounts=accounts, day=DAY)
    settings = Settings(database_url=url, delivery="off")
    house = House.build(settings, Clock(NOW), database)
    opened = house.evaluator.close_day(DAY, NOW)
    house.evaluator.close_day(DAY, NOW)
    took, cpu = [], []
    for _ in range(5):
        began, spent = time.perf_counter(), time.process_time()
        house.evaluator.close_day(DAY, NOW)
        took.append(time.perf_counter() - began)
        cpu.append(time.process_time() - spent)
    print(
        json.dumps(
            {
                "accounts": accounts,
                "alerts": opened.moves["firing"],
                "seconds": statistics.median(took),
                "cpu_seconds": statistics.median(cpu),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
