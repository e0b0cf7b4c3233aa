"""Writes that share a transaction: each is committed when its call returns, and none pays for another's fault."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select

from app.database import dead_letters, journal
from app.database.dead_letters import Refused
from app.database.engine import Database
from app.database.group_commit import GroupCommit, _Job
from app.database.tables import counter
from app.database.tables import journal as journal_table
from consumers.errors import StorageBusy
from consumers.rejection import Rejection, RejectionReason


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


def refuse(*reasons: RejectionReason) -> Callable[[Connection], None]:
    refused = [Refused(b"x", Rejection(reason, ""), "test") for reason in reasons]
    return lambda connection: dead_letters.keep(connection, refused, received_at=1)


def test_what_many_works_count_is_written_at_the_end_and_in_one_order(database: Database) -> None:
    """Else two transactions, each with some of it, wait for each other in a circle."""
    written: list[list[str]] = []

    def note(*event_: Any) -> None:
        if event_[2].startswith("INSERT INTO counter"):
            rows = event_[3] if isinstance(event_[3], list) else [event_[3]]
            written.append([str(row["name"]) if isinstance(row, dict) else str(row[0]) for row in rows])

    event.listen(database.engine, "before_cursor_execute", note)
    group = GroupCommit(database)
    works = [
        refuse(RejectionReason.NOT_JSON, RejectionReason.BAD_VALUE),
        refuse(RejectionReason.MISSING_FIELD),
        refuse(RejectionReason.BAD_VALUE),
    ]
    group._commit([_Job(work) for work in works])

    names = ["rejected.bad_value", "rejected.missing_field", "rejected.not_json"]
    assert [name for each in written for name in each] == names
    with database.read() as connection:
        kept = connection.execute(select(counter.c.name, counter.c.value).order_by(counter.c.name)).all()
    assert [tuple(row) for row in kept] == list(zip(names, [2, 1, 1], strict=True))


def test_what_was_rolled_back_is_not_counted(database: Database) -> None:
    def bad(connection: Connection) -> None:
        refuse(RejectionReason.NOT_JSON)(connection)
        raise ValueError("mine")

    group = GroupCommit(database)
    with pytest.raises(ValueError, match="mine"):
        group.run(bad)
    group.run(refuse(RejectionReason.BAD_VALUE))
    with database.read() as connection:
        assert dict(connection.execute(select(counter.c.name, counter.c.value)).all()) == {
            "rejected.bad_value": 1
        }


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
