"""The house through its command: help, schema, keys, settings, health."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.e2e.command import ROOT, Command

HEADINGS = {
    "Run": ["demo", "serve"],
    "Events": ["ingest", "replay", "dead-letters"],
    "Customers and alerts": [
        "accounts",
        "import",
        "export",
        "rate",
        "retention",
        "risk",
        "alerts",
        "interventions",
        "portfolio",
    ],
    "Rules": ["rules", "backtest"],
    "Delivery": ["destinations", "deliveries"],
    "Operations": ["keys", "config", "positions", "sources", "topics", "db", "doctor", "health", "version"],
}


def test_the_help_names_every_verb_under_its_heading(bellwether: Command) -> None:
    ended = bellwether("--help")
    assert ended.code == 0
    headings = {}
    for line in ended.out.splitlines():
        words = line.strip("│╭╮─ ").split()
        if line.startswith("╭"):
            heading = line.strip("╭╮─ ")
            headings[heading] = list[str]()
        elif line.startswith("│ ") and line[2] != " " and words:
            headings[heading].append(words[0])
    assert {name: sorted(verbs) for name, verbs in headings.items() if name != "Options"} == {
        name: sorted(verbs) for name, verbs in HEADINGS.items()
    }


def test_the_version_is_the_packages_own_and_needs_no_library(bellwether: Command) -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert bellwether("version").out == f"bellwether {stated}\n"
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys; from app.cli import run; run(['version']); print(*sys.modules)"],
        capture_output=True, text=True, check=True, env=bellwether.environment,
    ).stdout  # fmt: skip
    assert not {"numpy", "fastapi", "sqlalchemy", "pydantic", "typer"} & set(loaded.split())


def test_the_schema_is_made_once_and_its_version_told(bellwether: Command) -> None:
    before = bellwether("db", "current")
    assert before.code == 1
    assert before.out.startswith("none")
    assert "it was empty" in bellwether("db", "upgrade").out
    assert "it was already" in bellwether("db", "upgrade").out
    after = bellwether("db", "current")
    assert after.code == 0
    assert after.out.endswith("(head)\n")


def test_the_schema_is_compared_and_taken_back_only_when_told_twice(bellwether: Command) -> None:
    assert "no schema yet" in bellwether("db", "check").err
    bellwether("db", "upgrade")
    sound = bellwether("db", "check")
    assert (sound.code, "no difference" in sound.out) == (0, True)
    asked = bellwether("db", "downgrade", "0001")
    assert asked.code != 0
    assert "--yes" in asked.err
    assert bellwether("db", "downgrade", "0001", "--yes").out.endswith("schema 0001\n")
    older = bellwether("db", "check")
    assert older.code == 2
    assert "run: bellwether db upgrade" in older.err
    assert bellwether("db", "downgrade", "0815", "--yes").code == 2


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(upgraded: Command) -> None:
    made = upgraded("keys", "create", "crm export", "--scope", "ingest,read", "-o", "json")
    key = json.loads(made.out)
    assert key["scopes"] == ["ingest", "read"]
    assert key["key"].startswith("bw_")
    listed = json.loads(upgraded("keys", "list", "-o", "json").out)["data"]
    assert [(each["id"], each["name"], each["revoked_at"]) for each in listed] == [
        (key["id"], "crm export", None)
    ]
    assert key["key"] not in json.dumps(listed)
    assert upgraded("keys", "revoke", key["id"]).code == 0
    assert json.loads(upgraded("keys", "list", "-o", "json").out)["data"][0]["revoked_at"]
    again = upgraded("keys", "revoke", key["id"])
    assert again.code == 2
    assert "no key in use" in again.err


def test_a_key_with_an_unknown_scope_is_refused(upgraded: Command) -> None:
    ended = upgraded("keys", "create", "x", "--scope", "root")
    assert ended.code == 2
    assert "ingest, read, write, admin" in ended.err


def test_settings_are_shown_with_their_secrets_masked(bellwether: Command) -> None:
    ended = bellwether("config", "show", admin_key="canary-55", port="9000")
    assert "BELLWETHER_PORT=9000\n" in ended.out
    assert "BELLWETHER_ADMIN_KEY=********\n" in ended.out
    assert "canary-55" not in ended.out + ended.err
    assert json.loads(bellwether("config", "show", "-o", "json").out)["BELLWETHER_TIMEZONE"] == "UTC"


def test_the_shipped_configuration_is_right(bellwether: Command) -> None:
    assert bellwether("config", "check").code == 0
    assert bellwether("rules", "check").code == 0
    listed = json.loads(bellwether("rules", "list", "-o", "json").out)
    assert "login-decline" in [each["id"] for each in listed["data"]]


def test_the_doctor_says_what_would_fail_and_what_to_do(bellwether: Command) -> None:
    ill = bellwether("doctor")
    assert ill.code == 1
    assert "bellwether db upgrade" in ill.out
    bellwether("db", "upgrade")
    well = bellwether("doctor", "-o", "json")
    assert well.code == 0
    assert json.loads(well.out)["ok"] is True
    open_door = bellwether("doctor", host="0.0.0.0")
    assert open_door.code == 1
    assert "no API key" in open_door.out
    assert bellwether("keys", "create", "one", "--scope", "read").code == 0
    behind_a_key = bellwether("doctor", host="0.0.0.0")
    assert behind_a_key.code == 0, behind_a_key.out


@pytest.mark.parametrize("words", [("serve",), ("doctor",), ("config", "check"), ("db", "upgrade")])
def test_settings_that_cannot_work_are_said_by_every_verb(
    bellwether: Command, words: tuple[str, ...]
) -> None:
    ended = bellwether(*words, kafka_sasl_username="me")
    assert ended.code == (1 if words == ("doctor",) else 2)
    assert "BELLWETHER_KAFKA_BOOTSTRAP_SERVERS is not" in ended.out + ended.err
    assert "Traceback" not in ended.err


class Probed(BaseHTTPRequestHandler):
    """A service that is alive but not ready."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 503)
        self.end_headers()
        self.wfile.write(b"consumer: not polled lately")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(("options", "code"), [(("--live",), 0), ((), 1)])
def test_health_asks_the_running_service(bellwether: Command, options: tuple[str, ...], code: int) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Probed) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        ended = bellwether("health", *options, port=str(server.server_address[1]))
        server.shutdown()
    assert ended.code == code
    if code:
        assert "consumer: not polled lately" in ended.out


def test_health_of_nothing_is_a_no(bellwether: Command) -> None:
    ended = bellwether("health", "--url", "http://127.0.0.1:9")
    assert ended.code == 1
    assert "refused" in ended.out
    here = bellwether("health", probe_port="9")
    assert here.code == 1
    assert "BELLWETHER_PROBE_PORT" in here.out


def test_a_kafka_where_nobody_listens_is_said_at_once(bellwether: Command) -> None:
    ended = bellwether("topics", "create", kafka_bootstrap_servers="127.0.0.1:9,[::1]:9")
    assert ended.code == 2
    said = ended.err.splitlines()
    assert said[0].startswith(
        "bellwether: no Kafka broker answers: 127.0.0.1:9 (Connection refused), [::1]:9 ("
    )
    assert "BELLWETHER_KAFKA_BOOTSTRAP_SERVERS" in said[1]


def test_no_text_of_a_customer_steers_the_terminal() -> None:
    from app.cli.output import plain

    assert plain("Zoë 🦊 naïve") == "Zoë 🦊 naïve"
    assert plain("a\x1b[2Jb\u202ec\nd") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}c d"


def test_the_lock_holds_what_the_project_asks_for() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    for name, wanted in {
        "run": project["project"]["dependencies"] + groups["build"],
        "dev": project["project"]["dependencies"] + [each for each in groups["dev"] if isinstance(each, str)],
    }.items():
        lock = Path(ROOT / "requirements" / f"{name}.txt").read_text()
        pins = dict(
            line.split(" ")[0].split("==") for line in lock.splitlines() if "==" in line and line[0] != " "
        )
        for each in map(Requirement, wanted):
            normal = each.name.lower().replace("_", "-")
            assert normal in pins, f"run make lock: {each} is not in requirements/{name}.txt"
            assert each.specifier.contains(pins[normal]), (
                f"run make lock: {each}, but {pins[normal]} is pinned"
            )
        assert "://" not in lock
