"""Windows of an older layout: refused until `db upgrade` has made them anew, and then as if folded by this version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from app.database import layout, migrate
from app.database.engine import Database
from app.database.tables import account_detail, account_window, setting
from app.database.upsert import put_setting
from app.database.windows import SqlWindowStore
from consumers.days import Calendar
from consumers.errors import ConfigurationError
from consumers.facts import PROFILE
from consumers.pipeline import Pipeline
from consumers.source import Chunk
from tests.unit.metric_streams import Stream

NOW = 1_800_000_000_000_000
DAY = 20_500
ZONE = "America/New_York"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'bellwether.db'}"
    if request.param == "postgresql":
        url = str(request.getfixturevalue("postgres"))
    made = Database(url)
    migrate.upgrade(made)
    with made.write() as connection:
        put_setting(connection, "timezone", ZONE)
    yield made
    made.close()


def feed(database: Database, stream: Stream, partition: str = "p") -> None:
    chunk = Chunk(partition, 0, len(stream.lines), stream.lines, list(range(len(stream.lines))))
    Pipeline(SqlWindowStore(database), Calendar(ZONE)).handle([chunk], "test", NOW)


def story() -> Stream:
    stream = Stream()
    for name in ("one", "two", "three"):
        stream.active(name, ("ann", "bob"), range(DAY - 70, DAY, 3))
        stream.active(name, ("bob",), range(DAY - 40, DAY - 30), kind="session.ended", second=1_000)
        for day in range(DAY - 80, DAY - 20, 5):
            stream.add("feature.used", name, day, "ann", feature="reports")
            stream.add("feature.used", name, day + 1, "cy", feature="reports")
            stream.add("feature.used", name, day + 2, "bob", feature="exports")
        stream.add("contact.updated", name, DAY - 9, contact_id="c", user_id="ann", roles=["economic_buyer"])
        stream.add("account.updated", name, DAY - 8, core_features=["exports"], size="smb", owner="ana")
        stream.add("subscription.changed", name, DAY - 7, mrr=100, currency="USD")
        stream.add("sentiment.rated", name, DAY - 6, rating="red")
        stream.add("ticket.opened", name, DAY - 5, ticket_id="t")
    return stream.add("touchpoint.logged", "facts alone", DAY)


def windows(database: Database) -> list[dict[str, Any]]:
    query = select(account_window, account_detail.c.features.label("usage"), account_detail.c.facts)
    with database.read() as connection:
        same = account_detail.c.account_no == account_window.c.account_no
        rows = connection.execute(query.where(same).order_by(account_window.c.account_no))
        return [
            {name: value if isinstance(value, int) else bytes(value) for name, value in row._mapping.items()}
            for row in rows
        ]


def test_windows_of_the_release_before_become_what_this_one_would_have_folded(database: Database) -> None:
    feed(database, story())
    before = windows(database)
    migrate.downgrade(database, "0002")
    with database.read() as connection:
        assert set(connection.scalars(select(func.length(account_window.c.profile)))) == {72}

    migrate.upgrade(database)

    migrate.check(database)
    for was, now in zip(before, windows(database), strict=True):
        assert {name for name in was if was[name] != now[name]} == set()
    assert all(each["moments"] for each in before)


def test_another_layout_is_refused_in_two_lines_that_say_what_to_do(database: Database) -> None:
    with database.write() as connection:
        connection.execute(delete(setting).where(setting.c.key == layout.LAYOUT))

    with pytest.raises(ConfigurationError) as refused:
        migrate.check(database)

    what, todo = str(refused.value).splitlines()
    assert what.endswith("have layout 1, this version works on 2")
    assert todo == "run: bellwether db upgrade"


def test_a_run_that_was_killed_goes_on_where_it_was_and_finds_what_an_old_process_added_behind(
    database: Database,
) -> None:
    feed(database, story())
    before = windows(database)
    last = before[-1]["account_no"]
    with database.write() as connection:
        # The newest account is left to do, and the oldest was written by a release before after its turn.
        connection.execute(update(account_window).values(moments=b""))
        old = update(account_window).where(account_window.c.account_no == before[0]["account_no"])
        connection.execute(old.values(profile=func.substr(account_window.c.profile, 1, PROFILE.size - 1)))
        put_setting(connection, layout.LAYOUT, "1")
        put_setting(connection, "windows_layout_reached", f"2:{last - 1}")

    assert layout.renew(database) == 2

    migrate.check(database)
    assert [bool(each["moments"]) for each in windows(database)] == [True, False, False, True]
    assert windows(database)[0] == before[0]
    with database.read() as connection:
        assert not connection.scalar(select(setting.c.value).where(setting.c.key == "windows_layout_reached"))


def test_a_database_without_accounts_has_this_layout_at_once(database: Database) -> None:
    migrate.check(database)
    assert layout.renew(database) == 0


def test_users_who_come_later_are_found_by_the_people_that_facts_named(database: Database) -> None:
    facts = Stream().add(
        "contact.updated", "acme", DAY, contact_id="c", user_id="boss", roles=["economic_buyer"]
    )
    facts.add("subscription.changed", "acme", DAY, mrr=100, currency="USD")
    feed(database, facts)
    [before] = windows(database)

    feed(database, Stream().add("user.login", "acme", DAY + 1, "boss", id="later"), "q")

    [after] = windows(database)
    assert after["moments"][4:12] == bytes(8)  # the value: his slot
    assert before["moments"][4:12] == b"\xff" * 8
    assert after["ledger"] == before["ledger"] != b""
