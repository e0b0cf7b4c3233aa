"""`bellwether retention`, as a shell runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.command import Command

TOLD = [
    ("subscription.changed", "left", "2025-01-10", {"mrr": "500", "currency": "USD"}),
    ("subscription.changed", "left", "2026-10-12", {"mrr": "0", "currency": "USD"}),
    ("subscription.changed", "stays", "2025-01-10", {"mrr": "1500", "currency": "USD"}),
    ("subscription.changed", "abroad", "2025-01-10", {"mrr": "70", "currency": "EUR"}),
    ("account.updated", "stays", "2025-01-11", {"size": "smb"}),
]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """A database with three accounts; today is the 22nd of November 2026."""
    with (tmp_path / "told.ndjson").open("w") as file:
        for number, (kind, account, day, data) in enumerate(TOLD):
            event = {"id": f"e{number}", "type": kind, "account_id": account, "data": data}
            file.write(json.dumps({**event, "occurred_at": f"{day}T12:00:00Z"}) + "\n")
    made = Command(tmp_path, {"BELLWETHER_NOW": "2026-11-22T10:00:00Z"})
    assert made("db", "upgrade").code == 0
    assert made("ingest", tmp_path / "told.ndjson").code == 0
    return made


def test_the_months_the_segments_and_what_was_left_out(command: Command) -> None:
    done = command("retention", "--months", "2", "--segment", "size", "--stage", "series_a")
    assert done.code == 0, done.err
    (october,) = [
        line for line in done.out.splitlines() if line.split()[:2] == ["2026-10", "ok"] and "%  " in line
    ][:1]
    assert october.split()[2:9] == ["2", "2000.00", "0.00", "0.00", "500.00", "75.0%", "75.0%"]
    assert "(not told)" in done.out
    assert "against series_a: NRR warning" in done.out
    assert done.err == "left out: 1 account with MRR in EUR\n"


def test_one_part_as_csv_and_all_as_json(command: Command) -> None:
    done = command("retention", "--at", "2026-10", "--table", "churn", "-o", "csv")
    assert done.code == 0, done.err
    header, *_, october = done.out.splitlines()
    assert header.startswith("month,status,start,end,complete,accounts,accounts_lost,")
    assert october.startswith("2026-10,ok,2026-09-30,2026-10-31,true,2,1,0.5,2000.00,500.00,0.25")
    answer = json.loads(command("retention", "-o", "json").out)
    assert answer["months"][-1]["logo_retention"] == 0.5


def test_a_month_that_is_none_is_said_in_one_line(command: Command) -> None:
    done = command("retention", "--at", "2027-01")
    assert (done.code, done.out) == (2, "")
    assert done.err == "bellwether: query.at: 2027-01 has no complete day yet\n"
