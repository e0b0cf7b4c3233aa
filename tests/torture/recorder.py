"""A receiver of webhooks that forgets nothing: raw bytes, headers, arrival, and whether the signature holds.

Signatures are recomputed from the standard's text with :mod:`hmac`, not with the library that signs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.e2e.webhook_receiver import Exchange, Receiver

Script = Callable[[Exchange, int], None]  # the request, and how many came before it


@dataclass(frozen=True, slots=True)
class Told:
    """One message as it came. ``at`` is monotonic seconds."""

    id: str
    kind: str
    alert: str
    account: str
    rule: str
    seq: int
    at: float
    signed: bool


def fine(exchange: Exchange, _before: int) -> None:
    """200."""
    exchange.answer()


class Recorder:
    """Where it listens, and what it was told so far. ``script`` decides how each request is answered."""

    def __init__(self, secret: str, script: Script = fine) -> None:
        self.script = script
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self._came = 0
        self._count = threading.Lock()
        self._receiver = Receiver(self._answer)
        self.url = self._receiver.url
        self.port = self._receiver.port

    def _answer(self, exchange: Exchange) -> None:
        with self._count:
            before, self._came = self._came, self._came + 1
        self.script(exchange, before)

    @property
    def told(self) -> list[Told]:
        """Every request, in the order of arrival, whatever it was answered."""
        return [self._read(each.headers, each.body, each.at) for each in list(self._receiver.requests)]

    @property
    def copies(self) -> int:
        """How many requests carried an id that had come before."""
        return sum(count - 1 for count in Counter(each.id for each in self.told).values())

    def _read(self, headers: dict[str, str], body: bytes, at: float) -> Told:
        document: dict[str, Any] = json.loads(body)
        data = document["data"]
        signed = hmac.new(
            self._key,
            b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body)),
            hashlib.sha256,
        )
        ours = "v1," + base64.b64encode(signed.digest()).decode()
        account = data.get("account")
        return Told(
            id=headers["webhook-id"],
            kind=document["type"],
            alert=str(data.get("id", "")),
            account=account["id"] if isinstance(account, dict) else "",
            rule=str(data.get("rule", "")),
            seq=int(data.get("seq", 0)),
            at=at,
            signed=ours in headers["webhook-signature"].split(" "),
        )

    def close(self) -> None:
        """Stop listening."""
        self._receiver.close()


@contextmanager
def recording(secret: str, script: Script = fine) -> Iterator[Recorder]:
    """A recorder for the length of a block."""
    recorder = Recorder(secret, script)
    try:
        yield recorder
    finally:
        recorder.close()
