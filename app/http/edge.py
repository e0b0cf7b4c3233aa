"""The outermost layer of HTTP: every request gets an id, limits, safe headers, and an end without a traceback."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.problems import Code, Problem, answer, problem_of

EVENTS_BODY_LIMIT = 8 * 1024 * 1024
BODY_LIMIT = 64 * 1024  # bodies of management are forms, not data
QUERY_LIMIT = 4_096
PATH_LIMIT = 2_048
BODY_DEADLINE_S = 60.0  # a body that drips in holds a connection for no longer

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_BIG_BODIES = frozenset({"/v1/events"})
_CLOSE = {"Connection": "close"}  # what is left of the body is not worth reading

_log = structlog.get_logger("http")


class Edge:
    """ASGI middleware around everything else; see the module."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._requests = Counter(
            "bellwether_http_requests",
            "Requests answered, by route and status",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "bellwether_http_request_seconds",
            "How long requests took, by route",
            ("method", "route"),
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other kinds of connection pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers["X-Request-Id"] = request_id
            await send(message)

        try:
            _check_address(scope)
            await self._app(scope, _limited(scope, receive), send_dressed)
        except ClientDisconnect:
            status = status or 499
        except Exception as error:
            if status:  # the answer has begun: all that is left is to cut it off
                _log.exception("request failed", request_id=request_id)
                raise
            problem = problem_of(error)
            if problem is None:
                _log.exception("request failed", request_id=request_id)
                problem = Problem(Code.INTERNAL, f"the log has more under request {request_id}")
            await answer(problem, request_id)(scope, receive, send_dressed)
        finally:
            self._measure(scope, status, time.perf_counter() - started)

    def _measure(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path_format", "other")  # templates only: ids would never end
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _check_address(scope: Scope) -> None:
    if len(scope["query_string"]) > QUERY_LIMIT:
        raise Problem(Code.URI_TOO_LONG, f"a query has at most {QUERY_LIMIT} bytes")
    if len(scope.get("raw_path") or b"") > PATH_LIMIT:
        raise Problem(Code.URI_TOO_LONG, f"a path has at most {PATH_LIMIT} bytes")


def _limited(scope: Scope, receive: Receive) -> Receive:
    """``receive`` that stops a body once it is too large or too slow, before it is held anywhere."""
    limit = EVENTS_BODY_LIMIT if scope["path"] in _BIG_BODIES else BODY_LIMIT
    announced = Headers(scope=scope).get("content-length", "")
    too_large = Problem(Code.BODY_TOO_LARGE, f"this address takes at most {limit} bytes", headers=_CLOSE)
    state: dict[str, Any] = {"size": 0, "open": True, "deadline": None}

    async def receive_limited() -> Message:
        if not state["open"]:
            return await receive()
        if announced.isdecimal() and int(announced[:20]) > limit:
            raise too_large
        if state["deadline"] is None:
            state["deadline"] = asyncio.get_running_loop().time() + BODY_DEADLINE_S
        try:
            async with asyncio.timeout_at(state["deadline"]):
                message = await receive()
        except TimeoutError:
            raise Problem(Code.REQUEST_TIMEOUT, headers=_CLOSE) from None
        if message["type"] == "http.request":
            state["size"] += len(message.get("body", b""))
            state["open"] = bool(message.get("more_body", False))
            if state["size"] > limit:
                raise too_large
        return message

    return receive_limited
