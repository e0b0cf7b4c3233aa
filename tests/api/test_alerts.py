"""Alerts over REST: lists that stay put, one with all that is known, and what people do with it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from alerts.alert import AlertStatus, Severity
from app.database.keys import Scope
from app.database.tables import alert_history
from tests.api.house import NOW, Api, House

DAY = 86_400_000_000


@pytest.fixture
def alert_id(house: House) -> str:
    no = house.add_account("acme", name="Acme", owner="ada", owner_email="ada@ourcompany.example")
    return house.add_alert(no, "acme").id


def test_an_alert_comes_with_evidence_history_and_deliveries(api: Api, alert_id: str) -> None:
    alert = api.get(f"/v1/alerts/{alert_id}").json()
    assert (alert["rule"], alert["account_name"], alert["owner"]) == ("login-decline", "Acme", "ada")
    assert (alert["status"], alert["severity"], alert["fired_at"]) == (
        "firing",
        "high",
        "2026-11-22T10:00:00Z",
    )
    assert alert["evidence"] == {"metrics": {"logins.change_28d": -0.25}}
    assert [(move["seq"], move["kind"], move["reason"]) for move in alert["history"]] == [
        (1, "firing", "condition_true")
    ]
    [delivery] = alert["deliveries"]
    assert (delivery["destination"], delivery["kind"], delivery["status"]) == (
        "crm",
        "alert.firing",
        "queued",
    )


def test_an_unknown_alert_is_not_found(api: Api) -> None:
    for method, path in (("GET", ""), ("POST", "/acknowledge"), ("POST", "/resolve"), ("POST", "/snooze")):
        answer = api.request(method, f"/v1/alerts/al_nothing{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "alert_not_found")
        assert answer.json()["detail"] == "there is no alert 'al_nothing'"


def test_pages_together_are_the_whole_list_newest_first(api: Api, house: House) -> None:
    no = house.add_account("acme")
    for number in range(9):
        house.add_alert(
            no, "acme", f"rule-{number}", at=NOW + number // 3 * 1_000_000
        )  # three at each instant
    rows = api.walk("/v1/alerts", limit=2)
    assert len({row["id"] for row in rows}) == 9
    assert [row["opened_at"] for row in rows] == sorted((row["opened_at"] for row in rows), reverse=True)


def test_an_alert_that_opens_meanwhile_shifts_no_page(api: Api, house: House) -> None:
    no = house.add_account("acme")
    known = [house.add_alert(no, "acme", f"rule-{number}", at=NOW + number).id for number in range(6)]
    first = api.get("/v1/alerts?limit=3").json()
    house.add_alert(no, "acme", "newer", at=NOW + 99)
    second = api.get("/v1/alerts", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [row["id"] for row in first["data"] + second["data"]] == known[::-1]


@pytest.mark.parametrize(
    ("query", "rules"),
    [
        ({"status": "open"}, {"firing", "pending"}),
        ({"status": ["resolved", "pending"]}, {"resolved", "pending", "other"}),
        ({"account_id": "other"}, {"other"}),
        ({"rule": ["firing", "other"]}, {"firing", "other"}),
        ({"severity": "critical"}, {"resolved"}),
        ({"owner": "ada"}, {"firing", "pending", "resolved"}),
        ({"owner": "nobody"}, set()),
    ],
)
def test_a_filter_keeps_what_it_says(api: Api, house: House, query: dict[str, Any], rules: set[str]) -> None:
    acme, other = house.add_account("acme", owner="ada"), house.add_account("other")
    house.add_alert(acme, "acme", "firing")
    house.add_alert(acme, "acme", "pending", status=AlertStatus.PENDING, pending_since=NOW, fired_at=None)
    house.add_alert(
        acme, "acme", "resolved", status=AlertStatus.RESOLVED, resolved_at=NOW, severity=Severity.CRITICAL
    )
    house.add_alert(other, "other", "other", status=AlertStatus.RESOLVED, resolved_at=NOW)
    assert {row["rule"] for row in api.walk("/v1/alerts", limit=1, **query)} == rules


def test_acknowledging_says_who_and_why(api: Api, alert_id: str) -> None:
    alert = api.post(
        f"/v1/alerts/{alert_id}/acknowledge", json={"by": "ada", "note": "calling <b>them</b>"}
    ).json()
    assert (alert["acknowledged_by"], alert["acknowledged_at"]) == ("ada", "2026-11-22T10:00:00Z")
    assert alert["status"] == "firing"
    last = alert["history"][-1]
    assert (last["kind"], last["actor"], last["detail"]["note"]) == (
        "acknowledged",
        "ada",
        "calling <b>them</b>",
    )


def test_without_a_body_it_was_the_holder_of_the_key(house: House, alert_id: str) -> None:
    api = Api(house.services(), house.key(Scope.WRITE))
    assert api.post(f"/v1/alerts/{alert_id}/acknowledge").json()["acknowledged_by"] == "test"


def test_acknowledging_twice_changes_nothing(api: Api, alert_id: str) -> None:
    first = api.post(f"/v1/alerts/{alert_id}/acknowledge", json={"by": "ada"})
    second = api.post(f"/v1/alerts/{alert_id}/acknowledge", json={"by": "grace"})
    assert second.status_code == 200
    assert second.json() == first.json()


def test_resolving_closes_and_is_told(api: Api, alert_id: str) -> None:
    alert = api.post(f"/v1/alerts/{alert_id}/resolve", json={"by": "ada"}).json()
    assert (alert["status"], alert["reason"], alert["dismissed"]) == ("resolved", "manual", True)
    assert [each["kind"] for each in alert["deliveries"]] == ["alert.firing", "alert.resolved"]
    assert api.post(f"/v1/alerts/{alert_id}/resolve").json()["seq"] == alert["seq"]


def test_a_resolved_alert_can_be_neither_taken_on_nor_hidden(api: Api, alert_id: str) -> None:
    api.post(f"/v1/alerts/{alert_id}/resolve")
    for verb in ("acknowledge", "snooze"):
        answer = api.post(f"/v1/alerts/{alert_id}/{verb}")
        assert (answer.status_code, answer.json()["code"]) == (409, "alert_not_open")


def test_snoozing_hides_until_an_instant_or_for_a_week(api: Api, house: House, alert_id: str) -> None:
    until = {"until": "2026-11-30T09:00:00+01:00"}
    assert (
        api.post(f"/v1/alerts/{alert_id}/snooze", json=until).json()["snoozed_until"]
        == "2026-11-30T08:00:00Z"
    )
    assert api.post(f"/v1/alerts/{alert_id}/snooze").json()["snoozed_until"] == "2026-11-29T10:00:00Z"


@pytest.mark.parametrize(
    "until",
    [
        "2026-11-22T10:00:00Z",
        "2020-01-01T00:00:00Z",
        "9999-12-31T23:59:59-12:00",
        "2026-11-30T09:00:00",
        "soon",
    ],
)
def test_a_snooze_until_no_time_to_come_is_refused(api: Api, alert_id: str, until: str) -> None:
    answer = api.post(f"/v1/alerts/{alert_id}/snooze", json={"until": until})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == "body.until"


@pytest.mark.parametrize(
    "body",
    [
        {"by": ""},
        {"by": "x" * 201},
        {"by": "a\x00b"},
        {"nobody": "knows"},
        {"note": "x" * 4_001},
        {"by": 7},
        [],
        "x",
    ],
)
def test_a_field_that_nobody_knows_or_that_does_not_fit_is_refused(
    api: Api, alert_id: str, body: Any
) -> None:
    answer = api.post(f"/v1/alerts/{alert_id}/acknowledge", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_one_idempotency_key_is_one_move(api: Api, house: House, alert_id: str) -> None:
    headers = {"Idempotency-Key": "k1", "Content-Type": "application/json"}
    path = f"/v1/alerts/{alert_id}/resolve"
    first = api.post(path, content=b'{"by": "ada", "note": "done"}', headers=headers)
    house.dial.now += DAY // 2
    second = api.post(path, content=b'{"note":"done","by":"ada"}', headers=headers)
    assert second.json() == first.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert api.post(path, json={"by": "grace"}, headers=headers).json()["code"] == "idempotency_conflict"
    with house.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(alert_history)) == 2


def test_a_day_later_an_idempotency_key_is_free_again(api: Api, house: House, alert_id: str) -> None:
    headers = {"Idempotency-Key": "k1"}
    api.post(f"/v1/alerts/{alert_id}/acknowledge", json={"by": "ada"}, headers=headers)
    house.dial.now += DAY + 1
    assert (
        api.post(f"/v1/alerts/{alert_id}/acknowledge", json={"by": "grace"}, headers=headers).status_code
        == 200
    )


def test_a_refused_request_does_not_use_its_idempotency_key_up(api: Api, house: House, alert_id: str) -> None:
    headers = {"Idempotency-Key": "k1"}
    with house.database.write() as connection:
        connection.exec_driver_sql("UPDATE alert SET status = 'pending'")
    assert api.post(f"/v1/alerts/{alert_id}/acknowledge", headers=headers).status_code == 409
    with house.database.write() as connection:
        connection.exec_driver_sql("UPDATE alert SET status = 'firing'")
    assert api.post(f"/v1/alerts/{alert_id}/acknowledge", headers=headers).status_code == 200


def test_what_is_said_of_an_alert_is_in_its_history_and_moves_nothing_else(
    api: Api, house: House, alert_id: str
) -> None:
    before = api.get(f"/v1/alerts/{alert_id}").json()
    house.dial.now += DAY // 2
    api.post(f"/v1/alerts/{alert_id}/comment", json={"note": "they hired a new lead", "by": "ada"})
    alert = api.post(f"/v1/alerts/{alert_id}/feedback", json={"useful": False, "note": "known"}).json()
    assert [(move["seq"], move["kind"], move["actor"], move["at"]) for move in alert["history"][1:]] == [
        (2, "commented", "ada", "2026-11-22T22:00:00Z"),
        (3, "feedback", "local", "2026-11-22T22:00:00Z"),
    ]
    assert [{**move["detail"], "severity": ""} for move in alert["history"][1:]] == [
        {"severity": "", "note": "they hired a new lead"},
        {"severity": "", "useful": False, "note": "known"},
    ]
    changed = {name for name in alert if alert[name] != before[name]}
    assert changed == {"seq", "history"}
    assert api.get(f"/v1/alerts/{alert_id}").json() == alert


def test_a_closed_alert_can_be_spoken_of(api: Api, alert_id: str) -> None:
    api.post(f"/v1/alerts/{alert_id}/resolve")
    alert = api.post(f"/v1/alerts/{alert_id}/feedback", json={"useful": True}).json()
    assert (alert["status"], alert["history"][-1]["detail"]["useful"]) == ("resolved", True)


def test_a_note_to_what_is_done_already_is_a_comment_and_no_earlier_note_is_lost(
    api: Api, alert_id: str
) -> None:
    for note in ("mine", "still mine"):
        api.post(f"/v1/alerts/{alert_id}/acknowledge", json={"note": note, "by": "ada"})
    alert = api.get(f"/v1/alerts/{alert_id}").json()
    assert [(move["kind"], move["detail"].get("note")) for move in alert["history"]] == [
        ("firing", None),
        ("acknowledged", "mine"),
        ("commented", "still mine"),
    ]


def test_one_idempotency_key_is_one_comment(api: Api, alert_id: str) -> None:
    for _ in range(2):
        alert = api.post(
            f"/v1/alerts/{alert_id}/comment", json={"note": "x"}, headers={"Idempotency-Key": "k"}
        ).json()
    assert [move["kind"] for move in alert["history"]] == ["firing", "commented"]


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("comment", None),
        ("comment", {}),
        ("comment", {"note": ""}),
        ("comment", {"note": "x" * 2_001}),
        ("comment", {"note": "a\x00b"}),
        ("comment", {"note": "x", "useful": True}),
        ("feedback", {}),
        ("feedback", {"useful": "yes"}),
        ("feedback", {"useful": None}),
        ("feedback", {"useful": True, "note": "x" * 2_001}),
    ],
)
def test_a_remark_that_says_nothing_or_too_much_is_refused(
    api: Api, alert_id: str, verb: str, body: Any
) -> None:
    answer = api.post(f"/v1/alerts/{alert_id}/{verb}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(("verb", "body"), [("comment", {"note": "x"}), ("feedback", {"useful": True})])
def test_a_remark_needs_the_right_to_write_and_an_alert(house: House, verb: str, body: Any) -> None:
    reader, writer = (
        Api(house.services(), house.key(Scope.READ)),
        Api(house.services(), house.key(Scope.WRITE)),
    )
    assert reader.post(f"/v1/alerts/al_nothing/{verb}", json=body).json()["code"] == "insufficient_scope"
    assert writer.post(f"/v1/alerts/al_nothing/{verb}", json=body).json()["code"] == "alert_not_found"
