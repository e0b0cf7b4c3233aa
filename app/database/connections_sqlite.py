"""How SQLite is connected to: one file, transactions begun by us, a connection for each thread that may wait.

SQLite hands a deferred transaction that turns to writing SQLITE_BUSY at once, whatever the timeout, and two such
transactions can lose an update. So a unit of work that writes says so and starts with BEGIN IMMEDIATE.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

from consumers.errors import ConfigurationError

# No reader may wait behind others, least of all on the event loop. So there may be one for each thread that can ask at
# once: the web server's 40, the notifier's 32 lanes, the event loop, and some for the loops. A connection of SQLite
# costs little to open, but once used may keep 64 MB of pages, so few stay open, and those that were used last are used
# first. Should they run out all the same, it is said within a second.
KEPT_CONNECTIONS = 10
MORE_CONNECTIONS = 75
CONNECTION_WAIT_S = 1.0


def engine(url: URL, busy_timeout_s: float) -> Engine:
    """An engine for the file that ``url`` names. Raises ConfigurationError if its folder does not exist."""
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
    made = create_engine(
        url,
        connect_args={"check_same_thread": False, **waits},
        pool_size=KEPT_CONNECTIONS,
        max_overflow=MORE_CONNECTIONS,
        pool_timeout=CONNECTION_WAIT_S,
        pool_use_lifo=True,
        execution_options={
            "preserve_rowcount": True
        },  # of an INSERT too: whether it met a row that was there
    )
    event.listen(made, "connect", _on_connect)
    event.listen(made, "begin", _on_begin)
    return made


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
