"""Outcomes of a large portfolio: `GET /v1/portfolio/retention` over so many accounts and 24 months, on SQLite.

``python -m benchmarks.retention ACCOUNTS FOLDER`` prints one JSON object. Accounts have the windows of the sweep's
bench, a ledger of some years with a change every two to thirteen months, answers to surveys, and a year of activity.
The request goes through the whole application, but for the socket; what is measured is the median of five.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app.bootstrap import House
from app.clock import Clock
from app.database.engine import Database
from app.http.application import create_app
from app.settings import Settings
from benchmarks.portfolio import build
from consumers.active_days import RING_BYTES
from consumers.ledger import Ledger, store
from consumers.moments import CSAT, NPS, pack

DAY = 20_600
NOW = ((DAY + 1) * 86_400 + 3_600) * 1_000_000
SEGMENTS = {
    "size": ("smb", "mid-market", "enterprise"),
    "channel": ("ads", "partner", "referral", "sales"),
    "tier": ("free", "team", "pro"),
    "use_case": ("analytics", "billing", "operations", "support"),
}


def main() -> None:
    """Build, ask once to warm up, measure."""
    accounts, folder = int(sys.argv[1]), Path(sys.argv[2])
    path = folder / f"retention-{accounts}.db"
    database = build(path, accounts=accounts, day=DAY)
    _write(database, accounts)
    house = House.build(Settings(database_url=f"sqlite:///{path}", delivery="off"), Clock(NOW), database)
    app = create_app(house.services())

    async def ask(**parameters: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            return await client.get("/v1/portfolio/retention", params=parameters)

    wall, cpu = [], []
    for turn in range(6):
        began, spent = time.perf_counter(), time.process_time()
        answer = asyncio.run(ask(months=24, stage="series_b"))
        if turn:
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - spent)
    assert answer.status_code == 200, answer.text
    year = answer.json()["months"][-1]
    print(
        json.dumps(
            {
                "accounts": accounts,
                "months": len(answer.json()["months"]),
                "paying": year["accounts"],
                "nrr": round(year["nrr"], 4),
                "seconds": statistics.median(wall),
                "cpu_seconds": statistics.median(cpu),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
    )


def _write(database: Database, accounts: int, seed: int = 20261122) -> None:
    """What the sweep's bench leaves out. Rows are written anew, as a consumer leaves them."""
    rng = np.random.default_rng(seed)
    with database.write() as connection:
        connection.exec_driver_sql(
            "INSERT OR REPLACE INTO family VALUES ('surveys', ?), ('features', ?)", (DAY - 1_200, DAY - 1_200)
        )
        connection.exec_driver_sql(
            "UPDATE family SET first_day = ? WHERE name = 'subscriptions'", (DAY - 1_200,)
        )
        for first in range(1, accounts + 1, 10_000):
            nos = range(first, min(first + 10_000, accounts + 1))
            connection.exec_driver_sql(
                "UPDATE account_window SET ledger = ?, moments = ?, active_days = ? WHERE account_no = ?",
                [(_ledger(rng), _answers(rng), rng.bytes(RING_BYTES), no) for no in nos],
            )


def _ledger(rng: np.random.Generator) -> bytes:
    day = DAY - int(rng.integers(30, 1_200))
    amount = int(rng.integers(10_000, 1_000_000))
    mrr = [(day, amount)]
    segments = {name: [(day, words[int(rng.integers(len(words)))])] for name, words in SEGMENTS.items()}
    if rng.random() < 0.2:
        segments["tier"].append((day + 200, "pro"))
    while (day := day + int(rng.integers(60, 400))) < DAY:
        draw = rng.random()
        amount = 0 if draw < 0.06 else round(amount * (0.8 if draw < 0.2 else 1.15)) or 25_000
        mrr.append((day, amount))
    return store(Ledger({"USD": mrr}, segments))


def _answers(rng: np.random.Generator) -> bytes:
    told = [(NPS, DAY - int(rng.integers(0, 400)), int(rng.integers(0, 11))) for _ in range(3)]
    return pack([*told, (CSAT, DAY - int(rng.integers(0, 400)), int(rng.integers(1, 6)))], (), {})


if __name__ == "__main__":
    main()
