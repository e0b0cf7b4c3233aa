"""The one way to the database: units of work that write, units that read a snapshot, failures that come back named."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy import Connection
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.database import connections_postgresql, connections_sqlite, counters
from app.database.failures import named_error
from app.database.turns import Turns
from consumers.errors import ConfigurationError, StorageBusy

BUSY_TIMEOUT_S = 10.0  # waited for a lock that somebody else holds, on both databases
_KNOWN = {"sqlite", "postgresql"}


class Database:
    """An engine and its two units of work, :meth:`read` and :meth:`write`. Thread-safe; a connection is not."""

    def __init__(
        self,
        url: str,
        *,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        binary: bool = True,
        statement_timeout_s: float | None = None,
        connections: int = connections_postgresql.KEPT_CONNECTIONS,
    ) -> None:
        """``url`` as in BELLWETHER_DATABASE_URL. Raises ConfigurationError for one that names no known database.

        Of PostgreSQL only: ``binary`` False has values come as text, as Alembic wants its catalogues; a statement may
        take ``statement_timeout_s``, None for ever; no more than ``connections`` are open at once.
        """
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise ConfigurationError(
                "BELLWETHER_DATABASE_URL is not a database address\n"
                "use sqlite:///bellwether.db or postgresql://user@host/name"
            ) from None
        if parsed.drivername in {"postgresql", "postgres"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in _KNOWN:
            raise ConfigurationError(
                f"BELLWETHER_DATABASE_URL names {parsed.get_backend_name()}, which Bellwether does not speak\n"
                "use sqlite:///bellwether.db or postgresql://user@host/name"
            )
        self.url = parsed
        self._busy_timeout_s = busy_timeout_s
        self.sqlite = parsed.get_backend_name() == "sqlite"
        if self.sqlite:
            self.engine = connections_sqlite.engine(parsed, busy_timeout_s)
            self._turns: Turns | None = Turns()
            self._reading: dict[str, object] = {}
        else:
            self.engine = connections_postgresql.engine(
                parsed,
                busy_timeout_s,
                binary=binary,
                statement_timeout_s=statement_timeout_s,
                connections=connections,
            )
            self._turns = None
            # One snapshot for all statements of a reader, as on SQLite; and a reader that writes is a mistake.
            self._reading = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

    @property
    def label(self) -> str:
        """The database as messages name it: never with a password, nor what else its address carries."""
        if self.sqlite:
            return f"database {self.url.database}"
        where = self.url
        shown = URL.create("postgresql", where.username, None, where.host, where.port, where.database)
        return f"database {shown.render_as_string()}"

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write. Commits at the end, rolls back on any error; raises StorageError."""
        with self._turn(), self._named_errors():
            connection = self.engine.connect().execution_options(bellwether_write=True)
            with connection, connection.begin():
                counters.forget(connection)
                yield connection
                counters.settle(connection)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot for reading. Raises StorageError."""
        with self._named_errors(), self.engine.connect() as connection:
            yield connection.execution_options(**self._reading) if self._reading else connection

    @contextlib.contextmanager
    def glance(self) -> Iterator[Connection]:
        """For one statement that reads, or for some that need not see the same moment. Raises StorageError.

        On PostgreSQL there is no transaction around it: a statement is one round trip, not three.
        """
        with self._named_errors(), self.engine.connect() as connection:
            yield connection if self.sqlite else connection.execution_options(isolation_level="AUTOCOMMIT")

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """On SQLite the threads of this process write in the order in which they came; readers pass them."""
        if self._turns is None:
            yield
            return
        if not self._turns.take(self._busy_timeout_s):
            raise StorageBusy(
                f"{self.label} is locked by another thread\ntry again; nothing acknowledged was lost"
            )
        try:
            yield
        finally:
            self._turns.give()

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
