"""`GET /v1/accounts/{id}/risk` over a real socket: 10,000 accounts, 32 connections kept open, one server process.

``python -m benchmarks.risk ACCOUNTS FOLDER`` prints one JSON object. Twice: every connection asks again as soon as it
has its answer, which says how many a second there can be; then all of them together ask RATE times a second, which says
how long an answer takes while there is room.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.portfolio import build

DAY = 20_600
NOW = "2026-05-28T01:00:00Z"
CONNECTIONS = 32
RATE = 50
WARM, REQUESTS, PACED = 320, 1_600, 500


def main() -> None:
    """Build, start the server, ask."""
    accounts, folder = int(sys.argv[1]), Path(sys.argv[2])
    path = folder / f"risk-{accounts}.db"
    build(path, accounts=accounts, day=DAY).close()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BELLWETHER_")}
    environment |= {
        "BELLWETHER_DATABASE_URL": f"sqlite:///{path}",
        "BELLWETHER_NOW": NOW,
        "BELLWETHER_PORT": "0",
        "BELLWETHER_DELIVERY": "off",
    }
    command = [sys.executable, "-m", "app.cli", "serve", "--role", "api"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as server:
        assert server.stderr is not None
        try:
            line = next(line for line in server.stderr if b'"serving"' in line)
            port = int(json.loads(line)["url"].rpartition(":")[2].rstrip("/"))
            result = asyncio.run(_ask(port, accounts))
        finally:
            server.terminate()
            server.stderr.close()
    print(json.dumps({"accounts": accounts, "connections": CONNECTIONS, **result}))


async def _ask(port: int, accounts: int) -> dict[str, float]:
    await _closed(port, accounts, WARM)
    began = time.perf_counter()
    closed = await _closed(port, accounts, REQUESTS)
    took = time.perf_counter() - began
    paced = await _paced(port, accounts)
    return {
        "per_second": len(closed) / took,
        **{f"closed_{name}": value for name, value in _percentiles(closed).items()},
        "rate": RATE,
        **{f"paced_{name}": value for name, value in _percentiles(paced).items()},
    }


async def _closed(port: int, accounts: int, requests: int) -> list[float]:
    """Seconds of each answer, every connection asking again at once."""
    took: list[float] = []

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in range(requests // CONNECTIONS):
            took.append(await _request(reader, writer, 1 + (number * 7_919 + turn * 31) % accounts, None))
        writer.close()

    await asyncio.gather(*map(one, range(CONNECTIONS)))
    return took


async def _paced(port: int, accounts: int) -> list[float]:
    """Seconds from the moment a request was due; the connections take turns."""
    took: list[float] = []
    start = time.perf_counter() + 0.1

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in range(number, PACED, CONNECTIONS):
            due = start + turn / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            took.append(await _request(reader, writer, 1 + turn * 7_919 % accounts, due))
        writer.close()

    await asyncio.gather(*map(one, range(CONNECTIONS)))
    return took


async def _request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, account: int, since: float | None
) -> float:
    began = time.perf_counter() if since is None else since
    writer.write(
        f"GET /v1/accounts/account-{account:06d}/risk HTTP/1.1\r\nhost: localhost\r\n\r\n".encode("ascii")
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    return time.perf_counter() - began


def _percentiles(took: list[float]) -> dict[str, float]:
    ordered = sorted(took)
    return {
        f"p{part}_ms": 1000 * ordered[min(len(ordered) - 1, len(ordered) * part // 100)] for part in (50, 99)
    }


if __name__ == "__main__":
    main()
