"""The way to the database with many on it: readers pass those who wait to write, and a crowd is told, not hung."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from app.database.engine import KEPT_CONNECTIONS, MORE_CONNECTIONS, Database
from consumers.errors import StorageBusy

ALL = KEPT_CONNECTIONS + MORE_CONNECTIONS
WEB_THREADS = 40


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'bellwether.db'}")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE note (words TEXT)"))
    yield database
    database.close()


def test_a_reader_passes_every_thread_that_waits_to_write(database: Database) -> None:
    ready = threading.Barrier(WEB_THREADS + 1)

    def write() -> None:
        ready.wait()
        with database.write() as connection:
            connection.execute(text("INSERT INTO note VALUES ('x')"))

    threads = [threading.Thread(target=write) for _ in range(WEB_THREADS)]
    with database.write():
        for thread in threads:
            thread.start()
        ready.wait()
        with database.read() as connection:
            assert connection.scalar(text("SELECT count(*) FROM note")) == 0
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM note")) == WEB_THREADS


def test_when_all_connections_are_in_use_the_next_is_told_so(database: Database) -> None:
    with contextlib.ExitStack() as crowd:
        for _ in range(ALL):
            crowd.enter_context(database.read())
        with pytest.raises(StorageBusy, match="are in use"), database.read():
            pass
    with database.read() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
