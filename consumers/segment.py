"""Segment's messages as our own events: what its SDKs send, over HTTP, in a file or as a Kafka value.

docs/events.md has the mapping. Everything here is pure; what has no place among our events raises Refused in Segment's
own words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec.structs import fields

from consumers.events import TYPES, AccountChange, Id, Text
from consumers.rejection import Refused, RejectionReason

SOURCE = "segment"
KINDS = frozenset({"track", "identify", "group", "page", "screen", "alias"})
"""The types of message that there are."""

_ACCOUNT_NAMES = ("account_id", "accountId", "groupId", "group_id", "company_id", "companyId")
# Names of a login as people spell them, in small letters and digits only: "Signed In", "user_logged_in", …
_LOGINS = frozenset(
    f"{who}{what}"
    for who in ("", "user")
    for what in ("login", "logins", "loggedin", "loggedon", "logon", "signin", "signedin", "signedon")
)
_NO_LETTER = re.compile(r"[^a-z0-9]+")
_TEXTS = frozenset(
    spec.encode_name for spec in fields(AccountChange) if spec.type in (Text | None, Id | None)
)
_CAMEL = {
    name: re.sub(r"_([a-z])", lambda letter: letter[1].upper(), name)
    for name in (spec.encode_name for spec in fields(AccountChange))
}
_WORDS = {"id": "messageId", "occurred_at": "timestamp", "user_id": "userId (or anonymousId)"}
_GROUPED = "context.groupId (or account_id in properties or traits)"

Translated = tuple[dict[str, Any], Mapping[str, str]]
"""The fields of our envelope, not yet checked, and how Segment calls them."""


def is_segment(given: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a message of Segment's."""
    kind = given.get("type")
    return isinstance(kind, str) and kind in KINDS and given.get("messageId") is not None


def translate(message: Mapping[str, Any]) -> Translated:
    """The event that a message is. Raises Refused for what is none."""
    kind, data, words = _TRANSLATORS[message["type"]](message)
    user = _first(message.get("userId"), message.get("anonymousId"))
    native = {
        "id": _id(message.get("messageId")),
        "source": SOURCE,
        "type": kind,
        "occurred_at": _first(*map(message.get, ("timestamp", "originalTimestamp", "receivedAt", "sentAt"))),
        "account_id": _account(message),
        "user_id": _id(user),
        "data": data,
    }
    account = "groupId" if message["type"] == "group" else _GROUPED
    return native, {**_WORDS, "account_id": account, **words}


def _track(message: Mapping[str, Any]) -> tuple[str, Any, Mapping[str, str]]:
    name = message.get("event")
    if isinstance(name, str):
        if name in TYPES:
            return name, message.get("properties"), {"data": "properties"}
        if _NO_LETTER.sub("", name.lower()) in _LOGINS:
            return "user.login", None, {}
    return "feature.used", {"feature": None if name == "" else name}, {"data.feature": "event"}


def _page(message: Mapping[str, Any]) -> tuple[str, Any, Mapping[str, str]]:
    """Without a name the address is all there is, which often holds an id: pages are then one feature."""
    kind = message["type"]
    name = _first(
        message.get("name"), _object(message.get("properties")).get("name"), message.get("category")
    )
    if name is not None:
        name = f"{kind}:{name}" if isinstance(name, str) else name
    return "feature.used", {"feature": kind if name is None else name}, {"data.feature": "name"}


def _identify(message: Mapping[str, Any]) -> tuple[str, Any, Mapping[str, str]]:
    traits = _object(message.get("traits"))
    name = traits.get("name")
    if name is None:
        parts = (_first(traits.get("firstName"), traits.get("first_name")),
                 _first(traits.get("lastName"), traits.get("last_name")))  # fmt: skip
        name = " ".join(part for part in parts if isinstance(part, str)) or None
    return "user.updated", {"name": _text(name), "email": traits.get("email")}, {"data": "traits"}


def _group(message: Mapping[str, Any]) -> tuple[str, Any, Mapping[str, str]]:
    traits = _object(message.get("traits"))
    data: dict[str, Any] = {}
    words = {"data": "traits"}
    for name, camel in _CAMEL.items():
        spelt = name if traits.get(name) is not None else camel
        value = traits.get(spelt)
        if value is not None:
            data[name] = _text(value) if name in _TEXTS else value
            words[f"data.{name}"] = f"traits.{spelt}"
    return "account.updated", data, words


def _alias(_: Mapping[str, Any]) -> tuple[str, Any, Mapping[str, str]]:
    raise Refused(
        RejectionReason.UNKNOWN_TYPE,
        "type: 'alias' joins two users, which no event does; a user has one id from the first event on",
    )


_TRANSLATORS = {
    "track": _track,
    "page": _page,
    "screen": _page,
    "identify": _identify,
    "group": _group,
    "alias": _alias,
}


def _account(message: Mapping[str, Any]) -> object:
    if message["type"] == "group":
        return _id(_first(message.get("groupId")))
    context = _object(message.get("context"))
    places = (message.get("properties"), message.get("traits"), context.get("traits"))
    told = (_object(place).get(name) for place in places for name in _ACCOUNT_NAMES)
    return _id(_first(context.get("groupId"), *told))


def _object(given: object) -> Mapping[str, Any]:
    return given if isinstance(given, dict) else {}


def _id(given: object) -> object:
    """Segment's ids may be numbers."""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


def _text(given: object) -> object:
    """What people put into a trait that we know as text: a tier may be 3."""
    return str(given) if isinstance(given, int | float) and not isinstance(given, bool) else given


def _first(*values: object) -> object:
    """The first that says anything; SDKs send empty text for what they do not know."""
    return next((value for value in values if value is not None and value != ""), None)
