"""Six processes that write into one SQLite file at the same time: no update is lost, no event counts twice."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.command import Command
from tests.e2e.running import prepared, rows, until, write_lines
from tests.e2e.stories import NOON, champion_arrives, event, iso, ndjson
from tests.recount import Recount
from tests.stored_windows import recounted, stored

WRITERS = 6
ACCOUNTS = [f"account-{number}" for number in range(5)]


def stream(seed: int, events: int = 1_500) -> list[bytes]:
    """Logins and facts of the same five accounts, of which every stream tells its own share."""
    dice = random.Random(seed)
    told = [champion_arrives(account, NOON - timedelta(days=90), f"u{seed}") for account in ACCOUNTS]
    for number in range(events):
        account, user = dice.choice(ACCOUNTS), f"u{dice.randrange(40)}"
        at = NOON - timedelta(minutes=dice.randrange(60 * 24 * 80))
        if dice.random() < 0.02:
            told.append(
                event(f"{seed}-{number}", "seats.changed", account, at, purchased=dice.randrange(1, 60))
            )
        else:
            told.append(event(f"{seed}-{number}", "user.login", account, at, user))
    dice.shuffle(told)
    return ndjson(told)


def run_together(command: Command, files: Sequence[Path]) -> None:
    """Each file in a process of its own, all at once."""
    processes = [
        command.start("ingest", file, "--batch", "50", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for file in files
    ]
    for process in processes:
        _, err = process.communicate(timeout=100)
        assert (process.returncode, err) == (0, "")


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The command with a database of its own."""
    return prepared(tmp_path, now=iso(NOON))


def test_six_files_at_once_end_as_a_recount_of_all_of_them(command: Command) -> None:
    streams = [stream(seed) for seed in range(WRITERS)]
    common = streams[0][:300]  # comes with every file: the first copy counts, whoever brings it
    contents = [streams[0], *([*common, *each] for each in streams[1:])]
    files = [write_lines(command.folder / f"{number}.jsonl", lines) for number, lines in enumerate(contents)]
    run_together(command, files)
    distinct = {line for lines in contents for line in lines}
    assert dict(rows(command, "SELECT name, value FROM counter")) == {
        "accepted": len(distinct),
        "duplicate": sum(map(len, contents)) - len(distinct),
    }
    assert stored(command.folder / "bellwether.db") == recounted(Recount(sorted(distinct)))
    assert rows(command, "SELECT 1 FROM touched") == []
    assert rows(command, "SELECT key FROM alert GROUP BY key HAVING count(*) > 1") == []
    assert rows(command, "PRAGMA integrity_check") == [("ok",)]


def test_the_same_file_in_six_processes_counts_once(command: Command) -> None:
    lines = stream(99, events=4_000)
    run_together(command, [write_lines(command.folder / "one.jsonl", lines)] * WRITERS)
    assert rows(command, "SELECT name, value FROM counter") == [("accepted", len(lines))]
    assert rows(command, "SELECT next, behind FROM position") == [(len(lines), 0)]
    assert stored(command.folder / "bellwether.db") == recounted(Recount(lines))


def test_another_takes_over_a_file_whose_reader_was_killed(command: Command) -> None:
    lines = stream(7, events=4_000)
    file = write_lines(command.folder / "one.jsonl", lines)
    first, second = (
        command.start("ingest", file, "--batch", "20", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    )
    until(
        lambda: sum(number for (number,) in rows(command, "SELECT next FROM position")) > 400,
        "they are at it",
    )
    first.kill()
    first.communicate(timeout=10)
    _, err = second.communicate(timeout=100)
    assert (second.returncode, err) == (0, "")
    assert rows(command, "SELECT name, value FROM counter") == [("accepted", len(lines))]
    assert stored(command.folder / "bellwether.db") == recounted(Recount(lines))
