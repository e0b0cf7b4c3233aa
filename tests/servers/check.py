"""`python -m tests.servers.check`: both servers start from nothing and answer; says which versions, and how fast."""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path

import psycopg

from tests.servers import jars
from tests.servers.kafka import Broker
from tests.servers.postgres import Cluster
from tests.servers.process import NotStarted


def main() -> None:
    """Raises SystemExit with what is missing."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder) / "broker") as broker:
        broker.create_topic("check")
        broker.delete_topic("check")
        print(f"Kafka {jars.version()} fetched, started and answering: {time.monotonic() - began:.1f} s")
    began = time.monotonic()
    with Cluster() as cluster, psycopg.connect(cluster.new_database()) as connection:
        shown = connection.execute("SHOW server_version").fetchone()
        print(f"PostgreSQL {shown and shown[0]} started and answering: {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    try:
        main()
    except NotStarted as error:
        raise SystemExit(str(error)) from None
