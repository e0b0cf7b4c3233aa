"""A database that is locked, read-only, full or damaged: one or two lines and exit 2; nothing acknowledged is lost."""

from __future__ import annotations

import ctypes
import gzip
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.command import Command, Ended
from tests.e2e.running import Running, prepared, rows, serving, until, write_lines
from tests.e2e.stories import (
    NOON,
    ONE_RULE,
    champion_arrives,
    champion_leaves,
    event,
    iso,
    logins,
    ndjson,
    telling,
)
from tests.e2e.webhook_receiver import listening
from tests.stored_windows import stored

_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The command with a database that waits half a second for a lock."""
    made = prepared(tmp_path, now=iso(NOON))
    made.variables["BELLWETHER_DATABASE_URL"] = f"sqlite:///{tmp_path / 'bellwether.db'}?timeout=0.5"
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three months of logins."""
    return write_lines(tmp_path / "history.jsonl", ndjson(logins("acme", NOON, days=90)))


def assert_told(ended: Ended, *words: str) -> None:
    lines = ended.err.splitlines()
    assert (ended.code, 1 <= len(lines) <= 2) == (2, True), (ended.code, ended.err)
    assert lines[0].startswith("bellwether: ")
    assert "Traceback" not in ended.out + ended.err
    for word in words:
        assert word in ended.err


@contextmanager
def locked(command: Command) -> Iterator[None]:
    """Another process holds the right to write."""
    hold = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(command.folder / "bellwether.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield
        finally:
            holder.communicate("")


@contextmanager
def full(service: Running) -> Iterator[None]:
    """The service's process can add nothing to any file, as on a disk without room."""
    before = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, before)


def test_a_locked_database_is_named_and_the_file_goes_on_afterwards(command: Command, file: Path) -> None:
    with locked(command):
        assert_told(command("ingest", file), "is locked by another process")
    ended = command("ingest", file)
    assert (ended.code, "360 accepted" in ended.out) == (0, True), ended.err


def test_whoever_only_looks_does_not_wait_for_a_writer(command: Command) -> None:
    settings = "SELECT * FROM setting ORDER BY key"
    before = rows(command, settings)
    with locked(command):
        for words in (("accounts",), ("alerts", "list"), ("destinations", "list"), ("rules", "list")):
            ended = command(*words)
            assert ended.code == 0, (words, ended.err)
    assert rows(command, settings) == before


def test_a_full_disk_is_named_and_a_resumed_file_counts_once(command: Command, file: Path) -> None:
    size = (command.folder / "bellwether.db").stat().st_size

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, resource.RLIM_INFINITY))

    process = command.start(
        "ingest",
        file,
        "--batch",
        "100",
        preexec_fn=no_room,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = process.communicate(timeout=60)
    assert_told(Ended(process.returncode, out, err), "has no room left")
    assert rows(command, "PRAGMA integrity_check") == [("ok",)]
    ended = command("ingest", file)
    assert ended.code == 0, ended.err
    assert rows(command, "SELECT name, value FROM counter") == [("accepted", 360)]


def obey_permissions() -> None:
    """In the child, before the command runs: what is forbidden to everybody is else not forbidden to root."""
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0) != 0:
        raise OSError("root may write everything here, and cannot be kept from it")


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_read_only_database_is_named(what: str, command: Command, file: Path) -> None:
    database = command.folder / "bellwether.db"
    database.chmod(0o444 if what == "file" else 0o644)
    command.folder.chmod(0o555 if what == "folder" else 0o755)
    process = command.start(
        "ingest", file, preexec_fn=obey_permissions, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = process.communicate(timeout=60)
    command.folder.chmod(0o755)
    assert_told(Ended(process.returncode, out, err), str(database), "writ")


def test_a_damaged_database_is_named(command: Command, file: Path) -> None:
    assert command("ingest", file).code == 0
    path = command.folder / "bellwether.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        page = connection.execute("PRAGMA page_size").fetchone()[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:page] + b"\x5a" * (len(whole) - page))
    more = write_lines(command.folder / "more.jsonl", ndjson(logins("other", NOON, days=2)))
    assert_told(command("ingest", more), "is not a sound SQLite database")


def test_a_newer_schema_is_refused_by_name(command: Command, file: Path) -> None:
    with closing(sqlite3.connect(command.folder / "bellwether.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("UPDATE setting SET value = '9999' WHERE key = 'schema_serves'")
    assert_told(command("ingest", file), "9999", "newer version")


def test_a_folder_is_no_file_of_events(command: Command, tmp_path: Path) -> None:
    assert_told(command("ingest", tmp_path), str(tmp_path), "not a regular file")


def test_a_file_with_broken_lines_goes_on_and_says_how_many_and_why(command: Command) -> None:
    good = ndjson(logins("acme", NOON, days=10))
    bad = [b"{", b"[]", b'{"id": "x"}', b"\xff\xfe", *ndjson([event("u", "user.logon", "acme", NOON, "u1")])]
    mixed = [line for pair in zip(good, bad * 8, strict=True) for line in pair]
    ended = command("ingest", write_lines(command.folder / "mixed.jsonl", mixed))
    assert ended.code == 0, ended.err
    assert "40 accepted, 0 duplicate, 40 rejected" in ended.out
    for reason in ("not_json", "not_an_object", "missing_field", "unsupported_encoding", "unknown_type"):
        assert f"  8 rejected: {reason}\n" in ended.out
    kept = rows(command, 'SELECT "offset", body FROM dead_letter ORDER BY "offset"')
    assert kept == [(number, mixed[number]) for number in range(1, 80, 2)]


def test_a_cut_off_gzip_is_named_after_all_its_whole_lines_were_taken(command: Command, file: Path) -> None:
    packed = gzip.compress(file.read_bytes(), mtime=0)
    cut = command.folder / "cut.jsonl.gz"
    cut.write_bytes(packed[: len(packed) // 2])
    ended = command("ingest", cut)
    assert_told(ended, "cut.jsonl.gz is damaged")
    taken = rows(command, "SELECT value FROM counter WHERE name = 'accepted'")[0][0]
    assert 0 < taken < 360
    whole = command.folder / "whole.jsonl.gz"
    whole.write_bytes(packed)
    ended = command("ingest", whole)
    assert f"{360 - taken:,} accepted, {taken:,} duplicate" in ended.out
    assert "1 accounts judged" in ended.out


def test_while_the_disk_is_full_events_are_refused_and_afterwards_it_goes_on_by_itself(
    tmp_path: Path,
) -> None:
    with listening() as receiver:
        command = prepared(tmp_path, now=iso(NOON), **telling(tmp_path, receiver.url, ONE_RULE))
        with serving(command) as service:
            service.send(champion_arrives("acme", NOON - timedelta(days=40)))
            until(lambda: service.judged("acme"), "acme is judged")
            kept = rows(command, "SELECT count(*) FROM journal")
            with full(service):
                status, said, kind = service.request("POST", "/v1/events", champion_leaves("acme", NOON))
                assert (status, said["code"], kind) == (503, "database_full", "application/problem+json")
                assert service.request("GET", "/livez")[0] == 200
                assert service.get("/v1/accounts/acme/risk")["risk_level"] != "critical"  # still read
            assert rows(command, "SELECT count(*) FROM journal") == kept
            service.send(champion_leaves("acme", NOON))
            until(lambda: service.alerts("&status=firing"), "judged without a restart", 15)
            receiver.wait_for(1)
            assert service.end() == 0
        assert rows(command, "PRAGMA integrity_check") == [("ok",)]


def test_what_was_acknowledged_before_the_disk_was_full_is_counted_when_there_is_room(
    tmp_path: Path,
) -> None:
    command = prepared(tmp_path, now=iso(NOON))
    events = logins("acme", NOON - timedelta(days=1), days=50, users=20)
    with serving(command, "api") as intake:
        intake.send(*events)
        assert intake.end() == 0
    with serving(command, "consumer") as consumer:
        until(lambda: rows(command, "SELECT 1 FROM counter"), "all is counted")
        with serving(command, "api") as intake, full(consumer):
            intake.send(*logins("other", NOON - timedelta(days=1), days=50, users=20))
            said = consumer.await_line(lambda line: line.get("level") == "error")
            assert "no room left" in str(said)
            assert rows(command, "SELECT value FROM counter") == [(1_000,)]
        until(lambda: rows(command, "SELECT value FROM counter") == [(2_000,)], "it goes on", 15)
        assert consumer.end() == 0
    windows = stored(tmp_path / "bellwether.db")
    assert {name: sum(account.logins.values()) for name, account in windows.items()} == {
        "acme": 1_000,
        "other": 1_000,
    }


def test_while_the_database_is_locked_events_are_refused_and_afterwards_taken(command: Command) -> None:
    with serving(command) as service:
        with locked(command):
            status, said, kind = service.request("POST", "/v1/events", logins("acme", NOON, days=2))
            assert (status, said["code"], kind) == (503, "database_locked", "application/problem+json")
        until(lambda: service.request("POST", "/v1/events", logins("acme", NOON, days=2))[0] == 202, "taken")
        until(lambda: service.judged("acme"), "acme is judged")
        assert service.end() == 0
    assert rows(command, "SELECT value FROM counter WHERE name = 'accepted'") == [(8,)]
