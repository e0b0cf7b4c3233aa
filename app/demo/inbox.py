"""The demo's inbox: a receiver as any other, which shows what it got and whether the signature holds.

It stands in for a CRM (signed webhooks) and for Slack (an incoming webhook), knows nothing of the service, and keeps
the last few hundred messages in memory.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from app.demo.page import SCRIPT, STYLE, card, page
from app.demo.received import Received, To

MOST_KEPT = 500
MOST_BYTES = 256 * 1024  # a signed body stays under 20 KB; more comes from somebody else


class Inbox:
    """What came. Thread-safe."""

    def __init__(self) -> None:
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        self.slack_path = f"/slack/{secrets.token_urlsafe(18)}"
        self._webhook = Webhook(self.secret)
        self._arrival = threading.Condition()
        self._kept: deque[Received] = deque(maxlen=MOST_KEPT)
        self._ids: set[str] = set()
        self._number = 0

    def after(self, number: int) -> Sequence[Received]:
        """The messages with a higher number, oldest first."""
        with self._arrival:
            return [each for each in self._kept if each.number > number]

    def take_webhook(self, body: bytes, headers: Mapping[str, str]) -> Received:
        """Keep a webhook's request, its signature verified or not."""
        try:
            self._webhook.verify(body, dict(headers))
            verified = True
        except (WebhookVerificationError, ValueError):
            verified = False
        return self._keep(To.WEBHOOK, body, headers, verified)

    def take_slack(self, body: bytes, headers: Mapping[str, str]) -> Received:
        """Keep a post to Slack, which has no signature: its address is the secret."""
        return self._keep(To.SLACK, body, headers, True)

    def wait_for(self, condition: Callable[[Sequence[Received]], bool], timeout_s: float) -> bool:
        """Whether the messages fulfil ``condition`` within ``timeout_s``."""
        with self._arrival:
            return self._arrival.wait_for(lambda: condition(self._kept), timeout_s)

    def _keep(self, to: To, body: bytes, headers: Mapping[str, str], verified: bool) -> Received:
        with self._arrival:
            self._number += 1
            name = headers.get("webhook-id", "") if verified else ""
            received = Received(
                number=self._number,
                to=to,
                at=datetime.now(UTC),
                headers=dict(headers),
                body=_parsed(body),
                size=len(body),
                verified=verified,
                repeat=name in self._ids,
            )
            if name:
                self._ids.add(name)
            self._kept.append(received)
            self._arrival.notify_all()
        return received


def create_app(inbox: Inbox, service_url: str) -> Starlette:
    """The inbox as a web application: it takes messages, and shows them."""

    async def webhook(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return PlainTextResponse("too large", 413)
        received = inbox.take_webhook(body, request.headers)
        return PlainTextResponse(
            "ok" if received.verified else "wrong signature", 200 if received.verified else 401
        )

    async def slack(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return PlainTextResponse("too large", 413)
        inbox.take_slack(body, request.headers)
        return PlainTextResponse("ok")

    async def show(_request: Request) -> Response:
        messages = inbox.after(0)
        return HTMLResponse(page(messages, service_url=service_url), headers=_HEADERS)

    async def feed(request: Request) -> Response:
        after = request.query_params.get("after", "0")
        new = inbox.after(int(after) if after.isascii() and after.isdecimal() else 0)
        cards = [{"number": each.number, "to": each.to.value, "html": card(each)} for each in new]
        return JSONResponse({"cards": cards}, headers=_HEADERS)

    async def messages(_request: Request) -> Response:
        return JSONResponse({"messages": [each.view() for each in inbox.after(0)]}, headers=_HEADERS)

    return Starlette(
        routes=[
            Route("/", show),
            Route("/feed", feed),
            Route("/messages", messages),
            Route("/webhook", webhook, methods=["POST"]),
            Route(inbox.slack_path, slack, methods=["POST"]),
        ],
        # A page of another site that made its own name point here must not read the messages.
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False)
        ],
    )


async def _body(request: Request) -> bytes | None:
    """The body, None if it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _hash(inline: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"


_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "connect-src 'self'",
            f"script-src {_hash(SCRIPT)}",
            f"style-src {_hash(STYLE)}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
}
