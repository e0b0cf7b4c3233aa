"""POST /v1/events: durable before the answer, each event judged on its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec.structs import fields
from pydantic import Field
from sqlalchemy import Connection

from app.database import dead_letters, idempotency, journal
from app.database.dead_letters import Refused
from app.database.group_commit import GroupCommit
from app.database.idempotency import Answer as Stored
from app.database.idempotency import Claim
from app.database.keys import Scope
from app.http.gate import Asking, needs
from app.http.intake import MOST_EVENTS, Item, read_events
from app.http.once import GivenKey, request_key, told_before
from app.http.pages import Answer, Using
from app.http.problems import IDEMPOTENT, WITH_A_BODY, Code, responses
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
_BODY = {
    "requestBody": {
        "required": True,
        "description": f"One event, an array of at most {MOST_EVENTS}, or NDJSON; 8 MiB, also after gunzip. The three"
        " are told apart by what they hold, also as text/plain, as curl's application/x-www-form-urlencoded or unnamed",
        "content": {
            "application/json": {"schema": {"anyOf": [_EVENT, _EVENTS]}},
            "application/x-ndjson": {"schema": {"type": "string"}},
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


async def _together(request: Request) -> GroupCommit:
    group: GroupCommit = request.app.state.intake
    return group


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
    together: Annotated[GroupCommit, Depends(_together)],
) -> Accepted | Response:
    """Every good event is durable before the answer; bad ones are listed, kept, and stop nothing."""
    good, refused, answer = _judged(items, caller.name, services.now())

    def keep(connection: Connection) -> Stored | Claim:
        if key is not None:
            known = idempotency.claim(connection, key, _joined(items), now=services.wall())
            if known is not Claim.OURS:
                return known
            idempotency.complete(connection, key, Stored(202, answer.model_dump_json()))
        journal.append(connection, good, sender=caller.name, received_at=services.wall())
        dead_letters.keep(connection, refused, received_at=services.wall())
        return Claim.OURS

    kept = together.run(keep)
    if kept is not Claim.OURS:
        return told_before(kept)
    if good:
        services.bell()
    return answer


def _judged(
    items: Sequence[Item], sender: str, now: int
) -> tuple[Sequence[bytes], Sequence[Refused], Accepted]:
    """The events to keep, those to put aside, and what the sender is told."""
    bodies = [item.body for item in items]
    _, rejections = decode_batch(bodies, now)
    bad = {place for place, _ in rejections}
    good = [body for place, body in enumerate(bodies) if place not in bad]
    refused = [
        Refused(bodies[place], why, f"POST /v1/events by {sender}, event {items[place].index}")
        for place, why in rejections
    ]
    rejected = [
        RejectedEvent(index=items[place].index, code=why.reason, detail=why.detail)
        for place, why in rejections
    ]
    return good, refused, Accepted(accepted=len(good), rejected=rejected)


def _joined(items: Sequence[Item]) -> bytes:
    return b"\n".join(item.body for item in items)
