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
from consumers.errors import ConfigurationError, StorageBusy
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


def fact(kind, account="acme", at="2026-01-02T10:00:00Z", **data):
    return {
        "id": f"{kind}-{account}-{at}",
        "type": kind,
        "account_id": account,
        "occurred_at": at,
        "data": data,
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


def anew(live, *files, allow_loss=False, heard=lambda: None, **settings):
    """``heard`` is called after every batch."""
    url = live.url.render_as_string(hide_password=False)
    return rebuild(
        Settings(database_url=url, **settings),
        CLOCK,
        live,
        files,
        lambda _source, _handled: heard(),
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

    with pytest.raises(
        ConfigurationError, match="begin on 2026-03-01 in the log, in the windows on 2026-01-01"
    ):
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


def test_facts_and_quiet_accounts_that_the_log_has_forgotten_are_missed_though_every_day_is_there(
    live, tmp_path
):
    logins = [login(1), login(2, account="other"), login(3, account="quiet")]
    feature = {**login(4, at="2025-12-01T10:00:00Z"), "type": "feature.used", "data": {"feature": "export"}}
    told = [
        fact("account.updated", owner="Ann", name="Acme"),
        fact("subscription.changed", "other", status="active", mrr="100.00", currency="EUR"),
        fact("champion.changed", "other", contact_id="c1", change="assigned"),
    ]
    whole = written(tmp_path / "whole.ndjson", [*logins, feature, *told])
    ingest(live, whole)
    before = windows(live)
    assert len(before) == 3

    for lacking, missed in (
        ([*logins[:2], feature, *told], "1 accounts would have no windows any more"),
        ([*logins, feature, *told[1:]], r"1 accounts would lose facts \(name, owner\)"),
        ([*logins, feature, *told[:1]], r"1 accounts would lose facts \(.*mrr_cents.*\)"),
        ([*logins, feature], r"2 accounts would lose facts"),
        (
            [*({**each, "occurred_at": "2026-02-01T10:00:00Z"} for each in logins), feature, *told],
            "begin on 2026-02-01",
        ),
    ):
        with pytest.raises(ConfigurationError, match=missed) as refused:
            anew(live, written(tmp_path / "lacking.ndjson", lacking))
        assert len(str(refused.value).splitlines()) == 2
        assert windows(live) == before
    assert anew(live, whole).not_given == []
    swapped = anew(live, written(tmp_path / "lacking.ndjson", logins), allow_loss=True)
    assert list(swapped.not_given) == ["whole.ndjson"]


def test_what_a_running_consumer_learns_meanwhile_is_no_loss(live, tmp_path):
    file = written(tmp_path / "log.ndjson", [login(1)])
    later = written(
        tmp_path / "later.ndjson", [login(2, account="new"), fact("account.updated", owner="Ann")]
    )
    ingest(live, file)
    assert anew(live, file, heard=lambda: ingest(live, later)).emptied == 1


def test_files_alone_are_refused_where_topics_are_read_too(live, tmp_path):
    file = written(tmp_path / "log.ndjson", [login(1)])
    with pytest.raises(ConfigurationError, match="Kafka is configured") as refused:
        anew(live, file, kafka_bootstrap_servers="127.0.0.1:1")
    assert len(str(refused.value).splitlines()) == 2
    with live.write() as connection:
        connection.execute(
            insert(position).values(partition="bellwether.logins/0", next=7, behind=False, updated_at=0)
        )
    with pytest.raises(ConfigurationError, match="topics were read into these windows"):
        anew(live, file)
    assert anew(live, file, allow_loss=True).accounts == 1


def test_a_process_that_comes_meanwhile_with_the_old_zone_stops_the_swap(live, tmp_path):
    file = written(tmp_path / "log.ndjson", [login(1, at="2026-01-01T23:30:00Z")])
    ingest(live, file)
    before = windows(live)

    def starts():
        with live.write() as connection:
            connection.execute(
                insert(process).values(id="late", role="all", beat_at=CLOCK.real_us(), trouble="")
            )

    with pytest.raises(ConfigurationError, match="1 running processes fold in UTC"):
        anew(live, file, heard=starts, timezone="Europe/Berlin")
    assert windows(live) == before
    house_of(live)


def test_one_rebuild_at_a_time(live, tmp_path):
    file = written(tmp_path / "log.ndjson", [login(1)])
    second = []

    def again():
        with pytest.raises(StorageBusy, match="another process rebuilds") as refused:
            anew(live, file)
        second.append(str(refused.value).splitlines())

    assert anew(live, file, heard=again).accounts == 1
    assert [len(lines) for lines in second] == [2]
    assert anew(live, file).accounts == 1


def test_tables_that_others_hold_for_longer_than_a_wait_cost_no_rebuild(database_url, tmp_path):
    """Somebody writes for three times as long as one try of the swap waits."""
    live = Database(database_url, busy_timeout_s=0.2)
    holds, over = threading.Event(), threading.Event()

    def hold():
        with live.write() as connection:
            connection.execute(position.delete().where(position.c.next < 0))
            holds.set()
            over.wait(0.7)

    holder = threading.Thread(target=hold)

    def begin():
        holder.start()
        assert holds.wait(10)

    try:
        assert anew(live, written(tmp_path / "log.ndjson", [login(1)]), heard=begin).accounts == 1
    finally:
        over.set()
        holder.join(10)
        live.close()


def test_a_journal_that_grows_as_fast_as_it_is_read_is_read_to_where_it_ended(live, tmp_path):
    numbers = iter(range(100, 100_000))

    def more():
        with live.write() as connection:
            append(connection, [json.dumps(login(next(numbers))).encode()], sender="", received_at=0)

    more()
    anew(live, written(tmp_path / "log.ndjson", [login(1)]), heard=more)
    assert next(numbers) < 110
