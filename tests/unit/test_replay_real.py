"""The ledger of the real file, seventeen years of twelve accounts: always the same, and equal to the second opinion."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from alerts.metrics.catalogue import CATALOGUE
from alerts.replay import Summary, replay
from alerts.rules.loader import default_rules
from consumers.days import Calendar
from tests.recount import Recount
from tests.recount_rules import RULES as KNOWN
from tests.recount_rules import ledger, read_lines

RULES = default_rules(CATALOGUE)


def told(lines: list[bytes], summary: Summary | None = None) -> list[str]:
    return [line.json() for line in replay(lines, RULES, Calendar(), summary=summary)]


@pytest.fixture(scope="module")
def lines(real_data: Path) -> list[bytes]:
    return read_lines(real_data)


@pytest.fixture(scope="module")
def first_time(lines: list[bytes]) -> list[str]:
    return told(lines)


def test_the_ledger_equals_a_recount_that_shares_no_code(lines: list[bytes], first_time: list[str]) -> None:
    """But for health, of which a recount of seventeen years takes too long: random streams tell of it elsewhere."""
    expected = ledger(Recount(lines))
    told_now = [json.loads(line) for line in first_time]
    assert [entry for entry in told_now if entry["rule"] in KNOWN] == expected
    others = {entry["rule"] for entry in told_now} - set(KNOWN)
    assert others <= {"health-red", "health-yellow-4w", "renewal-at-risk"}
    assert len(expected) > 4_000
    assert set(Counter(entry["reason"] for entry in expected)) >= {
        "condition_true",
        "condition_false",
        "cannot_tell",
    }


def test_a_second_time_it_is_the_same_byte_for_byte(lines: list[bytes], first_time: list[str]) -> None:
    assert told(lines) == first_time


def test_a_shuffled_copy_gives_the_same(lines: list[bytes], first_time: list[str]) -> None:
    assert told(random.Random(11).sample(lines, k=len(lines))) == first_time


def test_a_copy_with_a_third_of_its_lines_doubled_gives_the_same(
    lines: list[bytes], first_time: list[str]
) -> None:
    chance = random.Random(12)
    doubled = lines + chance.sample(lines, k=len(lines) * 3 // 10)
    chance.shuffle(doubled)
    summary = Summary()
    assert told(doubled, summary) == first_time
    assert summary.totals.accepted == len(lines)
    assert summary.totals.duplicate == len(doubled) - len(lines)
    assert summary.totals.conflicting_duplicate == 0
