"""Writes that share a transaction: each is committed when its call returns, and none pays for another's fault."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, event, func, select

from app.database import journal
from app.database.engine import Database
from app.database.group_commit import GroupCommit
from app.database.tables import journal as journal_table
from consumers.errors import StorageBusy


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url, busy_timeout_s=0.2)
    yield made
    made.close()


def append(body: bytes) -> Callable[[Connection], bytes]:
    def work(connection: Connection) -> bytes:
        journal.append(connection, [body], sender="", received_at=1)
        return body

    return work


def stored(database: Database) -> int:
    with database.read() as connection:
        return int(connection.scalar(select(func.count()).select_from(journal_table)) or 0)


def test_what_returned_is_committed(database: Database) -> None:
    group = GroupCommit(database)
    assert group.run(append(b"1")) == b"1"
    assert stored(database) == 1


def test_those_who_wait_share_one_transaction(database: Database) -> None:
    group = GroupCommit(database)
    commits: list[int] = []
    event.listen(database.engine, "commit", lambda _: commits.append(1))
    entered, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> bytes:
        entered.set()
        assert go_on.wait(10)
        return append(b"first")(connection)

    with ThreadPoolExecutor(21) as pool:
        first = pool.submit(group.run, slow)
        assert entered.wait(10)
        others = [pool.submit(group.run, append(str(number).encode())) for number in range(20)]
        while len(group._waiting) < 20:
            threading.Event().wait(0.001)
        go_on.set()
        assert first.result(10) == b"first"
        assert [other.result(10) for other in others] == [str(number).encode() for number in range(20)]
    assert stored(database) == 21
    assert len(commits) == 2


def test_a_work_that_fails_fails_alone(database: Database) -> None:
    group = GroupCommit(database)

    def bad(_connection: Connection) -> bytes:
        raise ValueError("mine")

    with ThreadPoolExecutor(16) as pool:
        good = [pool.submit(group.run, append(b"x")) for _ in range(40)]
        wrong = [pool.submit(group.run, bad) for _ in range(10)]
        assert [each.result(10) for each in good] == [b"x"] * 40
        for each in wrong:
            with pytest.raises(ValueError, match="mine"):
                each.result(10)
    assert stored(database) == 40


def test_a_locked_database_is_told_to_everybody_and_then_forgotten(database: Database) -> None:
    group = GroupCommit(database)
    with database.write() as holder, ThreadPoolExecutor(5) as pool:
        journal.lock_order(holder)
        waiting = [pool.submit(group.run, append(b"x")) for _ in range(5)]
        for each in waiting:
            with pytest.raises(StorageBusy):
                each.result(10)
    assert group.run(append(b"after")) == b"after"
    assert stored(database) == 1
