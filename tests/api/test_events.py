"""POST /v1/events: what is accepted is durable, what is not is told and kept, and nothing is too large to refuse."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import func, select

from app.database import dead_letters
from app.database.journal import JournalSource
from app.database.keys import Scope
from app.database.tables import counter, journal
from app.http.application import create_app
from app.http.edge import DRAIN_LIMIT, EVENTS_BODY_LIMIT
from app.http.intake import MOST_EVENTS
from app.web import WebServer
from tests.api.house import Api, House
from tests.chunks import one


def login(number: int, **changes: Any) -> dict[str, Any]:
    event = {
        "id": f"evt-{number}",
        "type": "user.login",
        "account_id": "acme",
        "user_id": "u1",
        "occurred_at": "2026-11-22T09:00:00Z",
    }
    return event | changes


def journalled(house: House) -> list[bytes]:
    chunk = one(JournalSource(house.database).poll(100_000, 0))
    return list(chunk.bodies) if chunk else []


def test_one_event_is_in_the_journal_before_the_answer(house: House, api: Api) -> None:
    answer = api.post("/v1/events", json=login(1))
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "rejected": []})
    assert [json.loads(body) for body in journalled(house)] == [login(1)]
    assert house.doorbell.wait(0)


def test_an_array_keeps_its_order_and_each_event_its_bytes(house: House, api: Api) -> None:
    first = json.dumps(login(1)).encode()
    second = json.dumps(login(2, user_id="é"), indent=1).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = api.post("/v1/events", content=b"[ " + first + b" ,\n" + second + b"]", headers=headers)
    assert answer.json()["accepted"] == 2
    assert journalled(house)[1] == second


def test_ndjson_skips_blank_lines_and_counts_them(house: House, api: Api) -> None:
    lines = "\n".join([json.dumps(login(1)), "", "{broken", json.dumps(login(2))])
    answer = api.post("/v1/events", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert answer.json()["accepted"] == 2
    assert [(each["index"], each["code"]) for each in answer.json()["rejected"]] == [(2, "not_json")]
    assert len(journalled(house)) == 2


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("[1]", "not_an_object"),
        (json.dumps({**login(1), "type": "user.sneezed"}), "unknown_type"),
        (json.dumps({key: value for key, value in login(1).items() if key != "user_id"}), "missing_field"),
        (json.dumps(login(1, id="")), "bad_value"),
        (json.dumps(login(1, occurred_at="yesterday")), "bad_timestamp"),
        (json.dumps(login(1, occurred_at="2026-11-22T10:06:00Z")), "in_the_future"),
        (json.dumps(login(1, data={"x": "y" * 70_000})), "too_large"),
    ],
)
def test_a_bad_event_is_told_and_kept_and_stops_no_good_one(
    house: House, api: Api, event: str, reason: str
) -> None:
    body = f"[{json.dumps(login(0))},{event},{json.dumps(login(2))}]"
    answer = api.post("/v1/events", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 2
    [rejected] = answer.json()["rejected"]
    assert (rejected["index"], rejected["code"]) == (1, reason)
    with house.database.read() as connection:
        [letter] = dead_letters.page(connection)
        counted = connection.scalar(select(counter.c.value).where(counter.c.name == f"rejected.{reason}"))
    assert (letter.reason, letter.body, counted) == (reason, event.encode(), 1)
    assert letter.origin == "POST /v1/events by local, event 1"


def test_a_body_that_is_no_json_is_one_rejected_event(house: House, api: Api) -> None:
    answer = api.post("/v1/events", content=b"[{]", headers={"Content-Type": "application/json"})
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 0
    assert [each["code"] for each in answer.json()["rejected"]] == ["not_json"]
    assert journalled(house) == []
    assert not house.doorbell.wait(0)


def test_nothing_sent_is_nothing_accepted(api: Api) -> None:
    for content, media_type in ((b"[]", "application/json"), (b"\n\n", "application/x-ndjson")):
        answer = api.post("/v1/events", content=content, headers={"Content-Type": media_type})
        assert answer.json() == {"accepted": 0, "rejected": []}


def test_no_body_at_all_is_a_mistake(house: House, api: Api) -> None:
    answer = api.post("/v1/events")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body")
    assert journalled(house) == []


def test_the_sender_of_an_event_is_the_name_of_its_key(house: House) -> None:
    Api(house.services(), house.key(Scope.INGEST)).post("/v1/events", json=login(1))
    chunk = one(JournalSource(house.database).poll(10, 0))
    assert chunk is not None
    assert chunk.sender == "test"


def test_gzip_is_taken_in(house: House, api: Api) -> None:
    body = gzip.compress(json.dumps([login(1), login(2)]).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert api.post("/v1/events", content=body, headers=headers).json()["accepted"] == 2


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "gzip, br"])
def test_other_encodings_are_refused(house: House, api: Api, encoding: str) -> None:
    answer = api.post("/v1/events", json=login(1), headers={"Content-Encoding": encoding})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_encoding")
    assert journalled(house) == []


@pytest.mark.parametrize(
    "media_type", ["application/json", "text/plain; charset=utf-8", "application/x-www-form-urlencoded", ""]
)
def test_an_event_an_array_and_lines_are_told_apart_by_what_they_hold(
    house: House, api: Api, media_type: str
) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    one, two, three = (json.dumps(login(number)).encode() for number in range(3))
    pretty = json.dumps(login(3), indent=2).encode()
    for body, count in (
        (one, 1),
        (b"[%b,%b]" % (one, two), 2),
        (b"\n".join((one, two, three)), 3),
        (pretty, 1),
    ):
        answer = api.post("/v1/events", content=body, headers=headers)
        assert answer.json() == {"accepted": count, "rejected": []}
    assert len(journalled(house)) == 7


def test_lines_sent_as_json_keep_their_numbers(api: Api) -> None:
    body = b"\n".join((json.dumps(login(1)).encode(), b"", b"{broken", json.dumps(login(2)).encode()))
    answer = api.post("/v1/events", content=body, headers={"Content-Type": "application/json"}).json()
    assert answer["accepted"] == 2
    assert [(each["index"], each["code"]) for each in answer["rejected"]] == [(2, "not_json")]


@pytest.mark.parametrize(
    "media_type",
    ["image/png", "multipart/form-data; boundary=x", "text/html", "application/json; charset=utf-16"],
)
def test_other_media_types_are_refused(api: Api, media_type: str) -> None:
    answer = api.post("/v1/events", content=b"{}", headers={"Content-Type": media_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_a_body_without_end_is_refused_and_not_read_forever(house: House, api: Api) -> None:
    sent = [0]

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sent[0] += 65_536
            yield b" " * 65_536

    answer = api.post("/v1/events", content=endless(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert sent[0] <= EVENTS_BODY_LIMIT + DRAIN_LIMIT + 3 * 65_536


def test_a_client_that_sends_all_before_it_listens_hears_that_it_is_too_much(house: House) -> None:
    server = WebServer(create_app(house.services()), "127.0.0.1", 0)
    server.start()
    try:
        for path, size in (
            ("/v1/events", EVENTS_BODY_LIMIT * 2),
            ("/v1/deliveries/replay", EVENTS_BODY_LIMIT),
        ):
            request = urllib.request.Request(
                f"{server.url}{path}", b" " * size, {"Content-Type": "application/json"}
            )
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=20)
            with caught.value as answer:
                assert (answer.code, json.load(answer)["code"]) == (413, "body_too_large")
    finally:
        server.stop()


def test_the_description_allows_of_an_event_what_decoding_allows(house: House, api: Api) -> None:
    content = api.get("/openapi.json").json()["paths"]["/v1/events"]["post"]["requestBody"]["content"]
    described = content["application/json"]["schema"]["anyOf"][0]["properties"]
    longest = {name: described[name]["maxLength"] for name in ("id", "source", "account_id", "user_id")}
    fits = login(1, **{name: "x" * length for name, length in longest.items()})
    over = [fits | {name: "x" * (length + 1)} for name, length in longest.items()]
    answer = api.post("/v1/events", json=[fits, *over]).json()
    assert answer["accepted"] == 1
    assert [each["code"] for each in answer["rejected"]] == ["bad_value"] * len(longest)


def test_an_announced_size_above_the_limit_is_refused_unread(api: Api) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": str(EVENTS_BODY_LIMIT + 1)}
    answer = api.post("/v1/events", content=b"{}", headers=headers)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")


def test_a_body_that_unzips_to_more_than_the_limit_is_refused(api: Api) -> None:
    body = gzip.compress(b" " * (EVENTS_BODY_LIMIT + 1))
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = api.post("/v1/events", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_body_just_within_the_limit_is_taken_in(api: Api) -> None:
    line = json.dumps(login(1)).encode() + b"\n"
    body = line * (EVENTS_BODY_LIMIT // len(line))
    answer = api.post("/v1/events", content=body, headers={"Content-Type": "application/x-ndjson"})
    assert answer.json()["accepted"] == EVENTS_BODY_LIMIT // len(line)


def test_an_array_of_more_than_a_thousand_is_refused_whole(house: House, api: Api) -> None:
    answer = api.post("/v1/events", json=[login(number) for number in range(MOST_EVENTS + 1)])
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_events")
    assert journalled(house) == []


def test_the_same_request_under_one_idempotency_key_is_taken_in_once(house: House, api: Api) -> None:
    headers = {"Idempotency-Key": "batch-7"}
    first = api.post("/v1/events", json=[login(1), {"id": "bad"}], headers=headers)
    second = api.post("/v1/events", json=[login(1), {"id": "bad"}], headers=headers)
    assert first.status_code == second.status_code == 202
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    with house.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(journal)) == 1
        assert len(dead_letters.page(connection)) == 1


def test_another_body_under_a_used_idempotency_key_is_refused(house: House, api: Api) -> None:
    headers = {"Idempotency-Key": "batch-7"}
    api.post("/v1/events", json=login(1), headers=headers)
    answer = api.post("/v1/events", json=login(2), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_conflict")
    assert len(journalled(house)) == 1


def test_two_callers_may_use_the_same_idempotency_key(house: House) -> None:
    one, two = (Api(house.services(), house.key(Scope.INGEST)) for _ in range(2))
    headers = {"Idempotency-Key": "1"}
    assert one.post("/v1/events", json=login(1), headers=headers).status_code == 202
    assert two.post("/v1/events", json=login(2), headers=headers).status_code == 202


def test_a_locked_database_says_so_and_accepts_nothing(house: House, api: Api) -> None:
    with house.database.write():
        answer = api.post("/v1/events", json=login(1))
    assert (answer.status_code, answer.json()["code"]) == (503, "database_locked")
    assert int(answer.headers["retry-after"]) > 0
    assert journalled(house) == []


def test_a_full_disk_says_so_and_loses_nothing_that_was_acknowledged(house: House, api: Api) -> None:
    assert api.post("/v1/events", json=login(1)).status_code == 202
    with house.database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    with house.database.engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        connection.rollback()
    answer = api.post("/v1/events", json=[login(number, data={"x": "y" * 4_000}) for number in range(100)])
    assert (answer.status_code, answer.json()["code"]) == (503, "database_full")
    assert len(journalled(house)) == 1


def test_a_read_only_database_says_so(house: House, api: Api) -> None:
    with house.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
        connection.rollback()
    answer = api.post("/v1/events", json=login(1))
    assert (answer.status_code, answer.json()["code"]) == (503, "database_read_only")
