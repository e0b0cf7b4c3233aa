"""A running service: an event becomes a signed message, silence becomes one at the day's close."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.e2e.running import Running, prepared, rows, serving, until, write_lines
from tests.e2e.stories import (
    NOON,
    ONE_RULE,
    SECRET,
    champion_arrives,
    champion_leaves,
    event,
    iso,
    logins,
    ndjson,
    telling,
)
from tests.e2e.webhook_receiver import Exchange, Received, listening


def message(request: Received) -> dict[str, Any]:
    """The body, whose signature must hold."""
    assert Webhook(SECRET).verify(request.body, request.headers) is not None
    said: dict[str, Any] = json.loads(request.body)
    return said


def settle_champion(service: Running, account: str) -> None:
    """An account that was judged and is well, so that what comes next is news."""
    service.send(champion_arrives(account, NOON - timedelta(days=40)))
    until(lambda: service.judged(account), f"{account} is judged")


def test_an_event_becomes_an_alert_and_a_signed_message_and_so_does_its_end(
    tmp_path: Path,
) -> None:
    with listening() as receiver:
        command = prepared(tmp_path, now=iso(NOON), **telling(tmp_path, receiver.url, ONE_RULE))
        with serving(command) as service:
            settle_champion(service, "acme")
            service.send(champion_leaves("acme", NOON))
            fired = until(lambda: service.alerts("&status=firing"), "the alert fires")
            assert [(each["rule"], each["account_id"], each["baseline"]) for each in fired] == [
                ("champion-departed", "acme", False)
            ]
            told = message(receiver.wait_for(1)[0])
            assert (told["type"], told["data"]["id"]) == ("alert.firing", fired[0]["id"])

            service.send(champion_arrives("acme", NOON + timedelta(seconds=1), "eve"))
            until(lambda: service.alerts("&status=resolved"), "the alert resolves")
            told = message(receiver.wait_for(2)[1])
            assert (told["type"], told["data"]["id"]) == ("alert.resolved", fired[0]["id"])
            assert (told["data"]["status"], told["data"]["reason"]) == ("resolved", "condition_false")

            detail = service.get(f"/v1/alerts/{fired[0]['id']}")
            assert [each["kind"] for each in detail["history"]] == ["firing", "resolved"]
            until(
                lambda: rows(command, "SELECT count(*) FROM delivery WHERE status = 'sent'") == [(2,)],
                "both settled",
            )
            assert service.end() == 0
        assert len(receiver.requests) == 2
        assert service.lines[-1]["event"] == "stopped"


def test_an_orderly_end_waits_eight_seconds_for_an_answer_that_is_out(tmp_path: Path) -> None:
    """The others are over long before; all have the same ten seconds."""
    let_go = threading.Event()

    def slowly(exchange: Exchange) -> None:
        let_go.wait(20)
        exchange.answer()

    with listening(slowly) as receiver:
        command = prepared(tmp_path, now=iso(NOON), **telling(tmp_path, receiver.url, ONE_RULE))
        with serving(command) as service:
            settle_champion(service, "acme")
            service.send(champion_leaves("acme", NOON))
            receiver.wait_for(1)
            threading.Timer(6.5, let_go.set).start()
            assert service.end() == 0
        assert rows(command, "SELECT status FROM delivery") == [("sent",)]


def test_what_cannot_be_interrupted_is_cut_off_after_ten_seconds(tmp_path: Path) -> None:
    database = tmp_path / "bellwether.db"
    command = prepared(tmp_path, now=iso(NOON), database_url=f"sqlite:///{database}?timeout=60")
    with (
        contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other,
        serving(command) as service,
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30.0)) as client,
    ):
        other.execute("BEGIN IMMEDIATE")  # for longer than anybody waits
        body = json.dumps(champion_arrives("acme", NOON))
        client.request("POST", "/v1/events", body, {"Content-Type": "application/json"})
        service.get("/livez")  # what came before it is under way
        assert service.end(timeout_s=12.0) == 1
        answer = client.getresponse()  # which does not say that anything is safe
        assert (answer.status, answer.getheader("retry-after")) == (503, "5")
        assert service.lines[-1]["event"].startswith("ended in the middle of its work")


def test_an_account_that_went_quiet_is_found_by_the_days_close_alone(tmp_path: Path) -> None:
    with listening() as receiver:
        command = prepared(tmp_path, now=iso(NOON), **telling(tmp_path, receiver.url))
        file = write_lines(tmp_path / "history.jsonl", ndjson(logins("quiet", NOON, days=70)))
        assert command("ingest", file).code == 0
        assert rows(command, "SELECT rule FROM alert") == []
        later = NOON + timedelta(days=16)
        command.variables["BELLWETHER_NOW"] = iso(later)
        # Somebody else is heard of: were nobody, the silence would be ours.
        others = write_lines(tmp_path / "others.jsonl", ndjson(logins("busy", later, days=86)))
        assert command("ingest", others).code == 0
        with serving(command) as service:
            found = until(lambda: service.alerts("&rule=gone-dark"), "the close finds it")
            assert [(each["status"], each["baseline"]) for each in found] == [("firing", False)]
            closed = service.await_line(lambda line: line.get("event") == "day closed")
            assert closed["day"] == f"{later - timedelta(days=1):%Y-%m-%d}"
            # Its logins have fallen as well; a message each, once.
            firing = {each["id"] for each in service.alerts("&status=firing")}
            told = [message(each)["data"]["id"] for each in receiver.wait_for(len(firing))]
            assert sorted(told) == sorted(firing)
            metrics = service.get("/v1/accounts/quiet/metrics")
            assert metrics["as_of"] == closed["day"]
            assert metrics["metrics"]["activity.dormant_days"]["value"] == 15
            assert service.end() == 0
        # The same day again: closed already, so nothing is done and nothing said twice.
        with serving(command) as service:
            until(lambda: service.request("GET", "/readyz")[0] == 200, "ready")
            service.send(event("late", "user.login", "other", later, "x"))
            until(lambda: service.judged("other"), "the loops turn")
            assert service.end() == 0
        assert not [line for line in service.lines if line["event"] == "day closed"]
        assert len(receiver.requests) == len(firing)


def test_a_frozen_now_is_today_and_the_edge_of_the_future(tmp_path: Path) -> None:
    command = prepared(tmp_path, now=iso(NOON))
    with serving(command, "api") as service:
        ahead = event("soon", "user.login", "acme", NOON + timedelta(minutes=4), "u1")
        beyond = event("later", "user.login", "acme", NOON + timedelta(minutes=6), "u1")
        status, said, _ = service.request("POST", "/v1/events", [ahead, beyond])
        assert (status, said["accepted"]) == (202, 1)
        assert [(each["index"], each["code"]) for each in said["rejected"]] == [(1, "in_the_future")]
        assert service.end(signal.SIGINT) == 0


@pytest.mark.parametrize(("delivery", "kept"), [("shadow", [("alert.firing", "shadow", 0)]), ("off", [])])
def test_in_shadow_all_is_decided_and_recorded_and_nothing_sent(
    tmp_path: Path, delivery: str, kept: list[tuple[str, str, int]]
) -> None:
    with listening() as receiver:
        settings = telling(tmp_path, receiver.url, ONE_RULE)
        command = prepared(tmp_path, now=iso(NOON), delivery=delivery, **settings)
        with serving(command) as service:
            settle_champion(service, "acme")
            service.send(champion_leaves("acme", NOON))
            until(lambda: service.alerts("&status=firing"), "the alert fires")
            assert service.end() == 0
        assert rows(command, "SELECT kind, status, attempts FROM delivery") == kept
        assert receiver.requests == []


def history(folder: Path) -> list[Path]:
    """Two years in three files: one account went dark, one fades, one is well, one was away while the second tells."""
    events = [
        *logins("dark", NOON - timedelta(days=30), days=700),
        *logins("fading", NOON, days=700, users=2),
        *logins("fading", NOON - timedelta(days=40), days=660, users=9),
        *logins("well", NOON, days=700),
    ]
    once = {each["id"]: each for each in events}.values()
    parts = [
        logins("returned", NOON - timedelta(days=600), days=90),
        sorted(once, key=lambda each: each["occurred_at"]),
        [{**each, "id": f"again-{each['id']}"} for each in logins("returned", NOON, days=90)],
    ]
    return [write_lines(folder / f"{number}.jsonl", ndjson(part)) for number, part in enumerate(parts)]


def test_years_of_history_beside_a_running_service_are_judged_once_and_told_in_one_summary(
    tmp_path: Path,
) -> None:
    with listening() as receiver:
        command = prepared(tmp_path, now=iso(NOON), **telling(tmp_path, receiver.url))
        files = history(tmp_path)
        with serving(command) as service:
            until(lambda: rows(command, "SELECT * FROM lease"), "the service has the clock")
            ended = command("ingest", *files, "--batch", "50")
            assert ended.code == 0, ended.err
            assert "the running service judges them" in ended.out
            summary = message(receiver.wait_for(1)[0])
            assert summary["type"] == "alert.summary"
            until(lambda: not rows(command, "SELECT * FROM touched"), "all is judged")
            alerts = service.alerts()
            assert {each["rule"] for each in alerts} >= {"gone-dark", "login-decline"}
            assert {each["account_id"] for each in alerts} == {"dark", "fading"}
            assert {(each["status"], each["baseline"], each["episode"]) for each in alerts} == {
                ("firing", True, 1)
            }
            assert summary["data"]["alerts"] == len(alerts)
            assert rows(command, "SELECT DISTINCT kind FROM alert_history") == [("firing",)]
            # News of an account whose past is known is a message of its own.
            service.send(event("back", "user.login", "dark", NOON, "u1"))
            resolved = message(receiver.wait_for(2)[1])
            assert resolved["type"] == "alert.resolved"
            assert service.end() == 0
        assert rows(command, "SELECT count(*) FROM delivery WHERE kind = 'alert.summary'") == [(1,)]
