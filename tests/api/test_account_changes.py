"""PUT /v1/accounts/{id}: one more event, durable before the answer, that the directory then shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.database.journal import JournalSource
from app.database.keys import Scope
from tests.api.house import Api, House
from tests.chunks import one

PATH = "/v1/accounts/acme"
WHOLE = {
    "name": "Acme", "owner": "ada", "owner_email": "ada@ourcompany.example", "size": "mid", "channel": "direct",
    "tier": "gold", "use_case": "reporting", "touch": "high", "lifecycle": "active", "usage_cadence": "weekly",
    "country": "DE", "parent_id": "acme-group", "contract_start": "2026-01-01", "renewal_date": "2027-06-30",
    "term_months": 12, "notice_days": 90, "onboarding_completed_on": "2026-02-01", "success_milestone": "go-live",
    "core_features": ["reports"], "external_ids": {"crm": "001", "billing": 7},
}  # fmt: skip


def journalled(house: House) -> list[dict[str, Any]]:
    chunk = one(JournalSource(house.database).poll(100, 0))
    return [json.loads(body) for body in chunk.bodies] if chunk else []


def follow(house: House) -> None:
    house.parts.consumer(JournalSource(house.database)).drain()


def test_a_change_is_an_event_in_the_journal_before_the_answer(house: House, api: Api) -> None:
    answer = api.request("PUT", PATH, json=WHOLE)
    assert answer.status_code == 202
    assert journalled(house) == [
        {
            "id": answer.json()["event_id"],
            "source": "api",
            "type": "account.updated",
            "account_id": "acme",
            "occurred_at": "2026-11-22T10:00:00Z",
            "data": WHOLE,
        }
    ]
    assert house.doorbell.wait(0)


def test_the_directory_shows_what_was_said_last_and_keeps_the_rest(house: House, api: Api) -> None:
    api.request("PUT", PATH, json=WHOLE)
    house.dial.now += 1
    api.request("PUT", PATH, json={"owner": "grace", "name": None})
    follow(house)
    account = api.get(PATH).json()
    assert (account["name"], account["owner"], account["renewal_date"]) == ("Acme", "grace", "2027-06-30")


def test_an_account_that_nobody_has_heard_of_begins_with_it(house: House, api: Api) -> None:
    assert api.request("PUT", "/v1/accounts/new%2Femea", json={"tier": "gold"}).status_code == 202
    follow(house)
    assert api.get("/v1/accounts/new%2Femea").json()["tier"] == "gold"


def test_one_idempotency_key_is_one_event(house: House, api: Api) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = api.request("PUT", PATH, json={"tier": "gold"}, headers=headers)
    house.dial.now += 1_000_000
    second = api.request("PUT", PATH, json={"tier": "gold"}, headers=headers)
    assert (second.status_code, second.json()) == (202, first.json())
    assert len(journalled(house)) == 1
    other = api.request("PUT", PATH, json={"tier": "silver"}, headers=headers)
    assert other.json()["code"] == "idempotency_conflict"


def test_without_a_key_every_change_is_an_event_of_its_own(house: House, api: Api) -> None:
    ids = {api.request("PUT", PATH, json={"tier": "gold"}).json()["event_id"] for _ in range(2)}
    assert len(ids) == len(journalled(house)) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"teir": "gold"}', "body.teir"),
        (b'{"touch": "none"}', "body.touch"),
        (b'{"term_months": -1}', "body.term_months"),
        (b'{"term_months": 1201}', "body.term_months"),
        (b'{"renewal_date": "soon"}', "body.renewal_date"),
        (b'{"name": 7}', "body.name"),
        (b'{"name": "a\\u0000b"}', "body.name"),
        (b'{"name": "\\ud800"}', "body.name"),
        (b'{"core_features": ["", "x"]}', "body.core_features"),
        (b'{"external_ids": {"crm": []}}', "body.external_ids"),
        (b'{"notice_days": NaN}', "body"),
        (b'{"\\ud800": 1}', "body.?"),
        (b"{}", "body"),
        (b'{"name": null}', "body"),
        (b"[]", "body"),
        (b"{", "body"),
        (b"", "body"),
        (b"\xff", "body"),
        (b"[" * 60_000, "body"),
    ],
)
def test_what_no_such_event_could_say_is_refused_by_its_field(
    house: House, api: Api, body: bytes, field: str
) -> None:
    answer = api.request("PUT", PATH, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
    assert [each["field"] for each in answer.json()["errors"]] == [field]
    assert journalled(house) == []


def test_a_field_that_nobody_knows_is_answered_with_the_nearest(api: Api) -> None:
    assert 'did you mean "tier"?' in api.request("PUT", PATH, json={"teir": "gold"}).json()["detail"]


def test_it_needs_the_right_to_write(house: House) -> None:
    for scope, status in ((Scope.READ, 403), (Scope.INGEST, 403), (Scope.WRITE, 202)):
        api = Api(house.services(), house.key(scope))
        assert api.request("PUT", PATH, json={"tier": "gold"}).status_code == status
