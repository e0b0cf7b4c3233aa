"""A PostgreSQL cluster of our own in a temporary folder, and the databases that tests make in one.

``python -m tests.servers.postgres`` (`make postgres`) runs one for people.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql

from tests.servers.process import NotStarted, Server, await_answer, free_port, launch

USER = "bellwether"
INSTALL = "install it (Debian: apt install postgresql)"
STOPS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


def binaries() -> Path | None:
    """The folder of initdb and postgres: Debian's newest version, else where the PATH finds them."""
    installed = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if installed:
        return max(installed, key=lambda folder: int(folder.parent.name.split(".")[0]))
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def missing() -> str | None:
    """What this machine lacks to run a cluster; None if nothing."""
    if binaries() is None:
        return f"no PostgreSQL here: {INSTALL}, or name a cluster in BELLWETHER_TEST_POSTGRES"
    if os.geteuid() == 0 and _owner() is None:
        return "PostgreSQL does not run as root, and here is no user postgres: be another user"
    return None


def _owner() -> str | None:
    """Whom the server runs as: ourselves, but not root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return None


class Databases:
    """Databases made in a running cluster, ours or another, through one connection. Not for two threads at once."""

    def __init__(self, url: str) -> None:
        """``url``: a database of the cluster to connect to, by somebody who may make others."""
        self.url = url
        self._connection: psycopg.Connection | None = None
        self._left: list[str] = []

    def new(self, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of ``template``, to which nobody may be connected."""
        self._drop_left()
        name = f"test_{secrets.token_hex(6)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self.execute(statement.format(sql.Identifier(name), sql.Identifier(template or "template0")))
        return self.address(name)

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_name(url))))

    def leave(self, url: str) -> None:
        """Drop it with the next call: while the sessions that used it are ending, dropping takes 0.1 s."""
        self._left.append(url)

    def migrated(self, name: str, migrate: Callable[[str], None]) -> str:
        """The template ``name``: a database that ``migrate``, given its URL, filled, once for all who ask."""
        self.execute(sql.SQL("SELECT pg_advisory_lock(hashtext({}))").format(sql.Literal(name)))
        try:
            known = self.execute(
                sql.SQL("SELECT 1 FROM pg_database WHERE datname = {}").format(sql.Literal(name))
            ).fetchone()
            if known is None:
                made = self.new()
                migrate(made)
                renamed = sql.SQL("ALTER DATABASE {} RENAME TO {}")
                self.execute(renamed.format(sql.Identifier(_name(made)), sql.Identifier(name)))
        finally:
            self.execute(sql.SQL("SELECT pg_advisory_unlock(hashtext({}))").format(sql.Literal(name)))
        return name

    def address(self, name: str) -> str:
        """The URL of the database ``name``."""
        server, mark, options = self.url.partition("?")
        return f"{server.rpartition('/')[0]}/{name}{mark}{options}"

    def close(self) -> None:
        """Drop what was left and close the connection; the next call opens another."""
        with contextlib.suppress(psycopg.OperationalError):
            self._drop_left()
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def execute(self, statement: sql.Composed) -> psycopg.Cursor:
        """Run a statement in a transaction of its own. Raises psycopg.Error."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.url, autocommit=True, connect_timeout=10)
        try:
            return self._connection.execute(statement)
        except psycopg.OperationalError:
            self.disconnect()
            raise

    def _drop_left(self) -> None:
        while self._left:
            self.drop(self._left.pop())


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


class Cluster(Server):
    """One server and its data.

    ``folder``: where to keep it; None makes a temporary one, which is removed at the end. For root the server runs as
    the user postgres, who must be able to reach the folder. ``durable=False`` leaves out every fsync: for tests that
    kill no machine. ``settings`` override the server's.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int | None = None,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port or free_port()
        self._temporary = folder is None
        self.folder = (
            Path(tempfile.mkdtemp(prefix="bellwether-postgres-")) if folder is None else folder.absolute()
        )
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"
        self.databases = Databases(self.url("postgres"))
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder) if len(str(self.folder)) < 80 else "",
            "shared_buffers": "128MB",
            "max_connections": "300",
            "lc_messages": "C",
            **({} if durable else {"fsync": "off", "full_page_writes": "off"}),
            **(settings or {}),
        }

    def url(self, name: str) -> str:
        """The address of the database ``name``, as BELLWETHER_DATABASE_URL takes it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def __str__(self) -> str:
        return f"PostgreSQL at 127.0.0.1:{self.port}"

    def _launch(self) -> None:
        if lacking := missing():
            raise NotStarted(lacking)
        self.folder.mkdir(parents=True, exist_ok=True)
        owner = _owner() if os.geteuid() == 0 else None
        if owner is not None:
            shutil.chown(self.folder, owner, owner)
        # The data appear under their name when they are whole: an interrupted start is begun again by the next.
        script = (
            "set -e\n"
            "if ! [ -d data ]; then\n"
            "    rm -rf unfinished\n"
            f'    "$0/initdb" --no-sync -A trust -U {USER} -E UTF8 --locale=C.UTF-8 -D unfinished >/dev/null\n'
            "    mv unfinished data\n"
            "fi\n"
            'exec "$0/postgres" -D data "$@"\n'
        )
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        command = ["sh", "-c", script, binaries() or "", *settings]
        self.process = launch(command, self.log, parting="QUIT", user=owner)

    def _answers(self) -> bool:
        return answers(self.url("postgres"))

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast", timeout_s: float = 30.0) -> None:
        """An orderly end; ``smart`` waits for every client to go, ``immediate`` leaves recovery to the start."""
        self.databases.disconnect()
        if self.running and self.process is not None:
            self.process.send_signal(STOPS[mode])
            self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL to the server and to all its processes at once: nothing is tidied up."""
        self.databases.disconnect()
        if not self.running or self.process is None:
            return
        self.process.send_signal(signal.SIGSTOP)  # it would start others in place of those that are killed
        children = list(_children(self.process.pid))
        for pid in [self.process.pid, *children]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(30)
        # While one of them lives the shared memory is in use, and the next start is refused.
        await_answer(
            lambda: None if any(map(_alive, children)) else True, "the end of PostgreSQL's processes", 30
        )

    def close(self) -> None:
        """Kill it, and remove a temporary folder."""
        self.kill()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def new_database(self, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of ``template``."""
        return self.databases.new(template)

    def drop_database(self, url: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self.databases.drop(url)


def answers(url: str) -> bool:
    """Whether a server answers a query there."""
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def _children(parent: int) -> Iterator[int]:
    for line in _processes():
        pid, ppid, _state = line.split()
        if int(ppid) == parent:
            yield int(pid)


def _alive(pid: int) -> bool:
    return any(line.split()[0] == str(pid) and not line.split()[2].startswith("Z") for line in _processes())


def _processes() -> list[str]:
    """``pid ppid state`` of everything that runs."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    )
    return listed.stdout.splitlines()


if __name__ == "__main__":
    from tests.servers.people import run_postgres

    run_postgres()
