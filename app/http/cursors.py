"""Opaque cursors: where a list goes on, as the last row's sort values.

A cursor says which list and order it belongs to and carries a checksum, so one that was cut, edited or taken from
another list is refused instead of answering nonsense. It is no secret and grants nothing: every value in it was in the
row that the reader had already seen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence

LONGEST = 2_048
_CHECK_BYTES = 6
_VERSION = b"bellwether cursor 1"
_INTEGERS = range(-(2**63), 2**63)


class BadCursor(ValueError):
    """Not a cursor of this list."""


def encode(kind: str, values: Sequence[str | int]) -> str:
    """The cursor behind the row with these sort values, in the list and order that ``kind`` names."""
    payload = json.dumps([kind, *values], ensure_ascii=False, separators=(",", ":")).encode()
    return _text(_check(payload) + payload)


def decode(kind: str, cursor: str, types: Sequence[type]) -> tuple[str | int, ...]:
    """The sort values, one of each of ``types``. Raises BadCursor."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise BadCursor from None
    check, payload = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
    if check != _check(payload) or _text(raw) != cursor:
        raise BadCursor
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        raise BadCursor from None
    if not isinstance(content, list) or len(content) != len(types) + 1 or content[0] != kind:
        raise BadCursor
    values = tuple(content[1:])
    if not all(_fits(value, wanted) for value, wanted in zip(values, types, strict=True)):
        raise BadCursor
    return values


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _fits(value: object, wanted: type) -> bool:
    if wanted is int:
        return type(value) is int and value in _INTEGERS
    return (
        type(value) is str and "\x00" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
    )


def _check(payload: bytes) -> bytes:
    return hashlib.blake2s(payload, digest_size=_CHECK_BYTES, key=_VERSION).digest()
