"""What OpenAPI says is what the running service does: requests made from it, over HTTP, in bounds and out of them."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from alerts.alert import alert_id, alert_key
from app.database.keys import Scope
from app.http.application import create_app, describe
from tests.api.house import House
from tests.api.test_accounts import risk_of

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


class Running:
    """The application on a free port, in a thread."""

    def __init__(self, app: Any) -> None:
        config = uvicorn.Config(app, port=0, log_config=None, ws="none", lifespan="off", access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._started = threading.Event()

    def __enter__(self) -> str:
        original = self._server.startup

        async def startup(*args: Any, **given: Any) -> None:
            await original(*args, **given)
            self._started.set()

        self._server.startup = startup  # type: ignore[method-assign]
        self._thread.start()
        assert self._started.wait(30)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A running service that knows one account with one alert: its address and a key for everything."""
    house = House(Path(tmp_path_factory.mktemp("running")))
    number = house.add_account("acme", name="Acme")
    house.add_alert(number, "acme")
    house.readings.risks["acme"] = risk_of("acme")
    house.readings.metric_sets["acme"] = {"account_id": "acme", "as_of": "2026-11-21", "metrics": {}}
    key = house.key(Scope.ADMIN)
    with Running(create_app(house.services(loopback=False))) as url:
        yield url, key
    house.database.close()


def description() -> Any:
    """As served, with the one alert as the example of an alert's id."""
    described = copy.deepcopy(describe())
    for path, item in described["paths"].items():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "alert_id" and parameter["in"] == "path":
                    parameter["schema"]["examples"] = [alert_id(alert_key("login-decline", "acme"), 1)]
                    assert path.startswith("/v1/alerts/")
    return schemathesis.openapi.from_dict(described)


schema = description()


@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_every_operation_answers_as_described(case: schemathesis.Case, service: tuple[str, str]) -> None:
    url, key = service
    case.call_and_validate(base_url=url, headers={"Authorization": f"Bearer {key}"}, checks=CHECKS)
