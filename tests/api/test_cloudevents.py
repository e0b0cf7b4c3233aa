"""CloudEvents over HTTP: structured, as a batch, and binary, beside our own events."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from sqlalchemy import select

from app.database import dead_letters
from app.database.journal import JournalSource
from app.database.tables import counter
from consumers.decode import Rejection, decode
from tests.api.house import NOW, Api, House
from tests.chunks import one

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/acme/app",
    "type": "com.acme.feature.used",
    "time": "2026-11-22T09:00:00Z",
    "accountid": "acme",
    "userid": "u1",
    "data": {"feature": "reports"},
}
BINARY = {f"ce-{name}": value for name, value in EVENT.items() if name != "data"}


def stored(house: House) -> list[Any]:
    chunk = one(JournalSource(house.database).poll(100, 0))
    return [decode(body, NOW) for body in chunk.bodies] if chunk else []


@pytest.mark.parametrize(
    ("media_type", "body", "count"),
    [
        ("application/cloudevents+json", EVENT, 1),
        ("application/cloudevents+json; charset=UTF-8", EVENT, 1),
        ("application/cloudevents-batch+json", [EVENT, EVENT | {"id": "2"}], 2),
        ("application/json", EVENT, 1),
    ],
)
def test_structured_events_are_taken_in(
    house: House, api: Api, media_type: str, body: object, count: int
) -> None:
    answer = api.post("/v1/events", content=json.dumps(body), headers={"Content-Type": media_type})
    assert (answer.status_code, answer.json()) == (202, {"accepted": count, "rejected": []})
    events = stored(house)
    assert [event.id for event in events] == ["1", "2"][:count]
    assert {event.source for event in events} == {"/acme/app"}


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/vnd.acme+json",
        "application/x-www-form-urlencoded",
        "text/plain",
        None,
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_binary_event_is_the_structured_one(
    house: House, api: Api, content_type: str | None, zipped: bool
) -> None:
    body = json.dumps(EVENT["data"]).encode()
    headers = BINARY | ({"Content-Type": content_type} if content_type else {})
    if zipped:
        body, headers = gzip.compress(body), headers | {"Content-Encoding": "gzip"}
    assert api.post("/v1/events", content=body, headers=headers).json() == {"accepted": 1, "rejected": []}
    assert stored(house) == [decode(json.dumps(EVENT).encode(), NOW)]


def test_a_binary_event_may_have_no_data(house: House, api: Api) -> None:
    answer = api.post("/v1/events", headers=BINARY | {"ce-type": "user.login"})
    assert answer.json() == {"accepted": 1, "rejected": []}
    assert not isinstance(stored(house)[0], Rejection)


def test_what_is_missing_is_told_and_kept(house: House, api: Api) -> None:
    headers = {name: value for name, value in BINARY.items() if name != "ce-time"}
    answer = api.post("/v1/events", content=b'{"feature": "x"}', headers=headers)
    assert answer.json() == {
        "accepted": 0,
        "rejected": [{"index": 0, "code": "missing_field", "detail": "time is missing"}],
    }
    with house.database.read() as connection:
        [letter] = dead_letters.page(connection)
    assert letter.reason == "missing_field"


def test_data_that_is_no_json_is_the_event_s_trouble_not_the_service_s(api: Api) -> None:
    answer = api.post("/v1/events", content=b"\xff{", headers=BINARY | {"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["rejected"][0]["code"]) == (202, "unsupported_encoding")


def test_another_event_format_is_refused(api: Api) -> None:
    answer = api.post("/v1/events", content=b"\0", headers={"Content-Type": "application/cloudevents+avro"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_an_event_sent_in_three_ways_counts_once(house: House, api: Api) -> None:
    headers = {"Content-Type": "application/cloudevents+json"}
    api.post("/v1/events", content=json.dumps(EVENT), headers=headers)
    api.post("/v1/events", content=json.dumps(EVENT["data"]), headers=BINARY)
    own = {"id": "1", "source": "/acme/app", "type": "feature.used", "account_id": "acme", "user_id": "u1",
           "occurred_at": EVENT["time"], "data": EVENT["data"]}  # fmt: skip
    api.post("/v1/events", json=own)
    house.parts.consumer(JournalSource(house.database)).drain()
    with house.database.read() as connection:
        counted = connection.execute(select(counter.c.name, counter.c.value)).all()
    assert {row.name: row.value for row in counted} == {"accepted": 1, "duplicate": 2}
