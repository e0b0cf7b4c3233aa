"""Who may ask: a table made from OpenAPI, so that a new route without a guard fails here."""

from __future__ import annotations

import re
from typing import Any

import pytest

from app.database import keys
from app.database.keys import KeyRing, Scope
from app.database.tables import metadata
from tests.api.house import NOW, Api, House

OPEN = {"/livez", "/readyz"}


def operations(api: Api) -> list[tuple[str, str, Scope | None]]:
    """Every operation with a path that can be asked, and the scope that it says to need."""
    found: list[tuple[str, str, Scope | None]] = []
    for path, item in api.app.openapi()["paths"].items():
        for method, operation in item.items():
            scopes = [scope for each in operation["security"] for scope in each["apiKey"]]
            assert len(scopes) == (0 if path in OPEN else 1), f"{method} {path} says not what it needs"
            filled = re.sub(r"\{\w+\}", "x", path)
            found.append((method.upper(), filled, Scope(scopes[0]) if scopes else None))
    return [*found, ("GET", "/openapi.json", Scope.READ), ("GET", "/docs", Scope.READ)]


def test_every_route_but_the_probes_refuses_a_caller_without_a_key(house: House) -> None:
    house.key(Scope.ADMIN)
    api = Api(house.services())
    for method, path, scope in operations(api):
        answer = api.request(method, path)
        if scope is None:
            assert answer.status_code == 200
        else:
            assert (answer.status_code, answer.json()["code"]) == (401, "missing_key"), f"{method} {path}"
            assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("given", ["Bearer bw_wrong", "Bearer ", "Basic YTpi", "bw_wrong", "Bearer é"])
def test_every_route_but_the_probes_refuses_a_bad_key(house: House, given: str) -> None:
    house.key(Scope.ADMIN)
    api = Api(house.services())
    for method, path, scope in operations(api):
        if scope is not None:
            answer = api.request(method, path, headers={"Authorization": given.encode("latin-1")})
            assert (answer.status_code, answer.json()["code"]) == (401, "invalid_key"), f"{method} {path}"


def test_every_route_refuses_a_key_whose_scope_does_not_reach(house: House) -> None:
    held: dict[Scope, set[Scope]] = {
        Scope.INGEST: {Scope.INGEST},
        Scope.READ: {Scope.READ},
        Scope.WRITE: {Scope.READ, Scope.WRITE},
        Scope.ADMIN: set(Scope),
    }
    for scope, reaches in held.items():
        api = Api(house.services(), house.key(scope))
        for method, path, needed in operations(api):
            if needed is None:
                continue
            answer = api.request(method, path)
            refused = answer.status_code == 403
            assert refused == (needed not in reaches), f"{scope} {method} {path}: {answer.text}"
            assert not refused or answer.json()["code"] == "insufficient_scope"


def test_an_unknown_address_tells_nothing_to_a_caller_without_a_key(house: House) -> None:
    house.key(Scope.READ)
    assert Api(house.services()).get("/v1/secrets").status_code == 401
    assert Api(house.services(), house.key(Scope.READ)).get("/v1/secrets").json()["code"] == "not_found"


def test_a_revoked_key_opens_nothing_a_second_later(house: House) -> None:
    seconds = [0.0]
    ring = KeyRing(house.database, monotonic=lambda: seconds[0])
    secret = house.key(Scope.READ)
    api = Api(house.services(keys=ring), secret)
    assert api.get("/v1/rules").status_code == 200
    with house.database.write() as connection:
        [key] = keys.listing(connection)
        assert keys.revoke(connection, key.id, revoked_at=NOW)
        assert not keys.revoke(connection, key.id, revoked_at=NOW)
    seconds[0] += 1.0
    assert api.get("/v1/rules").json()["code"] == "invalid_key"


def test_taking_the_last_key_away_does_not_open_the_door(house: House) -> None:
    house.key(Scope.ADMIN)
    with house.database.write() as connection:
        [key] = keys.listing(connection)
        keys.revoke(connection, key.id, revoked_at=NOW)
    assert Api(house.services()).get("/v1/rules").json()["code"] == "missing_key"


def test_the_operators_own_key_may_everything_and_is_not_stored(house: House) -> None:
    api = Api(house.services(keys=KeyRing(house.database, "correct horse")), "correct horse")
    assert api.post("/-/reload").status_code == 200
    with house.database.read() as connection:
        assert keys.listing(connection) == []


def test_a_key_is_stored_only_as_a_hash(house: House) -> None:
    secret = house.key(Scope.READ)
    assert secret.startswith("bw_")
    with house.database.read() as connection:
        stored = connection.exec_driver_sql("SELECT * FROM api_key").all()
    assert secret not in str(stored)


def test_metrics_take_a_token_of_their_own_that_opens_nothing_else(house: House) -> None:
    house.key(Scope.ADMIN)
    api = Api(house.services(metrics_token="scrape-me"), "scrape-me")
    assert api.get("/metrics").status_code == 200
    assert api.get("/v1/rules").status_code == 401


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "localhost:8000", "127.0.0.1:1", "[::1]:9", "LocalHost"]
)
def test_without_a_key_this_machine_may_ask_by_its_names(api: Api, host: str) -> None:
    assert api.get("/v1/rules", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "", "localhost:x", "[::1", "[::2]",
     "127.0.0.1:80:80", "0.0.0.0", "evil.example:127.0.0.1"],
)  # fmt: skip
def test_without_a_key_any_other_host_name_is_refused(api: Api, host: str) -> None:
    assert_refused(api, {"Host": host}, "host_refused")


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("Origin", "http://evil.example", "cross_site_refused"),
        ("Origin", "null", "cross_site_refused"),
        ("Origin", "http://localhost:9999", "cross_site_refused"),
        ("Origin", "http://localhost.evil.example", "cross_site_refused"),
        ("Sec-Fetch-Site", "cross-site", "cross_site_refused"),
        ("Sec-Fetch-Site", "same-site", "cross_site_refused"),
        ("Forwarded", "for=10.0.0.1", "forwarded_refused"),
        ("X-Forwarded-For", "10.0.0.1", "forwarded_refused"),
        ("X-Forwarded-Host", "x", "forwarded_refused"),
        ("X-Forwarded-Anything", "x", "forwarded_refused"),
        ("X-Real-IP", "10.0.0.1", "forwarded_refused"),
    ],
)
def test_without_a_key_other_sites_and_proxies_are_refused(
    api: Api, header: str, value: str, code: str
) -> None:
    assert_refused(api, {header: value}, code)


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}]
)
def test_without_a_key_the_services_own_pages_may_ask(api: Api, headers: dict[str, str]) -> None:
    assert api.get("/v1/rules", headers=headers).status_code == 200


LINK = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def test_without_a_key_a_link_on_another_page_of_this_machine_may_be_followed(api: Api) -> None:
    assert api.get("/v1/rules", headers=LINK).status_code == 200


def test_without_a_key_a_link_on_a_page_of_elsewhere_may_not(api: Api) -> None:
    assert_refused(api, {**LINK, "Sec-Fetch-Site": "cross-site"}, "cross_site_refused")


def test_without_a_key_another_page_may_not_post_a_form(api: Api) -> None:
    answer = api.post("/v1/events", content=b"{}", headers=LINK)
    assert answer.status_code == 403
    assert answer.json()["code"] == "cross_site_refused"


def test_with_a_key_a_proxy_may_stand_in_front(house: House) -> None:
    api = Api(house.services(loopback=False), house.key(Scope.READ))
    headers = {
        "Host": "bellwether.example",
        "X-Forwarded-For": "10.0.0.1",
        "Origin": "https://elsewhere.example",
    }
    assert api.get("/v1/rules", headers=headers).status_code == 200


def test_without_a_key_a_service_that_others_can_reach_answers_nobody(house: House) -> None:
    assert Api(house.services(loopback=False)).get("/v1/rules").json()["code"] == "missing_key"


def test_a_database_without_tables_is_no_open_door(house: House) -> None:
    metadata.drop_all(house.database.engine)
    assert Api(house.services()).get("/v1/rules").status_code == 503


def assert_refused(api: Api, headers: dict[str, Any], code: str) -> None:
    for method, path, scope in operations(api):
        if scope is not None:
            answer = api.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, code), f"{method} {path}"
    assert api.get("/livez", headers=headers).status_code == 200
