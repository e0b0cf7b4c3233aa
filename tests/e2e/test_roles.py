"""Roles as processes of their own, sharing nothing but the database and Kafka."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from tests.e2e.on_kafka import counted, make_topics, metric, on_kafka
from tests.e2e.running import Running, prepared, serving, until
from tests.e2e.stories import NOON, ONE_RULE, SECRET, champion_arrives, champion_leaves, event, iso, telling
from tests.e2e.webhook_receiver import listening
from tests.servers.process import free_port

ACCOUNTS = 30


def probe(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """What a process says of itself."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_an_event_passes_through_processes_of_every_role_to_one_signed_message(
    kafka: str, postgres_migrated: str, tmp_path: Path
) -> None:
    with listening() as receiver, ExitStack() as stack:
        command = on_kafka(tmp_path, kafka, now=iso(NOON), **telling(tmp_path, receiver.url, ONE_RULE))
        command.variables["BELLWETHER_DATABASE_URL"] = postgres_migrated
        make_topics(command, partitions=4)
        roles = ("api", "consumer", "consumer", "scheduler", "notifier")
        with ThreadPoolExecutor(len(roles)) as pool:  # each takes seconds to start
            api, *others = pool.map(lambda role: stack.enter_context(serving(command, role)), roles)
        until(
            lambda: metric(api, 'bellwether_processes{role="consumer"}') == 2, "both consumers are well", 45
        )
        names = [f"account-{number}" for number in range(ACCOUNTS)]
        api.send(*(champion_arrives(name, NOON - timedelta(days=40)) for name in names))
        until(lambda: counted(api, "accepted") == ACCOUNTS, "all are known")
        until(lambda: all(map(api.judged, names)), "all were judged")

        api.send(*(champion_leaves(name, NOON) for name in names))
        told = [json.loads(each.body) for each in receiver.wait_for(ACCOUNTS, 45)]
        assert {each["data"]["account"]["id"] for each in told} == set(names)
        assert all(Webhook(SECRET).verify(each.body, each.headers) for each in receiver.requests)
        # A consumer that is left takes over what the other had.
        assert others.pop(0).end() == 0
        api.send(event("late", "user.login", "account-1", NOON, "u"), *(_login(name) for name in names))
        until(lambda: counted(api, "accepted") == 3 * ACCOUNTS + 1, "the other one reads all of it", 45)
        for service in (*others, api):
            assert service.end() == 0
        assert len(receiver.requests) == ACCOUNTS


def _login(account: str) -> dict[str, Any]:
    return event(f"{account}-in", "user.login", account, NOON, "u1")


def test_a_role_without_http_answers_probes_on_a_port_of_its_own(kafka: str, tmp_path: Path) -> None:
    port = free_port()
    command = on_kafka(tmp_path, kafka, now=iso(NOON), probe_port=str(port))
    make_topics(command, partitions=1)
    with serving(command, "consumer") as consumer:
        assert probe(port, "/livez") == (200, {"status": "alive"})
        until(lambda: probe(port, "/readyz")[0] == 200, "it reads Kafka")
        assert probe(port, "/readyz")[1]["parts"]["kafka"] == "ready"
        assert probe(port, "/metrics")[0] == 404
        assert command("health").code == 0
        assert _second(command, port) == 2
        assert consumer.end() == 0
    assert command("health").code == 1


def _second(command: Any, port: int) -> int:
    """How a process ends that wants the same port."""
    ended = command("serve", "--role", "consumer")
    assert str(port) in ended.err
    return int(ended.code)


def test_one_scheduler_of_several_works_and_another_follows_it(
    tmp_path: Path, postgres_migrated: str
) -> None:
    command = prepared(tmp_path, now=iso(NOON), database_url=postgres_migrated)
    with serving(command, "scheduler") as first, serving(command, "scheduler") as second:
        closed = until(lambda: _closing(first, second), "one of them closes the day")
        assert len(closed) == 1
        assert first.end() == 0
        assert second.end() == 0


def _closing(*services: Running) -> list[Running]:
    return [each for each in services if any(line.get("event") == "day closed" for line in each.lines)]
