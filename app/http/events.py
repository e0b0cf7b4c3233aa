"""POST /v1/events: durable before the answer, each event judged on its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec.structs import fields
from pydantic import Field

from app.database.dead_letters import Refused
from app.database.idempotency import Answer as Stored
from app.database.idempotency import Claim
from app.database.keys import Scope
from app.http.gate import Asking, needs
from app.http.intake import MOST_EVENTS, Item, read_events
from app.http.once import GivenKey, request_key, told_before
from app.http.pages import Answer, Using
from app.http.problems import IDEMPOTENT, TAKES_EVENTS, WITH_A_BODY, Code, responses
from app.http.services import Services
from app.intake import Good, Intake, Taken
from consumers.decode import decode_batch
from consumers.events import UserLogin

router = APIRouter(tags=["events"])

_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["id", "type", "account_id", "occurred_at"],
    "properties": {
        # A login is all envelope: what its type says of each field is what decoding holds it to.
        **{each.encode_name: msgspec.json.schema(each.type) for each in fields(UserLogin)},
        "type": {"type": "string", "examples": ["user.login"]},
        "received_at": {"type": "string", "format": "date-time"},
        "data": {"type": "object"},
    },
}
_EVENTS = {"type": "array", "items": _EVENT, "maxItems": MOST_EVENTS}
_CLOUDEVENT: dict[str, Any] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "time"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": _EVENT["properties"]["id"],
        "source": _EVENT["properties"]["source"],
        "type": {"type": "string", "examples": ["user.login", "com.acme.user.login"]},
        "time": {"type": "string", "format": "date-time"},
        "subject": {"type": "string", "description": "The account's id, unless `accountid` has it"},
        "accountid": {"type": "string"},
        "userid": {"type": "string"},
        "data": {"type": "object"},
        "data_base64": {"type": "string"},
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "description": f"One event, an array of at most {MOST_EVENTS}, or NDJSON; 8 MiB, also after gunzip. The three"
        " are told apart by what they hold, also as text/plain, as curl's application/x-www-form-urlencoded or unnamed."
        " CloudEvents 1.0 are read structured, batched, or binary: attributes in `ce-` headers, data as JSON",
        "content": {
            "application/json": {"schema": {"anyOf": [_EVENT, _EVENTS]}},
            "application/x-ndjson": {"schema": {"type": "string"}},
            "application/cloudevents+json": {"schema": _CLOUDEVENT},
            "application/cloudevents-batch+json": {
                "schema": {"type": "array", "items": _CLOUDEVENT, "maxItems": MOST_EVENTS}
            },
        },
    }
}


class RejectedEvent(Answer):
    """One event that was not taken in. It is kept as a dead letter."""

    index: int = Field(ge=0, description="Its place in the array, or its line, from 0")
    code: str = Field(examples=["missing_field"])
    detail: str


class Accepted(Answer):
    """What became of the events of one request."""

    accepted: int = Field(ge=0, description="How many are durable now and will be counted")
    rejected: list[RejectedEvent]


async def _items(request: Request) -> Sequence[Item]:
    return await read_events(request)


async def _key(request: Request, key: GivenKey = None) -> str | None:
    return request_key(request, key)


async def together(services: Using) -> Intake:
    """Where the events of one application become durable."""
    return services.intake


_ingest = needs(Scope.INGEST)


@router.post(
    "/v1/events",
    status_code=202,
    response_model=Accepted,
    summary="Send events",
    dependencies=_ingest["dependencies"],
    openapi_extra={**_ingest["openapi_extra"], **_BODY},
    responses=responses(
        *WITH_A_BODY,
        *IDEMPOTENT,
        *TAKES_EVENTS,
        Code.TOO_MANY_EVENTS,
        Code.UNSUPPORTED_MEDIA_TYPE,
        Code.UNSUPPORTED_ENCODING,
        Code.INVALID_REQUEST,
    ),
)
def send_events(
    services: Using,
    caller: Asking,
    items: Annotated[Sequence[Item], Depends(_items)],
    key: Annotated[str | None, Depends(_key)],
    intake: Annotated[Intake, Depends(together)],
) -> Accepted | Response:
    """Every good event is durable before the answer; bad ones are listed, kept, and stop nothing."""
    return take_in(services, intake, items, sender=caller.name, key=key)


def take_in(
    services: Services,
    intake: Intake,
    items: Sequence[Item],
    *,
    sender: str,
    key: str | None = None,
    address: str = "POST /v1/events",
) -> Accepted | Response:
    """Make good events durable and put bad ones aside; ``address`` is where they came in.

    Raises StorageError, LogUnavailable.
    """
    good, refused, answer = _judged(items, f"{address} by {sender}", services.now())

    kept = intake.take(
        Taken(
            good=good,
            refused=refused,
            sender=sender,
            received_at=services.wall(),
            answer=Stored(202, answer.model_dump_json()),
            key=key,
            asked=b"\n".join(item.body for item in items),
        )
    )
    return answer if kept is Claim.OURS else told_before(kept)


def _judged(
    items: Sequence[Item], origin: str, now: int
) -> tuple[Sequence[Good], Sequence[Refused], Accepted]:
    """The events to keep, those to put aside, and what the sender is told."""
    bodies = [item.body for item in items]
    events, rejections = decode_batch(bodies, now)
    bad = {place for place, _ in rejections}
    good = list(zip(events, (body for place, body in enumerate(bodies) if place not in bad), strict=True))
    refused = [
        Refused(bodies[place], why, f"{origin}, event {items[place].index}") for place, why in rejections
    ]
    rejected = [
        RejectedEvent(index=items[place].index, code=why.reason, detail=why.detail)
        for place, why in rejections
    ]
    return good, refused, Accepted(accepted=len(good), rejected=rejected)
