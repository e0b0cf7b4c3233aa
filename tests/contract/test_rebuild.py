"""The windows made anew: beside the old ones, equal to a fold from scratch, and whoever runs goes on without a loss."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from app.bootstrap import House
from app.clock import Clock
from app.database import migrate
from app.database.engine import Database
from app.database.journal import append
from app.database.rebuilt import refuse_another_zone_at_work
from app.database.tables import account, account_window, family, position, process, setting, touched
from app.rebuild import rebuild
from app.settings import Settings
from consumers.errors import ConfigurationError
from consumers.file import FileSource
from consumers.memory import MemorySource

CLOCK = Clock(1_800_000_000_000_000)


def login(number, account="acme", at="2026-01-01T10:00:00Z", user="u1"):
    return {
        "id": f"e{number}",
        "type": "user.login",
        "account_id": account,
        "user_id": user,
        "occurred_at": at,
    }


def written(path: Path, events) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in events))
    return path


@pytest.fixture
def live(database_url):
    database = Database(database_url)
    yield database
    database.close()


def house_of(live, **settings):
    url = live.url.render_as_string(hide_password=False)
    return House.build(Settings(database_url=url, **settings), CLOCK, live, folds=True)


def ingest(live, file, **settings):
    with closing(FileSource(file)) as source:
        house_of(live, **settings).consumer(source).drain()


def windows(live):
    """Blobs by account id, and the days that the directory shows."""
    wanted = (
        select(account.c.account_id, account_window.c.profile, account_window.c.days, account_window.c.users)
        .add_columns(account.c.first_day, account.c.last_day)
        .join(account_window, account_window.c.account_no == account.c.no)
    )
    with live.read() as connection:
        return {row[0]: tuple(row[1:]) for row in connection.execute(wanted)}


def anew(live, *files, allow_loss=False, **settings):
    url = live.url.render_as_string(hide_password=False)
    return rebuild(
        Settings(database_url=url, **settings),
        CLOCK,
        live,
        files,
        lambda _source, _handled: None,
        allow_loss=allow_loss,
    )


def test_a_rebuild_of_the_same_log_gives_the_same_windows_and_marks_every_account(live, tmp_path):
    events = [login(n, account=f"a{n % 7}", at=f"2026-01-{1 + n % 28:02d}T10:00:00Z") for n in range(200)]
    file = written(tmp_path / "log.ndjson", events)
    ingest(live, file)
    before = windows(live)
    with live.write() as connection:
        connection.execute(account_window.update().values(days=b"\0" * 8, users=b""))
        connection.execute(touched.delete())

    swapped = anew(live, file)

    assert (swapped.accounts, swapped.emptied) == (7, 0)
    assert windows(live) == before
    with live.read() as connection:
        assert len(connection.execute(select(touched.c.account_no)).all()) == 7


def test_another_zone_moves_the_days(live, tmp_path):
    file = written(tmp_path / "log.ndjson", [login(1, at="2026-01-01T23:30:00Z")])
    ingest(live, file)
    (*_, in_utc, _) = windows(live)["acme"]

    anew(live, file, timezone="Europe/Berlin")

    (*_, in_berlin, _) = windows(live)["acme"]
    assert in_berlin == in_utc + 1
    with live.read() as connection:
        assert (
            connection.scalar(select(setting.c.value).where(setting.c.key == "timezone")) == "Europe/Berlin"
        )
    house_of(live, timezone="Europe/Berlin")


def test_another_zone_is_refused_while_a_process_folds_in_the_old_one(live):
    house_of(live)
    with live.write() as connection:
        connection.execute(
            insert(process).values(id="p1", role="consumer", beat_at=CLOCK.real_us(), trouble="")
        )

    refuse_another_zone_at_work(live, "UTC", CLOCK.real_us())
    with pytest.raises(ConfigurationError, match="1 running processes fold in UTC"):
        refuse_another_zone_at_work(live, "Europe/Berlin", CLOCK.real_us())


def test_a_log_that_begins_later_than_the_windows_changes_nothing_unless_that_is_wanted(live, tmp_path):
    old = written(tmp_path / "old.ndjson", [login(1, at="2026-01-01T10:00:00Z")])
    new = written(tmp_path / "new.ndjson", [login(2, at="2026-03-01T10:00:00Z")])
    ingest(live, old)
    before = windows(live)

    with pytest.raises(ConfigurationError, match="begin on 2026-01-01 and the log begins on 2026-03-01"):
        anew(live, new)
    assert windows(live) == before

    anew(live, new, allow_loss=True)
    assert windows(live) != before
    with live.read() as connection:
        assert connection.scalar(select(family.c.first_day)) == 20_513


def test_what_the_journal_still_holds_is_folded_too_and_is_read_on_from_its_end(live, tmp_path):
    file = written(tmp_path / "log.ndjson", [login(1)])
    with live.write() as connection:
        append(connection, [json.dumps(login(2, user="u2")).encode()], sender="", received_at=0)

    anew(live, file)

    with live.read() as connection:
        rows = connection.execute(select(position.c.partition, position.c.next))
        reached = {row.partition: row.next for row in rows}
    assert reached.pop("journal") == 2
    assert list(reached.values()) == [1]


def test_a_consumer_that_runs_meanwhile_goes_on_from_where_the_log_was_read_to(live, tmp_path):
    """The log has three of its five events: the two behind them are folded once more, into the new windows."""
    bodies = [json.dumps(login(n, user=f"u{n}")).encode() for n in range(5)]
    running = MemorySource()
    running.append("p", *bodies)
    loop = house_of(live).consumer(running)
    loop.drain()
    whole = windows(live)
    file = written(tmp_path / "log.ndjson", [login(n, user=f"u{n}") for n in range(3)])
    anew(live, file)
    assert windows(live) != whole

    # The partition has no position now, so whoever still believes in one is told, reads again, and loses nothing.
    running.append("p", json.dumps(login(5, user="u5")).encode())
    while loop.step(10, timeout_s=0.0) is not None:
        pass
    other = Database(f"sqlite:///{tmp_path / 'scratch.db'}")
    migrate.upgrade(other)
    scratch = MemorySource()
    scratch.append("p", *bodies, json.dumps(login(5, user="u5")).encode())
    house_of(other).consumer(scratch).drain()
    assert windows(live)["acme"][1:3] == windows(other)["acme"][1:3]
    other.close()


def test_a_rebuild_under_load_loses_no_event(live, tmp_path):
    """A writer goes on in a thread of its own while the windows are made anew three times."""
    source, over = MemorySource(), threading.Event()
    source.append("p", *(json.dumps(login(n, user=f"u{n % 50}")).encode() for n in range(4_000)))
    file = written(tmp_path / "log.ndjson", [login(n, user=f"u{n % 50}") for n in range(1_000)])
    house = house_of(live)
    loop = house.consumer(source, behind_batch=100)

    def consume():
        while not over.is_set():
            loop.step(100, timeout_s=0.0)
        for _ in range(20):  # silent turns, after some of which it looks whether its position was moved
            while loop.step(100, timeout_s=0.0) is not None:
                pass

    ingest(live, file)
    writer = threading.Thread(target=consume)
    writer.start()
    try:
        for _ in range(3):
            anew(live, file)
    finally:
        over.set()
        writer.join(60)
    assert not writer.is_alive()
    with live.read() as connection:
        blob = connection.scalar(select(account_window.c.days))
    assert sum(memoryview(blob).cast("H")) == 4_000
