"""From produced to committed, to the alert's row, to the webhook: a whole service in a process of its own.

Watched from outside: positions and the outbox are looked at every ten milliseconds, so figures may be that much too
high.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from bisect import bisect_right
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from benchmarks.topic import PARTITIONS, Sent, percentiles, steadily
from tests.servers.kafka import Broker

LOOK_S = 0.01
PROBE_RATE = 20  # alerts a second
WARM_S = 3.0
SETTLE_S = 30.0


class _Receiver(ThreadingHTTPServer):
    """Notes when the first message about each account arrived."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.arrived: dict[str, float] = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        now = time.time()
        account = json.loads(body)["data"].get("account", {}).get("id")  # a summary is about none
        if account:
            self.server.arrived.setdefault(account, now)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Nothing: stderr is for people."""


class _Watch(threading.Thread):
    """Looks at the database from outside."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = make_url(url)
        self.reached: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.told: dict[str, float] = {}
        self.over = threading.Event()

    def run(self) -> None:
        """Until ``over`` is set."""
        last = 0
        with contextlib.closing(self._connected()) as connection:
            mark = "?" if isinstance(connection, sqlite3.Connection) else "%s"
            # One statement of the driver: what watches should not take the time of what is watched.
            look = (
                "SELECT partition, next, NULL FROM position"
                f" UNION ALL SELECT NULL, id, account_id FROM delivery WHERE id > {mark}"
            )
            while not self.over.wait(LOOK_S):
                rows = connection.execute(look, (last,)).fetchall()
                now = time.time()
                for partition, number, account in rows:
                    if partition is None:
                        last = max(last, number)
                        self.told.setdefault(account, now)
                        continue
                    known = self.reached[partition]
                    if not known or known[-1][0] < number:
                        known.append((number, now))

    def _connected(self) -> Any:
        if self._url.get_backend_name() == "sqlite":
            return sqlite3.connect(str(self._url.database), isolation_level=None)
        address = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(address, autocommit=True)

    def committed(self, partition: str, offset: int) -> float | None:
        """When the position was first seen beyond ``offset``."""
        known = self.reached.get(partition, [])
        place = bisect_right(known, offset, key=lambda each: each[0])
        return known[place][1] if place < len(known) else None


def measure(broker: Broker, url: str, kind: str, rate: int, seconds: float) -> None:
    """Print the percentiles of one run at ``rate`` events a second."""
    run = uuid.uuid4().hex[:8]
    prefix = f"latency-{run}."
    logins, probes = f"{prefix}logins", f"{prefix}relationships"
    receiver = _Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        service = _service(Path(folder), broker.bootstrap, prefix, url, receiver.server_address[1])
        watch = _Watch(url)
        try:
            watch.start()
            steadily(
                broker.bootstrap,
                logins,
                probes,
                rate=rate,
                seconds=WARM_S,
                probe_rate=0,
                run=run,
            )
            time.sleep(WARM_S)
            sent = steadily(
                broker.bootstrap,
                logins,
                probes,
                rate=rate,
                seconds=seconds,
                probe_rate=PROBE_RATE,
                run=run,
            )
            _settle(sent, receiver)
        finally:
            watch.over.set()
            watch.join()
            service.terminate()
            service.wait(20)
            receiver.shutdown()
    committed = [watch.committed(f"{logins}/{number}", offset) for number, offset in sent.records]
    stages = {
        "committed": [
            at - began for at, began in zip(committed, sent.records.values(), strict=True) if at is not None
        ],
        "alert row": [watch.told[each] - began for each, began in sent.probes.items() if each in watch.told],
        "webhook": [
            receiver.arrived[each] - began for each, began in sent.probes.items() if each in receiver.arrived
        ],
    }
    whole = {"committed": len(sent.records)}
    print(
        f"\n{kind}, {rate:,} events/s for {seconds:.0f} s and {PROBE_RATE} alerts/s, one process with every role"
    )
    for name, latencies in stages.items():
        wanted = whole.get(name, len(sent.probes))
        if not latencies:
            print(f"  produced → {name}: none arrived")
            continue
        middle, last = percentiles(latencies)
        missing = f"; {wanted - len(latencies)} of {wanted} not seen" if len(latencies) < wanted else ""
        print(f"  produced → {name:10} p50 {middle:8.1f} ms   p99 {last:8.1f} ms{missing}", flush=True)


def _service(folder: Path, bootstrap: str, prefix: str, url: str, port: int) -> subprocess.Popen[bytes]:
    rules = folder / "bellwether.yaml"
    rules.write_text(
        "destinations:\n  - {name: crm, type: webhook, url_env: BENCH_URL, secret_env: BENCH_SECRET}\n"
        "routes:\n  - {to: crm}\n"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BELLWETHER_")},
        "BELLWETHER_DATABASE_URL": url,
        "BELLWETHER_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "BELLWETHER_TOPIC_PREFIX": prefix,
        "BELLWETHER_KAFKA_GROUP_ID": prefix,
        "BELLWETHER_CONFIG": str(rules),
        "BELLWETHER_PORT": "0",
        "BELLWETHER_ALLOW_PRIVATE_DESTINATIONS": "true",
        "BENCH_URL": f"http://127.0.0.1:{port}/",
        "BENCH_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
    command = [sys.executable, "-m", "app.cli"]
    subprocess.run(
        [*command, "topics", "create", "--partitions", str(PARTITIONS)],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    return subprocess.Popen(
        [*command, "serve"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("wb"),
    )


def _settle(sent: Sent, receiver: _Receiver) -> None:
    """Wait until every probe arrived, or long enough."""
    end = time.time() + SETTLE_S
    while time.time() < end and not sent.probes.keys() <= receiver.arrived.keys():
        time.sleep(0.1)
