"""Bytes to events: one fast path for what is right, one slow path that says exactly what is wrong.

msgspec reads a whole batch at C speed. Whatever it stumbles over, and whatever it cannot be trusted with (bodies over
the limit, NUL characters, bytes that are not UTF-8), goes through :func:`_examine`, which looks field by field, and
also takes what is right but unusual: a UTF-8 byte order mark, null fields (absent ones), ``5.0`` where 5 is meant, leap
seconds; and what is written as CloudEvents or Segment write it, which no event of our own can be taken for. Nothing
that comes in here raises.
"""

from __future__ import annotations

import difflib
import functools
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Literal, cast, get_args, get_origin

import msgspec
import xxhash
from msgspec.structs import FieldInfo, fields

from consumers import cloudevents, segment
from consumers.days import EARLIEST, instant, parse_instant
from consumers.document import read_object
from consumers.events import TYPES, Envelope, Event
from consumers.rejection import ECHO, Refused, Rejection, RejectionReason, glimpse

__all__ = (
    "MAX_AHEAD_US",
    "MAX_EVENT_BYTES",
    "Rejection",
    "RejectionReason",
    "decode",
    "decode_batch",
    "fingerprint",
    "hash_batch",
    "identities",
    "identity",
)

MAX_EVENT_BYTES = 64 * 1024
MAX_AHEAD_US = 5 * 60 * 1_000_000

# Small enough for the joined bytes of a part to stay in the processor's cache.
_PART = 256
_NUL_ESCAPE = b"\\u0000"
# An offset without its colon, which msgspec takes and RFC 3339 does not have. Looked for only where it can be: east of
# Greenwich beside a plus sign, west of it in a time that is not UTC. That leaves -0000, not worth a look at each event.
_COLONLESS = re.compile(rb':[0-9]{2}(?:\.[0-9]+)?(?!-0000)[+-][0-9]{4}"')
_MAYBE_EAST = re.compile(rb'\+[0-9]{4}"')
_MAYBE_WEST = re.compile(rb'-[0-9]{4}"')
_zone = attrgetter("tzinfo")
_read = cast("Callable[[bytes], Event]", msgspec.json.Decoder(Event).decode)


def decode(body: bytes, now_us: int) -> Event | Rejection:
    """The event in ``body``, or why there is none. ``now_us``: the present, in epoch microseconds."""
    events, rejections = decode_batch((body,), now_us)
    return events[0] if events else rejections[0][1]


def decode_batch(bodies: Sequence[bytes], now_us: int) -> tuple[list[Event], list[tuple[int, Rejection]]]:
    """The events among ``bodies`` in their order, and (index, why) of all others. ``now_us``: epoch microseconds."""
    latest = instant(now_us + MAX_AHEAD_US)
    events: list[Event] = []
    rejections: list[tuple[int, Rejection]] = []
    for first in range(0, len(bodies), _PART):
        good, bad = _decode_part(bodies[first : first + _PART], latest)
        events += good
        rejections.extend((first + index, rejection) for index, rejection in bad)
    return events, rejections


def identity(event: Event) -> int:
    """64 bits that stand for an event's identity, its source and id, on every machine."""
    return xxhash.xxh3_64_intdigest(f"{event.source}\0{event.id}".encode())


def fingerprint(event: Event) -> int:
    """32 bits over what an event says: two copies with different ones are a conflicting duplicate.

    Type, account, user, instant and data count; ``received_at``, the order of fields, the offset in which the instant
    was written and whatever the type ignores do not.
    """
    return xxhash.xxh32_intdigest(_encode(event))


def identities(events: Sequence[Event]) -> array[int]:
    """:func:`identity` ('Q') of each event."""
    digest = xxhash.xxh3_64_intdigest
    return array("Q", [digest(f"{event.source}\0{event.id}".encode()) for event in events])


def hash_batch(events: Sequence[Event]) -> tuple[array[int], array[int]]:
    """:func:`identity` ('Q') and :func:`fingerprint` ('I') of each event."""
    return identities(events), array("I", map(xxhash.xxh32_intdigest, map(_encode, events)))


# MessagePack writes an instant as UTC, whatever its offset, and leaves out what is absent: a field that a later
# version adds changes no fingerprint of events without it.
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def _decode_part(part: Sequence[bytes], latest: datetime) -> tuple[list[Event], list[tuple[int, Rejection]]]:
    trusted = _unsuspicious(part)
    good, bad = _decode_with(_read if trusted else _read_warily, part)
    times = [event.occurred_at for event in good]
    if trusted and [*map(_zone, times)].count(UTC) < len(times) and any(map(_MAYBE_WEST.search, part)):
        good, bad = _decode_with(_read_warily, part)
        times = [event.occurred_at for event in good]
    if times and (min(times) < EARLIEST or max(times) > latest):
        return _punctual(good, bad, latest)
    return good, bad


def _decode_with(
    read: Callable[[bytes], Event], part: Sequence[bytes]
) -> tuple[list[Event], list[tuple[int, Rejection]]]:
    stream: Iterator[Event] = map(read, part)
    good: list[Event] = []
    bad: list[tuple[int, Rejection]] = []
    while True:
        try:
            good.extend(stream)  # keeps what came before an error; the stream then goes on behind it
            break
        except Exception:  # whatever a hostile body makes of the parser, it is one body's trouble
            index = len(good) + len(bad)
            verdict = _examine(part[index])
            if isinstance(verdict, Rejection):
                bad.append((index, verdict))
            else:
                good.append(verdict)
    return good, bad


def _unsuspicious(part: Sequence[bytes]) -> bool:
    """Whether ``_read`` alone can be trusted with all of ``part``; asked of the joined bytes, which is cheap."""
    if max(map(len, part)) > MAX_EVENT_BYTES:
        return False
    joined = b"".join(part)
    if not joined.isascii():
        try:
            joined.decode()
        except UnicodeDecodeError:
            return False
    if b"+" in joined and _MAYBE_EAST.search(joined):
        return False
    return b"\\" not in joined or _NUL_ESCAPE not in joined


def _read_warily(body: bytes) -> Event:
    """As ``_read``, but raises for what msgspec overlooks in fields that it skips, or takes and a database does not."""
    if len(body) > MAX_EVENT_BYTES or _NUL_ESCAPE in body or _COLONLESS.search(body):
        raise ValueError
    if not body.isascii():
        body.decode()
    return _read(body)


def _punctual(
    events: list[Event], rejections: list[tuple[int, Rejection]], latest: datetime
) -> tuple[list[Event], list[tuple[int, Rejection]]]:
    """Move the events that lie before 1970 or after ``latest`` over to the rejections."""
    taken = {index for index, _ in rejections}
    indexes = (index for index in range(len(events) + len(taken)) if index not in taken)
    good: list[Event] = []
    bad = list(rejections)
    for index, event in zip(indexes, events, strict=True):
        when = event.occurred_at
        if when < EARLIEST:
            detail = f"occurred_at: {when.isoformat()} lies before 1970, like a clock that nobody set"
            bad.append((index, Rejection(RejectionReason.BAD_TIMESTAMP, detail)))
        elif when > latest:
            detail = f"occurred_at: {when.isoformat()} is more than five minutes ahead"
            bad.append((index, Rejection(RejectionReason.IN_THE_FUTURE, detail)))
        else:
            good.append(event)
    bad.sort(key=lambda entry: entry[0])
    return good, bad


# --- the slow path ---------------------------------------------------------------------------------------------


def _examine(body: bytes) -> Event | Rejection:
    """The verdict on a body that the fast path would not take; whether its time is right is left to the caller."""
    try:
        if len(body) > MAX_EVENT_BYTES:
            raise Refused(RejectionReason.TOO_LARGE, f"an event has at most {MAX_EVENT_BYTES} bytes")
        given = read_object(body)
        if cloudevents.is_cloudevent(given):
            return _build(cloudevents.translate(given), cloudevents.WORDS)
        if segment.is_segment(given):
            return _build(*segment.translate(given))
        return _build(given, {})
    except Refused as refused:
        return refused.rejection


def _build(given: dict[str, Any], words: Mapping[str, str]) -> Event:
    """The event, checked field by field in the order in which a reader would look.

    ``words``: how its sender calls our fields, where not as we do.
    """
    given = _without_nulls(given)
    kind = _kind(given)
    specs = _specs(kind)
    values: dict[str, Any] = {}
    for name in ("id", "account_id", "user_id", "occurred_at", "source"):
        word = words.get(name, name)
        if name not in given:
            if specs[name].required:
                raise Refused(RejectionReason.MISSING_FIELD, f"{word} is missing")
        elif name == "occurred_at":
            values[name] = _occurred_at(word, given[name])
        else:
            values[name] = _value(word, given[name], specs[name].type)
    if "data" in specs:
        values["data"] = _data(given.get("data", {}), specs["data"].type, words)
    return cast("Event", kind(**values))


@functools.cache
def _specs(kind: Any) -> Mapping[str, FieldInfo]:
    """The fields of a type of event, or of its data: asking msgspec takes longer than all the rest."""
    return {spec.encode_name: spec for spec in fields(kind)}


def _without_nulls(given: dict[str, Any]) -> dict[str, Any]:
    """A null field is an absent one, in the envelope, in ``data`` and in the objects in it."""
    kept = {name: value for name, value in given.items() if value is not None}
    data = kept.get("data")
    if isinstance(data, dict):
        kept["data"] = {
            name: {key: item for key, item in value.items() if item is not None}
            if isinstance(value, dict)
            else value
            for name, value in data.items()
            if value is not None
        }
    return kept


def _kind(given: dict[str, Any]) -> type[Envelope]:
    name = given.get("type")
    if name is None:
        raise Refused(RejectionReason.MISSING_FIELD, "type is missing")
    if not isinstance(name, str):
        raise Refused(RejectionReason.BAD_VALUE, f"type: {glimpse(name)} (expected `str`)")
    kind = TYPES.get(name)
    if kind is None:
        near = difflib.get_close_matches(name[:ECHO].lower(), TYPES, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ", such as 'user.login'"
        raise Refused(RejectionReason.UNKNOWN_TYPE, f"type: {glimpse(name)} is no event type{hint}")
    return kind


def _occurred_at(word: str, given: object) -> datetime:
    try:
        return parse_instant(given if isinstance(given, str) else "")
    except ValueError as error:
        raise Refused(RejectionReason.BAD_TIMESTAMP, f"{word}: {glimpse(given)} is {error}") from None


def _data(given: object, kind: Any, words: Mapping[str, str]) -> Any:
    whole = words.get("data", "data")
    if not isinstance(given, dict):
        raise Refused(RejectionReason.BAD_VALUE, f"{whole}: {glimpse(given)} (expected `object`)")
    values = {}
    for name, spec in _specs(kind).items():
        word = words.get(f"data.{name}", f"{whole}.{name}")
        if name in given:
            values[name] = _value(word, given[name], spec.type)
        elif spec.required:
            raise Refused(RejectionReason.MISSING_FIELD, f"{word} is missing")
    try:
        return kind(**values)
    except ValueError as error:  # what the type says of its fields together
        raise Refused(RejectionReason.BAD_VALUE, f"{whole}.{error}") from None


def _value(name: str, given: object, kind: Any) -> Any:
    """``given`` as the type of one field wants it."""
    try:
        value = msgspec.convert(given, kind)
        whole = all("\0" not in text and text.encode() for text in _texts(value))
    except UnicodeError:  # JSON can spell half of a surrogate pair, which no text column holds
        raise Refused(
            RejectionReason.BAD_VALUE, f"{name}: {glimpse(given)} (holds half a character)"
        ) from None
    except (msgspec.ValidationError, ArithmeticError, ValueError) as error:
        raise Refused(
            RejectionReason.BAD_VALUE, f"{name}: {glimpse(given)} ({_wanted(error, kind)})"
        ) from None
    if not whole:  # PostgreSQL has no NUL in text
        raise Refused(RejectionReason.BAD_VALUE, f"{name}: {glimpse(given)} (holds a NUL character)")
    return value


def _texts(value: object) -> Iterator[str]:
    """Every non-empty text in a checked value."""
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for item in pair for text in _texts(item))
    elif isinstance(value, tuple):
        yield from (text for item in value for text in _texts(item))


def _wanted(error: Exception, kind: Any) -> str:
    words = list(_words(kind))
    if words:
        return f"expected one of {', '.join(words)}"
    message = str(error).partition(" - at `")[0]
    return message[:1].lower() + message[1:] if isinstance(error, msgspec.ValidationError) else "not a number"


def _words(kind: Any) -> Iterator[str]:
    """The words that a Literal, alone or inside another type, allows."""
    for part in get_args(kind):
        if get_origin(kind) is Literal:
            yield str(part)
        else:
            yield from _words(part)
