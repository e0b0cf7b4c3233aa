"""The HTTP application: every route behind one gate and one edge, described exactly in OpenAPI."""

from __future__ import annotations

import functools
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from app.http import (
    account_changes,
    accounts,
    alerts,
    dead_letters,
    deliveries,
    events,
    health,
    interventions,
    operations,
    retention,
    reviews,
    rules,
    segment,
    sources,
)
from app.http.edge import Edge
from app.http.exposition import DatabaseCollector
from app.http.gate import OPEN_PATHS, Gate
from app.http.problems import SCHEMA, answer, problem_of
from app.http.services import Services
from app.http.together import Together
from app.version import VERSION

# An account id may hold a slash: what follows an id comes before the bare id.
_ROUTERS = (
    events,
    segment,
    health,
    accounts,
    account_changes,
    alerts,
    rules,
    deliveries,
    dead_letters,
    interventions,
    retention,
    reviews,
    sources,
    operations,
)
_TITLE = "Bellwether"
_ABOUT = """Early warning for B2B customer success: events in, alerts with evidence out.

Send an API key as `Authorization: Bearer bw_…`. Errors are `application/problem+json` with a stable `code`.
Lists take `limit` and `cursor`; instants are RFC 3339 in UTC."""
# Spans and counters of the framework would need exporters; /metrics tells what matters.
_QUIET: Any = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def create_app(services: Services) -> FastAPI:
    """The application over ``services``, which are used by this one application only."""
    services.registry.register(
        DatabaseCollector(services.database, services.outbox, services.wall, services.sources)
    )
    app = _routes(
        Middleware(Edge, registry=services.registry),
        Middleware(
            Gate, keys=services.keys, loopback=services.loopback, metrics_token=services.metrics_token
        ),
    )
    app.state.services = services
    app.state.cut_short = False  # whether a request was still worked on when the server ended
    app.state.risks = Together(services.risk.risks)
    return app


@functools.cache
def describe() -> dict[str, Any]:
    """OpenAPI of the routes: the same for every application, and made once. Not to be changed by who gets it."""
    schema = get_openapi(title=_TITLE, version=VERSION, description=_ABOUT, routes=_routes().routes)
    components = schema.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = dict(SCHEMA)
    components["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "bw_…"}}
    for path in OPEN_PATHS:
        for operation in schema["paths"][path].values():
            operation["security"] = []
    return schema


def _routes(*middleware: Middleware) -> FastAPI:
    app = FastAPI(
        title=_TITLE,
        version=VERSION,
        description=_ABOUT,
        openapi_url=None,  # routes of our own, behind the gate
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_QUIET,
        generate_unique_id_function=_operation_id,
        middleware=middleware,
        exception_handlers={HTTPException: _tell, RequestValidationError: _tell},
    )
    for each in _ROUTERS:
        app.include_router(each.router)
    app.openapi = describe  # type: ignore[method-assign]
    return app


async def _tell(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem is None:
        raise error
    return answer(problem, request.scope.get("state", {}).get("request_id", ""))


def _operation_id(route: APIRoute) -> str:
    return route.name
