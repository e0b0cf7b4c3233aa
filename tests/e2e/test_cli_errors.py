"""What goes wrong is one or two lines on standard error, exit 2, and no traceback unless somebody asks for one."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.e2e.command import Command, Ended


def assert_told(ended: Ended, *words: str) -> None:
    assert ended.code == 2, (ended.out, ended.err)
    lines = ended.err.rstrip("\n").splitlines()
    assert 1 <= len(lines) <= 2, ended.err
    assert lines[0].startswith("bellwether: ")
    assert "Traceback" not in ended.out + ended.err
    for word in words:
        assert word in ended.err


def test_an_unknown_verb_is_answered_with_the_nearest(bellwether: Command) -> None:
    assert_told(bellwether("ingets"), "'ingest'", "bellwether --help")


def test_an_unknown_option_names_the_help_of_that_verb(bellwether: Command) -> None:
    assert_told(bellwether("risk", "acme", "--colour"), "--colour", "bellwether risk --help")


def test_no_verb_at_all_shows_the_help(bellwether: Command) -> None:
    ended = bellwether()
    assert ended.code == 2
    assert "serve" in ended.out


def test_a_misspelled_setting_is_named(bellwether: Command) -> None:
    assert_told(bellwether("config", "show", prot="8000"), "BELLWETHER_PROT", "BELLWETHER_PORT")


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve",),
        ("risk", "acme"),
        ("alerts", "list"),
        ("keys", "list"),
        ("dead-letters", "list"),
        ("deliveries", "list"),
    ],
)
def test_without_a_schema_the_command_that_makes_one_is_named(
    bellwether: Command, arguments: tuple[str, ...]
) -> None:
    assert_told(bellwether(*arguments), "has no schema yet", "bellwether db upgrade")
    assert not list(bellwether.folder.iterdir())


def test_an_old_schema_is_refused_with_the_command(upgraded: Command) -> None:
    with sqlite3.connect(upgraded.folder / "bellwether.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("UPDATE setting SET value = '9999' WHERE key = 'schema_serves'")
    connection.close()
    assert_told(upgraded("serve"), "9999", "newer version")


def test_a_busy_port_is_named(upgraded: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert_told(upgraded("serve", port=str(port)), f"127.0.0.1:{port} is taken", "BELLWETHER_PORT")


def test_a_missing_file_is_named(upgraded: Command) -> None:
    assert_told(upgraded("ingest", "nothing.jsonl"), "nothing.jsonl", "does not exist")
    assert_told(upgraded("replay", "nothing.jsonl"), "nothing.jsonl", "does not exist")


def test_a_missing_folder_of_the_database_is_named(bellwether: Command) -> None:
    assert_told(
        bellwether("db", "upgrade", database_url="sqlite:////no/such/folder/x.db"), "mkdir -p /no/such/folder"
    )


def test_a_file_that_is_no_database_is_named(bellwether: Command) -> None:
    (bellwether.folder / "bellwether.db").write_bytes(
        b"not a database at all, but long enough to be looked at" * 20
    )
    assert_told(bellwether("db", "upgrade"), "is not a sound SQLite database")


def test_a_postgresql_that_is_not_there_is_told_without_its_password(bellwether: Command) -> None:
    ended = bellwether("db", "current", database_url="postgresql://someone:canary-91@127.0.0.1:1/bellwether")
    assert_told(ended, "postgresql://someone@127.0.0.1:1/bellwether", "cannot be reached")
    assert "canary-91" not in ended.err


def test_a_bad_rule_is_refused_with_its_line_and_the_nearest_metric(
    bellwether: Command, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        'rules:\n  - id: quiet\n    when: logins.chnge_28d <= -0.20\n    severity: high\n    title: "Quiet"\n'
    )
    ended = bellwether("rules", "check", rules)
    assert ended.code == 2
    assert "rules.yaml:3" in ended.err
    assert "logins.change_28d" in ended.err
    assert_told(bellwether("rules", "list", config=str(rules)), "rules.yaml:3", "logins.change_28d")


def test_debug_shows_the_traceback_wherever_it_stands(bellwether: Command) -> None:
    for arguments in (("--debug", "keys", "list"), ("keys", "list", "--debug")):
        ended = bellwether(*arguments)
        assert ended.code == 1
        assert "Traceback" in ended.err
        assert "ConfigurationError" in ended.err


def test_a_reader_that_has_enough_is_no_error(bellwether: Command) -> None:
    process = bellwether.start("config", "show", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err == ""


@pytest.mark.parametrize(
    ("arguments", "said", "see"),
    [
        (("risk", "nobody"), "there is no account 'nobody'", "see: bellwether accounts"),
        (("alerts", "ack", "al_nothing"), "there is no alert 'al_nothing'", "see: bellwether alerts list"),
    ],
)
def test_an_unknown_id_is_named_with_the_list_that_has_the_right_one(
    upgraded: Command, arguments: tuple[str, ...], said: str, see: str
) -> None:
    assert_told(upgraded(*arguments), said, see)
