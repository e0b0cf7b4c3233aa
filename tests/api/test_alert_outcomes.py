"""What came of an alert, over REST: said when it is closed or later, shown with it, and told in its history."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from app.database.tables import delivery
from tests.api.house import NOW, Api, House

DAY = 86_400_000_000


@pytest.fixture
def alert_id(house: House) -> str:
    return house.add_alert(house.add_account("acme"), "acme").id


def outcome(alert: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(alert[name] for name in ("outcome", "outcome_at", "outcome_by", "outcome_note"))


def test_until_somebody_says_so_nothing_came_of_it(api: Api, alert_id: str) -> None:
    assert outcome(api.get(f"/v1/alerts/{alert_id}").json()) == (None, None, None, None)
    closed = api.post(f"/v1/alerts/{alert_id}/resolve", json={"by": "ada", "note": "done"}).json()
    assert outcome(closed) == (None, None, None, None)
    assert "outcome" not in closed["history"][-1]["detail"]


def test_resolving_with_an_outcome_shows_it_keeps_it_and_tells_it(
    api: Api, house: House, alert_id: str
) -> None:
    body = {"by": "ada", "outcome": "saved", "note": "renewed for a year"}
    closed = api.post(f"/v1/alerts/{alert_id}/resolve", json=body).json()
    assert outcome(closed) == ("saved", "2026-11-22T10:00:00Z", "ada", "renewed for a year")
    last = closed["history"][-1]
    assert (last["kind"], last["actor"]) == ("resolved", "ada")
    assert (last["detail"]["outcome"], last["detail"]["note"]) == ("saved", "renewed for a year")
    with house.database.read() as connection:
        payloads = connection.scalars(select(delivery.c.payload).where(delivery.c.kind == "alert.resolved"))
        assert [json.loads(each)["outcome"] for each in payloads] == ["saved"]


def test_the_outcome_of_a_closed_alert_is_said_as_feedback(api: Api, house: House, alert_id: str) -> None:
    api.post(f"/v1/alerts/{alert_id}/resolve", json={})
    house.dial.now += DAY
    said = api.post(f"/v1/alerts/{alert_id}/feedback", json={"outcome": "false_alarm", "by": "ben"}).json()
    assert outcome(said) == ("false_alarm", "2026-11-23T10:00:00Z", "ben", None)
    house.dial.now += DAY
    both = {"outcome": "no_action", "useful": False, "note": "a test account"}
    said = api.post(f"/v1/alerts/{alert_id}/feedback", json=both).json()
    assert outcome(said)[0] == "no_action"
    details = [move["detail"] for move in said["history"][-2:]]
    assert [(each.get("outcome"), each.get("useful")) for each in details] == [
        ("false_alarm", None),
        ("no_action", False),
    ]
    assert said["status"] == "resolved"


def test_resolving_a_closed_alert_with_an_outcome_says_it_too(api: Api, alert_id: str) -> None:
    first = api.post(f"/v1/alerts/{alert_id}/resolve", json={}).json()
    again = api.post(f"/v1/alerts/{alert_id}/resolve", json={"outcome": "churned", "by": "ada"}).json()
    assert (again["outcome"], again["seq"]) == ("churned", first["seq"] + 1)
    third = api.post(f"/v1/alerts/{alert_id}/resolve", json={"outcome": "churned", "by": "ben"}).json()
    assert third == again


def test_a_comment_after_it_leaves_the_outcome_alone(api: Api, alert_id: str) -> None:
    api.post(f"/v1/alerts/{alert_id}/resolve", json={"outcome": "saved"})
    said = api.post(f"/v1/alerts/{alert_id}/comment", json={"note": "well done"}).json()
    assert said["outcome"] == "saved"
    assert "outcome" not in said["history"][-1]["detail"]


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("resolve", {"outcome": "won"}, "body.outcome"),
        ("feedback", {}, "body"),
        ("feedback", {"note": "hm"}, "body"),
        ("feedback", {"outcome": "saved"}, "body.outcome"),
    ],
)
def test_what_cannot_be_said_is_refused(api: Api, alert_id: str, verb: str, body: Any, field: str) -> None:
    answer = api.post(f"/v1/alerts/{alert_id}/{verb}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == field
    assert api.get(f"/v1/alerts/{alert_id}").json()["seq"] == 1


def test_alerts_by_outcome(api: Api, house: House) -> None:
    no = house.add_account("acme")
    for name in ("saved", "churned", "open"):
        id_ = house.add_alert(no, "acme", name, at=NOW).id
        if name != "open":
            api.post(f"/v1/alerts/{id_}/resolve", json={"outcome": name})
    assert {row["rule"] for row in api.walk("/v1/alerts", outcome=["saved", "churned"])} == {
        "saved",
        "churned",
    }
    assert [row["rule"] for row in api.walk("/v1/alerts", outcome="saved")] == ["saved"]


def test_outcomes_by_rule_as_csv(api: Api, alert_id: str) -> None:
    api.post(f"/v1/alerts/{alert_id}/resolve", json={"outcome": "saved"})
    answer = api.get("/v1/alerts/outcomes", params={"format": "csv"})
    assert answer.content.decode("utf-8-sig").splitlines() == [
        "rule,closed,saved,churned,false_alarm,no_action,untold,worth",
        "login-decline,1,1,0,0,0,0,1.0",
    ]
