"""Retention: what is over goes, what somebody still waits for stays."""

from __future__ import annotations

import pytest
from sqlalchemy import func, insert, select

from app.database import journal, tables
from app.housekeeping import tidy
from app.settings import Settings

DAY = 86_400_000_000
NOW = 1_000 * DAY


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

    gone = tidy(database, Settings(), NOW, NOW)

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

    assert tidy(database, Settings(), NOW, NOW)["deliveries"] == 3

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

    assert tidy(database, Settings(), NOW, NOW)["dead_letters"] == 1
    assert count(database, tables.dead_letter) == 1


def add_alert(database, name, *, episode, age, status="resolved", dismissed=False, rule="login-decline"):
    ended = NOW - age * DAY
    with database.write() as connection:
        connection.execute(
            insert(tables.alert).values(
                id=f"{name}-{episode}", key=f"{rule}-{name}", rule=rule, account_no=1, account_id="acme",
                episode=episode, status=status, severity="high", title="x", baseline=False, dismissed=dismissed,
                seq=2, rule_version="v1", evidence="{}", updated_at=ended,
                resolved_at=ended if status == "resolved" else None,
            )
        )  # fmt: skip
        for seq, kind in enumerate(("firing", "resolved"), 1):
            connection.execute(
                insert(tables.alert_history).values(
                    alert_id=f"{name}-{episode}", seq=seq, at=ended, kind=kind
                )
            )


def kept_alerts(database):
    with database.read() as connection:
        histories = set(connection.scalars(select(tables.alert_history.c.alert_id)))
        alerts = set(connection.scalars(select(tables.alert.c.id)))
    assert histories == alerts
    return alerts


@pytest.fixture
def account(database):
    with database.write() as connection:
        connection.execute(insert(tables.account).values(no=1, account_id="acme"))


@pytest.mark.usefixtures("account")
def test_alerts_that_ended_long_ago_go_with_their_history(database):
    add_alert(database, "a", episode=1, age=900)
    add_alert(database, "a", episode=2, age=399)
    add_alert(database, "a", episode=3, age=1, status="firing")
    add_alert(database, "b", episode=1, age=900, dismissed=True)
    add_alert(database, "b", episode=2, age=3)

    assert tidy(database, Settings(), NOW, NOW)["alerts"] == 1
    assert kept_alerts(database) == {"a-2", "a-3", "b-1", "b-2"}


@pytest.mark.usefixtures("account")
def test_the_newest_episode_stays_so_that_no_number_is_given_twice(database):
    for episode in range(1, 252):
        add_alert(database, "a", episode=episode, age=1_000 - episode)
    add_alert(database, "c", episode=1, age=900, rule="gone-dark")

    assert tidy(database, Settings(), NOW, NOW)["alerts"] == 250
    assert count(database, tables.alert) == 2


@pytest.mark.usefixtures("account")
def test_alerts_are_as_old_as_they_are_at_the_moment_of_judgement(database):
    add_alert(database, "a", episode=1, age=900)
    add_alert(database, "a", episode=2, age=899)

    assert tidy(database, Settings(), NOW, NOW - 890 * DAY)["alerts"] == 0
