"""PUT /v1/accounts/{id}: what a person or a CRM says of an account, taken in as the event that says it."""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request
from msgspec.structs import fields
from pydantic import Field

from alerts.rules.nearest import unknown
from app.database.idempotency import Answer as Stored
from app.database.idempotency import Claim
from app.database.keys import Scope
from app.http.gate import Asking, needs
from app.http.instants import instant
from app.http.once import OnceEach, told_before
from app.http.pages import AccountId, Answer, Using
from app.http.problems import IDEMPOTENT, TAKES_EVENTS, WITH_A_BODY, Code, Problem, refused, responses
from app.intake import Taken
from consumers.decode import decode
from consumers.events import AccountChange
from consumers.rejection import Rejection

router = APIRouter(prefix="/v1/accounts", tags=["accounts"])
_SOURCE = "api"
_FIELDS = {each.encode_name: each.type for each in fields(AccountChange)}
# Said by the event's own type, so that what is described is what decoding holds a body to.
_CHANGE: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {name: msgspec.json.schema(kind) for name, kind in _FIELDS.items()},
}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "What is so from now on. A null field is an absent one, and what is absent stays as it is",
        "content": {"application/json": {"schema": _CHANGE}},
    }
}
_write = needs(Scope.WRITE)


class ChangeAccepted(Answer):
    """The change is durable and will be counted."""

    account_id: str
    event_id: str = Field(description="Of the `account.updated` that says it")


async def _change(request: Request) -> dict[str, Any]:
    """The fields of the body, of which decoding the event judges the values. Raises Problem."""
    try:
        given = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise refused("body", "it is not JSON") from None
    if not isinstance(given, dict):
        raise refused("body", "expected an object")
    for name in given:
        if name not in _FIELDS:
            raise refused(f"body.{name}", unknown("field", name, _FIELDS))
    change = {name: value for name, value in given.items() if value is not None}
    if not change:
        raise refused("body", "it changes nothing; give at least one field")
    return change


@router.put(
    "/{account_id:path}",
    status_code=202,
    response_model=ChangeAccepted,
    summary="Say how an account is from now on",
    dependencies=_write["dependencies"],
    openapi_extra={**_write["openapi_extra"], **_BODY},
    responses=responses(*WITH_A_BODY, *IDEMPOTENT, *TAKES_EVENTS, Code.INVALID_REQUEST),
)
def change_account(
    services: Using,
    caller: Asking,
    once: OnceEach,
    account_id: AccountId,
    change: Annotated[dict[str, Any], Depends(_change)],
) -> Any:
    """An `account.updated` of this moment, durable before the answer and counted like any other event.

    An account that nobody has heard of begins with it. Under one `Idempotency-Key` it is one event.
    """
    event_id = f"api-{once.key[:32] if once.key else secrets.token_hex(16)}"
    now = services.now()
    event = {
        "id": event_id,
        "source": _SOURCE,
        "type": "account.updated",
        "account_id": account_id,
        "occurred_at": instant(now),
        "data": change,
    }
    body = json.dumps(event, separators=(",", ":")).encode()
    judged = decode(body, now)
    if isinstance(judged, Rejection):
        raise _of(judged)

    answer = ChangeAccepted(account_id=account_id, event_id=event_id)
    kept = services.intake.take(
        Taken(
            good=[(judged, body)],
            refused=(),
            sender=caller.name,
            received_at=services.wall(),
            answer=Stored(202, answer.model_dump_json()),
            key=once.key,
            asked=once.body,
        )
    )
    return answer if kept is Claim.OURS else told_before(kept)


def _of(rejection: Rejection) -> Problem:
    """Decoding's word on the event, as one on the body that became its data."""
    place, colon, said = rejection.detail.partition(": ")
    if colon and place.startswith("data."):
        return refused(f"body.{place.removeprefix('data.')}", said)
    return refused("body", rejection.detail)
