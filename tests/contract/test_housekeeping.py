"""Retention: what is over goes, what somebody still waits for stays."""

from __future__ import annotations

import pytest
from sqlalchemy import func, insert, select

from app.database import journal, tables
from app.database.engine import Database
from app.housekeeping import tidy
from app.settings import Settings

DAY = 86_400_000_000
NOW = 1_000 * DAY


@pytest.fixture
def database(tmp_path):
    opened = Database(f"sqlite:///{tmp_path / 'house.db'}")
    with opened.write() as connection:
        tables.metadata.create_all(connection)
    yield opened
    opened.close()


def count(database, table):
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(table))


def test_journal_entries_go_once_they_are_old_and_in_the_windows(database):
    with database.write() as connection:
        for age in (10, 9, 8, 1):
            journal.append(connection, [b"{}"], sender="", received_at=NOW - age * DAY)
        connection.execute(
            insert(tables.position).values(partition="journal", next=3, behind=False, updated_at=0)
        )

    gone = tidy(database, Settings(), NOW)

    assert gone["journal"] == 2
    assert count(database, tables.journal) == 2


def test_old_deliveries_go_unless_they_were_never_delivered(database):
    with database.write() as connection:
        for number, status in enumerate(["sent", "parked", "shadow", "queued", "sending"]):
            connection.execute(
                insert(tables.delivery).values(
                    destination="crm",
                    kind="alert.firing",
                    alert_id=f"al_{number}",
                    seq=1,
                    webhook_id=f"w{number}",
                    payload="{}",
                    status=status,
                    attempts=1,
                    next_at=0,
                    created_at=NOW - 91 * DAY,
                )
            )

    assert tidy(database, Settings(), NOW)["deliveries"] == 3

    with database.read() as connection:
        assert set(connection.scalars(select(tables.delivery.c.status))) == {"queued", "sending"}


def test_dead_letters_go_after_their_time(database):
    with database.write() as connection:
        for offset, age in enumerate((31, 29)):
            connection.execute(
                insert(tables.dead_letter).values(
                    partition="journal",
                    offset=offset,
                    reason="not_json",
                    detail="",
                    origin="",
                    body=b"x",
                    received_at=NOW - age * DAY,
                    status="waiting",
                )
            )

    assert tidy(database, Settings(), NOW)["dead_letters"] == 1
    assert count(database, tables.dead_letter) == 1
