"""Intake where there is a Kafka: produced before anything is answered or remembered; its being away is told as such."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import func, select

from app.database import incidents, processes
from app.database.tables import dead_letter, idempotency, journal
from app.intake import Good, KafkaIntake
from consumers.topics import LogUnavailable
from tests.api.house import NOW, Api, House


class Log:
    """Takes events, or is away."""

    def __init__(self) -> None:
        self.away = False
        self.taken: list[bytes] = []

    def append(self, events: Sequence[Good]) -> None:
        if self.away:
            raise LogUnavailable("no Kafka broker answers\ntry again")
        self.taken += [body for _, body in events]


@pytest.fixture
def log() -> Log:
    """Kafka's stand-in."""
    return Log()


@pytest.fixture
def api(house: House, log: Log) -> Api:
    """A client of an application on it."""
    return Api(house.services(intake=KafkaIntake(house.database, log)))


def login(number: int) -> dict[str, Any]:
    return {
        "id": f"e{number}",
        "type": "user.login",
        "account_id": "acme",
        "user_id": "u1",
        "occurred_at": "2026-11-22T09:00:00Z",
    }


def stored(house: House, table: Any) -> int:
    """How many rows a table has."""
    with house.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def test_an_absent_kafka_is_503_with_a_time_to_come_back_and_nothing_is_kept(
    house: House, log: Log, api: Api
) -> None:
    log.away = True
    for key in ({}, {"Idempotency-Key": "one"}):
        answer = api.post("/v1/events", json=[login(1), {"id": "bad"}], headers=key)
        assert (answer.status_code, answer.json()["code"]) == (503, "log_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert api.request("PUT", "/v1/accounts/acme", json={"owner": "Ada"}).status_code == 503
    assert (stored(house, dead_letter), stored(house, idempotency), stored(house, journal)) == (0, 0, 0)

    log.away = False
    again = api.post("/v1/events", json=[login(1), {"id": "bad"}], headers={"Idempotency-Key": "one"})
    assert (again.status_code, again.json()["accepted"]) == (202, 1)
    assert (len(log.taken), stored(house, dead_letter), stored(house, journal)) == (1, 1, 0)


def test_a_request_of_which_all_is_refused_needs_no_kafka(house: House, log: Log, api: Api) -> None:
    log.away = True
    for key in ({}, {"Idempotency-Key": "one"}):
        answer = api.post("/v1/events", json=[{"id": "bad"}], headers=key)
        assert (answer.status_code, answer.json()["accepted"]) == (202, 0)
    assert stored(house, dead_letter) == 2
    replayed = api.post("/v1/dead-letters/replay")
    assert (replayed.status_code, replayed.json()["replayed"]) == (200, 0)


def test_one_key_produces_once_and_another_body_under_it_is_refused_before_kafka(log: Log, api: Api) -> None:
    header = {"Idempotency-Key": "one"}
    first, second = (api.post("/v1/events", json=login(1), headers=header) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert api.post("/v1/events", json=login(2), headers=header).json()["code"] == "idempotency_conflict"
    assert len(log.taken) == 1


def test_dead_letters_that_are_good_now_go_to_kafka_and_wait_on_while_it_is_away(
    house: House, log: Log, api: Api
) -> None:
    ahead = {**login(1), "occurred_at": "2026-11-22T10:30:00Z"}
    assert api.post("/v1/events", json=ahead).json()["rejected"][0]["code"] == "in_the_future"
    house.dial.now += 3_600_000_000
    log.away = True
    assert api.post("/v1/dead-letters/replay").json()["code"] == "log_unavailable"
    assert len(api.get("/v1/dead-letters").json()["data"]) == 1
    log.away = False
    assert api.post("/v1/dead-letters/replay").json()["replayed"] == 1
    assert len(log.taken) == 1
    assert api.get("/v1/dead-letters").json()["data"] == []


def test_metrics_tell_of_processes_incidents_and_a_database_that_is_gone(house: House, api: Api) -> None:
    with house.database.write() as connection:
        processes.beat(connection, "one", "all", "", NOW)
        processes.beat(connection, "two", "consumer", "", NOW)
        processes.beat(connection, "three", "consumer", "kafka: away", NOW)
        processes.beat(connection, "four", "consumer", "", NOW - processes.FRESH_US - 1)
        incidents.open_one(connection, "recreated", "bellwether.logins/3", "anew", NOW)
    told = api.get("/metrics").text
    for line in (
        'bellwether_processes{role="consumer"} 2.0',
        'bellwether_processes{role="notifier"} 1.0',
        'bellwether_incidents_open{kind="recreated"} 1.0',
        'bellwether_incidents_open{kind="gap"} 0.0',
        'bellwether_destinations{status="disabled"} 0.0',
        "bellwether_accounts_touched 0.0",
        "bellwether_database_up 1.0",
        'bellwether_build{version="0.1.0"} 1.0',
    ):
        assert line in told.splitlines()
    with house.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE counter")
    without = api.get("/metrics")
    assert (without.status_code, "bellwether_database_up 0.0" in without.text.splitlines()) == (200, True)


def test_what_waits_for_a_person_is_said_and_keeps_nothing_from_being_ready(house: House) -> None:
    api = Api(
        house.services(
            probes={"kafka": lambda: None}, remarks={"partitions": lambda: "x/3 stopped: recreated"}
        )
    )
    answer = api.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["parts"] == {"kafka": "ready", "partitions": "x/3 stopped: recreated"}
