"""A real history through `bellwether ingest`, killed again and again: events count once, alerts open once."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Command
from tests.e2e.running import prepared, rows, until, write_lines
from tests.e2e.stories import telling
from tests.recount import Recount
from tests.recount_rules import read_lines
from tests.stored_windows import recounted, stored

NOW = "2026-08-23T06:00:00Z"  # the morning after the newest event
BATCH = 1_000
KILLS = 10
pytestmark = pytest.mark.timeout(300)  # two dozen starts of the command, on whatever machine
ALERT = "SELECT rule, account_id, label, episode, status, severity, title, baseline, seq, evidence FROM alert"


@pytest.fixture(scope="module")
def lines(real_data: Path) -> list[bytes]:
    """The real events, one a line."""
    return read_lines(real_data)


@pytest.fixture(scope="module")
def recount(lines: list[bytes]) -> Recount:
    """The same, counted by other code."""
    return Recount(lines)


@pytest.fixture(scope="module")
def uninterrupted(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """One run from beginning to end, to compare with."""
    command = judging(tmp_path_factory.mktemp("uninterrupted"))
    ended = command("ingest", real_data, "-o", "json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["judged"] == 12
    return command


def judging(folder: Path) -> Command:
    """The command on the morning after, with somebody to tell; what would be sent is only recorded."""
    return prepared(folder, now=NOW, delivery="shadow", **telling(folder, "https://crm.example/hook"))


def reached(command: Command) -> int:
    """How many lines are committed."""
    return sum(number for (number,) in rows(command, "SELECT next FROM position"))


def kill_after(command: Command, file: Path, line: int, delay_s: float) -> None:
    """Ingest until ``line`` is committed and a moment longer, then SIGKILL: in the middle of whatever it does."""
    process = command.start(
        "ingest", file, "--batch", str(BATCH), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until(lambda: reached(command) >= line or process.poll() is not None, f"line {line}", every_s=0.003)
    try:
        process.wait(delay_s)
    except subprocess.TimeoutExpired:
        process.kill()
    _, err = process.communicate(timeout=10)
    assert process.returncode == -9, (process.returncode, err)


def killed_and_resumed(command: Command, file: Path, total: int, seed: int) -> dict[str, Any]:
    """KILLS runs that are killed at random points, and one that may finish; returns what that one said."""
    dice = random.Random(seed)
    before = -1
    for line in sorted(dice.sample(range(total - 3 * BATCH), KILLS)):
        kill_after(command, file, line, dice.uniform(0, 0.03))
        assert rows(command, "PRAGMA integrity_check") == [("ok",)]
        assert reached(command) >= max(before, line)
        before = reached(command)
        assert rows(command, "SELECT * FROM alert") == []
    ended = command("ingest", file, "--batch", str(BATCH), "-o", "json")
    assert ended.code == 0, ended.err
    said: dict[str, Any] = json.loads(ended.out)
    assert said["accepted"] + said["duplicate"] == total - before
    return said


def counted(command: Command) -> dict[str, int]:
    return dict(rows(command, "SELECT name, value FROM counter"))


def assert_every_alert_opened_once(command: Command) -> None:
    assert rows(command, "SELECT key FROM alert GROUP BY key, episode HAVING count(*) > 1") == []
    assert (
        rows(command, "SELECT key FROM alert WHERE status <> 'resolved' GROUP BY key HAVING count(*) > 1")
        == []
    )
    firings = rows(
        command,
        "SELECT alert.id, count(alert_history.seq) FROM alert LEFT JOIN alert_history"
        " ON alert_history.alert_id = alert.id AND kind = 'firing' GROUP BY alert.id",
    )
    assert firings
    assert {count for _, count in firings} == {1}


def assert_told_in_one_summary(command: Command) -> None:
    assert rows(command, "SELECT destination, kind, status FROM delivery") == [
        ("crm", "alert.summary", "shadow")
    ]


def assert_same_end(command: Command, other: Command, recount: Recount) -> None:
    """Windows as recounted, alerts as in the other run."""
    windows = stored(command.folder / "bellwether.db")
    assert windows == recounted(recount)
    assert sorted(rows(command, ALERT)) == sorted(rows(other, ALERT))
    assert_every_alert_opened_once(command)
    assert_told_in_one_summary(command)


def test_an_uninterrupted_run_ends_with_windows_equal_to_a_recount(
    uninterrupted: Command, recount: Recount, lines: list[bytes]
) -> None:
    assert counted(uninterrupted) == {"accepted": len(lines)}
    assert_same_end(uninterrupted, uninterrupted, recount)


def test_killed_at_ten_random_points_and_resumed_it_ends_the_same(
    tmp_path: Path, real_data: Path, lines: list[bytes], uninterrupted: Command, recount: Recount
) -> None:
    command = judging(tmp_path)
    said = killed_and_resumed(command, real_data, len(lines), seed=20261122)
    assert said["judged"] == 12
    assert counted(command) == {"accepted": len(lines)}
    assert_same_end(command, uninterrupted, recount)


def test_shuffled_with_a_third_of_its_lines_doubled_and_killed_it_ends_the_same(
    tmp_path: Path, lines: list[bytes], uninterrupted: Command, recount: Recount
) -> None:
    dice = random.Random(7)
    doubled = dice.sample(lines, len(lines) * 3 // 10)
    mixed = [*lines, *doubled]
    dice.shuffle(mixed)
    command = judging(tmp_path)
    killed_and_resumed(command, write_lines(tmp_path / "mixed.jsonl", mixed), len(mixed), seed=42)
    assert counted(command) == {"accepted": len(lines), "duplicate": len(doubled)}
    assert_same_end(command, uninterrupted, recount)


@pytest.mark.parametrize("delay_s", [0.0, 0.015, 0.04])
def test_killed_while_it_judges_every_alert_still_opens_once_and_is_told_once(
    tmp_path: Path, real_data: Path, uninterrupted: Command, recount: Recount, delay_s: float
) -> None:
    command = judging(tmp_path)
    process = command.start("ingest", real_data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    # The last that is written before judgement: nothing more is to come.
    until(lambda: rows(command, "SELECT 1 FROM position WHERE NOT behind"), "it judges", every_s=0.001)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(delay_s)
    process.kill()
    process.communicate(timeout=10)
    assert command("ingest", real_data).code == 0
    assert_same_end(command, uninterrupted, recount)


def test_a_file_given_again_under_any_name_does_nothing(
    tmp_path: Path, real_data: Path, uninterrupted: Command
) -> None:
    command = Command(tmp_path, dict(uninterrupted.variables))
    shutil.copyfile(uninterrupted.folder / "bellwether.db", tmp_path / "bellwether.db")
    tables = [name for (name,) in rows(command, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    before = {name: rows(command, f"SELECT * FROM {name}") for name in tables}
    renamed = shutil.copyfile(real_data, tmp_path / "renamed.gz")
    ended = command("ingest", real_data, renamed)
    assert ended.code == 0, ended.err
    assert "nothing new" in ended.out
    assert {name: rows(command, f"SELECT * FROM {name}") for name in tables} == before


def test_the_same_events_in_another_file_count_once(
    tmp_path: Path, lines: list[bytes], uninterrupted: Command
) -> None:
    command = Command(tmp_path, dict(uninterrupted.variables))
    shutil.copyfile(uninterrupted.folder / "bellwether.db", tmp_path / "bellwether.db")
    # Older ids than any window looks back on are forgotten; those of the last year are not.
    year = [line for line in lines if json.loads(line)["occurred_at"] > "2025-09"]
    packed = tmp_path / "year.jsonl.gz"
    packed.write_bytes(gzip.compress(b"\n".join(year)))
    ended = command("ingest", packed, "-o", "json")
    assert json.loads(ended.out)["duplicate"] == len(year)
    assert json.loads(ended.out)["accepted"] == 0
    assert stored(tmp_path / "bellwether.db") == stored(uninterrupted.folder / "bellwether.db")
    assert sorted(rows(command, ALERT)) == sorted(rows(uninterrupted, ALERT))
