"""CloudEvents are the same events as our own: structured, binary, and whatever somebody sends under that name."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.cloudevents import structured, structured_http
from consumers.days import micros
from consumers.decode import Rejection, decode, identity
from consumers.events import TYPES, ChampionChanged, Event, FeatureUsed, UserLogin
from tests.unit.test_decode import LEAST

NOW = micros(datetime(2026, 11, 22, 12, tzinfo=UTC))
AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "A234-1234",
    "source": "/acme/app",
    "type": "com.acme.user.login",
    "time": "2026-11-22T10:00:00Z",
    "accountid": "acme",
    "userid": "u42",
}
USED = EVENT | {"type": "feature.used", "data": {"feature": "reports"}}
OF_A_USER = ("user.login", "feature.used", "session.ended", "user.updated")

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def verdict(event: dict[str, Any] | bytes) -> Event | Rejection:
    return decode(event if isinstance(event, bytes) else json.dumps(event).encode(), NOW)


def accepted(event: dict[str, Any] | bytes) -> Any:
    found = verdict(event)
    assert not isinstance(found, Rejection), found
    return found


def refused(event: dict[str, Any] | bytes) -> tuple[str, str]:
    found = verdict(event)
    assert isinstance(found, Rejection), found
    return found.reason.value, found.detail


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in EVENT.items() if name not in names}


def kafka(event: dict[str, Any], data: bytes = b"", content_type: str | None = "application/json") -> bytes:
    """The record's value as :func:`structured` makes it of headers and data."""
    headers: list[tuple[str, bytes | None]] = [
        (f"ce_{name}", str(value).encode()) for name, value in event.items() if name != "data"
    ]
    if content_type is not None:
        headers.append(("content-type", content_type.encode()))
    wrapped = structured(headers, data)
    assert wrapped is not None
    return wrapped


def test_every_attribute_has_its_place() -> None:
    assert accepted(EVENT) == UserLogin(
        id="A234-1234", source="/acme/app", account_id="acme", user_id="u42", occurred_at=AT
    )


@given(
    kind=st.sampled_from(list(LEAST)),
    prefix=st.sampled_from(["", "com.acme.", "io.acme-labs.app."]),
    names=st.tuples(*[st.text("abcé/:-", min_size=1, max_size=9)] * 4),
    packed=st.booleans(),
)
def test_an_event_of_our_own_is_the_same_as_a_cloudevent(
    kind: str, prefix: str, names: tuple[str, str, str, str], packed: bool
) -> None:
    id_, source, account, user = names
    own = accepted(
        {"id": id_, "type": kind, "source": source, "account_id": account, "user_id": user,
         "occurred_at": EVENT["time"], "data": LEAST[kind]}
    )  # fmt: skip
    event = EVENT | {
        "id": id_, "source": source, "type": prefix + kind, "accountid": account, "userid": user
    }  # fmt: skip
    if packed:
        event["data_base64"] = base64.b64encode(json.dumps(LEAST[kind]).encode()).decode()
    else:
        event["data"] = LEAST[kind]
    other = accepted(event)
    assert other == own
    assert identity(other) == identity(own)


@pytest.mark.parametrize("kind", TYPES)
def test_a_type_may_have_a_reversed_domain_before_it_and_nothing_else(kind: str) -> None:
    event = EVENT | {"data": LEAST[kind]}
    assert type(accepted(event | {"type": f"com.acme.{kind}"})) is TYPES[kind]
    for other in (f"failed.{kind}", f"com.acme.not{kind}", f"com..{kind}", f"com.acme.{kind}.v2", f".{kind}"):
        assert refused(event | {"type": other})[0] == "unknown_type"


def test_the_account_is_the_extension_or_the_subject_or_in_the_data() -> None:
    event = EVENT | {"subject": "second", "data": {"account_id": "third"}}
    found = []
    for name in ("accountid", "subject", "data"):
        found.append(accepted(event).account_id)
        event.pop(name)
    assert found == ["acme", "second", "third"]
    assert refused(event) == ("missing_field", "accountid (or subject, or data.account_id) is missing")


def test_the_user_is_the_extension_or_in_the_data() -> None:
    event = without("userid") | {"data": {"user_id": "u7"}}
    assert accepted(event).user_id == "u7"
    assert accepted(event | {"userid": "u8"}).user_id == "u8"
    assert refused(without("userid")) == ("missing_field", "userid (or data.user_id) is missing")


def test_a_user_in_the_data_who_is_another_one_stays_there() -> None:
    event: ChampionChanged = accepted(
        without("userid") | {"type": "champion.changed", "data": {"user_id": "successor"}}
    )
    assert (event.user_id, event.data.user_id) == (None, "successor")


def test_an_extension_may_be_a_number() -> None:
    event = accepted(EVENT | {"accountid": 17, "userid": 42})
    assert (event.account_id, event.user_id) == ("17", "42")


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"id": None}, "missing_field", "id is missing"),
        ({"source": None}, "missing_field", "source is missing"),
        ({"source": ""}, "missing_field", "source is missing"),
        ({"type": None}, "missing_field", "type is missing"),
        ({"time": None}, "missing_field", "time is missing"),
        (
            {"time": "yesterday"},
            "bad_timestamp",
            "time: 'yesterday' is not an RFC 3339 instant with an offset",
        ),
        ({"time": "2027-11-22T10:00:00Z"}, "in_the_future", None),
        (
            {"specversion": "0.3"},
            "bad_value",
            "specversion: '0.3' (only CloudEvents '1.0' is read)",
        ),
        ({"specversion": 1.0}, "bad_value", None),
        ({"id": 7}, "bad_value", "id: 7 (expected `str`, got `int`)"),
        ({"type": "feature.used", "data": {}}, "missing_field", "data.feature is missing"),
        ({"type": "feature.used", "data": "<x/>"}, "bad_value", "data: '<x/>' (expected `object`)"),
        ({"data_base64": "not base64!"}, "bad_value", "data_base64: 'not base64!' (not base64)"),
        ({"data_base64": 5}, "bad_value", "data_base64: 5 (not base64)"),
        ({"data_base64": "e30=", "data": {}}, "bad_value", None),
        ({"data_base64": "W10="}, "not_an_object", "data: expected an object, got an array"),
        (
            {"data_base64": "PHgvPg==", "datacontenttype": "text/xml"},
            "bad_value",
            "datacontenttype: 'text/xml' (expected application/json)",
        ),
    ],
)
def test_what_is_wrong_is_told_in_the_words_of_cloudevents(
    changes: dict[str, Any], reason: str, detail: str | None
) -> None:
    found = refused(EVENT | changes)
    assert found[0] == reason
    assert detail is None or found[1] == detail


@given(
    kind=st.sampled_from(list(LEAST)),
    names=st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=9)] * 4),
    data=st.none()
    | st.dictionaries(st.sampled_from(["feature", "account_id", "user_id", "mrr"]), json_values),
    content_type=st.sampled_from([None, "application/json", "application/vnd.acme+json; charset=utf-8"]),
)
def test_a_binary_record_is_the_structured_event(
    kind: str, names: tuple[str, ...], data: dict[str, Any] | None, content_type: str | None
) -> None:
    id_, source, account, user = names
    event = EVENT | {"id": id_, "source": source, "type": kind, "accountid": account, "userid": user}
    body = b"" if data is None else json.dumps(data, allow_nan=True).encode()
    if b"NaN" in body or b"Infinity" in body:  # JSON has no such numbers
        return
    assert verdict(kafka(event, body, content_type)) == verdict(event | {"data": data})


@pytest.mark.parametrize(
    ("content_type", "body", "reason"),
    [
        ("application/json", b"{broken", "not_json"),
        (None, b"\xff\xfe", "unsupported_encoding"),
        ("application/json", b"[1]", "bad_value"),
        ("text/xml", b"<a/>", "bad_value"),
    ],
)
def test_data_that_is_no_json_object_is_refused_where_it_is_needed(
    content_type: str | None, body: bytes, reason: str
) -> None:
    assert refused(kafka(USED, body, content_type))[0] == reason


def test_data_may_begin_with_a_byte_order_mark() -> None:
    assert accepted(kafka(USED, b'\xef\xbb\xbf{"feature": "reports"}')) == accepted(USED)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("content-type", b"application/json"), ("trace", None)],
        [("ce_id", b"1"), ("ce_source", b"/a")],
        [("ce_specversion", None)],
        [("ce_specversion", b"1.0"), ("content-type", b"application/cloudevents+json; charset=utf-8")],
    ],
)
def test_a_record_with_other_headers_is_its_value(headers: list[tuple[str, bytes | None]]) -> None:
    assert structured(headers, b"{}") is None


def test_no_header_can_speak_for_the_data() -> None:
    wrapped = kafka(USED | {"data_base64": "e30=", "datacontenttype": "text/xml"}, b'{"feature": "reports"}')
    assert accepted(wrapped) == accepted(USED)


def test_a_header_that_is_not_utf_8_is_refused_by_its_name() -> None:
    headers: list[tuple[str, bytes | None]] = [
        (f"ce_{name}", str(value).encode()) for name, value in EVENT.items() if name != "userid"
    ]
    wrapped = structured([*headers, ("ce_userid", b"u\xff")], b"")
    assert wrapped is not None
    reason, detail = refused(wrapped)
    assert reason == "bad_value"
    assert detail.startswith("userid")


def test_http_headers_are_unquoted_and_percent_decoded_once() -> None:
    headers = [(f"ce-{name}".encode(), str(value).encode()) for name, value in EVENT.items()]
    headers += [(b"ce-subject", b"unused"), (b"ce-userid", b'"J\\"%C3%A9r%25C3"')]
    wrapped = structured_http(headers, b"", None)
    assert wrapped is not None
    event: UserLogin = accepted(wrapped)
    assert event.user_id == 'J"ér%C3'


@given(
    st.dictionaries(
        st.sampled_from([*EVENT, "subject", "data", "data_base64", "datacontenttype"]), json_values
    )
)
def test_any_values_get_an_answer(changes: dict[str, Any]) -> None:
    found = verdict(EVENT | changes)
    if isinstance(found, Rejection):
        assert 0 < len(found.detail.encode()) <= 1024
    else:
        assert "\\x00" not in repr(found)


@given(
    st.lists(st.tuples(st.sampled_from(["ce_specversion", "ce_id", "CE_TYPE", "content-type", "x"]),
                       st.none() | st.binary(max_size=20))),
    st.binary(max_size=60),
)  # fmt: skip
def test_any_headers_and_bytes_get_an_answer(headers: list[tuple[str, bytes | None]], body: bytes) -> None:
    wrapped = structured(headers, body)
    if wrapped is not None:
        assert isinstance(verdict(wrapped), Rejection)


def test_a_batch_may_mix_cloudevents_with_our_own() -> None:
    own = {"id": "1", "type": "feature.used", "account_id": "acme", "user_id": "u1",
           "occurred_at": EVENT["time"], "data": {"feature": "reports"}}  # fmt: skip
    assert isinstance(accepted(own), FeatureUsed)
    # An object that is both is the same event on either path.
    both = own | EVENT | {"type": "user.login", "account_id": "own", "user_id": "own"}
    assert accepted(both) == accepted(both | {"data": None, "received_at": None})
    assert accepted(both) == accepted(b"\xef\xbb\xbf" + json.dumps(both).encode())


def test_the_example_of_the_guide_is_accepted() -> None:
    blocks = re.findall(
        r"```json\n(.*?)```", (Path(__file__).parents[2] / "docs" / "events.md").read_text(), re.DOTALL
    )
    [example] = [block for block in blocks if "specversion" in block]
    assert not isinstance(decode(example.encode(), NOW), Rejection)
