"""Segment's messages as events: what each kind of message becomes, and in whose words the others are refused."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.days import micros
from consumers.decode import Rejection, RejectionReason, decode, identity
from consumers.events import AccountUpdated, Event, FeatureUsed, SeatsChanged, UserLogin, UserUpdated
from consumers.segment import KINDS
from tests.unit.test_cloudevents import json_values

NOW = micros(datetime(2026, 11, 22, 12, tzinfo=UTC))
TRACK: dict[str, Any] = {
    "type": "track",
    "messageId": "m-1",
    "userId": "u42",
    "anonymousId": "anon-7",
    "event": "Report Exported",
    "properties": {"format": "pdf"},
    "context": {"groupId": "acme", "library": {"name": "analytics-node"}},
    "timestamp": "2026-11-22T10:00:00.000Z",
    "originalTimestamp": "2026-11-22T10:05:00.000Z",
    "sentAt": "2026-11-22T10:05:01.000Z",
    "receivedAt": "2026-11-22T10:00:01.000Z",
    "integrations": {},
}


def verdict(message: dict[str, Any]) -> Event | Rejection:
    return decode(json.dumps(message).encode(), NOW)


def accepted(**changes: Any) -> Any:
    found = verdict(TRACK | changes)
    assert not isinstance(found, Rejection), found
    return found


def refused(**changes: Any) -> tuple[str, str]:
    found = verdict(TRACK | changes)
    assert isinstance(found, Rejection), found
    return found.reason.value, found.detail


def test_a_tracked_event_is_a_feature_used() -> None:
    event: FeatureUsed = accepted()
    assert (event.id, event.source, event.account_id, event.user_id) == ("m-1", "segment", "acme", "u42")
    assert event.occurred_at == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert event.data.feature == "Report Exported"


@pytest.mark.parametrize(
    "name",
    [
        "Signed In",
        "Logged In",
        "Login",
        "log in",
        "Sign-In",
        "User Signed In",
        "user_logged_in",
        "user.login",
    ],
)
def test_a_login_is_known_by_its_usual_names(name: str) -> None:
    assert type(accepted(event=name)) is UserLogin


@pytest.mark.parametrize("name", ["Signed Up", "Login Failed", "Signed Out", "Login Page Viewed", "Blogin"])
def test_what_only_resembles_a_login_is_none(name: str) -> None:
    assert type(accepted(event=name)) is FeatureUsed


def test_a_name_of_ours_is_that_event_with_its_properties() -> None:
    event: SeatsChanged = accepted(event="seats.changed", properties={"purchased": 25, "colour": "red"})
    assert event.data.purchased == 25
    assert refused(event="seats.changed", properties={"purchased": "many"}) == (
        "bad_value",
        "properties.purchased: 'many' (expected `int`, got `str`)",
    )
    assert refused(event="seats.changed", properties=None) == (
        "missing_field",
        "properties.purchased is missing",
    )


def test_identify_says_who_a_user_is() -> None:
    traits = {"name": "Ada", "email": "ada@acme.example", "plan": {"x": 1}}
    event: UserUpdated = accepted(type="identify", traits=traits)
    assert (event.data.name, event.data.email) == ("Ada", "ada@acme.example")
    event = accepted(type="identify", traits={"firstName": "Ada", "lastName": "L."})
    assert event.data.name == "Ada L."
    assert accepted(type="identify").data.name is None
    assert refused(type="identify", traits={"email": []})[1].startswith("traits.email: an array")


def test_a_group_is_an_account() -> None:
    traits = {
        "name": "Acme", "owner_email": "kim@us.example", "renewalDate": "2027-02-01", "termMonths": 12,
        "term_months": 24, "tier": 3, "coreFeatures": ["reports"], "employees": 500, "country": None,
    }  # fmt: skip
    event: AccountUpdated = accepted(type="group", groupId="globex", traits=traits)
    assert (event.account_id, event.user_id) == ("globex", "u42")
    assert event.data.name == "Acme"
    assert (event.data.owner_email, event.data.renewal_date) == ("kim@us.example", "2027-02-01")
    assert (event.data.term_months, event.data.tier) == (24, "3")
    assert event.data.core_features == ("reports",)
    assert refused(type="group", groupId="globex", traits={"termMonths": "a year"})[1].startswith(
        "traits.termMonths: 'a year'"
    )
    assert refused(type="group") == ("missing_field", "groupId is missing")


@pytest.mark.parametrize(
    ("changes", "feature"),
    [
        ({"type": "page", "name": "Reports"}, "page:Reports"),
        ({"type": "screen", "name": "Reports"}, "screen:Reports"),
        ({"type": "page", "properties": {"name": "Reports"}}, "page:Reports"),
        ({"type": "page", "category": "Docs"}, "page:Docs"),
        ({"type": "page", "name": None, "properties": {"path": "/orders/4711"}}, "page"),
    ],
)
def test_a_page_is_a_feature_by_its_name(changes: dict[str, Any], feature: str) -> None:
    assert accepted(**changes).data.feature == feature


def test_alias_is_refused_in_words_that_say_what_to_do() -> None:
    reason, detail = refused(type="alias", previousId="anon-7")
    assert reason == "unknown_type"
    assert "alias" in detail


@pytest.mark.parametrize(
    "changes",
    [
        {"context": {"groupId": "g"}, "properties": {"account_id": "other"}},
        {"context": {"groupId": ""}, "properties": {"accountId": "g"}, "traits": {"account_id": "other"}},
        {"context": None, "properties": {"account_id": None, "groupId": "g"}},
        {"context": {}, "properties": {"company_id": "g"}},
        {"context": {"traits": {"company_id": "other"}}, "traits": {"accountId": "g"}},
        {"context": {"traits": {"companyId": "g"}}, "properties": None},
    ],
)
def test_the_account_is_the_group_or_in_properties_or_traits(changes: dict[str, Any]) -> None:
    assert accepted(**changes).account_id == "g"


def test_ids_may_be_numbers() -> None:
    event = accepted(userId=42, context={"groupId": 7})
    assert (event.user_id, event.account_id) == ("42", "7")


def test_without_a_user_the_anonymous_one_stands_in() -> None:
    assert accepted(userId=None).user_id == "anon-7"
    assert accepted(userId="").user_id == "anon-7"
    assert refused(userId=None, anonymousId=None) == (
        "missing_field",
        "userId (or anonymousId) is missing",
    )


def test_the_instant_is_the_first_that_is_told() -> None:
    message = dict(TRACK)
    for name in ("timestamp", "originalTimestamp", "receivedAt", "sentAt"):
        found = verdict(message)
        assert not isinstance(found, Rejection)
        assert found.occurred_at == datetime.fromisoformat(message.pop(name))
    assert verdict(message) == Rejection(RejectionReason.MISSING_FIELD, "timestamp is missing")


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        (
            {"timestamp": "noon"},
            "bad_timestamp",
            "timestamp: 'noon' is not an RFC 3339 instant with an offset",
        ),
        ({"event": None}, "missing_field", "event is missing"),
        ({"event": ""}, "missing_field", "event is missing"),
        ({"event": 5}, "bad_value", "event: 5 (expected `str`, got `int`)"),
        ({"messageId": ""}, "bad_value", None),
        ({"event": "x" * 129}, "bad_value", None),
        ({"timestamp": "2027-11-22T10:00:00Z"}, "in_the_future", None),
        (
            {"context": None},
            "missing_field",
            "context.groupId (or account_id in properties or traits) is missing",
        ),
    ],
)
def test_what_is_wrong_is_told_in_the_words_of_segment(
    changes: dict[str, Any], reason: str, detail: str | None
) -> None:
    found = refused(**changes)
    assert found[0] == reason
    assert detail is None or found[1] == detail


def test_a_message_sent_twice_is_one_event_and_no_conflict() -> None:
    again = accepted(sentAt="2026-11-22T11:00:00Z", receivedAt="2026-11-22T11:00:01Z")
    assert identity(again) == identity(accepted())
    assert again == accepted()


def test_only_a_message_id_makes_a_message_of_segments() -> None:
    assert refused(messageId=None) == (
        "unknown_type",
        "type: 'track' is no event type, such as 'user.login'",
    )


@given(
    kind=st.sampled_from(sorted(KINDS)),
    changes=st.dictionaries(st.sampled_from([*TRACK, "traits", "groupId", "name", "category"]), json_values),
    inner=st.dictionaries(
        st.sampled_from(["name", "email", "groupId", "account_id", "tier", "termMonths", "purchased"]),
        json_values,
    ),
    place=st.sampled_from(["traits", "properties", "context"]),
)
def test_any_values_get_an_answer(
    kind: str, changes: dict[str, Any], inner: dict[str, Any], place: str
) -> None:
    found = verdict(TRACK | {"type": kind, place: inner} | changes)
    if isinstance(found, Rejection):
        assert 0 < len(found.detail.encode()) <= 1024
    else:
        assert "\\x00" not in repr(found)
        assert found.source == "segment" or "type" in changes


def test_the_example_of_the_guide_is_accepted() -> None:
    blocks = re.findall(
        r"```json\n(.*?)```", (Path(__file__).parents[2] / "docs" / "events.md").read_text(), re.DOTALL
    )
    [example] = [block for block in blocks if "messageId" in block]
    assert not isinstance(decode(example.encode(), NOW), Rejection)
