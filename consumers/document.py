"""One JSON object out of bytes, read by the standard library, which gets further than msgspec before it gives up."""

from __future__ import annotations

import json
from typing import Any

from consumers.rejection import Refused, RejectionReason, glimpse

_BOM = b"\xef\xbb\xbf"


def read_object(body: bytes) -> dict[str, Any]:
    """The object in ``body``, whole numbers as int whatever their spelling. Raises Refused, and nothing else."""
    if b"\0" in body[:4]:
        raise Refused(RejectionReason.UNSUPPORTED_ENCODING, "looks like UTF-16 or UTF-32; events are UTF-8")
    try:
        text = body.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        raise Refused(
            RejectionReason.UNSUPPORTED_ENCODING, f"byte {error.start} is not UTF-8, which events are in"
        ) from None
    if not text.strip():
        raise Refused(RejectionReason.NOT_JSON, "empty")
    try:
        value = json.loads(text, parse_constant=_constant, parse_int=_integer, parse_float=_real)
    except json.JSONDecodeError as error:
        raise Refused(RejectionReason.NOT_JSON, f"character {error.pos}: {error.msg}") from None
    except RecursionError:
        if text.lstrip().startswith("{"):
            raise Refused(RejectionReason.BAD_VALUE, "nested too deep to be read") from None
        value = []
    if not isinstance(value, dict):
        raise Refused(RejectionReason.NOT_AN_OBJECT, f"expected an object, got {glimpse(value)}")
    return value


def _constant(text: str) -> float:
    raise Refused(RejectionReason.NOT_JSON, f"{text} is not JSON")


def _integer(text: str) -> int | float:
    # Python refuses to read thousands of digits, and nothing here takes more than 64 bits.
    return int(text) if len(text) <= 40 else float(text)


def _real(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
