"""From an HTTP body to single events: read within limits, unzip, split. Each event keeps the bytes it came in."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message

import msgspec
from starlette.requests import Request

from app.http.edge import EVENTS_BODY_LIMIT
from app.http.problems import Code, Problem
from consumers.cloudevents import structured_http

MOST_EVENTS = 1_000  # of an array
MOST_LINES = (
    100_000  # of NDJSON: more than 8 MiB of the shortest events are; bad lines are kept, each in a row
)
_LINES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)
# What clients say that were told nothing: curl's own for -d and --data-binary, and that of a text file.
_ANY = frozenset({"text/plain", "application/x-www-form-urlencoded"})
_BLANK = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_GZIP_WINDOW = 31  # zlib's way to say: gzip, with any window
_array = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Item:
    """One event of a body; ``index`` is its place in the array, or its line, from 0."""

    index: int
    body: bytes


async def read_events(request: Request) -> Sequence[Item]:
    """The events of a request. Raises Problem for what cannot be taken apart at all."""
    media_type = _media_type(request)
    body = await read_body(request)
    event = structured_http(request.headers.raw, body, _data_type(request, media_type))
    if event is not None:  # a CloudEvent in headers and body: kept as one document
        return [Item(0, event)]
    if not body:
        raise Problem(Code.INVALID_BODY, "the body is empty; send an event, an array of them, or one a line")
    return split_lines(body) if media_type in _LINES else split(body)


async def read_message(request: Request) -> bytes:
    """The body of a request that holds one JSON document, unzipped. Raises Problem."""
    _media_type(request)
    return await read_body(request)


async def read_body(request: Request) -> bytes:
    """The whole body, unzipped. Raises Problem."""
    unzip = _unzipper(request)
    body = bytearray()
    async for chunk in request.stream():
        body += unzip.more(chunk) if unzip else chunk
    if unzip:
        unzip.finish()
    return bytes(body)


def split(body: bytes) -> Sequence[Item]:
    """An object, an array or NDJSON, as the body itself shows: a whole object in its first line, and more behind it."""
    first, _, rest = body.removeprefix(_BOM).lstrip(_BLANK).partition(b"\n")
    return split_lines(body) if rest.strip(_BLANK) and _is_object(first) else split_json(body)


def split_lines(body: bytes) -> Sequence[Item]:
    """NDJSON: one event a line, blank lines skipped, MOST_LINES at most."""
    if body.count(b"\n") > MOST_LINES:
        raise Problem(Code.TOO_MANY_EVENTS, f"a body has at most {MOST_LINES:,} lines; send several")
    return [Item(index, line) for index, line in enumerate(body.split(b"\n")) if line.strip()]


def split_json(body: bytes) -> Sequence[Item]:
    """An object, or an array of at most MOST_EVENTS.

    Whatever is neither is one item: decoding it says what is wrong, and it is kept like any other rejected event.
    """
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        return [Item(0, body)]
    try:
        elements = _array.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return [Item(0, body)]
    if len(elements) > MOST_EVENTS:
        raise Problem(
            Code.TOO_MANY_EVENTS,
            f"an array has at most {MOST_EVENTS} events, this one has {len(elements)}; send several, or NDJSON",
        )
    return [Item(index, bytes(element)) for index, element in enumerate(elements)]


def _is_object(text: bytes) -> bool:
    try:
        _object.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return True


class Unzipper:
    """Gzip, a piece at a time, never holding more than the limit. Raises Problem."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._inner = zlib.decompressobj(_GZIP_WINDOW)
        self._begun = False

    def more(self, chunk: bytes) -> bytes:
        """What ``chunk`` unpacks to."""
        out = bytearray()
        try:
            while chunk:
                if self._inner.eof:  # gzip files may follow one another
                    self._inner = zlib.decompressobj(_GZIP_WINDOW)
                self._begun = True
                out += self._inner.decompress(chunk, self._limit - self._size - len(out) + 1)
                if self._size + len(out) > self._limit:
                    raise Problem(
                        Code.BODY_TOO_LARGE,
                        f"this address takes at most {self._limit} bytes, also after unzipping",
                        headers={"Connection": "close"},
                    )
                chunk = self._inner.unconsumed_tail or self._inner.unused_data
        except zlib.error:
            raise Problem(Code.INVALID_BODY, "the body is not gzip, as Content-Encoding says it is") from None
        self._size += len(out)
        return bytes(out)

    def finish(self) -> None:
        """Call at the end of the body."""
        if self._begun and not self._inner.eof:
            raise Problem(Code.INVALID_BODY, "the gzip body ends too early")


def _unzipper(request: Request) -> Unzipper | None:
    named = ",".join(request.headers.getlist("content-encoding")).lower()
    encodings = [each for each in (part.strip() for part in named.split(",")) if each not in {"", "identity"}]
    if not encodings:
        return None
    if encodings not in (["gzip"], ["x-gzip"]):
        raise Problem(
            Code.UNSUPPORTED_ENCODING,
            "send the body as it is or with Content-Encoding: gzip",
            headers={"Accept-Encoding": "gzip, identity", "Connection": "close"},
        )
    return Unzipper(EVENTS_BODY_LIMIT)


def _data_type(request: Request, media_type: str) -> str | None:
    """What a CloudEvent's data is said to be; None, which is JSON, where the client was told nothing."""
    return None if media_type in _ANY else request.headers.get("content-type")


def _media_type(request: Request) -> str:
    """What the body is said to be; only NDJSON's own names say more than its bytes do."""
    given = request.headers.get("content-type")
    if given is None:
        return "text/plain"
    message = Message()
    message["content-type"] = given
    media_type = message.get_content_type()
    charset = message.get_param("charset", "utf-8")
    json = media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
    if not (json or media_type in _LINES | _ANY) or str(charset).lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise Problem(
            Code.UNSUPPORTED_MEDIA_TYPE,
            "send Content-Type: application/json, or application/x-ndjson for one event a line, in UTF-8",
            headers={"Accept-Post": "application/json, application/x-ndjson", "Connection": "close"},
        )
    return media_type
