"""What all cases share: a broker with a second listener behind a proxy, a PostgreSQL cluster if asked for, sites."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tests.servers.kafka import Broker
from tests.servers.postgres import Cluster
from tests.servers.process import free_port
from tests.torture.proxy import FAIR, Proxy
from tests.torture.site import SECRETS, Site
from tests.torture.stream import Stream

Kind = Literal["sqlite", "postgresql"]


@dataclass(slots=True)
class Stage:
    """``long``: the figures of the pass table, where they fit; else each case in seconds."""

    folder: Path
    seed: int
    long: bool
    database: Kind
    broker: Broker = field(init=False)
    line: Proxy = field(init=False)  # between the service and the broker
    cluster: Cluster | None = None
    _numbers: Any = field(default_factory=lambda: count(1))

    def __enter__(self) -> Self:
        direct, shaky = free_port(), free_port()
        self.line = Proxy(shaky)
        self.broker = Broker(
            self.folder / "kafka",
            port=direct,
            properties={
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{direct},SHAKY://127.0.0.1:{self.line.port}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SHAKY:PLAINTEXT,CONTROLLER:PLAINTEXT",
                "inter.broker.listener.name": "PLAINTEXT",
                "message.max.bytes": str(8 << 20),
            },
        )
        listeners = f"PLAINTEXT://127.0.0.1:{direct},SHAKY://127.0.0.1:{shaky},CONTROLLER://127.0.0.1:{self.broker.controller_port}"
        self.broker._properties["listeners"] = listeners
        self.broker.start()
        self.line.accept()
        if self.database == "postgresql":
            self.cluster = Cluster().start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.line.refuse()
        self.broker.kill()
        if self.cluster is not None:
            self.cluster.close()
        shutil.rmtree(self.folder / "kafka", ignore_errors=True)

    def repair(self) -> None:
        """Bring everything shared back to order, whatever a case has left behind."""
        self.line.weather = FAIR
        self.line.accept()
        if not self.broker.running:
            self.broker.start()
        if self.cluster is not None and not self.cluster.running:
            self.cluster.start()

    def scale(self, long: int, short: int) -> int:
        """One figure of this run's form."""
        return long if self.long else short

    def dice(self, salt: int) -> random.Random:
        """Chance of a case's own, the same for the same seed."""
        return random.Random(self.seed * 1_000 + salt)

    def stream(self, salt: int, accounts: int = 60) -> Stream:
        """A stream of a case's own."""
        return Stream(self.seed * 1_000 + salt, accounts)

    def database_url(self, folder: Path, through: Proxy | None = None) -> str:
        """A new, empty database; behind ``through``, which points at the cluster, if given."""
        if self.cluster is None:
            return f"sqlite:///{folder / 'bellwether.db'}"
        url = self.cluster.new_database()
        password = SECRETS["the database's password"]
        url = url.replace("bellwether@", f"bellwether:{password}@", 1)
        return url.replace(f":{self.cluster.port}/", f":{through.port}/") if through else url

    def site(self, name: str, *, shaky: bool = False, url: str | None = None, **options: Any) -> Site:
        """A deployment of a case's own; ``shaky``: its way to the broker is the proxy."""
        number = next(self._numbers)
        folder = self.folder / f"{number:02}-{name}"
        folder.mkdir(parents=True)
        return Site(
            folder,
            self.broker.bootstrap,
            f"t{number}.",
            url or self.database_url(folder),
            consumer_bootstrap=f"127.0.0.1:{self.line.port}" if shaky else None,
            **options,
        )
