"""The way to the database with many on it: readers pass those who wait to write, and a crowd is told, not hung."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import text

from app.database import connections_postgresql, connections_sqlite
from app.database.engine import Database
from consumers.errors import StorageBusy, StorageError, StorageFull, StorageReadOnly
from tests.servers.postgres import Cluster

WEB_THREADS = 40


@pytest.fixture(name="database")
def _database_with_notes(database: Database) -> Database:
    with database.write() as connection:
        connection.execute(text("CREATE TABLE note (words TEXT)"))
    return database


def test_a_reader_passes_every_thread_that_waits_to_write(database: Database) -> None:
    """On PostgreSQL nobody waits for the right to write, but for one of fewer connections than there are threads."""
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
            written = connection.scalar(text("SELECT count(*) FROM note"))
            assert written == 0 or not database.sqlite
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM note")) == WEB_THREADS


def test_when_all_connections_are_in_use_the_next_is_told_so(database: Database) -> None:
    of = connections_sqlite if database.sqlite else connections_postgresql
    with contextlib.ExitStack() as crowd:
        for _ in range(of.KEPT_CONNECTIONS + of.MORE_CONNECTIONS):
            crowd.enter_context(database.read())
        with pytest.raises(StorageBusy, match="are in use"), database.read():
            pass
    with database.read() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_a_reader_sees_one_moment_however_often_it_looks(database: Database) -> None:
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM note")) == 0
        with database.write() as writer:
            writer.execute(text("INSERT INTO note VALUES ('x')"))
        assert connection.scalar(text("SELECT count(*) FROM note")) == 0
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM note")) == 1


def test_what_is_not_there_is_a_schema_to_be_brought_up_to_date(database: Database) -> None:
    for wanted in ("SELECT 1 FROM elsewhere", "SELECT tune FROM note"):
        with (
            pytest.raises(StorageError, match="older schema\nrun: bellwether db upgrade"),
            database.read() as it,
        ):
            it.execute(text(wanted))


def test_a_thread_that_may_not_write_in_time_is_told_so(tmp_path: Path) -> None:
    """On SQLite, where one writes at a time: the line within a process has an end too."""
    with contextlib.closing(Database(f"sqlite:///{tmp_path / 'one.db'}", busy_timeout_s=0.05)) as database:

        def write() -> None:
            with pytest.raises(StorageBusy, match="locked by another thread"), database.write():
                pass

        with database.write():
            other = threading.Thread(target=write)
            other.start()
            other.join()
        with database.write() as connection:
            connection.execute(text("SELECT 1"))


# --- PostgreSQL only: another machine, which may be away, full of others, or say no


PASSWORD = "canary-7f3a"


def said(url: str, *, lock_s: float = 10.0, work: str = "SELECT 1") -> StorageError:
    """What working on that database raises."""
    database = Database(url, busy_timeout_s=lock_s)
    try:
        with pytest.raises(StorageError) as raised, database.write() as connection:
            connection.exec_driver_sql(work)
        return raised.value
    finally:
        database.close()


def test_a_server_that_is_not_there_is_told_at_once_and_without_the_password() -> None:
    began = time.monotonic()
    error = said(f"postgresql://bellwether:{PASSWORD}@127.0.0.1:1/bellwether?sslpassword={PASSWORD}")
    assert str(error).startswith(
        "database postgresql://bellwether@127.0.0.1:1/bellwether cannot be reached\n"
    )
    assert PASSWORD not in str(error)
    assert time.monotonic() - began < connections_postgresql.CONNECT_TIMEOUT_S


def test_a_server_that_takes_the_connection_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        error = said(f"postgresql://x@127.0.0.1:{mute.getsockname()[1]}/x?connect_timeout=2")
    assert "cannot be reached" in str(error)


def test_a_database_or_a_user_that_does_not_exist_is_named(postgres: str) -> None:
    server = postgres.rpartition("/")[0]
    assert "does not exist\ncreate it" in str(said(f"{server}/nowhere"))
    stranger = postgres.replace("//bellwether@", f"//stranger:{PASSWORD}@")
    assert "does not let this user in" in str(said(stranger))
    assert PASSWORD not in str(said(stranger))


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ("40P01", StorageBusy, "gave way"),
        ("40001", StorageBusy, "gave way"),
        ("53100", StorageFull, "no room left"),
        ("53300", StorageBusy, "no connection left"),
        ("25006", StorageReadOnly, "read-only"),
        ("57P01", StorageError, "cannot be reached"),
        ("42501", StorageError, "does not let this user do that"),
        ("22012", StorageError, "x"),
    ],
)
def test_what_the_server_says_has_a_name(
    postgres: str, state: str, kind: type[StorageError], words: str
) -> None:
    error = said(postgres, work=f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$")
    assert type(error) is kind
    assert words in str(error)
    assert len(str(error).splitlines()) <= 2


def test_a_lock_is_waited_for_only_so_long(postgres: str) -> None:
    database = Database(postgres)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE note (words text)")
    with database.write() as connection:
        connection.exec_driver_sql("LOCK TABLE note")
        error = said(postgres, lock_s=0.1, work="SELECT * FROM note")
    database.close()
    assert type(error) is StorageBusy
    assert "is locked by another process" in str(error)


def test_two_that_wait_for_each_other_are_parted_and_one_goes_on(database_of_two: Database) -> None:
    met = threading.Barrier(2)
    ended: list[str] = []

    def take(first: int, second: int) -> None:
        try:
            with database_of_two.write() as connection:
                lock = "SELECT 1 FROM pair WHERE no = %s FOR UPDATE"
                connection.exec_driver_sql(lock, (first,))
                met.wait(10)
                connection.exec_driver_sql(lock, (second,))
            ended.append("went on")
        except StorageBusy:
            ended.append("gave way")

    threads = [threading.Thread(target=take, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["gave way", "went on"]


@pytest.fixture
def database_of_two(postgres: str) -> Iterator[Database]:
    opened = Database(postgres)
    with opened.write() as connection:
        connection.exec_driver_sql("CREATE TABLE pair (no int)")
        connection.exec_driver_sql("INSERT INTO pair VALUES (1), (2)")
    yield opened
    opened.close()


def test_a_transaction_that_stands_still_is_ended_by_the_server(postgres: str) -> None:
    """As of a process that was stopped: what it locked is free again. The next one gets a sound connection."""
    impatient = f"{postgres}?options=-c%20idle_in_transaction_session_timeout%3D50"
    database = Database(impatient)
    with pytest.raises(StorageError), database.write() as connection:  # noqa: PT012 - the last line fails
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        _await_end_of(postgres, pid)
        connection.exec_driver_sql("SELECT 1")
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    database.close()


def test_a_connection_that_broke_while_nobody_used_it_is_not_met_in_the_middle_of_work(postgres: str) -> None:
    database = Database(postgres)
    with database.read() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    with psycopg.connect(postgres, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (pid,))
    _await_end_of(postgres, pid)
    with database.write() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    database.close()


def test_a_connection_is_asked_whether_it_is_sound_only_after_a_while_without_use(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(postgres)
    asked = []
    ping = database.engine.dialect.do_ping

    def noted(connection: Any) -> bool:
        asked.append(connection)
        return ping(connection)

    monkeypatch.setattr(database.engine.dialect, "do_ping", noted)
    for _ in range(3):
        with database.read() as connection:
            connection.exec_driver_sql("SELECT 1")
    assert asked == []
    monkeypatch.setattr(connections_postgresql, "FRESH_S", 0.0)
    with database.read() as connection:
        connection.exec_driver_sql("SELECT 1")
    assert len(asked) == 1
    database.close()


def test_around_a_glance_there_is_no_transaction(postgres: str) -> None:
    database = Database(postgres)
    looks = (
        (database.glance, False),
        (database.read, True),
        (database.glance, False),
        (database.write, True),
    )
    for look, begun in looks:
        with look() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1
            driver: Any = connection.connection.dbapi_connection
            assert (driver.info.transaction_status is TransactionStatus.INTRANS) == begun
    database.close()


def test_a_statement_that_takes_too_long_is_ended_by_the_server(postgres: str) -> None:
    database = Database(postgres, statement_timeout_s=0.2)
    with (
        pytest.raises(StorageBusy, match="cancelled a statement, which took too long"),
        database.read() as it,
    ):
        it.exec_driver_sql("SELECT pg_sleep(20)")
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    database.close()


def test_a_server_that_is_frozen_is_given_up_and_found_again(own_cluster: Cluster) -> None:
    """The server's own limit cannot help: who keeps to it stands still, and its system acknowledges every packet."""
    database = Database(own_cluster.url("postgres"), statement_timeout_s=0.4)
    with database.read() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(StorageError, match="does not answer"), database.read() as connection:
            connection.exec_driver_sql("SELECT 1")
        assert 0.4 < time.monotonic() - began < 5
    finally:
        os.kill(pid, signal.SIGCONT)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() != pid
    database.close()


def test_a_command_may_take_as_long_as_it_takes(postgres: str) -> None:
    database = Database(postgres)
    with database.read() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "0"
    database.close()


def test_a_process_may_be_given_fewer_connections(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_postgresql, "CONNECTION_WAIT_S", 0.05)
    database = Database(postgres, connections=1)
    with database.read(), pytest.raises(StorageBusy, match="are in use"), database.read():
        pass
    database.close()


def test_a_reader_cannot_write(postgres: str) -> None:
    database = Database(postgres)
    with pytest.raises(StorageReadOnly), database.read() as connection:
        connection.exec_driver_sql("CREATE TABLE note (words text)")
    database.close()


def test_values_come_in_binary_and_connections_tell_who_they_are(postgres: str) -> None:
    database = Database(postgres)
    with database.read() as connection:
        result = connection.exec_driver_sql("SELECT '\\x00ff'::bytea, 7::bigint, 'x'::text, NULL::int")
        assert result.cursor.pgresult.fformat(0) == 1
        assert tuple(result.one()) == (b"\x00\xff", 7, "x", None)
        assert connection.exec_driver_sql("SHOW application_name").scalar() == "bellwether"
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "10s"
        assert connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar() == "30s"
    database.close()


def _await_end_of(url: str, pid: int) -> None:
    deadline = time.monotonic() + 10
    with psycopg.connect(url, autocommit=True) as other:
        while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
