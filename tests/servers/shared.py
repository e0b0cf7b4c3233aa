"""One broker and one cluster for all tests of a run, also when the run is spread over several processes.

The process that spreads them starts both without waiting and tells the others in BELLWETHER_TEST_KAFKA and
BELLWETHER_TEST_POSTGRES, the variables by which a person names servers that are there already. A run in one process
starts what the first test asks for.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers import jars, process
from tests.servers.process import NotStarted

if TYPE_CHECKING:  # unit tests do without both, and their clients take a while to import
    from tests.servers.kafka import Broker
    from tests.servers.postgres import Cluster, Databases

KAFKA = "BELLWETHER_TEST_KAFKA"
POSTGRES = "BELLWETHER_TEST_POSTGRES"
RUN = "BELLWETHER_TEST_RUN"
ANSWER_S = 90.0  # both start at once, on a machine that is busy with the tests already
# Nobody kills the shared broker, so nobody waits for its session to end; a stalled machine must not end it.
PATIENT = {"broker.session.timeout.ms": "30000", "broker.heartbeat.interval.ms": "2000"}


class Unavailable(Exception):
    """A server was neither named nor can it be started here: what is missing."""


class Shared:
    """The servers of a run, or where another process has them."""

    def __init__(self) -> None:
        self._leads = RUN not in os.environ
        self.run = os.environ.get(RUN) or secrets.token_hex(4)
        self._addresses = {name: os.environ.get(name) for name in (KAFKA, POSTGRES)}
        self._broker: Broker | None = None
        self._cluster: Cluster | None = None
        self._databases: Databases | None = None
        self._folder: Path | None = None

    def launch_for_others(self) -> None:
        """Start both without waiting, and tell the processes that are started from now on."""
        os.environ[RUN] = self.run
        for name, launch in ((KAFKA, self.launch_kafka), (POSTGRES, self.launch_postgres)):
            with contextlib.suppress(Unavailable):  # each test that wants it says so
                os.environ[name] = launch()

    def launch_kafka(self) -> str:
        """Where the broker is; started without waiting if there is none. Raises Unavailable, NotStarted."""
        if (address := self._addresses[KAFKA]) is None:
            from tests.servers.kafka import Broker

            if lacking := jars.missing():
                raise Unavailable(f"{lacking}, or name a broker in {KAFKA}")
            self._folder = Path(tempfile.mkdtemp(prefix="bellwether-kafka-"))
            self._broker = Broker(self._folder, properties=PATIENT).launch()
            address = self._addresses[KAFKA] = self._broker.bootstrap
        return address

    def launch_postgres(self) -> str:
        """Where the cluster is; started without waiting if there is none. Raises Unavailable, NotStarted."""
        if (address := self._addresses[POSTGRES]) is None:
            from tests.servers import postgres

            if lacking := postgres.missing():
                raise Unavailable(f"{lacking}, or name a cluster in {POSTGRES}")
            self._cluster = postgres.Cluster(durable=False).launch()
            address = self._addresses[POSTGRES] = self._cluster.url("postgres")
        return address

    def kafka(self) -> str:
        """The bootstrap servers of a broker that answers. Raises Unavailable, NotStarted."""
        address = self.launch_kafka()
        if self._broker is not None:
            self._broker.await_answer(ANSWER_S)
        else:
            from tests.servers.kafka import answers

            _await(lambda: answers(address), f"Kafka at {address} ({KAFKA})")
        return address

    def postgres(self) -> Databases:
        """The databases of a cluster that answers. Raises Unavailable, NotStarted."""
        if self._databases is None:
            from tests.servers.postgres import Databases, answers

            address = self.launch_postgres()
            if self._cluster is not None:
                self._cluster.await_answer(ANSWER_S)
            else:
                _await(lambda: answers(address), f"PostgreSQL at {address} ({POSTGRES})")
            self._databases = Databases(address)
        return self._databases

    def template(self) -> str:
        """A database with the schema of today, to be copied; made once in a run."""
        return self.postgres().migrated(self._template, _upgrade)

    @property
    def _template(self) -> str:
        return f"head_{self.run}"

    def fallen(self) -> list[str]:
        """What became of servers that we started and that are no longer there."""
        servers = {"Kafka": self._broker, "PostgreSQL": self._cluster}
        return [
            f"{name} of this run ended before its end; its last lines:\n{process.last_lines(server.log)}"
            for name, server in servers.items()
            if server is not None and not server.running
        ]

    def close(self) -> None:
        """End what we started and take away what we made; what was named by a person stays."""
        if self._databases is not None:
            self._databases.close()
        if self._leads and self._cluster is None and (address := self._addresses[POSTGRES]) is not None:
            _drop(address, self._template)
        if self._broker is not None:
            self._broker.kill()
        if self._cluster is not None:
            self._cluster.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _await(answers: Callable[[], bool], what: str) -> None:
    process.await_answer(lambda: answers() or None, what, ANSWER_S)


def _drop(address: str, name: str) -> None:
    import psycopg

    from tests.servers.postgres import Databases

    databases = Databases(address)
    with contextlib.suppress(psycopg.Error):  # the tests have said what is wrong with it
        databases.drop(databases.address(name))
    databases.close()


def _upgrade(url: str) -> None:
    from app.database import migrate
    from app.database.engine import Database

    database = Database(url)
    try:
        migrate.upgrade(database)
    finally:
        database.close()


__all__ = ["NotStarted", "Shared", "Unavailable"]
