"""Who may ask: API keys with scopes, and what holds while there is no key at all.

Without any key whoever sits at this machine may do everything, so a request must show that it comes from there and
from no page of another site: a browser on this machine obeys strangers' pages.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.database.keys import ALL_SCOPES, Caller, KeyRing
from app.database.keys import Scope as Right
from app.http.problems import Code, Problem

OPEN_PATHS = frozenset({"/livez", "/readyz"})
# Segment's addresses, and the short ones that its browser library asks: there a key comes as Segment's write key does,
# as the user of Basic auth or, where no header brings one, in the body.
WRITE_KEY_PATHS = frozenset(
    f"/v1/{name}"
    for long in ("track", "identify", "group", "page", "screen", "alias", "batch")
    for name in (long, long[0])
)
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_LOCAL = Caller("local", "local", ALL_SCOPES)
_UNNAMED = Caller("", "unnamed", frozenset())
_SCRAPER = Caller("metrics", "metrics", frozenset({Right.READ}))


class Gate:
    """ASGI middleware: puts the :class:`Caller` into the request's state or raises a Problem."""

    def __init__(
        self, app: ASGIApp, keys: KeyRing, *, loopback: bool, metrics_token: str | None = None
    ) -> None:
        self._app = app
        self._keys = keys
        self._loopback = loopback
        self._metrics_token = metrics_token.encode() if metrics_token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or raise."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            caller = self._caller(scope["method"], scope["path"], Headers(scope=scope))
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)

    def _caller(self, method: str, path: str, headers: Headers) -> Caller:
        if not self._keys.needed():
            if not self._loopback:
                raise _unauthorized(Code.MISSING_KEY, "there is none yet; run: bellwether keys create")
            _check_local(method, headers)
            return _LOCAL
        if path in WRITE_KEY_PATHS and "authorization" not in headers:
            return _UNNAMED  # may nothing until the route has read who it is
        secret = _secret(headers, basic=path in WRITE_KEY_PATHS)
        if (
            path == "/metrics"
            and self._metrics_token
            and hmac.compare_digest(secret.encode(), self._metrics_token)
        ):
            return _SCRAPER
        return _verified(self._keys, secret)


def caller_of(request: Request) -> Caller:
    """Who asks, as the gate found."""
    caller: Caller = request.state.caller
    return caller


def named_in_body(caller: Caller, keys: KeyRing, write_key: str | None) -> Caller:
    """Who asks, where the gate left it to the body: by the write key in it. Raises Problem."""
    if caller is not _UNNAMED:
        return caller
    if not write_key:
        raise _unauthorized(Code.MISSING_KEY, "send it as writeKey, or as the user of Basic auth")
    return _verified(keys, write_key)


def may(caller: Caller, right: Right) -> None:
    """Raises Problem unless ``caller`` has ``right``."""
    if not right.held_by(caller.scopes):
        raise Problem(Code.INSUFFICIENT_SCOPE, f"it needs the scope {right}")


def needs(right: Right) -> dict[str, Any]:
    """What a route says to be open only to callers with ``right``: in force, and in OpenAPI."""

    async def check(request: Request) -> None:
        may(caller_of(request), right)

    return {"dependencies": [Depends(check)], "openapi_extra": {"security": [{"apiKey": [right.value]}]}}


async def _caller_dependency(request: Request) -> Caller:
    return caller_of(request)


Asking = Annotated[Caller, Depends(_caller_dependency)]


def _verified(keys: KeyRing, secret: str) -> Caller:
    caller = keys.verify(secret)
    if caller is None:
        raise _unauthorized(Code.INVALID_KEY, "it is unknown or revoked")
    return caller


def _secret(headers: Headers, *, basic: bool) -> str:
    """The key in the one Authorization header; ``basic``: also as its user name, whatever the password."""
    given = headers.getlist("authorization")
    if not given:
        raise _unauthorized(Code.MISSING_KEY, "send it as: Authorization: Bearer bw_…")
    kind, _, secret = given[0].partition(" ")
    if basic and kind.lower() == "basic":
        secret = _user(secret)
    elif kind.lower() != "bearer":
        secret = ""
    if len(given) > 1 or not secret.strip():
        raise _unauthorized(Code.INVALID_KEY, "send it once, as: Authorization: Bearer bw_…")
    return secret.strip()


def _user(credentials: str) -> str:
    try:
        return base64.b64decode(credentials.strip()).partition(b":")[0].decode()
    except (binascii.Error, ValueError):
        return ""


def _unauthorized(code: Code, detail: str) -> Problem:
    return Problem(code, detail, headers={"WWW-Authenticate": 'Bearer realm="bellwether"'})


def _check_local(method: str, headers: Headers) -> None:
    hosts = headers.getlist("host")
    host = _host_name(hosts[0]) if len(hosts) == 1 else None
    if host not in _LOCAL_HOSTS:
        raise Problem(Code.HOST_REFUSED, "ask as localhost, 127.0.0.1 or [::1], or create a key")
    for name in headers:
        if name in {"forwarded", "x-real-ip"} or name.startswith("x-forwarded-"):
            raise Problem(
                Code.FORWARDED_REFUSED, f"the request carries {name}; create a key to run behind a proxy"
            )
    origins = headers.getlist("origin")
    if any(_host_of(origin) != hosts[0].lower() for origin in origins):
        raise Problem(Code.CROSS_SITE_REFUSED, "the request comes from a page of another origin")
    for site in headers.getlist("sec-fetch-site"):
        # A link on a page of this machine (the demo's inbox) opens as a page of its own: nobody else reads the answer.
        if site.lower() in {"same-origin", "none"} or (
            site.lower() == "same-site" and _opens_a_page(method, headers)
        ):
            continue
        raise Problem(Code.CROSS_SITE_REFUSED, "the request comes from a page of another site")


def _opens_a_page(method: str, headers: Headers) -> bool:
    """A person followed a link: the browser asks for a whole page to show, not for data in a page."""
    mode, target = headers.get("sec-fetch-mode", ""), headers.get("sec-fetch-dest", "")
    return method == "GET" and mode == "navigate" and target == "document"


def _host_of(origin: str) -> str | None:
    """The host and port of an origin such as ``http://127.0.0.1:8000``; None for ``null`` and everything odd."""
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return None
    return parts.netloc if parts.scheme in {"http", "https"} and origin.count("/") == 2 else None


def _host_name(host: str) -> str | None:
    """The name in a Host header, without port and brackets; None for what is no host."""
    host = host.strip().lower()
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        return name if bracket and (port == "" or (port[0] == ":" and port[1:].isdecimal())) else None
    name, colon, port = host.partition(":")
    return name if not colon or port.isdecimal() else None
