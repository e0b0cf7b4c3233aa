"""The one way to the database: writers queue up front, readers see a snapshot, failures come back named.

SQLite hands a deferred transaction that turns to writing SQLITE_BUSY at once, whatever the timeout, and two such
transactions can lose an update. So a unit of work that writes says so and starts with BEGIN IMMEDIATE.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from consumers.errors import (
    ConfigurationError,
    StorageBusy,
    StorageError,
    StorageFull,
    StorageReadOnly,
)

BUSY_TIMEOUT_S = 10.0
# Whoever waits for the right to write holds a connection meanwhile, and no reader may wait behind writers, least of all
# on the event loop. So there may be one for each thread that can ask at once: the web server's 40, the notifier's 32
# lanes, the event loop, and some for the loops. A connection of SQLite costs little to open, but once used may keep
# 64 MB of pages, so few stay open, and those that were used last are used first. Should they run out all the same,
# it is said within a second.
KEPT_CONNECTIONS = 10
MORE_CONNECTIONS = 75
CONNECTION_WAIT_S = 1.0


class Database:
    """An engine and its two units of work, :meth:`read` and :meth:`write`. Thread-safe; a connection is not."""

    def __init__(self, url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """``url`` as in BELLWETHER_DATABASE_URL. Raises ConfigurationError for one that names no known database."""
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise ConfigurationError(
                "BELLWETHER_DATABASE_URL is not a database address\n"
                "use sqlite:///bellwether.db or postgresql://user@host/name"
            ) from None
        if parsed.drivername in {"postgresql", "postgres"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
            raise ConfigurationError(
                f"BELLWETHER_DATABASE_URL names {parsed.get_backend_name()}, which Bellwether does not speak\n"
                "use sqlite:///bellwether.db or postgresql://user@host/name"
            )
        self.url = parsed
        self.engine = _engine(parsed, busy_timeout_s)

    @property
    def sqlite(self) -> bool:
        """Whether this is SQLite."""
        return self.engine.dialect.name == "sqlite"

    @property
    def label(self) -> str:
        """The database as messages name it: never with a password."""
        if self.sqlite:
            return f"database {self.url.database}"
        return f"database {self.url.render_as_string(hide_password=True)}"

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write. Commits at the end, rolls back on any error; raises StorageError."""
        with self._named_errors():
            connection = self.engine.connect().execution_options(bellwether_write=True)
            with connection, connection.begin():
                yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot for reading. Raises StorageError."""
        with self._named_errors(), self.engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise named_error(error, self.label) from error
        except PoolTimeout as error:
            raise StorageBusy(
                f"all connections to {self.label} are in use\ntry again; nothing acknowledged was lost"
            ) from error


# What the drivers say (lower case), what it is, and what to do about it.
_SAID: tuple[tuple[tuple[str, ...], type[StorageError], str, str], ...] = (
    (
        ("locked", "busy"),
        StorageBusy,
        "is locked by another process",
        "stop that process or wait; nothing acknowledged was lost",
    ),
    (
        ("readonly", "read-only"),
        StorageReadOnly,
        "is read-only",
        "give this user write permission to the file and its folder",
    ),
    (
        ("disk is full", "no space", "disk i/o error"),
        StorageFull,
        "has no room left: its disk is full or failing",
        "free some room; nothing acknowledged was lost",
    ),
    (
        ("unable to open",),
        StorageError,
        "cannot be opened",
        "check that its folder exists and may be written",
    ),
    (
        ("not a database", "malformed"),
        StorageError,
        "is not a sound SQLite database",
        "restore a backup or name another file",
    ),
    (("no such table", "no such column"), StorageError, "has an older schema", "run: bellwether db upgrade"),
)


def named_error(error: DBAPIError, label: str) -> StorageError:
    """The failure in our own words: locked, read-only, full or other."""
    said = str(error.orig)
    low = said.lower()
    for needles, kind, what, advice in _SAID:
        if any(needle in low for needle in needles):
            return kind(f"{label} {what}\n{advice}")
    return StorageError(f"{label}: {said}")


def _engine(url: URL, busy_timeout_s: float) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    if not url.database or url.database == ":memory:":
        raise ConfigurationError(
            "SQLite in memory cannot be shared by threads\nname a file: sqlite:///bellwether.db"
        )
    folder = Path(url.database).expanduser().parent
    if not folder.is_dir():
        raise ConfigurationError(
            f"the folder {folder} of BELLWETHER_DATABASE_URL does not exist\ncreate it: mkdir -p {folder}"
        )
    # The driver reads it from the address as well: sqlite:///bellwether.db?timeout=30
    waits = {} if "timeout" in url.query else {"timeout": busy_timeout_s}
    engine = create_engine(
        url,
        connect_args={"check_same_thread": False, **waits},
        pool_size=KEPT_CONNECTIONS,
        max_overflow=MORE_CONNECTIONS,
        pool_timeout=CONNECTION_WAIT_S,
        pool_use_lifo=True,
    )
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(dbapi_connection: Any, _record: ConnectionPoolEntry) -> None:
    dbapi_connection.isolation_level = None  # the driver would open transactions of its own, too late
    cursor = dbapi_connection.cursor()
    # FULL: positions and the outbox must survive a power cut; at thousands of events a commit it costs nothing.
    for pragma in (
        "page_size=8192",  # of a new file: an account's windows fill half of SQLite's own 4 KB, and waste the rest
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-65536",
        "temp_store=MEMORY",
        "mmap_size=1073741824",  # a sweep reads every window: mapped, a page costs no call
        "wal_autocheckpoint=16384",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("bellwether_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
