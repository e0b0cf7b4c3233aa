"""Why an event was refused: the closed list of reasons, and the words that a person reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

ECHO = 80
"""How much of a sender's text a detail shows, in characters."""
_MAX_DETAIL = 1000


class RejectionReason(StrEnum):
    """Why an event was refused: the closed list of docs/events.md."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    BAD_VALUE = "bad_value"
    UNKNOWN_TYPE = "unknown_type"
    BAD_TIMESTAMP = "bad_timestamp"
    IN_THE_FUTURE = "in_the_future"
    TOO_LARGE = "too_large"
    UNSUPPORTED_ENCODING = "unsupported_encoding"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why, in one word and in one line of at most 1 KB that echoes no more than a glimpse of the value."""

    reason: RejectionReason
    detail: str


class Refused(Exception):
    """Carries a :class:`Rejection` out of whatever found it."""

    def __init__(self, reason: RejectionReason, detail: str) -> None:
        super().__init__(detail)
        self.rejection = Rejection(reason, detail[:_MAX_DETAIL])


def glimpse(value: object) -> str:
    """Enough of a value to recognise it."""
    match value:
        case dict():
            return "an object"
        case list():
            return "an array"
        case str() if len(value) > ECHO:
            return f"{value[:ECHO]!r}…"
        case str():
            return repr(value)
        case _:
            return json.dumps(value)[:ECHO]
