"""Destinations and deliveries over REST."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.house import NOW, Api, House


@pytest.fixture
def deliveries(house: House) -> list[int]:
    """Three deliveries of three alerts: one queued, one sent, one parked an hour later. Their ids."""
    no = house.add_account("acme")
    for number in range(3):
        house.add_alert(no, "acme", f"rule-{number}")
    with house.database.write() as connection:
        connection.exec_driver_sql("UPDATE delivery SET status = 'sent', settled_at = ? WHERE id = 2", (NOW,))
        connection.exec_driver_sql(
            "UPDATE delivery SET status = 'parked', attempts = 10, created_at = created_at + 3600000000, detail = '500'"
            " WHERE id = 3"
        )
    return [1, 2, 3]


@pytest.mark.usefixtures("deliveries")
def test_a_destination_shows_how_its_deliveries_stand_and_no_address(api: Api) -> None:
    answer = api.get("/v1/destinations")
    [crm] = answer.json()["data"]
    assert (crm["name"], crm["kind"], crm["status"]) == ("crm", "webhook", "enabled")
    assert crm["deliveries"] == {"queued": 1, "sent": 1, "parked": 1}
    assert "crm.example" not in answer.text
    assert "whsec_" not in answer.text


def test_a_disabled_destination_says_why(api: Api, house: House) -> None:
    house.outbox.sync_destinations({"crm": "webhook"}, NOW)
    with house.database.write() as connection:
        connection.exec_driver_sql("UPDATE destination SET status = 'disabled', reason = 'gone'")
    [crm] = api.get("/v1/destinations").json()["data"]
    assert (crm["status"], crm["reason"]) == ("disabled", "gone")


def test_pages_of_destinations_together_are_all_of_them(api: Api, house: House) -> None:
    house.outbox.sync_destinations({"crm": "webhook", "chat": "slack", "old": "webhook"}, NOW)
    for limit in (1, 2, 200):
        names = [row["name"] for row in api.walk("/v1/destinations", limit=limit)]
        assert sorted(names) == ["chat", "crm", "old"]


def test_deliveries_are_listed_newest_first(api: Api, deliveries: list[int]) -> None:
    assert [row["id"] for row in api.walk("/v1/deliveries", limit=1)] == deliveries[::-1]


@pytest.mark.usefixtures("deliveries")
@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"status": ["sent", "parked"]}, [3, 2]),
        ({"destination": "crm"}, [3, 2, 1]),
        ({"destination": "slack"}, []),
        ({"account_id": "acme"}, [3, 2, 1]),
        ({"alert_id": "al_none"}, []),
    ],
)
def test_a_filter_keeps_what_it_says(api: Api, query: dict[str, Any], ids: list[int]) -> None:
    assert [row["id"] for row in api.walk("/v1/deliveries", **query)] == ids


@pytest.mark.usefixtures("deliveries")
def test_only_what_waits_has_a_next_attempt(api: Api) -> None:
    waits = {row["status"]: row["next_attempt_at"] is not None for row in api.walk("/v1/deliveries")}
    assert waits == {"queued": True, "sent": False, "parked": False}


@pytest.mark.usefixtures("deliveries")
@pytest.mark.parametrize(
    ("body", "queued"),
    [
        (None, {3}),
        ({"ids": [2, 3]}, {2, 3}),
        ({"ids": [1, 999]}, set()),
        ({"destination": "crm"}, {3}),
        ({"destination": "slack"}, set()),
        ({"since": "2026-11-22T10:30:00Z"}, {3}),
        ({"until": "2026-11-22T10:30:00Z"}, set()),
    ],
)
def test_a_replay_queues_what_it_names_under_the_same_ids(api: Api, body: Any, queued: set[int]) -> None:
    before = {row["id"]: row["webhook_id"] for row in api.walk("/v1/deliveries")}
    answer = api.post("/v1/deliveries/replay", json=body) if body else api.post("/v1/deliveries/replay")
    assert answer.json() == {"replayed": len(queued)}
    after = {row["id"]: row for row in api.walk("/v1/deliveries")}
    assert {id_ for id_, row in after.items() if row["status"] == "queued"} == {1} | queued
    assert {id_: row["webhook_id"] for id_, row in after.items()} == before


@pytest.mark.parametrize(
    "body",
    [{"ids": []}, {"ids": [0]}, {"ids": [2**63]}, {"ids": [1], "destination": "crm"}, {"until": "later"}],
)
def test_a_replay_of_nothing_that_can_be_named_is_refused(api: Api, body: Any) -> None:
    answer = api.post("/v1/deliveries/replay", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.usefixtures("deliveries")
def test_one_idempotency_key_is_one_replay(api: Api, house: House) -> None:
    headers = {"Idempotency-Key": "again"}
    assert api.post("/v1/deliveries/replay", headers=headers).json() == {"replayed": 1}
    with house.database.write() as connection:
        connection.exec_driver_sql("UPDATE delivery SET status = 'parked' WHERE id = 3")
    assert api.post("/v1/deliveries/replay", headers=headers).json() == {"replayed": 1}
    assert api.walk("/v1/deliveries", status="parked")
