"""Kinds of records that must be rejected, each with the reason it must be given, and how it is spelt."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

from tests.torture.stream import LOGINS, NOW, Record

Spell = Callable[[str, int], bytes | None]  # account and a number of its own → the value


def _event(account: str, number: int, **changes: object) -> dict[str, object]:
    event: dict[str, object] = {
        "id": f"poison-{number}",
        "type": "user.login",
        "account_id": account,
        "user_id": "u1",
        "occurred_at": "2026-03-02T08:00:00Z",
    }
    return {**event, **changes}


def _with(**changes: object) -> Spell:
    return lambda account, number: json.dumps(_event(account, number, **changes)).encode()


def _raw(field: str, text: str) -> Spell:
    """A field whose value is spelt by hand."""
    return lambda account, number: (
        json.dumps(_event(account, number, **{field: "@@"})).replace('"@@"', text).encode()
    )


def _seats(text: str) -> Spell:
    """A purchase of so many seats."""

    def spell(account: str, number: int) -> bytes:
        event = _event(account, number, type="seats.changed", data={"purchased": "@@"})
        return json.dumps(event).replace('"@@"', text).encode()

    return spell


def _iso(ahead: timedelta) -> str:
    return (NOW + ahead).isoformat().replace("+00:00", "Z")


KINDS: dict[str, tuple[str, Spell]] = {
    "bytes that are not UTF-8": (
        "unsupported_encoding",
        lambda account, number: b'{"id": "\xff\xfe", "n": %d}' % number,
    ),
    "UTF-16": (
        "unsupported_encoding",
        lambda account, number: json.dumps(_event(account, number)).encode("utf-16-le"),
    ),
    "not JSON": ("not_json", lambda account, number: b"user=%d&login=1" % number),
    "an unfinished object": (
        "not_json",
        lambda account, number: json.dumps(_event(account, number)).encode()[:-9],
    ),
    "an array": ("not_an_object", lambda account, number: json.dumps([_event(account, number)]).encode()),
    "an integer of 5,000 digits": ("bad_value", _seats("9" * 5_000)),
    "nested 100,000 deep": (
        "too_large",
        lambda account, number: b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ),
    "nested 20,000 deep": (
        "bad_value",
        lambda account, number: b'{"id": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    ),
    "half a surrogate pair": ("bad_value", _raw("user_id", '"\\ud800"')),
    "a NUL character": ("bad_value", _raw("user_id", '"u\\u0000"')),
    "NaN": ("not_json", _seats("NaN")),
    "1e999": ("bad_value", _seats("1e999")),
    "2 to the 63rd": ("bad_value", _seats("9223372036854775808")),
    "an id beyond 64 bits": (
        "bad_value",
        _with(type="account.updated", data={"external_ids": {"crm": 2**64}}),
    ),
    "the year 9999999": ("bad_timestamp", _with(occurred_at="9999999-01-01T00:00:00Z")),
    "ten years ahead": ("in_the_future", _with(occurred_at=_iso(timedelta(days=3650)))),
    "a tombstone": ("not_json", lambda account, number: None),
    "an empty value": ("not_json", lambda account, number: b""),
    "text where an object belongs": ("bad_value", _with(type="seats.changed", data="lots")),
    "no account": ("missing_field", _with(account_id=None)),
    "two megabytes": ("too_large", _with(note="x" * 2_000_000)),
    "a type of tomorrow": ("unknown_type", _with(type="user.teleported")),
}


def poisoned(kind: str, account: str, number: int) -> Record:
    """One record of a kind, keyed by ``account`` like a good one."""
    reason, spell = KINDS[kind]
    return Record(LOGINS, account.encode(), spell(account, number), reason)
