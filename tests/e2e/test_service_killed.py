"""A service that is killed or ended at any moment: what was acknowledged counts once, what was told is told once."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.e2e.command import Command
from tests.e2e.running import Running, prepared, rows, serving, until
from tests.e2e.stories import (
    NOON,
    ONE_RULE,
    champion_arrives,
    champion_leaves,
    event,
    iso,
    logins,
    telling,
)
from tests.e2e.webhook_receiver import Exchange, listening, say_ok
from tests.stored_windows import stored

YESTERDAY = NOON - timedelta(days=1)


def counted(command: Command) -> int:
    """Logins in the windows, over all accounts and days."""
    windows = stored(command.folder / "bellwether.db").values()
    return sum(sum(account.logins.values()) for account in windows)


def post_until_dead(service: Running, events: list[dict[str, Any]], acknowledged: list[str]) -> None:
    """One request after another; those that were answered are noted."""
    for each in events:
        try:
            status, said, _ = service.request("POST", "/v1/events", each)
        except (OSError, http.client.HTTPException):
            return
        assert (status, said["accepted"]) == (202, 1)
        acknowledged.append(each["id"])


def posted_until_killed(service: Running, events: list[dict[str, Any]], enough: int) -> list[str]:
    """Kills the service in the middle of a request, a commit or a batch; what was acknowledged until then."""
    acknowledged: list[str] = []
    client = threading.Thread(target=post_until_dead, args=(service, events, acknowledged))
    client.start()
    until(lambda: len(acknowledged) >= enough, "some were acknowledged")
    service.kill()
    client.join(30)
    return acknowledged


def test_what_was_acknowledged_survives_sigkill_and_counts_once(tmp_path: Path) -> None:
    command = prepared(tmp_path, now=iso(NOON))
    dice = random.Random(11)
    sent: list[dict[str, Any]] = []
    kept: set[str] = set()
    for life in range(3):
        with serving(command) as service:
            fresh = [event(f"{life}-{n}", "user.login", "acme", YESTERDAY, f"u{n % 7}") for n in range(5_000)]
            acknowledged = posted_until_killed(service, fresh, enough=dice.randrange(1, 40))
            sent += fresh[: len(acknowledged) + 1]
            kept.update(acknowledged)
            assert rows(command, "PRAGMA integrity_check") == [("ok",)]
    with serving(command) as service:
        # The client cannot know whether the last request of each life was taken: it sends all of them again.
        for start in range(0, len(sent), 1_000):
            service.send(*sent[start : start + 1_000])
        total = len(sent)
        until(lambda: counted(command) >= total, "all is counted")
        service.send(event("last", "user.login", "other", YESTERDAY, "x"))
        until(lambda: service.judged("other"), "everything before it was handled")
        assert service.end() == 0
    assert kept <= {each["id"] for each in sent}
    assert counted(command) == total + 1
    counters = dict(rows(command, "SELECT name, value FROM counter"))
    assert counters["accepted"] == total + 1
    assert counters["duplicate"] >= len(kept)


def test_killed_right_after_the_answer_the_event_is_there_without_being_sent_again(tmp_path: Path) -> None:
    command = prepared(tmp_path, now=iso(NOON))
    for life in range(2):
        with serving(command) as service:
            service.send(event(f"only-{life}", "user.login", "acme", YESTERDAY, "u1"))
            service.kill()
    with serving(command) as service:
        until(lambda: counted(command) == 2, "both are counted")
        assert service.end() == 0
    assert rows(command, "SELECT name, value FROM counter") == [("accepted", 2)]


def test_what_came_while_it_was_behind_is_judged_once_at_the_end(tmp_path: Path) -> None:
    with listening() as receiver:
        command = prepared(tmp_path, now=iso(NOON), **telling(tmp_path, receiver.url, ONE_RULE))
        with serving(command) as service:
            service.send(champion_arrives("acme", NOON - timedelta(days=40)))
            until(lambda: service.judged("acme"), "acme is judged")
            assert service.end() == 0
        with serving(command, "api") as intake:  # events come in, nobody handles them
            crowd = [event(f"l{n}", "user.login", "acme", YESTERDAY, f"u{n}") for n in range(4_000)]
            intake.send(champion_leaves("acme", YESTERDAY), *crowd[:999])
            for start in range(999, 3_999, 1_000):
                intake.send(*crowd[start : start + 1_000])
            intake.send(champion_arrives("acme", NOON, "eve"), champion_leaves("other", NOON))
            assert intake.end() == 0
        with serving(command) as service:
            until(lambda: service.judged("other"), "it has caught up")
            until(lambda: not rows(command, "SELECT * FROM touched"), "all is judged")
            assert service.end() == 0
        # The departure was over before acme was judged; the other account was in trouble from the start.
        assert rows(
            command, "SELECT account_id, kind, baseline FROM alert JOIN alert_history ON id = alert_id"
        ) == [("other", "firing", 1)]


def test_a_restart_tells_nothing_again(tmp_path: Path) -> None:
    with listening() as receiver:
        command = prepared(tmp_path, now=iso(NOON), **telling(tmp_path, receiver.url, ONE_RULE))
        with serving(command) as service:
            service.send(champion_arrives("acme", NOON - timedelta(days=40)))
            until(lambda: service.judged("acme"), "acme is judged")
            service.send(champion_leaves("acme", NOON))
            receiver.wait_for(1)
            until(lambda: rows(command, "SELECT 1 FROM delivery WHERE status = 'sent'"), "settled")
            service.kill()
        with serving(command) as service:
            service.send(champion_arrives("acme", NOON + timedelta(seconds=1), "eve"))
            receiver.wait_for(2)
            assert service.end() == 0
        kinds = rows(command, "SELECT kind, status, attempts FROM delivery ORDER BY id")
        assert kinds == [("alert.firing", "sent", 1), ("alert.resolved", "sent", 1)]
        assert len({each.headers["webhook-id"] for each in receiver.requests}) == len(receiver.requests) == 2


def test_an_orderly_end_takes_less_than_ten_seconds_whatever_hangs(tmp_path: Path) -> None:
    with listening(Exchange.say_nothing) as receiver:
        command = prepared(tmp_path, now=iso(NOON), **telling(tmp_path, receiver.url, ONE_RULE))
        with serving(command) as service:
            service.send(champion_arrives("acme", NOON - timedelta(days=40)))
            until(lambda: service.judged("acme"), "acme is judged")
            service.send(champion_leaves("acme", NOON))
            receiver.wait_for(1)  # and it will never answer
            with socket.create_connection(("127.0.0.1", service.port)) as half_a_request:
                half_a_request.sendall(
                    b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
                )
                service.send(*logins("acme", YESTERDAY, 20))
                began = time.monotonic()
                assert service.end() == 0
                assert time.monotonic() - began < 10
        assert rows(command, "PRAGMA integrity_check") == [("ok",)]
        receiver.answer = say_ok
    assert rows(command, "SELECT status FROM delivery") == [
        ("sending",)
    ]  # leased: told again under the same id
