"""The demo as a client of its own service: sends events and reads answers over HTTP, as any other program would."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import httpx
import msgspec

from app.demo.script import Event
from consumers.errors import BellwetherError

BATCH = 2_000
_encode = msgspec.json.Encoder().encode


class Feed:
    """A client of one service. Use as a context manager."""

    def __init__(self, url: str) -> None:
        # The shell's proxy settings are not for this machine's own address.
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=60.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.close()

    def send(
        self, lines: Sequence[bytes], moved: Callable[[int, int], None] = lambda _bytes, _records: None
    ) -> None:
        """Post lines in batches; ``moved(bytes so far, records)`` after each. Raises BellwetherError."""
        sent = 0
        for batch in _batches(lines):
            body = b"\n".join(batch)
            answer = self._client.post(
                "/v1/events", content=body, headers={"content-type": "application/x-ndjson"}
            )
            _checked(answer)
            sent += len(body)
            moved(sent, len(batch))

    def say(self, events: Sequence[Event]) -> None:
        """Post a few events as one array. Raises BellwetherError."""
        _checked(self._client.post("/v1/events", json=list(events)))

    def get(self, path: str, **params: Any) -> Any:
        """One answer. Raises BellwetherError."""
        return _checked(self._client.get(path, params=params)).json()

    def walk(self, path: str, **params: Any) -> Iterator[Mapping[str, Any]]:
        """Every row of a list, page by page."""
        cursor: dict[str, str] = {}
        while True:
            answer = self.get(path, limit=200, **params, **cursor)
            yield from answer["data"]
            if answer["next_cursor"] is None:
                return
            cursor = {"cursor": answer["next_cursor"]}

    def counters(self) -> dict[str, int]:
        """How many events were handled, by result, as /metrics tells it."""
        text = _checked(self._client.get("/metrics")).text
        found = {}
        for line in text.splitlines():
            if line.startswith('bellwether_events_total{result="'):
                name, _, value = line.removeprefix('bellwether_events_total{result="').partition('"} ')
                found[name] = int(float(value))
        return found


def encoded(events: Iterable[Event]) -> list[bytes]:
    """Events as lines of NDJSON."""
    return [_encode(event) for event in events]


def _batches(lines: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    rest = iter(lines)
    while batch := tuple(itertools.islice(rest, BATCH)):
        yield batch


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    raise BellwetherError(f"the demo's own service answered {answer.status_code}: {answer.text[:300]}")
