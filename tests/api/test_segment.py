"""Segment's addresses: its SDKs send here unchanged, and whatever they send is an event or a dead letter."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.database import dead_letters
from app.database.dead_letters import DeadLetter
from app.database.journal import JournalSource
from app.database.keys import Scope
from app.database.tables import counter
from app.http.edge import BODY_LIMIT
from app.http.gate import WRITE_KEY_PATHS
from app.http.intake import MOST_LINES
from app.http.problems import Problem
from app.http.segment import batch, enriched, read_document
from consumers.days import instant
from consumers.decode import Rejection, decode
from consumers.events import AccountUpdated, FeatureUsed, UserLogin, UserUpdated
from tests.api.house import NOW, Api, House
from tests.chunks import one
from tests.unit.test_cloudevents import json_values

TAKEN = {"success": True}
CONTEXT = {"groupId": "acme"}


def track(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "messageId": f"m-{number}",
        "userId": "u1",
        "event": "Signed In",
        "timestamp": "2026-11-22T09:00:00.000Z",
        "context": CONTEXT,
    } | changes


def stored(house: House) -> list[Any]:
    chunk = one(JournalSource(house.database).poll(100_000, 0))
    return [decode(body, NOW) for body in chunk.bodies] if chunk else []


def letters(house: House) -> list[DeadLetter]:
    with house.database.read() as connection:
        return list(dead_letters.page(connection))


def basic(user: str, password: str = "") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("path", "message", "kind"),
    [
        ("track", track(), UserLogin),
        ("t", track(), UserLogin),
        ("identify", track(event=None, traits={"name": "Ada"}), UserUpdated),
        ("group", track(event=None, groupId="acme", traits={"name": "Acme"}), AccountUpdated),
        ("page", track(event=None, name="Reports"), FeatureUsed),
        ("screen", track(event=None, name="Reports"), FeatureUsed),
    ],
)
def test_each_address_takes_its_kind_of_message(
    house: House, api: Api, path: str, message: dict[str, Any], kind: type
) -> None:
    answer = api.post(f"/v1/{path}", json=message)
    assert (answer.status_code, answer.json()) == (200, TAKEN)
    assert [type(event) for event in stored(house)] == [kind]
    assert house.doorbell.wait(0)


def test_a_batch_is_each_message_by_itself_with_what_the_batch_says_of_all(house: House, api: Api) -> None:
    body = {
        "batch": [
            track(1, type="track", context=None),
            track(2, type="track", context={"groupId": "globex"}),
            track(3, type="identify", context={"ip": "::1"}),
            "not a message",
            track(4),
            track(5, type="track", event=""),
        ],
        "context": CONTEXT,
        "sentAt": "2026-11-22T09:59:59Z",
    }
    answer = api.post("/v1/batch", json=body)
    assert (answer.status_code, answer.json()) == (200, TAKEN)
    assert [(event.id, event.account_id) for event in stored(house)] == [
        ("m-1", "acme"),
        ("m-2", "globex"),
        ("m-3", "acme"),
    ]
    assert [(letter.reason, letter.origin) for letter in reversed(letters(house))] == [
        ("not_an_object", "POST /v1/batch by local, event 3"),
        ("missing_field", "POST /v1/batch by local, event 4"),
        ("missing_field", "POST /v1/batch by local, event 5"),
    ]


def test_a_message_of_another_kind_of_its_own_is_what_its_address_says(house: House, api: Api) -> None:
    api.post("/v1/track", json=track(type="alias"))
    assert type(stored(house)[0]) is UserLogin


def test_an_alias_is_answered_and_put_aside(house: House, api: Api) -> None:
    answer = api.post("/v1/alias", json={"messageId": "m", "previousId": "a", "userId": "b"})
    assert (answer.status_code, answer.json()) == (200, TAKEN)
    assert [letter.reason for letter in letters(house)] == ["unknown_type"]


@pytest.mark.parametrize("media_type", ["application/json", "text/plain;charset=UTF-8", None])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_body_may_be_zipped_and_called_text(
    house: House, api: Api, media_type: str | None, zipped: bool
) -> None:
    body = json.dumps(track()).encode()
    headers = {"Content-Type": media_type} if media_type else {}
    if zipped:
        body, headers = gzip.compress(body), headers | {"Content-Encoding": "gzip"}
    assert api.post("/v1/track", content=body, headers=headers).json() == TAKEN
    assert len(stored(house)) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("track", b""),
        ("track", b"{"),
        ("track", b"[]"),
        ("track", b"null"),
        ("track", b"\xff"),
        ("track", b'{"a":' + b"[" * 60_000),
        ("batch", b"{}"),
        ("batch", b'{"batch": {}}'),
        ("batch", b'{"batch": null}'),
    ],
)
def test_what_is_no_message_at_all_is_refused(house: House, api: Api, path: str, body: bytes) -> None:
    answer = api.post(f"/v1/{path}", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body")
    assert letters(house) == []


def test_a_body_may_be_as_large_as_one_of_events(house: House, api: Api) -> None:
    body = {"batch": [track(number, type="track", pad="x" * 1_000) for number in range(1_000)]}
    assert len(json.dumps(body)) > BODY_LIMIT
    assert api.post("/v1/batch", json=body).json() == TAKEN
    assert len(stored(house)) == 1_000


def test_too_many_messages_and_too_much_said_of_all_are_refused(api: Api) -> None:
    lines = b'{"batch": [' + b",".join([b"1"] * (MOST_LINES + 1)) + b"]}"
    assert api.post("/v1/batch", content=lines).json()["code"] == "too_many_events"
    wide = {"batch": [{}] * 1_000, "context": {"x": "y" * 100_000}}
    assert api.post("/v1/batch", json=wide).json()["code"] == "body_too_large"


def test_half_an_emoji_in_one_message_takes_no_other_with_it(house: House, api: Api) -> None:
    odd = track(1, type="track", properties={"note": "\ud83d"}, writeKey="secret")
    wrong = track(2, type="track", userId="\ud83d")
    odd |= {"\ud83d": 1}
    body = json.dumps({"batch": [odd, wrong, track(3, type="track")], "context": {"app": "\ud83d"}})
    assert api.post("/v1/batch", content=body).json() == TAKEN
    assert [event.id for event in stored(house)] == ["m-1", "m-3"]
    assert [letter.reason for letter in letters(house)] == ["bad_value"]


# --- keys --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(WRITE_KEY_PATHS))
def test_a_write_key_is_an_api_key_with_the_scope_ingest(house: House, path: str) -> None:
    good, poor = house.key(Scope.INGEST), house.key(Scope.READ)
    api = Api(house.services())
    message = {"batch": []} if path in {"/v1/batch", "/v1/b"} else track()
    for headers, key in (
        (basic(good), None),
        (basic(good, "ignored"), None),
        ({"Authorization": f"Bearer {good}"}, None),
        ({}, good),
    ):
        answer = api.post(path, json=message | {"writeKey": key}, headers=headers)
        assert (answer.status_code, answer.json()) == (200, TAKEN)
    refused: list[tuple[dict[str, str], Any, tuple[int, str]]] = [
        (basic(poor), None, (403, "insufficient_scope")),
        ({}, poor, (403, "insufficient_scope")),
        (basic("bw_wrong"), good, (401, "invalid_key")),
        ({"Authorization": "Basic !"}, good, (401, "invalid_key")),
        ({}, "bw_wrong", (401, "invalid_key")),
        ({}, "", (401, "missing_key")),
        ({}, 7, (401, "missing_key")),
        ({}, None, (401, "missing_key")),
    ]
    for headers, given_key, expected in refused:
        answer = api.post(path, json=message | {"writeKey": given_key}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == expected


def test_basic_auth_opens_nothing_else(house: House) -> None:
    api = Api(house.services())
    key = house.key(Scope.ADMIN)
    for method, path in (("POST", "/v1/events"), ("GET", "/v1/accounts")):
        answer = api.request(method, path, headers=basic(key))
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_key")


def test_a_write_key_is_kept_nowhere(house: House) -> None:
    key = house.key(Scope.INGEST)
    api = Api(house.services())
    api.post("/v1/track", json=track(writeKey=key))
    api.post("/v1/batch", json={"batch": [track(2, writeKey=key), track(3, type="track", writeKey=key)],
                                "writeKey": key})  # fmt: skip
    chunk = one(JournalSource(house.database).poll(10, 0))
    assert chunk is not None
    kept = [*chunk.bodies, *(letter.body for letter in letters(house))]
    assert len(kept) == 3
    assert not any(key.encode() in body for body in kept)


def test_without_any_key_no_page_of_another_site_may_send(api: Api) -> None:
    answer = api.post("/v1/t", content=b"{}", headers={"Origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_refused")


# --- time and identity ---------------------------------------------------------------------------------------------


def test_a_message_without_a_time_happened_when_it_came(house: House, api: Api) -> None:
    api.post("/v1/track", json=track(timestamp=None))
    assert stored(house)[0].occurred_at == instant(NOW)


def test_a_clock_that_runs_ahead_is_set_right(house: House, api: Api) -> None:
    ahead = {"timestamp": "2027-01-01T08:59:30Z", "sentAt": "2027-01-01T09:00:00Z"}
    api.post("/v1/track", json=track(1, **ahead))
    api.post("/v1/batch", json={"batch": [track(2, type="track", timestamp=ahead["timestamp"])],
                                "sentAt": ahead["sentAt"]})  # fmt: skip
    assert [event.occurred_at for event in stored(house)] == [instant(NOW - 30_000_000)] * 2


def test_a_time_that_is_possible_stands_whatever_the_clock_says(house: House, api: Api) -> None:
    api.post("/v1/track", json=track(1, sentAt="2027-01-01T09:00:00Z"))
    api.post("/v1/track", json=track(2, sentAt="2020-01-01T09:00:00Z"))
    assert {event.occurred_at.isoformat() for event in stored(house)} == {"2026-11-22T09:00:00+00:00"}
    api.post("/v1/track", json=track(3, timestamp="2027-01-01T09:00:00Z"))
    assert [letter.reason for letter in letters(house)] == ["in_the_future"]


def test_a_message_sent_again_counts_once(house: House, api: Api) -> None:
    unnamed = {name: value for name, value in track().items() if name != "messageId"}
    for sent_at in ("2026-11-22T09:59:58Z", "2026-11-22T09:59:59Z"):
        api.post("/v1/track", json=track(1, sentAt=sent_at))
        api.post("/v1/batch", json={"batch": [unnamed | {"type": "track"}], "sentAt": sent_at})
    house.dial.now += 1_000_000
    api.post("/v1/batch", json={"batch": [track(1, type="track")]})
    house.parts.consumer(JournalSource(house.database)).drain()
    with house.database.read() as connection:
        counted = {row.name: row.value for row in connection.execute(select(counter.c.name, counter.c.value))}
    assert counted == {"accepted": 2, "duplicate": 3}


def test_messages_without_id_and_time_are_each_their_own(house: House, api: Api) -> None:
    bare = {"type": "track", "userId": "u1", "event": "x", "context": CONTEXT}
    api.post("/v1/batch", json={"batch": [bare, bare]})
    house.dial.now += 1
    api.post("/v1/batch", json={"batch": [bare]})
    assert len({event.id for event in stored(house)}) == 3


def test_any_page_may_read_the_answer(api: Api) -> None:
    assert api.post("/v1/t", json=track()).headers["access-control-allow-origin"] == "*"


@given(
    told=st.dictionaries(
        st.sampled_from(["messageId", "type", "timestamp", "sentAt", "receivedAt", "context", "writeKey"]),
        json_values,
    ),
    shared=st.dictionaries(st.sampled_from(["context", "integrations", "sentAt"]), json_values),
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_message_of_a_batch_gets_an_answer(told: dict[str, Any], shared: dict[str, Any]) -> None:
    document = read_document(json.dumps({"batch": [told, [told]], **shared}).encode())
    assert document is not None
    try:
        bodies = batch(document, NOW)
    except Problem:
        return
    assert len(bodies) == 2
    assert isinstance(decode(bodies[1], NOW), Rejection)
    decode(bodies[0], NOW)
    single = read_document(json.dumps(told).encode())
    assert single is not None
    decode(enriched(single, NOW, kind="track"), NOW)
