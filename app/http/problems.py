"""Errors as HTTP tells them: ``application/problem+json`` with a closed set of codes, and nothing of the inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from alerts.desk import AlertClosed, UnknownAlert
from alerts.store import AlertMoved
from consumers.errors import (
    BellwetherError,
    ConfigurationError,
    StorageBusy,
    StorageError,
    StorageFull,
    StorageReadOnly,
)
from consumers.topics import LogUnavailable

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_S = 5


class Code(StrEnum):
    """Every code that an error can carry. Programs branch on it, so a word once given stays."""

    INVALID_CURSOR = "invalid_cursor"
    INVALID_BODY = "invalid_body"
    CONFIGURATION_REFUSED = "configuration_refused"
    MISSING_KEY = "missing_key"
    INVALID_KEY = "invalid_key"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    HOST_REFUSED = "host_refused"
    CROSS_SITE_REFUSED = "cross_site_refused"
    FORWARDED_REFUSED = "forwarded_refused"
    NOT_FOUND = "not_found"
    ACCOUNT_NOT_FOUND = "account_not_found"
    ALERT_NOT_FOUND = "alert_not_found"
    RULE_NOT_FOUND = "rule_not_found"
    DEAD_LETTER_NOT_FOUND = "dead_letter_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    ALERT_NOT_OPEN = "alert_not_open"
    NOTHING_TO_CLOSE = "nothing_to_close"
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress"
    BODY_TOO_LARGE = "body_too_large"
    TOO_MANY_EVENTS = "too_many_events"
    URI_TOO_LONG = "uri_too_long"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    INVALID_REQUEST = "invalid_request"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    INTERNAL = "internal"
    NOT_READY = "not_ready"
    LOG_UNAVAILABLE = "log_unavailable"
    DATABASE_LOCKED = "database_locked"
    DATABASE_READ_ONLY = "database_read_only"
    DATABASE_FULL = "database_full"
    DATABASE_UNAVAILABLE = "database_unavailable"


KINDS: Mapping[Code, tuple[int, str]] = {
    Code.INVALID_CURSOR: (400, "The cursor is not one of this list"),
    Code.INVALID_BODY: (400, "The body cannot be read"),
    Code.CONFIGURATION_REFUSED: (400, "The configuration was refused; the old one stays in force"),
    Code.MISSING_KEY: (401, "An API key is needed"),
    Code.INVALID_KEY: (401, "This API key opens nothing"),
    Code.INSUFFICIENT_SCOPE: (403, "This API key may not do that"),
    Code.HOST_REFUSED: (403, "Without an API key only this machine may ask"),
    Code.CROSS_SITE_REFUSED: (403, "Without an API key no other site may ask"),
    Code.FORWARDED_REFUSED: (403, "Without an API key no proxy may ask"),
    Code.NOT_FOUND: (404, "There is nothing at this address"),
    Code.ACCOUNT_NOT_FOUND: (404, "No such account"),
    Code.ALERT_NOT_FOUND: (404, "No such alert"),
    Code.RULE_NOT_FOUND: (404, "No such rule"),
    Code.DEAD_LETTER_NOT_FOUND: (404, "No such dead letter"),
    Code.METHOD_NOT_ALLOWED: (405, "This address does not take that method"),
    Code.REQUEST_TIMEOUT: (408, "The body took too long to arrive"),
    Code.ALERT_NOT_OPEN: (409, "The alert is not open"),
    Code.NOTHING_TO_CLOSE: (409, "The account has no alert to keep an outcome with"),
    Code.IDEMPOTENCY_IN_PROGRESS: (409, "The same request is being worked on"),
    Code.BODY_TOO_LARGE: (413, "The body is too large"),
    Code.TOO_MANY_EVENTS: (413, "Too many events in one request"),
    Code.URI_TOO_LONG: (414, "The address is too long"),
    Code.UNSUPPORTED_MEDIA_TYPE: (415, "This media type is not understood"),
    Code.UNSUPPORTED_ENCODING: (415, "This content encoding is not understood"),
    Code.INVALID_REQUEST: (422, "The request is not as described"),
    Code.IDEMPOTENCY_CONFLICT: (422, "The Idempotency-Key was used for another body"),
    Code.INTERNAL: (500, "Something went wrong here"),
    Code.NOT_READY: (503, "Not ready"),
    Code.LOG_UNAVAILABLE: (503, "Kafka does not take events now"),
    Code.DATABASE_LOCKED: (503, "The database is locked"),
    Code.DATABASE_READ_ONLY: (503, "The database is read-only"),
    Code.DATABASE_FULL: (503, "The database has no room left"),
    Code.DATABASE_UNAVAILABLE: (503, "The database is not available"),
}

# What any operation may answer, whatever it does.
_ANYWHERE = (
    Code.URI_TOO_LONG,
    Code.INTERNAL,
    Code.NOT_READY,
    Code.DATABASE_LOCKED,
    Code.DATABASE_READ_ONLY,
    Code.DATABASE_FULL,
    Code.DATABASE_UNAVAILABLE,
)
_BEHIND_A_KEY = (
    Code.MISSING_KEY,
    Code.INVALID_KEY,
    Code.INSUFFICIENT_SCOPE,
    Code.HOST_REFUSED,
    Code.CROSS_SITE_REFUSED,
    Code.FORWARDED_REFUSED,
)
WITH_A_BODY = (Code.REQUEST_TIMEOUT, Code.BODY_TOO_LARGE, Code.INVALID_BODY)
TAKES_EVENTS = (Code.LOG_UNAVAILABLE,)
IDEMPOTENT = (Code.IDEMPOTENCY_IN_PROGRESS, Code.IDEMPOTENCY_CONFLICT)

SCHEMA: Mapping[str, Any] = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457). `code` is stable; `title` and `detail` are for people.",
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string", "enum": [code.value for code in Code]},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
        "parts": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


class Problem(HTTPException):
    """An answer that says no. ``more`` are further members of the body."""

    def __init__(
        self,
        code: Code,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        status, self.title = KINDS[code]
        super().__init__(status, detail or self.title, headers)
        self.code = code
        self.more = dict(more or {})


def refused(field: str, message: str) -> Problem:
    """The problem of one field of a request: what is wrong with it."""
    return _of_fields([{"field": _plain(field), "message": _plain(message)}])


def responses(*codes: Code, keyed: bool = True) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of an operation's errors: its own ``codes`` and those that any operation may give."""
    described: dict[int, list[Code]] = {}
    for code in sorted(
        {*codes, *_ANYWHERE, *(_BEHIND_A_KEY if keyed else ())}, key=lambda code: KINDS[code][0]
    ):
        described.setdefault(KINDS[code][0], []).append(code)
    return {
        status: {
            "description": "; ".join(f"`{code}`: {KINDS[code][1]}" for code in group),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, group in described.items()
    }


def problem_of(error: Exception) -> Problem | None:
    """The error as HTTP tells it, None if it is nobody's business outside."""
    if isinstance(error, Problem):
        return error
    for kind, tell in _TOLD:
        if isinstance(error, kind):
            return tell(error)
    return None


def answer(problem: Problem, request_id: str) -> Response:
    """The response that tells it."""
    body = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status_code,
        "code": problem.code,
        "detail": problem.detail,
        **({"request_id": request_id} if request_id else {}),
        **problem.more,
    }
    return Response(msgspec.json.encode(body), problem.status_code, problem.headers, MEDIA_TYPE)


def _of_framework(error: HTTPException) -> Problem:
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return Problem(Code.NOT_FOUND)
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return Problem(Code.METHOD_NOT_ALLOWED, headers=error.headers)
        case HTTPStatus.BAD_REQUEST:
            return Problem(Code.INVALID_BODY)
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return Problem(Code.BODY_TOO_LARGE)
        case _:
            return Problem(Code.INTERNAL)


def _of_validation(errors: Sequence[Any]) -> Problem:
    """The fields and what is wrong with them; never what was sent, which may be anything."""
    return _of_fields(
        [
            {"field": _plain(".".join(map(str, each["loc"]))), "message": _plain(each["msg"])}
            for each in errors[:20]
        ]
    )


def _of_fields(told: Sequence[Mapping[str, str]]) -> Problem:
    first = told[0] if told else {"field": "", "message": ""}
    return Problem(Code.INVALID_REQUEST, f"{first['field']}: {first['message']}", more={"errors": told})


def _plain(text: str) -> str:
    return text.removeprefix("Value error, ").encode("utf-8", "replace").decode()[:500]


def _of_storage(error: StorageError) -> Problem:
    code = {
        StorageBusy: Code.DATABASE_LOCKED,
        StorageReadOnly: Code.DATABASE_READ_ONLY,
        StorageFull: Code.DATABASE_FULL,
    }.get(type(error), Code.DATABASE_UNAVAILABLE)
    return Problem(code, KINDS[code][1] + "; nothing acknowledged was lost", headers=retry_later())


def _of_log(_error: LogUnavailable) -> Problem:
    detail = "nothing of this request is told as taken; send it again: ids make an event count once"
    return Problem(Code.LOG_UNAVAILABLE, detail, headers=retry_later())


def retry_later() -> dict[str, str]:
    """Headers of an answer after which the same request may do better."""
    return {"Retry-After": str(_RETRY_AFTER_S)}


_TOLD: tuple[tuple[type[Exception], Callable[[Any], Problem]], ...] = (
    (HTTPException, _of_framework),
    (RequestValidationError, lambda error: _of_validation(error.errors())),
    (UnknownAlert, lambda error: Problem(Code.ALERT_NOT_FOUND, str(error))),
    (AlertClosed, lambda error: Problem(Code.ALERT_NOT_OPEN, str(error))),
    (AlertMoved, lambda _: Problem(Code.DATABASE_LOCKED, "the alert moved meanwhile", headers=retry_later())),
    (StorageError, _of_storage),
    (LogUnavailable, _of_log),
    (ConfigurationError, lambda error: Problem(Code.CONFIGURATION_REFUSED, str(error))),
    (BellwetherError, lambda error: Problem(Code.INTERNAL, str(error))),
)
