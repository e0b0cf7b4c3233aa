"""`bellwether serve` and `bellwether demo`: the commands that stay up."""

from __future__ import annotations

import errno
import socket
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import output
from app.cli.opened import settings
from consumers.errors import ConfigurationError

if TYPE_CHECKING:
    from app.settings import Settings


class Role(StrEnum):
    """What a process does; any number of each may run on one database."""

    ALL = "all"
    API = "api"
    CONSUMER = "consumer"
    SCHEDULER = "scheduler"
    NOTIFIER = "notifier"


def serve(
    role: Annotated[Role, typer.Option("--role", help="Only a part of the service.")] = Role.ALL,
) -> None:
    """Run the service until it is told to stop."""
    from app import logs
    from app.database import migrate
    from app.database.engine import Database

    read = settings()
    logs.configure(secrets=read.secret_values())
    database = Database(read.database_url)
    try:
        migrate.check(database)
    finally:
        database.close()
    if role in {Role.ALL, Role.API}:
        check_port(read)
    if read.probe_port is not None and read.probe_port == read.port and role in {Role.ALL, Role.API}:
        raise ConfigurationError(
            f"BELLWETHER_PROBE_PORT is {read.probe_port}, as BELLWETHER_PORT is\n"
            "set another, or none: the API answers both probes itself"
        )

    # numpy, FastAPI and the rest: only now that nothing is wrong
    from app.process import serve as run

    run(read, role.value)


def check_port(read: Settings) -> None:
    """Raises ConfigurationError if somebody else listens there, before anything is started."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            read.host, read.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        where = f"{read.host}:{read.port}"
        why = {
            errno.EADDRINUSE: f"{where} is taken by another process\nstop it, or set BELLWETHER_PORT to another port",
            errno.EACCES: f"{where} may not be used by this user\nset BELLWETHER_PORT to one above 1023",
            errno.EADDRNOTAVAIL: f"{where} is no address of this machine\nset BELLWETHER_HOST to one that is",
        }.get(
            error.errno or 0,
            f"{where} cannot be used: {error.strerror}\ncheck BELLWETHER_HOST and BELLWETHER_PORT",
        )
        raise ConfigurationError(why) from None


def demo(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Keep the data in this folder; by default a temporary one.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65_535, help="By default 8000, or a free one.")
    ] = None,
) -> None:
    """The whole path on this machine: scripted customers, real pipeline, alerts in a built-in inbox. Ctrl-C ends it."""
    from app.demo import run

    if directory is not None and directory.exists() and not directory.is_dir():
        raise ConfigurationError(f"{directory} is not a folder\nname another with --dir (make demo DIR=...)")
    run(directory, port, output.line)
