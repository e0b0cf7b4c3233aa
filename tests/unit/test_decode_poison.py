"""Whatever bytes come in, decoding answers with an event or a reason: it never raises, echoes or stores poison."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.days import micros
from consumers.decode import MAX_EVENT_BYTES, Rejection, RejectionReason, decode, decode_batch, hash_batch
from consumers.events import FeatureUsed

NOW = micros(datetime(2026, 11, 22, 12, tzinfo=UTC))
LOGIN = {
    "id": "evt-1",
    "type": "user.login",
    "account_id": "acme",
    "user_id": "u42",
    "occurred_at": "2026-11-22T10:00:00Z",
}
GOOD = json.dumps(LOGIN).encode()


def login(tail: bytes) -> bytes:
    """A login with more members."""
    return GOOD[:-1] + b"," + tail + b"}"


def seats(number: bytes) -> bytes:
    return login(b'"data":{"purchased":' + number + b"}").replace(b"user.login", b"seats.changed")


def money(amount: bytes) -> bytes:
    return login(b'"data":{"mrr":' + amount + b"}").replace(b"user.login", b"subscription.changed")


POISON = {
    "no bytes": (b"", "not_json"),
    "white space": (b" \r\n\t", "not_json"),
    "half an object": (GOOD[:-20], "not_json"),
    "two objects": (GOOD + GOOD, "not_json"),
    "not a number": (seats(b"NaN"), "not_json"),
    "infinity": (login(b'"x":-Infinity'), "not_json"),
    "a raw control character": (GOOD.replace(b"u42", b"u\n42"), "not_json"),
    "a raw NUL": (GOOD.replace(b"u42", b"u\x0042"), "not_json"),
    "an array": (b"[" + GOOD + b"]", "not_an_object"),
    "null": (b"null", "not_an_object"),
    "a number": (b"17", "not_an_object"),
    "an endless array": (b"[" * 60_000, "not_an_object"),
    "nesting": (login(b'"data":' + b"[" * 30_000 + b"]" * 30_000), "bad_value"),
    "nesting beyond the limit": (login(b'"data":' + b"[" * 100_000 + b"]" * 100_000), "too_large"),
    "two megabytes": (login(b'"data":"' + b"x" * 2_000_000 + b'"'), "too_large"),
    "one byte too many": (GOOD + b" " * (MAX_EVENT_BYTES + 1 - len(GOOD)), "too_large"),
    "an id beyond 64 bits": (
        login(b'"data":{"external_ids":{"crm":18446744073709551616}}').replace(
            b"user.login", b"account.updated"
        ),
        "bad_value",
    ),
    "5,000 digits": (seats(b"9" * 5_000), "bad_value"),
    "5,000 digits of money": (money(b"9" * 5_000), "bad_value"),
    "5,000 digits of text": (money(b'"' + b"9" * 5_000 + b'"'), "bad_value"),
    "two to the 63rd": (seats(b"9223372036854775808"), "bad_value"),
    "1e999": (seats(b"1e999"), "bad_value"),
    "1e999 of money": (money(b"1e999"), "bad_value"),
    "a lone surrogate": (GOOD.replace(b"u42", rb"\ud800"), "bad_value"),
    "surrogates the wrong way round": (GOOD.replace(b"acme", rb"\udc00\ud800"), "bad_value"),
    "a NUL in an id": (GOOD.replace(b"evt-1", rb"evt\u0000"), "bad_value"),
    "a NUL in a source": (login(rb'"source":"a\u0000"'), "bad_value"),
    "a NUL in data": (
        login(rb'"data":{"external_ids":{"a\u0000":"b"}}').replace(b"user.login", b"account.updated"),
        "bad_value",
    ),
    "wrong types": (b'{"id":{},"type":"user.login","account_id":[],"occurred_at":0}', "bad_value"),
    "a type that is none": (login(b'"type":[]'), "bad_value"),
    "the year 9999999": (GOOD.replace(b"2026-", b"9999999-"), "bad_timestamp"),
    "bad UTF-8": (GOOD.replace(b"u42", b"u\xff42"), "unsupported_encoding"),
    "bad UTF-8 in a field that is ignored": (login(b'"x":"\xc3("'), "unsupported_encoding"),
    "UTF-8 of a surrogate": (GOOD.replace(b"u42", b"\xed\xa0\x80"), "unsupported_encoding"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "unsupported_encoding"),
    "UTF-16 without a mark": (GOOD.decode().encode("utf-16-be"), "unsupported_encoding"),
    "UTF-32": (GOOD.decode().encode("utf-32"), "unsupported_encoding"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "unsupported_encoding"),
}


def answer(body: bytes) -> str:
    verdict = decode(body, NOW)
    return verdict.reason.value if isinstance(verdict, Rejection) else "accepted"


@pytest.mark.parametrize(("body", "reason"), POISON.values(), ids=POISON)
def test_poison_is_refused_with_its_reason(body: bytes, reason: str) -> None:
    assert answer(body) == reason


def test_poison_in_a_batch_takes_nothing_else_with_it() -> None:
    bodies = [part for body, _ in POISON.values() for part in (GOOD, body)]
    events, rejections = decode_batch(bodies, NOW)
    assert len(events) == len(POISON)
    assert [index for index, _ in rejections] == list(range(1, len(bodies), 2))
    assert [why.reason.value for _, why in rejections] == [reason for _, reason in POISON.values()]


HARMLESS = {
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "white space around": b"\n " + GOOD + b"\r\n",
    "the largest size": GOOD + b" " * (MAX_EVENT_BYTES - len(GOOD)),
    "5,000 digits in a field that is ignored": login(b'"x":' + b"9" * 5_000),
    "1e999 in a field that is ignored": login(b'"x":1e999'),
    "a lone surrogate in a field that is ignored": login(rb'"x":"\ud800"'),
    "a NUL in a field that is ignored": login(rb'"x":"\u0000"'),
    "a NUL in the data of a login": login(rb'"data":{"agent":"\u0000"}'),
    "an escaped backslash before u0000": GOOD.replace(b"u42", rb"u42\\u0000"),
    "an unknown field that is null": login(b'"x":null'),
}


@pytest.mark.parametrize("body", HARMLESS.values(), ids=HARMLESS)
def test_what_only_looks_like_poison_is_accepted(body: bytes) -> None:
    assert answer(body) == "accepted"


def test_of_a_key_that_comes_twice_the_last_wins() -> None:
    event = decode(login(b'"id":"evt-2","type":"feature.used","data":{"feature":"a","feature":"b"}'), NOW)
    assert isinstance(event, FeatureUsed)
    assert (event.id, event.data.feature) == ("evt-2", "b")


@pytest.mark.parametrize("name", ["id", "type", "account_id", "user_id", "occurred_at", "source"])
@pytest.mark.parametrize(
    "value",
    ["secret" * 8_000, "\ud800" * 5_000, "\U0010ffff" * 5_000, 10**39],
    ids=["ascii", "halves", "astral", "digits"],
)
def test_a_detail_is_short_and_shows_only_a_glimpse_of_the_value(name: str, value: object) -> None:
    verdict = decode(json.dumps({**LOGIN, name: value}).encode(), NOW)
    assert isinstance(verdict, Rejection)
    assert len(verdict.detail.encode()) <= 1024
    assert verdict.detail.count("secret") <= 14
    assert verdict.detail.isprintable()


@given(st.binary(max_size=300))
def test_any_bytes_get_an_answer(body: bytes) -> None:
    assert isinstance(decode(body, NOW), Rejection)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
kinds = st.sampled_from(
    ["user.login", "seats.changed", "account.updated", "contact.updated", "subscription.changed"]
)
names = st.sampled_from(
    [
        "purchased",
        "mrr",
        "currency",
        "touch",
        "renewal_date",
        "core_features",
        "external_ids",
        "contact_id",
        "roles",
    ]
)


envelopes = st.dictionaries(st.sampled_from([*LOGIN, "source", "data"]), json_values, max_size=2)


@given(kind=kinds, data=st.dictionaries(names, json_values, max_size=4), more=envelopes)
def test_any_values_get_an_answer_and_nothing_is_kept_that_a_database_cannot_hold(
    kind: str, data: dict[str, Any], more: dict[str, Any]
) -> None:
    verdict = decode(json.dumps({**LOGIN, "type": kind, "data": data, **more}).encode(), NOW)
    if isinstance(verdict, Rejection):
        assert isinstance(verdict.reason, RejectionReason)
        assert 0 < len(verdict.detail.encode()) <= 1024
        verdict.detail.encode()
    else:
        hash_batch([verdict])
        kept = repr(verdict)
        assert "\\x00" not in kept
        kept.encode()


@given(st.data())
def test_any_damage_to_a_good_body_gets_an_answer(data: st.DataObject) -> None:
    body = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    decode(bytes(body), NOW)
