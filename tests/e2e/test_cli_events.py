"""A customer who goes quiet, told by the command alone: a file in, the risk, the alert, what a person does."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.e2e.command import Command

NOW = "2026-03-01T12:00:00Z"
HALVED = datetime(2026, 2, 1, tzinfo=UTC)


def login(day: datetime, user: int) -> str:
    return json.dumps(
        {
            "id": f"{day:%Y%m%d}-{user}",
            "type": "user.login",
            "account_id": "acme",
            "user_id": f"u{user}",
            "occurred_at": (day + timedelta(hours=9)).isoformat(),
        }
    )


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Three months: ten people a day, then five. A broken line, an event of no type, and one that comes twice."""
    lines = []
    day = datetime(2025, 12, 1, tzinfo=UTC)
    while day < datetime(2026, 3, 1, tzinfo=UTC):
        lines += [login(day, user) for user in range(10 if day < HALVED else 5)]
        day += timedelta(days=1)
    path = tmp_path / "history.jsonl.gz"
    path.write_bytes(
        gzip.compress("\n".join([*lines, "{", '{"id": "x", "type": "user.logon"}', lines[0]]).encode())
    )
    return path


def test_a_file_becomes_an_alert_that_a_person_handles(upgraded: Command, history: Path) -> None:
    upgraded.variables["BELLWETHER_NOW"] = NOW
    ingested = upgraded("ingest", history, "--format", "native")
    assert ingested.code == 0, ingested.err
    assert "760 accepted, 1 duplicate, 2 rejected" in ingested.out
    assert "1 rejected: not_json" in ingested.out
    assert "nothing new" in upgraded("ingest", history).out

    accounts = json.loads(upgraded("accounts", "-o", "json").out)["data"]
    assert [(each["account_id"], each["risk_level"]) for each in accounts] == [("acme", "high")]
    risk = json.loads(upgraded("risk", "acme", "-o", "json").out)
    decline = next(each for each in risk["signals"] if each["metric"] == "logins.change_28d")
    assert (decline["value"], decline["breached"]) == (-0.5, True)
    assert "logins.change_28d" in upgraded("risk", "acme").out

    explained = upgraded("rules", "explain", "login-decline", "--account", "acme")
    assert "login-decline holds for acme" in explained.out
    moved = upgraded("doctor", timezone="Europe/Berlin")
    assert moved.code == 1
    assert "BELLWETHER_TIMEZONE is Europe/Berlin, but" in moved.out
    assert upgraded("doctor").code == 0
    nobody = upgraded("rules", "explain", "login-decline", "--account", "nobody")
    assert (nobody.code, nobody.err.splitlines()[0]) == (2, "bellwether: there is no account 'nobody'")

    alerts = json.loads(upgraded("alerts", "list", "--rule", "login-decline", "-o", "json").out)["data"]
    assert [each["status"] for each in alerts] == ["firing"]
    alert = alerts[0]["id"]
    assert upgraded("alerts", "ack", alert, "--by", "ada").code == 0
    assert "acknowledged by ada" in upgraded("alerts", "list").out
    snoozed = json.loads(upgraded("alerts", "snooze", alert, "--until", "2d", "-o", "json").out)
    assert snoozed["snoozed_until"] == "2026-03-03T12:00:00Z"
    assert upgraded("alerts", "resolve", alert, "-m", "called them").code == 0
    again = upgraded("alerts", "ack", alert)
    assert again.code == 2
    assert "resolved" in again.err


def test_rejected_events_are_listed_and_still_rejected_when_replayed(
    upgraded: Command, history: Path
) -> None:
    upgraded("ingest", history)
    letters = json.loads(upgraded("dead-letters", "list", "-o", "json").out)["data"]
    assert sorted(each["reason"] for each in letters) == ["not_json", "unknown_type"]
    replayed = upgraded("dead-letters", "replay")
    assert replayed.code == 1
    assert "0 replayed, 2 still rejected" in replayed.out


def test_a_replay_gives_the_same_ledger_for_any_order_and_touches_no_database(
    bellwether: Command, history: Path
) -> None:
    backwards = bellwether.folder / "backwards.jsonl"
    backwards.write_bytes(b"\n".join(gzip.decompress(history.read_bytes()).split(b"\n")[::-1]))
    first = bellwether("replay", history, "--ledger", "first.jsonl", "-o", "json")
    assert first.code == 0, first.err
    assert json.loads(first.out)["opened"]["login-decline"] == 1
    assert bellwether("replay", backwards, "--ledger", "second.jsonl").code == 0
    written = (bellwether.folder / "first.jsonl").read_text()
    assert written == (bellwether.folder / "second.jsonl").read_text()
    line = json.loads(written.splitlines()[0])
    assert list(line) == ["day", "event", "rule", "account_id", "severity", "reason", "metrics"]
    assert not list(bellwether.folder.glob("*.db*"))


def test_days_that_are_none_are_refused(bellwether: Command, history: Path) -> None:
    wrong = bellwether("replay", history, "--from", "soon")
    assert (wrong.code, "--from 'soon' is not a day" in wrong.err) == (2, True)
    turned = bellwether("replay", history, "--from", "2026-02-01", "--until", "2026-01-01")
    assert (turned.code, "is after --until" in turned.err) == (2, True)


def test_a_ledger_on_standard_output_is_alone_there(bellwether: Command, history: Path) -> None:
    assert bellwether("replay", history, "--ledger", "kept.jsonl").code == 0
    piped = bellwether("replay", history, "--ledger", "-")
    assert piped.code == 0, piped.err
    assert piped.out == (bellwether.folder / "kept.jsonl").read_text()
    assert "760 events of 1 accounts" in piped.err
    assert json.loads(bellwether("replay", history, "--ledger", "-", "-o", "json").err)["accepted"] == 760


def test_a_replay_counts_conflicting_duplicates(bellwether: Command) -> None:
    day = datetime(2026, 1, 5, tzinfo=UTC)
    other = json.loads(login(day, 1)) | {"user_id": "somebody else"}
    file = bellwether.folder / "twice.jsonl"
    file.write_text(f"{login(day, 1)}\n{json.dumps(other)}\n")
    assert "1 duplicates came with other content" in bellwether("replay", file).out


def test_a_replay_of_nothing_says_so_in_a_line(bellwether: Command, history: Path) -> None:
    late = bellwether("replay", history, "--from", "2027-01-01")
    assert (late.code, late.out.splitlines()[0]) == (
        0,
        "nothing to judge: no day of the file lies in that range; the newest is 2026-02-28",
    )
    early = bellwether("replay", history, "--until", "2025-01-01")
    assert early.out.splitlines()[0].endswith("the first is 2025-12-01")
    nothing = bellwether.folder / "nothing.jsonl"
    nothing.write_text("\n")
    empty = bellwether("replay", nothing)
    assert (empty.code, empty.out, empty.err) == (0, "nothing to judge: there is no event in it\n", "")
    nothing.write_text("{\n")
    broken = bellwether("replay", nothing)
    assert broken.out == "nothing to judge: none of 1 events was accepted\n  1 rejected: not_json\n"


FORMATS = {
    "segment": '{"type": "track", "messageId": "1", "userId": "u1", "event": "Signed In", '
    '"context": {"groupId": "acme"}, "timestamp": "2026-02-01T09:00:00Z"}',
    "cloudevents": '{"specversion": "1.0", "id": "1", "source": "/app", "type": "user.login", "subject": "acme", '
    '"userid": "u1", "time": "2026-02-01T09:00:00Z"}',
    "csv": "id,type,account_id,user_id,occurred_at\n1,user.login,acme,u1,2026-02-01T09:00:00Z",
}


@pytest.mark.parametrize("written", FORMATS)
def test_a_file_may_be_written_as_others_write_it(upgraded: Command, tmp_path: Path, written: str) -> None:
    file = tmp_path / "events"
    file.write_text(FORMATS[written] + "\n")
    ingested = upgraded("ingest", file, "--format", written)
    assert ingested.code == 0, ingested.err
    assert "1 accepted, 0 duplicate, 0 rejected" in ingested.out
    assert "nothing new" in upgraded("ingest", file, "--format", written).out


def test_a_file_goes_to_kafka_only_where_there_is_one(upgraded: Command, history: Path) -> None:
    refused = upgraded("ingest", history, "--to", "kafka")
    assert (refused.code, refused.out) == (2, "")
    first, second = refused.err.splitlines()
    assert first == "bellwether: there is no Kafka: BELLWETHER_KAFKA_BOOTSTRAP_SERVERS is not set"
    assert second.startswith("  ")


class Receiver(BaseHTTPRequestHandler):
    """Takes what is signed."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204 if self.headers["webhook-signature"].startswith("v1,") else 400)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_a_destination_is_tried_and_an_unknown_one_named(upgraded: Command) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        Thread(target=receiver.serve_forever, daemon=True).start()
        config = upgraded.folder / "config.yaml"
        config.write_text(
            "destinations:\n"
            "  - name: crm\n    type: webhook\n    secret_env: CRM_SECRET\n"
            f"    url: http://127.0.0.1:{receiver.server_address[1]}/hook\n"
        )
        upgraded.variables.update(
            BELLWETHER_CONFIG=str(config),
            BELLWETHER_ALLOW_PRIVATE_DESTINATIONS="true",
            CRM_SECRET="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        )
        taken = upgraded("destinations", "test", "crm")
        receiver.shutdown()
    assert taken.code == 0, (taken.out, taken.err)
    assert "HTTP 204" in taken.out
    refused = upgraded("destinations", "test", "crm")
    assert refused.code == 1
    unknown = upgraded("destinations", "test", "crn")
    assert unknown.code == 2
    assert 'did you mean "crm"?' in unknown.err
    assert "crm" in upgraded("destinations", "list").out


def test_the_real_input_replays(bellwether: Command, real_data: Path) -> None:
    ended = bellwether("replay", real_data, "--from", "2025-01-01", "--until", "2025-03-31", "-o", "json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert (told["accepted"], told["accounts"], told["days"]) == (47_370, 12, 90)
