"""CloudEvents 1.0 as our own events: structured JSON, and the binary form of Kafka and HTTP wrapped into it.

Identity is the same in both worlds: ``source`` and ``id``. Everything here is pure; what cannot be read raises Refused
with the name of the attribute, as its sender knows it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec.structs import fields

from consumers.document import read_object
from consumers.events import TYPES
from consumers.rejection import Refused, RejectionReason, glimpse

WORDS: Mapping[str, str] = {
    "occurred_at": "time",
    "account_id": "accountid (or subject, or data.account_id)",
    "user_id": "userid (or data.user_id)",
}
"""How CloudEvents calls our fields: for what is said to its senders."""

_STRUCTURED = "application/cloudevents"
# A reversed domain, which has two labels at least, and then one of our types, which all have two words.
_QUALIFIED = re.compile(r"(?:[A-Za-z0-9-]+\.){2,}([a-z]+\.[a-z]+)")
_JSON_TYPE = re.compile(r"[^/;\s]+/(?:[^/;\s]+\+)?json\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)
_NO_ATTRIBUTES = frozenset({"data", "data_base64", "datacontenttype"})
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_any = msgspec.json.Decoder(msgspec.Raw)

# Elsewhere a user in the data is another one than who caused the event, such as the champion's successor.
_OF_A_USER = frozenset(
    name
    for name, kind in TYPES.items()
    if any(spec.encode_name == "user_id" and spec.required for spec in fields(kind))
)


def is_cloudevent(given: Mapping[str, Any]) -> bool:
    """Whether a JSON object is meant as one."""
    return given.get("specversion") is not None


def translate(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of our envelope, not yet checked; what is absent may be None. Raises Refused."""
    if given["specversion"] != "1.0":
        raise Refused(
            RejectionReason.BAD_VALUE,
            f"specversion: {glimpse(given['specversion'])} (only CloudEvents '1.0' is read)",
        )
    if given.get("source") in (None, ""):
        raise Refused(RejectionReason.MISSING_FIELD, "source is missing")
    kind = _our_type(given.get("type"))
    data = _data(given)
    told = data if isinstance(data, dict) else {}
    # Our own names first: no CloudEvents attribute has them, and an event that is both is the same event either way.
    return {
        "id": given.get("id"),
        "source": given["source"],
        "type": kind,
        "occurred_at": _first(given.get("occurred_at"), given.get("time")),
        "account_id": _first(
            given.get("account_id"),
            _text(given.get("accountid")),
            given.get("subject"),
            told.get("account_id"),
        ),
        "user_id": _first(
            given.get("user_id"),
            _text(given.get("userid")),
            told.get("user_id") if isinstance(kind, str) and kind in _OF_A_USER else None,
        ),
        "data": data,
    }


def structured(headers: Sequence[tuple[str, bytes | None]], value: bytes) -> bytes | None:
    """A Kafka record in binary mode as structured JSON; None if its headers are not those of a CloudEvent."""
    attributes: dict[str, str] = {}
    content_type: str | None = None
    for name, given in headers:
        if given is None:
            continue
        # What is not UTF-8 becomes half characters, which decoding refuses by the attribute's name.
        text = given.decode("utf-8", "surrogateescape")
        word = name.lower()
        if word == "content-type":
            content_type = text
        elif word.startswith("ce_"):
            attributes[word[3:]] = text
    return _wrapped(attributes, content_type, value)


def structured_http(
    headers: Iterable[tuple[bytes, bytes]], body: bytes, content_type: str | None
) -> bytes | None:
    """An HTTP request in binary mode as structured JSON; None if its headers are not those of a CloudEvent.

    ``headers`` as ASGI gives them, names in lower case. ``content_type`` is that of the data, None where it is JSON.
    """
    attributes = {
        name[3:].decode("latin-1"): _unescaped(value).decode("utf-8", "surrogateescape")
        for name, value in headers
        if name.startswith(b"ce-")
    }
    return _wrapped(attributes, content_type, body)


def _wrapped(attributes: dict[str, str], content_type: str | None, body: bytes) -> bytes | None:
    if "specversion" not in attributes or (content_type or "").lower().startswith(_STRUCTURED):
        return None
    kept = {name: value for name, value in attributes.items() if name not in _NO_ATTRIBUTES}
    if content_type is not None:
        kept["datacontenttype"] = content_type
    head = json.dumps(kept).encode()[:-1]
    if not body.strip():
        return head + b"}"
    if _is_json(content_type) and _whole(body):
        return head + b', "data": ' + body + b"}"
    return head + b', "data_base64": "' + base64.b64encode(body) + b'"}'


def _whole(body: bytes) -> bool:
    """Whether ``body`` is one JSON value, so that it can stand inside another."""
    try:
        _any.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return True


def _unescaped(value: bytes) -> bytes:
    """A header's value as CloudEvents' HTTP binding has it read: quotes away, then percent-decoded once."""
    if len(value) >= 2 and value[:1] == value[-1:] == b'"':
        value = _ESCAPED.sub(rb"\1", value[1:-1])
    return unquote_to_bytes(value)


def _our_type(given: object) -> object:
    """``com.acme.user.login`` is ``user.login``; anything else is left for the caller to judge."""
    qualified = _QUALIFIED.fullmatch(given) if isinstance(given, str) else None
    return qualified[1] if qualified and qualified[1] in TYPES else given


def _data(given: Mapping[str, Any]) -> Any:
    packed = given.get("data_base64")
    if packed is None:
        return given.get("data")
    if given.get("data") is not None:
        raise Refused(RejectionReason.BAD_VALUE, "data_base64: there is data beside it; an event has one")
    content_type = given.get("datacontenttype")
    if not _is_json(content_type):
        raise Refused(
            RejectionReason.BAD_VALUE, f"datacontenttype: {glimpse(content_type)} (expected application/json)"
        )
    try:
        body = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise Refused(RejectionReason.BAD_VALUE, f"data_base64: {glimpse(packed)} (not base64)") from None
    try:
        return read_object(body)
    except Refused as refused:
        inner = refused.rejection
        raise Refused(inner.reason, f"data: {inner.detail}") from None


def _is_json(content_type: object) -> bool:
    if content_type is None:
        return True
    return isinstance(content_type, str) and _JSON_TYPE.fullmatch(content_type.strip()) is not None


def _text(given: object) -> object:
    """An extension may be a number in JSON; in a header it is text, and both are the same id."""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


def _first(*values: object) -> object:
    """The first that says anything."""
    return next((value for value in values if value is not None and value != ""), None)
