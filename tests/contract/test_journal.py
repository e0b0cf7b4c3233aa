"""The journal: what was appended comes out once, in order, whatever holes and restarts there are."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import delete, insert, select

from app.database import journal
from app.database.engine import Database
from app.database.journal import PARTITION, Doorbell, JournalSource
from app.database.tables import journal as journal_table
from app.database.tables import position
from consumers.errors import SourceError, StorageReadOnly
from consumers.source import Position
from tests.chunks import one


def append(database: Database, *bodies: bytes, sender: str = "", received_at: int = 1) -> None:
    with database.write() as connection:
        journal.append(connection, bodies, sender=sender, received_at=received_at)


def drained(source: JournalSource, limit: int) -> list[bytes]:
    bodies: list[bytes] = []
    while chunk := one(source.poll(limit, 0)):
        assert len(chunk.bodies) <= limit
        bodies += chunk.bodies
    return bodies


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_events_come_out_once_and_in_order(database: Database, limit: int) -> None:
    bodies = [str(number).encode() for number in range(10)]
    append(database, *bodies)
    assert drained(JournalSource(database), limit) == bodies


def test_a_chunk_begins_where_the_one_before_ended(database: Database) -> None:
    append(database, *[b"x"] * 5)
    source = JournalSource(database)
    first, second = one(source.poll(2, 0)), one(source.poll(10, 0))
    assert first is not None
    assert second is not None
    assert first.start == 0
    assert second.start == first.next
    assert first.behind
    assert not second.behind


def test_a_hole_in_the_offsets_is_stepped_over(database: Database) -> None:
    append(database, b"1", b"2", b"3")
    with database.write() as connection:
        connection.execute(delete(journal_table).where(journal_table.c.offset == 2))
        connection.execute(insert(journal_table).values(offset=90, received_at=1, body=b"90"))
    chunk = one(JournalSource(database).poll(10, 0))
    assert chunk is not None
    assert list(zip(chunk.offsets, chunk.bodies, strict=True)) == [(1, b"1"), (3, b"3"), (90, b"90")]
    assert chunk.next == 91


def test_a_reader_goes_on_from_its_stored_position(database: Database) -> None:
    append(database, b"old", b"new")
    first = one(JournalSource(database).poll(1, 0))
    assert first is not None
    restarted = JournalSource(database)
    restarted.seek(PARTITION, Position(first.next))
    assert drained(restarted, 10) == [b"new"]


def test_a_pruned_and_then_empty_stretch_gives_no_offset_twice(database: Database) -> None:
    append(database, b"1", b"2", b"3", received_at=10)
    with database.write() as connection:
        assert journal.prune(connection, received_before=100, handled=4) == 2
        assert journal.end(connection) == 4
    append(database, b"4")
    chunk = one(JournalSource(database).poll(10, 0))
    assert chunk is not None
    assert list(chunk.offsets) == [3, 4]


def test_pruning_never_drops_what_was_not_read(database: Database) -> None:
    append(database, b"1", b"2", b"3", received_at=10)
    with database.write() as connection:
        assert journal.prune(connection, received_before=100, handled=2) == 1
    assert drained(JournalSource(database), 10) == [b"2", b"3"]


def test_events_behind_the_position_are_unread(database: Database) -> None:
    append(database, b"1", b"2", b"3")
    with database.write() as connection:
        assert journal.unread(connection) == 3
        connection.execute(insert(position).values(partition=PARTITION, next=3, behind=True, updated_at=1))
        assert journal.unread(connection) == 1


def test_a_bell_ends_the_wait(database: Database) -> None:
    doorbell = Doorbell()
    source = JournalSource(database, doorbell)
    got: list[bytes] = []
    reader = threading.Thread(
        target=lambda: got.extend(((chunk := one(source.poll(10, 30))) and chunk.bodies) or [])
    )
    reader.start()
    append(database, b"ding")
    doorbell.ring()
    reader.join(10)
    assert got == [b"ding"]


def test_without_a_bell_another_process_is_heard_all_the_same(database: Database) -> None:
    append(database, b"written elsewhere")
    source = JournalSource(database)
    started = time.monotonic()
    chunk = one(source.poll(10, 30))
    assert chunk is not None
    assert time.monotonic() - started < 10


def test_an_empty_journal_answers_none_after_the_wait(database: Database) -> None:
    assert one(JournalSource(database).poll(10, 0.01)) is None


def test_the_sender_is_told_where_a_chunk_has_only_one(database: Database) -> None:
    append(database, b"1", sender="web")
    append(database, b"2", sender="mobile")
    source = JournalSource(database)
    alone, mixed = one(source.poll(1, 0)), one(JournalSource(database).poll(10, 0))
    assert alone is not None
    assert mixed is not None
    assert (alone.sender, mixed.sender) == ("web", "")


def test_there_is_one_partition_and_no_other(database: Database) -> None:
    source = JournalSource(database)
    assert source.partitions() == (PARTITION,)
    with pytest.raises(SourceError, match="no partition elsewhere"):
        source.seek("elsewhere", Position(0))
    with pytest.raises(SourceError, match="cannot be read from -1"):
        source.seek(PARTITION, Position(-1))


def test_an_append_that_fails_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as connection:  # noqa: PT012 - the block is what fails
        journal.append(connection, [b"1", b"2"], sender="", received_at=1)
        raise RuntimeError
    assert one(JournalSource(database).poll(10, 0)) is None


def test_six_writers_at_once_lose_nothing(database: Database) -> None:
    def write(writer: int) -> None:
        for number in range(20):
            append(database, f"{writer}/{number}".encode())

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    bodies = drained(JournalSource(database), 7)
    assert sorted(bodies) == sorted(
        f"{writer}/{number}".encode() for writer in range(6) for number in range(20)
    )
    for writer_no in range(6):
        own = [body for body in bodies if body.startswith(f"{writer_no}/".encode())]
        assert own == [f"{writer_no}/{number}".encode() for number in range(20)]


def test_a_read_only_database_says_so(database: Database) -> None:
    refusing = "PRAGMA query_only=ON" if database.sqlite else "SET default_transaction_read_only = on"
    with database.engine.connect() as connection:
        connection.exec_driver_sql(refusing)
        connection.commit()
    with pytest.raises(StorageReadOnly):
        append(database, b"1")
    with database.read() as connection:
        assert connection.scalar(select(journal_table.c.offset)) is None
