"""How PostgreSQL is connected to: every wait has an end, results come in binary, few connections.

A server that is gone without a word (a pulled cable, a failed host) is noticed after fifteen seconds; a lock is waited
for as long as on SQLite; a transaction of ours that stands still, because its process was stopped, is ended by the
server, so that its locks stand in nobody's way. What a service asks is small, so its statements have a limit, which the
server keeps to, or, should it be frozen itself, we do. Commands have none: a migration or a rebuild may run long.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Generator
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

CONNECT_TIMEOUT_S = 5
SILENT_S = 15  # without an acknowledgement from the server, its host is taken for gone
IDLE_IN_TRANSACTION_S = 30  # between two statements we compute for a second at most
# Nobody queues for the right to write here, so a connection is held for milliseconds: twenty serve the loops, the web
# server's 40 threads and the notifier's 32 lanes in turns; eight those of a role without HTTP. All of them stay open
# once they were needed: a connection costs the server a process, and a burst that made and dropped one for each write
# would wait for that. Who finds none free waits as long as connecting may take, and no longer, as the event loop reads
# too.
KEPT_CONNECTIONS = 20
FEW_CONNECTIONS = 8
MORE_CONNECTIONS = 0
CONNECTION_WAIT_S = float(CONNECT_TIMEOUT_S)
FRESH_S = 5.0  # a connection that was used within so long and was told nothing since is sound
FROZEN = 1.5  # times the limit of a statement: who has neither answered nor refused by then does not run


def engine(
    url: URL,
    lock_timeout_s: float,
    *,
    binary: bool = True,
    statement_timeout_s: float | None = None,
    connections: int = KEPT_CONNECTIONS,
) -> Engine:
    """An engine for the server that ``url`` names; what the address itself says about a wait stands.

    ``binary`` False gives values as text: for Alembic, which reads catalogues whose types have no binary form.
    """
    limit = f" -c statement_timeout={round(statement_timeout_s * 1_000)}" if statement_timeout_s else ""
    settings: dict[str, Any] = {
        "application_name": "bellwether",
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives": 1,
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": SILENT_S * 1_000,
        "options": f"-c lock_timeout={round(lock_timeout_s * 1_000)}"
        f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_S * 1_000}{limit}",
    }
    connect_args = {name: value for name, value in settings.items() if name not in url.query}
    if binary:
        connect_args["cursor_factory"] = _binary_cursor()
    made = create_engine(
        url,
        connect_args=connect_args,
        pool_size=connections,
        max_overflow=MORE_CONNECTIONS,
        pool_timeout=CONNECTION_WAIT_S,
        pool_use_lifo=True,
        use_native_hstore=False,  # would cost a question per connection
        execution_options={
            "preserve_rowcount": True
        },  # of an INSERT too: whether it met a row that was there
    )
    event.listen(made, "checkin", _note_use)
    event.listen(made, "checkout", _check_sound(made))
    if statement_timeout_s is not None:
        patient = _patient_connection(FROZEN * statement_timeout_s)
        event.listen(
            made, "do_connect", lambda _dialect, _record, given, named: patient.connect(*given, **named)
        )
    return made


def _note_use(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["used"] = time.monotonic()


def _check_sound(engine: Engine) -> Callable[[Any, ConnectionPoolEntry, Any], None]:
    """A server that was restarted is met before the work, not in the middle of a batch.

    Asking it each time would cost a round trip. But a server that ends says so, or its socket is closed: so it is asked
    where there is something to read, and after a while without use.
    """

    def check(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        idle_s = time.monotonic() - record.info.get("used", time.monotonic())
        try:
            if idle_s >= FRESH_S or _has_word(connection):
                engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    return check


def _has_word(connection: Any) -> bool:
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


def _patient_connection(patience_s: float) -> type[Any]:
    """The driver's connection, which gives up a server that says nothing for so long; the driver waits for ever."""
    from psycopg import Connection, OperationalError  # noqa: PLC0415 - as below

    class PatientConnection(Connection[Any]):
        def wait(self, gen: Generator[Any, Any, Any], *more: Any, **named: Any) -> Any:
            return super().wait(self._until(gen, time.monotonic() + patience_s), *more, **named)

        def _until(self, work: Generator[Any, Any, Any], end: float) -> Generator[Any, Any, Any]:
            """``work`` as it is, but for its end: several times a second it hears that nothing is ready."""
            try:
                wanted = next(work)
                while True:
                    ready = yield wanted
                    if not ready and time.monotonic() > end:
                        self.pgconn.finish()  # an answer that comes after all would be taken for another's
                        raise OperationalError(f"no answer within {patience_s:g} s")
                    wanted = work.send(ready)
            except StopIteration as done:
                return done.value

    return PatientConnection


def _binary_cursor() -> type[Any]:
    """The driver's cursor, answered in binary: blobs as text are hexadecimal, twice as long and parsed."""
    from psycopg import Connection, Cursor  # noqa: PLC0415 - whoever works on SQLite does without the driver
    from psycopg.pq import Format  # noqa: PLC0415 - the same

    class BinaryCursor(Cursor[Any]):
        def __init__(self, connection: Connection[Any], **more: Any) -> None:
            super().__init__(connection, **more)
            self.format = Format.BINARY

    return BinaryCursor
