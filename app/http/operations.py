"""For those who run the service: probes, metrics, reload, and the description of all the rest."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any, Literal

import msgspec
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.database.keys import Scope
from app.http.gate import needs
from app.http.once import OnceEach
from app.http.pages import Answer, Using
from app.http.problems import IDEMPOTENT, WITH_A_BODY, Code, Problem, responses, retry_later
from app.http.services import Probe

router = APIRouter(tags=["operations"])
_PAGE = resources.files("app.http").joinpath("docs.html").read_text(encoding="utf-8")


class Alive(Answer):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(Answer):
    """Every part is ready."""

    status: Literal["ready"] = "ready"
    parts: dict[str, str]


class ReloadView(Answer):
    """What is in force now."""

    rules: int
    destinations: int
    version: str


# Load balancers ask with HEAD; the server sends the same without the body.
@router.head("/livez", include_in_schema=False)
@router.get("/livez", response_model=Alive, summary="Is the process alive?", responses=responses(keyed=False))
async def livez() -> Alive:
    """Touches nothing outside the process."""
    return Alive()


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    response_model=Ready,
    summary="Can it do its work?",
    responses=responses(Code.NOT_READY, keyed=False),
)
def readyz(services: Using) -> Ready:
    """Asks every part; 503 says which is not ready and why.

    What waits for a person, but keeps no process from its work, is said beside it.
    """
    return ready(services.probes, services.remarks)


def ready(probes: Mapping[str, Probe], remarks: Mapping[str, Probe]) -> Ready:
    """What every part says. Raises Problem if one is not ready."""
    parts = {name: probe() for name, probe in probes.items()}
    wrong = {name: said for name, said in parts.items() if said is not None}
    if wrong:
        told = {name: said or "ready" for name, said in parts.items()}
        detail = "; ".join(f"{name}: {said}" for name, said in wrong.items())
        raise Problem(Code.NOT_READY, detail, headers=retry_later(), more={"parts": told})
    said = {name: remark for name, look in remarks.items() if (remark := look()) is not None}
    return Ready(parts={**dict.fromkeys(parts, "ready"), **said})


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={**responses(), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    **needs(Scope.READ),
)
def metrics(services: Using) -> Response:
    """In Prometheus' text format."""
    return Response(generate_latest(services.registry), media_type=CONTENT_TYPE_LATEST)


@router.post(
    "/-/reload",
    response_model=ReloadView,
    summary="Read the configuration again",
    responses=responses(*WITH_A_BODY, *IDEMPOTENT, Code.CONFIGURATION_REFUSED, Code.INVALID_REQUEST),
    **needs(Scope.ADMIN),
)
def reload(services: Using, once: OnceEach) -> Any:
    """All of it or nothing: a refused file leaves the old configuration in force."""

    def work() -> ReloadView:
        done = services.reload()
        return ReloadView(rules=len(done.rules), destinations=len(done.destinations), version=done.version)

    return once.around(work)


@router.get("/openapi.json", include_in_schema=False, **needs(Scope.READ))
async def openapi(request: Request) -> Response:
    """This description, for programs."""
    return Response(msgspec.json.encode(request.app.openapi()), media_type="application/json")


@router.get("/docs", include_in_schema=False, **needs(Scope.READ))
async def docs() -> Response:
    """This description, for people: one page that asks for nothing but ``/openapi.json``."""
    return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": _POLICY})


def _inline_hash(tag: str) -> str:
    """How a policy names the page's one inline ``tag``, so that nothing else may run."""
    inner = _PAGE.split(f"<{tag}>", 1)[1].split(f"</{tag}>", 1)[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()}'"


_POLICY = "; ".join(
    (
        "default-src 'none'",
        "connect-src 'self'",
        f"script-src {_inline_hash('script')}",
        f"style-src {_inline_hash('style')}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
