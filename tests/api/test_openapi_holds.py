"""What OpenAPI says is what the running service does: requests made from it, over HTTP, in bounds and out of them."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from alerts.alert import alert_id, alert_key
from app.database.keys import Scope
from app.http.application import create_app, describe
from app.web import WebServer
from tests.api.house import House
from tests.api.test_accounts import fading

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@schemathesis.serializer("application/x-ndjson")
def _lines(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """How to ask a running service that knows one account that fades, with a key for everything."""
    house = House(Path(tmp_path_factory.mktemp("running")))
    house.take_in(fading("acme"))
    server = WebServer(create_app(house.services(loopback=False)), "127.0.0.1", 0)
    server.start()
    with requests.Session() as session:
        session.trust_env = False  # or the environment is searched for proxies at each request
        headers = {"Authorization": f"Bearer {house.key(Scope.ADMIN)}"}
        yield {"base_url": server.url, "headers": headers, "session": session}
    server.stop()
    house.database.close()


@functools.cache
def description() -> Any:
    """As served, with the one alert that opens as the example of an alert's id."""
    described = copy.deepcopy(describe())
    for path, item in described["paths"].items():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "alert_id" and parameter["in"] == "path":
                    parameter["schema"]["examples"] = [alert_id(alert_key("login-decline", "acme"), 1)]
                    assert path.startswith("/v1/alerts/")
    return schemathesis.openapi.from_dict(described)


@pytest.mark.parametrize(
    ("method", "path"), [(method, path) for path, item in describe()["paths"].items() for method in item]
)
def test_every_operation_answers_as_described(method: str, path: str, service: dict[str, Any]) -> None:
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def answers(case: schemathesis.Case) -> None:
        case.call_and_validate(**service, checks=CHECKS)

    # What `parametrize` of a schema does too, but for all operations, whenever tests are collected.
    schema = description()
    build_operation_test(
        config=schema.config,
        operation=schema[path][method],
        test_func=answers,
        given_kwargs={},
        feedback=FeedbackSources(),
    )()
