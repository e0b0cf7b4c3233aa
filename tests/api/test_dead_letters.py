"""Rejected events over REST: seen as they came, and sent through again."""

from __future__ import annotations

import base64
import json
from typing import Any

from app.database.journal import JournalSource
from tests.api.house import Api, House
from tests.chunks import one

EARLY = {
    "id": "early",
    "type": "user.login",
    "account_id": "acme",
    "user_id": "u1",
    "occurred_at": "2026-11-22T11:00:00Z",
}


def send(api: Api, *bodies: bytes) -> None:
    answer = api.post(
        "/v1/events", content=b"\n".join(bodies), headers={"Content-Type": "application/x-ndjson"}
    )
    assert answer.status_code == 202


def waiting(api: Api, **query: Any) -> list[dict[str, Any]]:
    return api.walk("/v1/dead-letters", limit=2, **query)


def test_a_rejected_event_is_shown_with_reason_origin_and_bytes(api: Api) -> None:
    send(api, b"\xff<b>\x00")
    [letter] = waiting(api)
    assert (letter["reason"], letter["status"], letter["replayed_at"]) == (
        "unsupported_encoding",
        "waiting",
        None,
    )
    assert letter["origin"] == "POST /v1/events by local, event 0"
    assert letter["body"] == "\ufffd<b>\x00"
    assert base64.b64decode(letter["body_base64"]) == b"\xff<b>\x00"
    assert letter["size"] == 5


def test_a_huge_body_shows_its_beginning(api: Api) -> None:
    send(api, b'{"x": "' + b"y" * 200_000)
    [letter] = waiting(api)
    assert letter["size"] == 200_007
    assert len(letter["body"]) == 2_000
    assert len(base64.b64decode(letter["body_base64"])) == 65_536


def test_they_are_listed_newest_first_and_by_reason(api: Api) -> None:
    send(api, b"{", b"[]", b"{", b"7", b"{")
    assert [letter["id"] for letter in waiting(api)] == [5, 4, 3, 2, 1]
    assert [letter["id"] for letter in waiting(api, reason="not_an_object")] == [4, 2]
    assert len(waiting(api, reason=["not_json", "not_an_object"])) == 5


def test_an_event_that_came_too_early_is_taken_in_when_its_time_has_come(api: Api, house: House) -> None:
    send(api, json.dumps(EARLY).encode())
    assert waiting(api)[0]["reason"] == "in_the_future"
    house.dial.now += 3_600_000_000
    answer = api.post("/v1/dead-letters/replay")
    assert answer.json() == {"replayed": 1, "rejected": [], "next_cursor": None}
    chunk = one(JournalSource(house.database).poll(10, 0))
    assert chunk is not None
    assert json.loads(chunk.bodies[0]) == EARLY
    assert waiting(api) == []
    [letter] = waiting(api, status="replayed")
    assert letter["replayed_at"] == "2026-11-22T11:00:00Z"
    assert api.post("/v1/dead-letters/replay").json()["replayed"] == 0


def test_what_is_still_bad_waits_on_with_its_new_reason(api: Api, house: House) -> None:
    send(api, b"{}")
    with house.database.write() as connection:
        connection.exec_driver_sql("UPDATE dead_letter SET reason = 'in_the_future'")
    answer = api.post("/v1/dead-letters/replay", json={"reason": ["in_the_future"]}).json()
    assert [(each["id"], each["code"]) for each in answer["rejected"]] == [(1, "missing_field")]
    assert waiting(api)[0]["reason"] == "missing_field"


def test_a_replay_may_name_some(api: Api, house: House) -> None:
    send(api, *[json.dumps({**EARLY, "id": f"e{number}"}).encode() for number in range(3)])
    house.dial.now += 3_600_000_000
    assert api.post("/v1/dead-letters/replay", json={"ids": [2, 77]}).json()["replayed"] == 1
    assert [letter["id"] for letter in waiting(api)] == [3, 1]


def test_a_long_replay_goes_on_behind_its_cursor(api: Api) -> None:
    send(api, *[b"{}"] * 2_500)
    cursors: list[str | None] = [None]
    told = 0
    while True:
        body = {"cursor": cursors[-1]} if cursors[-1] else {}
        answer = api.post("/v1/dead-letters/replay", json=body).json()
        told += len(answer["rejected"])
        cursors.append(answer["next_cursor"])
        if cursors[-1] is None:
            break
    assert told == 2_500
    assert len(cursors) == 4


def test_a_cursor_of_another_list_is_refused(api: Api) -> None:
    send(api, *[b"{}"] * 3)
    cursor = api.get("/v1/dead-letters?limit=1").json()["next_cursor"]
    answer = api.post("/v1/dead-letters/replay", json={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")
