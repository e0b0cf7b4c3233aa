"""The intervention queue over REST: who is in it, in which order, with what, and how one is closed."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from alerts.alert import AlertStatus, Severity
from app.database.tables import account_window
from consumers.facts import Profile
from tests.api.closes import close
from tests.api.house import NOW, TODAY, Api, House, csv_rows

QUEUE = "/v1/interventions"
DAY = 86_400_000_000


def add(
    house: House, account_id: str, band: str, days: int = 0, renewal: int | None = None, **more: Any
) -> int:
    """An account, in its band for so many days, with its renewal so many days ahead."""
    day = None if renewal is None else TODAY + renewal
    no = house.add_account(account_id, renewal_day=day, **more)
    close(house, {no: band}, days_in_band=days)
    return no


def ids(api: Api, **query: Any) -> list[str]:
    return [each["account_id"] for each in api.walk(QUEUE, **query)]


def test_everybody_with_a_reason_in_the_order_of_the_queue(api: Api, house: House) -> None:
    add(house, "yellow-soon", "yellow", 3, 5)
    add(house, "red-later", "red", 3, 60, mrr_cents=1)
    add(house, "red-rich", "red", 3, 60, mrr_cents=900)
    add(house, "red-far", "red", 3, 91)
    add(house, "red-never", "red", 3)
    add(house, "red-past", "red", 3, -1)
    add(house, "yellow-long", "yellow", 28)
    add(house, "yellow-short", "yellow", 27, 91)
    add(house, "green-soon", "green", 300, 5)
    add(house, "unknown-soon", "unknown", 300, 5)
    add(house, "monthly", "yellow", 3, 5, term_months=1)
    house.add_account("never-closed", renewal_day=TODAY)
    expected = ["red-rich", "red-later", "yellow-soon", "red-far", "red-never", "red-past", "yellow-long"]
    assert ids(api) == expected
    assert ids(api, limit=2) == expected


def test_a_row_says_whose_it_is_why_and_what_is_open(api: Api, house: House) -> None:
    no = add(
        house, "acme", "red", 3, 60, name="Acme", owner="ada", owner_email="ada@x.example", mrr_cents=120_050,
        currency="USD",
    )  # fmt: skip
    low = house.add_alert(no, "acme", "seats", severity=Severity.MEDIUM, due_at=NOW + DAY)
    high = house.add_alert(no, "acme", "logins", due_at=NOW + 2 * DAY)
    house.add_alert(no, "acme", "waits", status=AlertStatus.PENDING, pending_since=NOW, fired_at=None)
    answer = api.get(QUEUE).json()
    assert (answer["as_of"], answer["next_cursor"]) == ("2026-11-21", None)
    (row,) = answer["data"]
    alerts = row.pop("open_alerts")
    assert row == {
        "account_id": "acme",
        "name": "Acme",
        "owner": "ada",
        "owner_email": "ada@x.example",
        "mrr": "1200.50",
        "currency": "USD",
        "renewal_date": "2027-01-21",
        "days_to_renewal": 60,
        "band": "red",
        "days_in_band": 3,
        "score": 50.0,
        "reasons": ["red", "renewing_90_days"],
        "due_at": "2026-11-23T10:00:00Z",
        "last_outcome": None,
    }
    assert [(each["id"], each["rule"], each["severity"]) for each in alerts] == [
        (high.id, "logins", "high"),
        (low.id, "seats", "medium"),
    ]
    assert alerts[1]["due_at"] == "2026-11-23T10:00:00Z"


def test_one_owners_customers(api: Api, house: House) -> None:
    add(house, "hers", "red", owner="ada")
    add(house, "hers-too", "yellow", 40, owner_email="ada")
    add(house, "his", "red", owner="ben")
    assert ids(api, owner="ada") == ["hers", "hers-too"]
    assert ids(api, owner="nobody") == []


def test_who_churned_is_in_no_queue_and_who_never_paid_is(api: Api, house: House) -> None:
    add(house, "told", "red", lifecycle="churned")
    for name, churned in (("fell-to-nothing", 1), ("free", 0)):
        no = add(house, name, "red", mrr_cents=0)
        with house.database.write() as connection:
            blobs = {"days": b"", "users": b"", "login_maps": b""}
            profile = Profile(mrr_cents=0, churned=churned).blob()
            connection.execute(insert(account_window).values(account_no=no, profile=profile, **blobs))
    assert ids(api) == ["free"]


def test_as_csv_the_whole_queue_with_formulas_defused(api: Api, house: House) -> None:
    for number in range(5):
        no = add(house, f"a{number}", "red", 30, 60, name="=HYPERLINK(1)")
        house.add_alert(no, f"a{number}", "logins", due_at=NOW + number * DAY)
    answer = api.get(QUEUE, params={"format": "csv"})
    assert answer.headers["content-disposition"] == 'attachment; filename="interventions-2026-11-21.csv"'
    rows = csv_rows(answer)
    assert [row["account_id"] for row in rows] == [f"a{number}" for number in range(5)]
    assert rows[1]["name"] == "'=HYPERLINK(1)"
    assert (rows[1]["reasons"], rows[1]["open_alerts"]) == ("red renewing_90_days", "logins")
    assert rows[1]["due_at"] == "2026-11-23T10:00:00Z"


def test_a_cursor_of_another_list_is_refused(api: Api, house: House) -> None:
    for number in range(3):
        house.add_account(f"a{number}")
    cursor = api.get("/v1/accounts", params={"limit": 1}).json()["next_cursor"]
    answer = api.get(QUEUE, params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


# --- closing


def test_closing_resolves_what_fires_with_the_outcome_and_shows_it(api: Api, house: House) -> None:
    no = add(house, "a/b", "red")
    risky = [house.add_alert(no, "a/b", name).id for name in ("logins", "seats")]
    upsell = house.add_alert(no, "a/b", "upsell", severity=Severity.INFO).id
    body = {"outcome": "saved", "by": "ada", "note": "signed"}
    answer = api.post(f"{QUEUE}/a%2Fb/resolve", json=body)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["account_id"], answer.json()["outcome"]) == ("a/b", "saved")
    assert sorted(answer.json()["alerts"]) == sorted(risky)
    alert = api.get(f"/v1/alerts/{risky[0]}").json()
    assert (alert["status"], alert["outcome"], alert["outcome_by"]) == ("resolved", "saved", "ada")
    assert alert["history"][-1]["detail"]["note"] == "signed"
    (row,) = api.get(QUEUE).json()["data"]
    assert [each["id"] for each in row["open_alerts"]] == [upsell]
    assert row["last_outcome"] == {
        "outcome": "saved",
        "at": "2026-11-22T10:00:00Z",
        "by": "ada",
        "note": "signed",
    }


def test_closing_needs_an_outcome_and_an_account(api: Api, house: House) -> None:
    add(house, "acme", "red")
    assert api.post(f"{QUEUE}/acme/resolve", json={}).status_code == 422
    assert api.post(f"{QUEUE}/acme/resolve", json={"outcome": "won"}).status_code == 422
    assert (
        api.post(f"{QUEUE}/nobody/resolve", json={"outcome": "saved"}).json()["code"] == "account_not_found"
    )


def test_with_nothing_firing_the_newest_closed_alert_gets_the_outcome(api: Api, house: House) -> None:
    no = add(house, "acme", "red")
    closed = {"status": AlertStatus.RESOLVED, "severity": Severity.HIGH}
    newest = house.add_alert(no, "acme", "logins", **closed, resolved_at=NOW - DAY).id
    house.add_alert(no, "acme", "seats", **closed, resolved_at=NOW - 2 * DAY)
    house.add_alert(no, "acme", "waited", **closed, resolved_at=NOW, fired_at=None)
    house.add_alert(no, "acme", "grew", **{**closed, "severity": Severity.INFO}, resolved_at=NOW)
    upsell = house.add_alert(no, "acme", "upsell", severity=Severity.INFO).id
    body = {"outcome": "saved", "by": "ada", "note": "signed"}
    for _ in range(2):  # said twice it is so once
        answer = api.post(f"{QUEUE}/acme/resolve", json=body)
        assert (answer.status_code, answer.json()["alerts"]) == (200, [])
        assert answer.json()["closed_before"] == newest
    (row,) = api.get(QUEUE).json()["data"]
    assert row["last_outcome"]["note"] == "signed"
    alert = api.get(f"/v1/alerts/{newest}").json()
    assert (alert["outcome"], alert["outcome_by"], alert["outcome_note"]) == ("saved", "ada", "signed")
    assert [(each["kind"], each["detail"].get("note")) for each in alert["history"]] == [
        ("firing", None),
        ("feedback", "signed"),
    ]
    assert api.get(f"/v1/alerts/{upsell}").json()["status"] == "firing"


def test_an_outcome_that_no_alert_could_keep_is_refused(api: Api, house: House) -> None:
    no = add(house, "acme", "red")
    house.add_alert(no, "acme", "upsell", severity=Severity.INFO)
    answer = api.post(f"{QUEUE}/acme/resolve", json={"outcome": "saved"}, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_close")
    assert "rating" in answer.json()["detail"]
    house.add_alert(no, "acme", "logins")
    answer = api.post(f"{QUEUE}/acme/resolve", json={"outcome": "saved"}, headers={"Idempotency-Key": "k"})
    assert len(answer.json()["alerts"]) == 1


def test_what_is_information_is_due_to_nobody(api: Api, house: House) -> None:
    no = add(house, "acme", "red")
    house.add_alert(no, "acme", "upsell", severity=Severity.INFO, due_at=NOW + DAY)
    assert api.get(QUEUE).json()["data"][0]["due_at"] is None
    house.add_alert(no, "acme", "logins", due_at=NOW + 2 * DAY)
    assert api.get(QUEUE).json()["data"][0]["due_at"] == "2026-11-24T10:00:00Z"


# --- wrong


@pytest.mark.parametrize(
    "wanted", [{"limit": 0}, {"limit": 201}, {"owner": ""}, {"format": "xml"}, {"band": "red"}]
)
def test_a_wrong_question_says_which_field(api: Api, wanted: dict[str, Any]) -> None:
    answer = api.get(QUEUE, params=wanted)
    assert answer.json()["code"] == "invalid_request"
    assert answer.json()["errors"][0]["field"] == f"query.{next(iter(wanted))}"
