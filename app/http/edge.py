"""The outermost layer of HTTP: every request gets an id, limits, safe headers, and an end without a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.gate import WRITE_KEY_PATHS
from app.http.problems import Code, Problem, answer, problem_of, retry_later

EVENTS_BODY_LIMIT = 8 * 1024 * 1024
BODY_LIMIT = 64 * 1024  # bodies of management are forms, not data
QUERY_LIMIT = 4_096
PATH_LIMIT = 2_048
BODY_DEADLINE_S = 60.0  # a body that drips in holds a connection for no longer
# What is still taken of a refused body, so that a client that sends all before it listens gets the answer.
DRAIN_LIMIT = 4 * EVENTS_BODY_LIMIT
DRAIN_DEADLINE_S = 5.0

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_BIG_BODIES = frozenset({"/v1/events", *WRITE_KEY_PATHS})
_CLOSE = {"Connection": "close"}  # what is left of the body is not worth keeping

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
        body = _Body(scope, receive)
        closing = False

        async def send_dressed(message: Message) -> None:
            nonlocal status, closing
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers["X-Request-Id"] = request_id
                closing = headers.get("connection") == "close"
            elif closing and not message.get("more_body"):
                await send({**message, "more_body": True})  # the answer is whole; only its end waits
                await body.drain()
                message = {"type": "http.response.body"}
            await send(message)

        try:
            _check_address(scope)
            await self._app(scope, body.receive, send_dressed)
        except ClientDisconnect:
            status = status or 499
        except asyncio.CancelledError:  # the process ends, and waited for this one as long as it may
            scope["app"].state.cut_short |= not body.awaited
            if status:
                raise
            ended = Problem(Code.NOT_READY, "it ends before there is an answer", headers=retry_later())
            await answer(ended, request_id)(scope, receive, send_dressed)
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


class _Body:
    """A request's body on its way in: stopped once it is too large or too slow, before it is held anywhere."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        limit = EVENTS_BODY_LIMIT if scope["path"] in _BIG_BODIES else BODY_LIMIT
        self._receive = receive
        self._limit = limit
        self._announced = Headers(scope=scope).get("content-length", "")
        self._size = 0
        self._open = True
        self._deadline: float | None = None

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for a piece that has not come."""
        return self._open and self._deadline is not None

    async def receive(self) -> Message:
        """The next piece. Raises Problem."""
        if not self._open:
            return await self._receive()
        if self._announced.isdecimal() and int(self._announced[:20]) > self._limit:
            raise self._too_large()
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + BODY_DEADLINE_S
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._piece()
        except TimeoutError:
            raise Problem(Code.REQUEST_TIMEOUT, headers=_CLOSE) from None
        if self._size > self._limit:
            raise self._too_large()
        return message

    async def drain(self) -> None:
        """Take what is still coming and drop it, for a while.

        A client that sends all before it listens would else find the connection reset, and not the answer in it.
        """
        most = self._size + DRAIN_LIMIT
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_DEADLINE_S):
                while self._open and self._size <= most:
                    await self._piece()

    async def _piece(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._open = bool(message.get("more_body", False))
        else:
            self._open = False
        return message

    def _too_large(self) -> Problem:
        return Problem(Code.BODY_TOO_LARGE, f"this address takes at most {self._limit} bytes", headers=_CLOSE)
