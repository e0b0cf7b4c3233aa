"""Probes, metrics, reload, the description, and how every error is told."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import insert
from structlog.testing import capture_logs

from app.database import journal
from app.database.keys import Scope
from app.database.tables import metadata, position
from app.http.application import create_app
from app.web import WebServer
from consumers.errors import ConfigurationError
from tests.api.house import NOW, Api, House


def test_alive_asks_nobody(house: House) -> None:
    metadata.drop_all(house.database.engine)
    assert Api(house.services()).get("/livez").json() == {"status": "alive"}


def test_ready_says_which_part_is_not(house: House) -> None:
    parts: dict[str, str | None] = {"database": None, "consumer": None}
    api = Api(house.services(probes={name: lambda name=name: parts[name] for name in parts}))
    assert api.get("/readyz").json() == {
        "status": "ready",
        "parts": {"database": "ready", "consumer": "ready"},
    }
    parts["consumer"] = "not polled for 31 s"
    answer = api.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.json()["detail"] == "consumer: not polled for 31 s"
    assert answer.json()["parts"] == {"database": "ready", "consumer": "not polled for 31 s"}


def test_metrics_tell_what_the_database_knows(api: Api, house: House) -> None:
    no = house.add_account("acme", risk_level="high")
    house.add_alert(no, "acme")
    api.post("/v1/events", content=b"[{}, 1]", headers={"Content-Type": "application/json"})
    with house.database.write() as connection:
        journal.append(connection, [b"1", b"2"], sender="", received_at=NOW)
        connection.execute(insert(position).values(partition="journal", next=2, behind=False, updated_at=NOW))
    answer = api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = read_samples(answer.text)
    assert samples['bellwether_events_rejected_total{reason="missing_field"}'] == 1
    assert samples['bellwether_dead_letters{reason="not_an_object"}'] == 1
    assert samples['bellwether_lag_records{partition="journal"}'] == 1
    assert samples['bellwether_alerts_open{rule="login-decline",severity="high",status="firing"}'] == 1
    assert samples['bellwether_accounts{risk_level="high"}'] == 1
    assert samples['bellwether_deliveries{destination="crm",status="queued"}'] == 1
    assert samples['bellwether_http_requests_total{method="POST",route="/v1/events",status="202"}'] == 1


def test_requests_are_counted_by_route_and_never_by_address(api: Api) -> None:
    for path in ("/v1/accounts/a", "/v1/accounts/b", "/nowhere", "/nowhere/else"):
        api.get(path)
    api.request("BREW", "/v1/events")
    samples = read_samples(api.get("/metrics").text)
    assert (
        samples['bellwether_http_requests_total{method="GET",route="/v1/accounts/{account_id}",status="404"}']
        == 2
    )
    assert samples['bellwether_http_requests_total{method="GET",route="other",status="404"}'] == 2
    assert not [name for name in samples if "BREW" in name]


def test_a_reload_says_what_is_in_force(api: Api, house: House) -> None:
    done = api.post("/-/reload").json()
    assert done == {
        "rules": len(house.configuration.rules),
        "destinations": 1,
        "version": house.configuration.version,
    }


def test_a_refused_configuration_is_told_with_its_place(house: House) -> None:
    def refuse() -> Any:
        raise ConfigurationError(
            "rules.yaml:7: logins.chnage_28d is no metric\ndid you mean logins.change_28d?"
        )

    answer = Api(house.services(reload=refuse)).post("/-/reload")
    assert (answer.status_code, answer.json()["code"]) == (400, "configuration_refused")
    assert "rules.yaml:7" in answer.json()["detail"]


def test_rules_are_shown_as_their_file_writes_them(api: Api, house: House) -> None:
    answer = api.get("/v1/rules").json()
    assert answer["version"] == house.configuration.version
    assert [rule["id"] for rule in answer["data"]] == [rule.id for rule in house.configuration.rules]
    rule = api.get("/v1/rules/login-decline").json()
    assert rule["when"] == "logins.change_28d <= -0.20"
    assert rule["for"] is None
    assert rule["playbook"]["due"] == "7d"
    unknown = api.get("/v1/rules/login-declien").json()
    assert (unknown["code"], unknown["detail"]) == ("rule_not_found", "there is no rule 'login-declien'")


@pytest.mark.parametrize("limit", [1, 3, 200])
def test_pages_of_rules_together_are_their_file(api: Api, house: House, limit: int) -> None:
    ids = [rule["id"] for rule in api.walk("/v1/rules", limit=limit)]
    assert ids == [rule.id for rule in house.configuration.rules]


def test_a_rule_that_goes_meanwhile_shifts_no_page(house: House) -> None:
    rules = house.configuration.rules
    gone = replace(house.configuration, rules=tuple(rule for rule in rules if rule.id != rules[1].id))
    cursor = Api(house.services()).get("/v1/rules?limit=2").json()["next_cursor"]
    second = Api(house.services(configuration=lambda: gone)).get(f"/v1/rules?limit=2&cursor={cursor}").json()
    assert [rule["id"] for rule in second["data"]] == [rules[2].id, rules[3].id]


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@pytest.mark.parametrize("said", [None, "not polled for 31 s"])
def test_a_probe_asked_for_its_head_alone_answers_the_same(house: House, path: str, said: str | None) -> None:
    server = WebServer(create_app(house.services(probes={"consumer": lambda: said})), "127.0.0.1", 0)
    server.start()
    try:
        whole, head = httpx.get(f"{server.url}{path}"), httpx.head(f"{server.url}{path}")
    finally:
        server.stop()
    assert (head.status_code, head.content) == (whole.status_code, b"")
    for name in ("content-length", "content-type"):
        assert head.headers[name] == whole.headers[name]


def test_the_description_is_served_and_complete(api: Api) -> None:
    described = api.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    for path, item in described["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], path
            assert {"414", "500", "503"} <= operation["responses"].keys(), f"{method} {path}"
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == ["application/problem+json"], (
                        f"{method} {path} {status}"
                    )


def test_the_page_for_people_asks_for_nothing_from_elsewhere(api: Api) -> None:
    answer = api.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert not re.search(r"""\b(src|href|url|import)\s*[=(]""", answer.text)
    assert "://" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", ["/livez", "/v1/rules", "/v1/nothing", "/docs"])
def test_every_answer_carries_safe_headers_and_an_id(api: Api, path: str) -> None:
    headers = api.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert len(headers["x-request-id"]) == 16


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("DELETE", "/v1/rules", 405, "method_not_allowed"),
        ("GET", "/v1/events", 405, "method_not_allowed"),
        ("GET", "/v1/rules/", 404, "not_found"),
        ("GET", "/v1/alerts?limit=201", 422, "invalid_request"),
        ("GET", "/v1/alerts?limit=1000000000", 422, "invalid_request"),
        ("GET", "/v1/alerts?limit=0", 422, "invalid_request"),
        ("GET", "/v1/alerts?stauts=open", 422, "invalid_request"),
        ("GET", "/v1/alerts?owner=%00", 422, "invalid_request"),
        ("GET", "/v1/alerts?cursor=abc", 400, "invalid_cursor"),
        ("GET", "/v1/accounts?cursor=é", 400, "invalid_cursor"),
        ("GET", "/v1/accounts?sort=colour", 422, "invalid_request"),
        ("GET", "/v1/accounts?renewing_within=-1", 422, "invalid_request"),
        ("GET", "/v1/accounts?band=blue", 422, "invalid_request"),
        ("GET", "/v1/rules?limit=201", 422, "invalid_request"),
        ("GET", "/v1/rules?colour=red", 422, "invalid_request"),
        ("GET", "/v1/rules?cursor=abc", 400, "invalid_cursor"),
        ("GET", "/v1/destinations?limit=0", 422, "invalid_request"),
        ("GET", "/v1/destinations?colour=red", 422, "invalid_request"),
        ("GET", "/v1/destinations?cursor=abc", 400, "invalid_cursor"),
        ("GET", "/v1/accounts/%00", 422, "invalid_request"),
        ("GET", "/v1/alerts/%2e%2e%2fx", 404, "not_found"),
        ("GET", "/v1/accounts?q=" + "x" * 5_000, 414, "uri_too_long"),
        ("GET", "/v1/accounts/" + "x" * 3_000, 414, "uri_too_long"),
        ("GET", "/v1/accounts/" + "x" * 129, 422, "invalid_request"),
    ],
)
def test_every_error_is_a_problem_with_a_code(
    api: Api, method: str, path: str, status: int, code: str
) -> None:
    answer = api.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert problem["title"]
    assert problem["request_id"] == answer.headers["x-request-id"]


def test_a_field_that_is_wrong_is_named_and_its_value_is_not_repeated(api: Api) -> None:
    answer = api.get("/v1/alerts?limit=secret-text&colour=red")
    assert {each["field"] for each in answer.json()["errors"]} == {"query.limit", "query.colour"}
    assert "secret-text" not in answer.text


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff", b'{"by": "\\ud800"}', b"[" * 60_000, b'{"by": 1e999}', b"null", b"1" * 5_000, b"NaN"],
)
def test_a_body_of_any_bytes_is_never_our_fault(api: Api, house: House, body: bytes) -> None:
    no = house.add_account("acme")
    path = f"/v1/alerts/{house.add_alert(no, 'acme').id}/acknowledge"
    for headers in ({}, {"Idempotency-Key": "k"}):
        answer = api.post(path, content=body, headers={"Content-Type": "application/json", **headers})
        assert answer.status_code in {200, 400, 422}, answer.text


def test_a_form_larger_than_any_form_is_refused(api: Api) -> None:
    answer = api.post(
        "/v1/deliveries/replay", content=b" " * 70_000, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_fault_of_ours_shows_nothing_of_the_inside(house: House) -> None:
    class Broken:
        def risks(self, account_ids: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
            raise RuntimeError(f"secret of {account_ids}")

        def metrics(self, account_id: str) -> Mapping[str, Any] | None:
            raise AssertionError(account_id)

    with capture_logs() as logged:
        answer = Api(house.services(risk=Broken())).get("/v1/accounts/acme/risk")
    assert [(entry["event"], entry["request_id"]) for entry in logged] == [
        ("request failed", answer.headers["x-request-id"])
    ]
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert answer.json()["request_id"] in answer.json()["detail"]


def test_a_key_may_read_the_description(house: House) -> None:
    api = Api(house.services(), house.key(Scope.READ))
    assert api.get("/docs").status_code == 200
    assert json.loads(api.get("/openapi.json").text)["info"]["title"] == "Bellwether"


def read_samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
