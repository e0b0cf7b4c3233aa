"""What views over the whole portfolio read, on every database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import insert

from alerts.health.state import BANDS, blank
from alerts.queue import Customer
from app.database import accounts, portfolio
from app.database.accounts import Filter
from app.database.engine import Database
from app.database.health import keep_health
from app.database.tables import account, account_window, alert
from consumers.facts import Profile
from tests.contract.conftest import OpenDatabase

DAY = 20_779


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, open_database: OpenDatabase) -> Database:
    return open_database(request.param)


def add(
    database: Database,
    account_id: str,
    band: str | None = None,
    profile: Profile | None = None,
    **columns: object,
) -> int:
    with database.write() as connection:
        made = insert(account).values(account_id=account_id, **columns).returning(account.c.no)
        no = int(connection.execute(made).scalar_one())
        if profile is not None:
            blobs = {"profile": profile.blob(), "days": b"", "users": b"", "login_maps": b"", "moments": b""}
            connection.execute(insert(account_window).values(account_no=no, **blobs))
        if band is not None:
            record = blank(1)
            record["day"], record["band"] = DAY, BANDS.index(band)
            keep_health(connection, [no], record, DAY)
    return no


def add_alert(database: Database, no: int, id_: str, **columns: object) -> None:
    row = {
        "id": id_, "key": id_, "rule": id_, "account_no": no, "account_id": "", "episode": 1, "status": "firing",
        "severity": "high", "title": "", "baseline": False, "dismissed": False, "seq": 1, "rule_version": "",
        "evidence": "{}", "updated_at": 1, "fired_at": 1,
    }  # fmt: skip
    with database.write() as connection:
        connection.execute(insert(alert).values({**row, **columns}))


def test_customers_are_those_who_did_not_churn(database: Database) -> None:
    nos = {
        "told": add(database, "told", lifecycle="churned"),
        "fell": add(database, "fell", mrr_cents=0, profile=Profile(mrr_cents=0, churned=1)),
        "free": add(database, "free", mrr_cents=0, profile=Profile(mrr_cents=0)),
        "pays": add(database, "pays", mrr_cents=5, lifecycle="active", size="smb"),
        "new": add(database, "new"),
    }
    with database.read() as connection:
        found = portfolio.customers(connection, sorted(nos.values()))
        assert [each.account_id for each in found] == ["free", "pays", "new"]
        known = portfolio.directory(connection)
    assert known.nos.tolist() == sorted(nos.values())
    assert known.churned.tolist() == [True, True, False, False, False]
    assert list(known.segments["size"]) == [None, None, None, "smb", None]


def test_customers_by_owner_by_renewal_and_whole(database: Database) -> None:
    more: dict[str, Any] = {
        "name": "Acme",
        "owner": "ada",
        "owner_email": "a@x.example",
        "term_months": 12,
        "currency": "USD",
    }
    no = add(database, "acme", renewal_day=DAY, mrr_cents=7, **more)
    add(database, "between")
    other = add(database, "other", owner_email="ada", renewal_day=DAY + 90)
    late = add(database, "late", owner="ada", renewal_day=DAY + 91)
    with database.read() as connection:
        (acme,) = portfolio.customers(connection, [no])
        assert acme == Customer(no, "acme", "Acme", "ada", "a@x.example", DAY, 12, 7, "USD")
        mine = portfolio.customers(connection, [no, other, late], owner="ada", renewing=(DAY, DAY + 90))
        assert [each.account_no for each in mine] == [no, other]
        assert portfolio.customers(connection, []) == []


def in_bands(database: Database, *bands: str) -> Sequence[str]:
    with database.read() as connection:
        return [each.account_id for each in accounts.page(connection, Filter(bands=bands))]


def test_accounts_by_the_band_in_which_they_closed(database: Database) -> None:
    for band in ("red", "yellow", "green", "unknown"):
        add(database, f"{band}-1", band)
        add(database, f"{band}-2", band)
    add(database, "never-closed")
    assert in_bands(database, "red") == ["red-1", "red-2"]
    assert in_bands(database, "green", "yellow") == ["green-1", "green-2", "yellow-1", "yellow-2"]
    assert in_bands(database, "unknown") == ["never-closed", "unknown-1", "unknown-2"]
    assert in_bands(database, "unknown", "red") == [
        "never-closed",
        "red-1",
        "red-2",
        "unknown-1",
        "unknown-2",
    ]
    assert len(in_bands(database, "unknown", "red", "yellow", "green")) == 9
    with database.read() as connection:
        page = accounts.page(connection, Filter(bands=["red", "unknown"]), limit=2)
        assert [(each.account_id, each.band) for each in page] == [
            ("never-closed", "unknown"),
            ("red-1", "red"),
        ]


def test_without_any_close_everybody_is_unknown(database: Database) -> None:
    add(database, "acme")
    assert in_bands(database, "unknown") == ["acme"]
    assert in_bands(database, "red", "green") == []
    with database.read() as connection:
        nos, records = portfolio.closed_health(connection)
    assert (len(nos), len(records)) == (0, 0)


def test_alerts_that_fire_by_account_and_rule_the_worst_first(database: Database) -> None:
    one, two, three = (add(database, name) for name in ("one", "two", "three"))
    add_alert(database, one, "mild", severity="low")
    add_alert(database, one, "worse", severity="critical", fired_at=9, due_at=10, acknowledged_by="ada")
    add_alert(database, two, "other")
    add_alert(database, three, "over", status="resolved")
    with database.read() as connection:
        assert [each.id for each in portfolio.firing(connection)] == ["worse", "other", "mild"]
        (worse, mild) = portfolio.firing(connection, nos=[one, three])
        assert (worse.id, worse.due_at, worse.acknowledged_by, mild.id) == ("worse", 10, "ada", "mild")
        assert [each.id for each in portfolio.firing(connection, rules=["other", "over"])] == ["other"]
        assert portfolio.firing(connection, rules=[]) == []


def test_the_newest_outcome_that_a_person_said(database: Database) -> None:
    one, two = add(database, "one"), add(database, "two")
    said = {"status": "resolved", "outcome_by": "ada"}
    add_alert(database, one, "old", outcome="saved", outcome_at=5, **said)
    add_alert(database, one, "new", outcome="no_action", outcome_at=6, outcome_note="quiet", **said)
    add_alert(database, two, "by-itself", status="resolved", outcome="churned", outcome_at=9)
    with database.read() as connection:
        assert portfolio.last_said(connection, [one, two]) == {one: ("no_action", 6, "ada", "quiet")}
        assert portfolio.last_said(connection, []) == {}


def test_the_alert_that_fired_and_was_closed_last(database: Database) -> None:
    one, two = add(database, "one"), add(database, "two")
    closed = {"status": "resolved", "seq": 4}
    add_alert(database, one, "old", resolved_at=5, **closed)
    add_alert(database, one, "new", resolved_at=6, **closed)
    add_alert(database, one, "told-for-information", severity="info", resolved_at=7, **closed)
    add_alert(database, one, "never-fired", fired_at=None, resolved_at=7, **closed)
    add_alert(database, one, "fires")
    with database.read() as connection:
        assert portfolio.newest_closed(connection, one) == ("new", 4)
        assert portfolio.newest_closed(connection, two) is None


def test_who_was_rated_with_what_his_ratings_metrics_read(database: Database) -> None:
    add(database, "quiet", profile=Profile())
    no = add(database, "rated", profile=Profile(sentiment=1, sentiment_day=DAY), size="enterprise")
    add(database, "gone", profile=Profile(sentiment=1, sentiment_day=DAY, churned=1))
    with database.read() as connection:
        found = portfolio.rated(connection)
    assert (found.nos, found.account_ids, found.attributes("size")) == ([no], ["rated"], ["enterprise"])


def test_the_history_of_some_days_comes_page_by_page(database: Database) -> None:
    no = add(database, "acme", "red")
    with database.write() as connection:
        record = blank(1)
        record["day"], record["band"], record["score"] = DAY + 1, 3, 8_000
        keep_health(connection, [no], record, DAY + 1)
    with database.read() as connection:
        assert [page.day for page in portfolio.history_pages(connection, DAY, DAY + 5)] == [DAY, DAY + 1]
        (page,) = portfolio.history_pages(connection, DAY + 1, DAY + 1)
    assert (page.page, int(page.records["band"][no]), int(page.records["score"][no])) == (0, 3, 8_000)
