"""How PostgreSQL is connected to: every wait has an end, results come in binary, few connections.

A server that is gone without a word (a pulled cable, a failed host) is noticed after fifteen seconds; a lock is waited
for as long as on SQLite; a transaction of ours that stands still, because its process was stopped, is ended by the
server, so that its locks stand in nobody's way. Statements have no limit of their own: what may run long is a
migration or a rebuild, and everything else is bounded by what it asks for.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL

CONNECT_TIMEOUT_S = 5
SILENT_S = 15  # without an acknowledgement from the server, its host is taken for gone
IDLE_IN_TRANSACTION_S = 30  # between two statements we compute for a second at most
# Nobody queues for the right to write here, so a connection is held for milliseconds: twenty serve the loops, the web
# server's 40 threads and the notifier's 32 lanes in turns. Four processes then stay below the hundred that a server
# allows by default. All twenty stay open once they were needed: a connection costs the server a process, and a burst
# that made and dropped one for each write would wait for that. Who finds none free waits as long as connecting may
# take, and no longer, as the event loop reads too.
KEPT_CONNECTIONS = 20
MORE_CONNECTIONS = 0
CONNECTION_WAIT_S = float(CONNECT_TIMEOUT_S)


def engine(url: URL, lock_timeout_s: float, *, binary: bool = True) -> Engine:
    """An engine for the server that ``url`` names; what the address itself says about a wait stands.

    ``binary`` False gives values as text: for Alembic, which reads catalogues whose types have no binary form.
    """
    settings: dict[str, Any] = {
        "application_name": "bellwether",
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives": 1,
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": SILENT_S * 1_000,
        "options": f"-c lock_timeout={round(lock_timeout_s * 1_000)}"
        f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_S * 1_000}",
    }
    connect_args = {name: value for name, value in settings.items() if name not in url.query}
    if binary:
        connect_args["cursor_factory"] = _binary_cursor()
    return create_engine(
        url,
        connect_args=connect_args,
        pool_size=KEPT_CONNECTIONS,
        max_overflow=MORE_CONNECTIONS,
        pool_timeout=CONNECTION_WAIT_S,
        pool_use_lifo=True,
        pool_pre_ping=True,  # a restarted server is met here, not in the middle of a batch
        use_native_hstore=False,  # would cost a question per connection
        execution_options={
            "preserve_rowcount": True
        },  # of an INSERT too: whether it met a row that was there
    )


def _binary_cursor() -> type[Any]:
    """The driver's cursor, answered in binary: blobs as text are hexadecimal, twice as long and parsed."""
    from psycopg import Connection, Cursor  # noqa: PLC0415 - whoever works on SQLite does without the driver
    from psycopg.pq import Format  # noqa: PLC0415 - the same

    class BinaryCursor(Cursor[Any]):
        def __init__(self, connection: Connection[Any], **more: Any) -> None:
            super().__init__(connection, **more)
            self.format = Format.BINARY

    return BinaryCursor
