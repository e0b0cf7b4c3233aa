"""Segment's own addresses, so that its SDKs send here unchanged: a message, or a batch of them, then 200.

A message is kept as it came, together with what only this moment knows: which address it was sent to, what its batch
says of all, when it was received. What it means is found out when it is decoded, as for one out of Kafka or a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from app.database.keys import Scope
from app.http.edge import EVENTS_BODY_LIMIT
from app.http.events import take_in
from app.http.gate import Asking, may, named_in_body, needs
from app.http.instants import instant
from app.http.intake import MOST_LINES, Item, read_message
from app.http.pages import Answer, Using
from app.http.problems import TAKES_EVENTS, WITH_A_BODY, Code, Problem, responses
from consumers.days import micros, parse_instant
from consumers.decode import MAX_AHEAD_US

router = APIRouter(tags=["segment"])

# What a batch says of all its messages is kept with each of them: a bound on what that makes of one body.
_MOST_SHARED = 4 * EVENTS_BODY_LIMIT
_SHARED = ("context", "integrations")
Document = dict[str, msgspec.Raw]
"""The fields of a JSON object, each as it came."""

_BOM = b"\xef\xbb\xbf"
_NOTHING = (b"null", b'""')
_document = msgspec.json.Decoder(Document)
_array = msgspec.json.Decoder(list[msgspec.Raw])
_text = msgspec.json.Decoder(str)
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeError)

_OBJECT: dict[str, Any] = {"type": "object"}
_STRING: dict[str, Any] = {"type": "string"}
_MESSAGE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "messageId": _STRING,
        "userId": _STRING,
        "anonymousId": _STRING,
        "timestamp": {"type": "string", "format": "date-time"},
        "sentAt": {"type": "string", "format": "date-time"},
        "context": {"type": "object", "properties": {"groupId": _STRING}},
        "writeKey": {"type": "string", "description": "The API key, where no Authorization header has it"},
        "event": {"type": "string", "description": "Of track", "examples": ["Signed In", "Report Exported"]},
        "properties": {"type": "object", "description": "Of track, page and screen"},
        "traits": {"type": "object", "description": "Of identify and group"},
        "groupId": {"type": "string", "description": "Of group: the account's id"},
        "name": {"type": "string", "description": "Of page and screen"},
    },
}
_BATCH: dict[str, Any] = {
    "type": "object",
    "required": ["batch"],
    "properties": {
        "batch": {"type": "array", "items": {**_MESSAGE, "required": ["type"]}},
        "context": _OBJECT,
        "integrations": _OBJECT,
        "sentAt": _MESSAGE["properties"]["sentAt"],
        "writeKey": _MESSAGE["properties"]["writeKey"],
    },
}
_KEY = (
    "The API key, with the scope `ingest`, comes as Segment's write key does: as the user name of Basic auth, "
    "or as `writeKey` in the body; a Bearer header does as well. A message that is rejected is a dead letter, "
    "and the answer is 200. Bodies may be gzipped, and JSON under the name of text/plain, as browsers send it."
)
_ADDRESSES = {
    "track": "What a user did",
    "identify": "Who a user is",
    "group": "What is so of an account",
    "page": "A page that a user saw",
    "screen": "A screen that a user saw",
    "alias": "Two ids of one user; rejected as `unknown_type`",
    "batch": "Messages of all these kinds",
}


class Taken(Answer):
    """What Segment answers."""

    success: bool = Field(examples=[True])


async def _body(request: Request, caller: Asking) -> bytes:
    if caller.id:  # named by a header: whether it may is known before anything is read
        may(caller, Scope.INGEST)
    return await read_message(request)


def _taker(kind: str) -> Callable[..., Response | Taken]:
    def take(
        services: Using,
        asking: Asking,
        body: Annotated[bytes, Depends(_body)],
        response: Response,
    ) -> Response | Taken:
        document = read_document(body)
        key = _said(document, "writeKey") if document is not None else None
        caller = named_in_body(asking, services.keys, key)
        may(caller, Scope.INGEST)
        if document is None:
            raise Problem(Code.INVALID_BODY, "send one JSON object, as Segment's libraries do")
        now = services.now()
        messages = batch(document, now) if kind == "batch" else [enriched(document, now, kind=kind)]
        items = [Item(index, message) for index, message in enumerate(messages)]
        take_in(services, services.intake, items, sender=caller.name, address=f"POST /v1/{kind}")
        # The answer tells nothing, so any page may read it: else a browser's library would send for ever.
        response.headers["Access-Control-Allow-Origin"] = "*"
        return Taken(success=True)

    return take


def batch(document: Mapping[str, msgspec.Raw], now: int) -> Sequence[bytes]:
    """The messages of a batch, each by itself. Raises Problem. ``now``: epoch microseconds."""
    if "batch" not in document:
        raise Problem(Code.INVALID_BODY, "batch is missing: an array of messages")
    messages = _elements(document["batch"])
    if messages is None:
        raise Problem(Code.INVALID_BODY, "batch is not an array of messages")
    if len(messages) > MOST_LINES:
        raise Problem(Code.TOO_MANY_EVENTS, f"a batch has at most {MOST_LINES:,} messages; send several")
    if sum(len(bytes(document.get(name, b""))) for name in _SHARED) * len(messages) > _MOST_SHARED:
        raise Problem(
            Code.BODY_TOO_LARGE, "the batch's context is too large for so many messages; send several"
        )
    shared = {name: document[name] for name in (*_SHARED, "sentAt") if name in document}
    out = []
    for index, message in enumerate(messages):
        told = read_document(bytes(message))
        # What is no object is kept as it is, for decoding to say so.
        out.append(bytes(message) if told is None else enriched(told, now, shared=shared, index=index))
    return out


def enriched(
    told: Document,
    now: int,
    *,
    kind: str | None = None,
    shared: Mapping[str, msgspec.Raw] | None = None,
    index: int = 0,
) -> bytes:
    """One message with its type, what its batch says of all, and when it was received; without its key."""
    told.pop("writeKey", None)
    if kind is not None:
        told["type"] = _raw(kind)
    if not _has(told, "messageId"):
        told["messageId"] = _raw(_message_id(told, now, index))
    for name, value in (shared or {}).items():
        told[name] = _merged(value, told.get(name))
    if not _has(told, "receivedAt"):
        told["receivedAt"] = _raw(instant(now))
    _correct_clock(told, now)
    return msgspec.json.encode(told)


def _message_id(told: Document, now: int, index: int) -> str:
    """The same for the same message sent again, as far as a message says when it was."""
    moment = b"" if _has(told, "timestamp") else f"{now} {index}".encode()
    return f"bw-{hashlib.sha256(msgspec.json.encode(told, order='sorted') + moment).hexdigest()[:32]}"


def _merged(shared: msgspec.Raw, own: msgspec.Raw | None) -> msgspec.Raw:
    """What the message itself says goes before what its batch says."""
    if own is None or bytes(own) in _NOTHING:
        return shared
    try:
        return msgspec.Raw(msgspec.json.encode({**_document.decode(shared), **_document.decode(own)}))
    except _UNREADABLE:
        return own


def _correct_clock(told: Document, now: int) -> None:
    """A clock that runs ahead would put a message into the future; ``sentAt`` says by how much it does."""
    try:
        when, sent = (micros(parse_instant(_said(told, name) or "")) for name in ("timestamp", "sentAt"))
        if when > now + MAX_AHEAD_US and sent > now:
            corrected = instant(now - (sent - when))
            told["originalTimestamp"], told["timestamp"] = told["timestamp"], _raw(corrected)
    except (ValueError, OverflowError):
        return  # decoding says what is wrong with it


def read_document(body: bytes) -> Document | None:
    """The fields of one JSON object, each as it came; None if it is none."""
    body = body.removeprefix(_BOM)
    try:
        return _document.decode(body)
    except _UNREADABLE:
        value = _forgiving(body)
    return value if isinstance(value, dict) else None


def _elements(array: msgspec.Raw) -> list[msgspec.Raw] | None:
    try:
        return _array.decode(array)
    except _UNREADABLE:
        value = _forgiving(bytes(array))
    return value if isinstance(value, list) else None


def _forgiving(body: bytes) -> Document | list[msgspec.Raw] | None:
    """As the standard library reads it: half an emoji, cut off by a sender, is one message's trouble."""
    try:
        value = json.loads(body)
        if isinstance(value, dict):
            return {name.encode(errors="replace").decode(): _again(each) for name, each in value.items()}
        return [_again(each) for each in value] if isinstance(value, list) else None
    except (ValueError, RecursionError):
        return None


def _again(value: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def _has(told: Mapping[str, msgspec.Raw], name: str) -> bool:
    return name in told and bytes(told[name]) not in _NOTHING


def _said(told: Mapping[str, msgspec.Raw], name: str) -> str | None:
    """The text of a field; None where there is none."""
    try:
        return _text.decode(told[name])
    except (KeyError, *_UNREADABLE):
        return None


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(text))


def _add(kind: str, summary: str) -> None:
    take = _taker(kind)
    schema = _BATCH if kind == "batch" else _MESSAGE
    content = {"application/json": {"schema": schema}}
    router.add_api_route(
        f"/v1/{kind}",
        take,
        methods=["POST"],
        name=f"segment_{kind}",
        response_model=Taken,
        summary=f"{summary}, as Segment sends it",
        description=_KEY,
        openapi_extra={
            **needs(Scope.INGEST)["openapi_extra"],
            "requestBody": {"required": True, "content": content},
        },
        responses=responses(
            *WITH_A_BODY,
            *TAKES_EVENTS,
            Code.TOO_MANY_EVENTS,
            Code.UNSUPPORTED_MEDIA_TYPE,
            Code.UNSUPPORTED_ENCODING,
        ),
    )
    # Segment's library for browsers asks by the first letter alone.
    router.add_api_route(
        f"/v1/{kind[0]}", take, methods=["POST"], include_in_schema=False, response_model=Taken
    )


for _kind, _summary in _ADDRESSES.items():
    _add(_kind, _summary)
