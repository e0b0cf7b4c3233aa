"""`bellwether interventions`, `portfolio` and the outcomes of alerts, as a shell runs them."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest
from sqlalchemy import select

from alerts.health.state import BANDS, blank
from app.database.engine import Database
from app.database.health import keep_health
from app.database.tables import account
from consumers.days import DAY_US, micros, parse_instant
from tests.e2e.command import Command

NOW = "2026-11-22T10:00:00Z"
AS_OF = micros(parse_instant(NOW)) // DAY_US - 1
TOLD = [
    ("account.updated", "globex", {"name": "=Globex", "owner": "noor", "renewal_date": "2027-01-21"}),
    ("sentiment.rated", "globex", {"rating": "red"}),
    ("account.updated", "initech", {"name": "Initech"}),
]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Two customers, red and yellow since 30 days; the red one is rated red too."""
    with (tmp_path / "told.ndjson").open("w") as file:
        for number, (kind, account_id, data) in enumerate(TOLD):
            event = {"id": f"e{number}", "type": kind, "account_id": account_id, "data": data}
            file.write(json.dumps({**event, "occurred_at": f"2026-11-21T1{number}:00:00Z"}) + "\n")
    made = Command(tmp_path, {"BELLWETHER_NOW": NOW})
    assert made("db", "upgrade").code == 0
    assert made("ingest", tmp_path / "told.ndjson").code == 0
    database = Database(f"sqlite:///{tmp_path / 'bellwether.db'}")
    with database.write() as connection:
        records = blank(2)
        records["day"], records["since_day"], records["score"] = AS_OF, AS_OF - 30, 3_000
        records["band"] = [BANDS.index(band) for band in ("red", "yellow")]
        nos = connection.scalars(select(account.c.no).order_by(account.c.account_id)).all()
        keep_health(connection, nos, records, AS_OF)
    database.close()
    return made


def test_the_queue_as_a_table_as_json_and_as_csv(command: Command) -> None:
    done = command("interventions")
    assert done.code == 0, done.err
    lines = [line.split() for line in done.out.splitlines()]
    places = [line for line in lines if line and line[0] in {"globex", "initech"}]
    assert [line[0] for line in places] == ["globex", "initech"]
    assert {"red", "30", "2027-01-21", "60", "noor", "sentiment-red"} <= {
        word.strip(",") for word in places[0]
    }
    answer = json.loads(command("interventions", "--owner", "noor", "-o", "json").out)
    assert [each["reasons"] for each in answer["data"]] == [["red", "renewing_90_days"]]
    table = command("interventions", "-o", "csv").out.splitlines()
    assert table[0].startswith("account_id,name,owner,")
    assert table[1].startswith("globex,'=Globex,noor,")
    wrong = command("interventions", "-o", "csv", "--limit", "1")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err == "bellwether: query.limit: a CSV has all of it; leave this out\n"


def test_a_csv_begins_with_a_byte_order_mark_in_a_file_only(command: Command) -> None:
    for line in (("interventions",), ("portfolio", "health"), ("retention",)):
        whole = command(*line, "-o", "csv").out
        assert not whole.startswith("\ufeff")
        with (
            (command.folder / "out.csv").open("wb") as file,
            command.start(*line, "-o", "csv", stdout=file) as process,
        ):
            assert process.wait(60) == 0
        text = (command.folder / "out.csv").read_bytes()
        assert text.startswith(codecs.BOM_UTF8)
        assert text.decode("utf-8-sig").splitlines() == whole.splitlines()


def test_an_intervention_is_closed_with_its_outcome_and_counted(command: Command) -> None:
    done = command(
        "interventions", "resolve", "globex", "--outcome", "saved", "--by", "noor", "-m", "they calmed down"
    )
    assert done.code == 0, done.err
    assert done.out.startswith("globex: ")
    assert done.out.endswith(" resolved, saved\n")
    alerts = json.loads(command("alerts", "list", "--status", "resolved", "-o", "json").out)["data"]
    assert {(each["outcome"], each["outcome_by"], each["outcome_note"]) for each in alerts} == {
        ("saved", "noor", "they calmed down")
    }
    again = command("interventions", "resolve", "globex", "--outcome", "no_action", "--by", "noor")
    assert again.out.startswith("globex: no alert fires; al_")
    assert again.out.endswith(", which was closed before, has the outcome no_action now\n")
    assert command("interventions", "resolve", "globex", "--outcome", "saved").code == 0
    none = command("interventions", "resolve", "initech", "--outcome", "saved")
    assert (none.code, none.out) == (2, "")
    assert none.err.startswith("bellwether: no alert of 'initech' fires, and none was closed before")
    done = command("alerts", "outcomes")
    (line,) = [line.split() for line in done.out.splitlines() if line.split()[:1] == ["sentiment-red"]]
    assert line == ["sentiment-red", "1", "1", "0", "0", "0", "0", "100%"]


def test_an_alert_is_closed_with_its_outcome(command: Command) -> None:
    alerts = json.loads(command("alerts", "list", "--account", "globex", "-o", "json").out)["data"]
    done = command("alerts", "resolve", alerts[0]["id"], "--outcome", "false_alarm", "-m", "still there")
    assert done.out == f"{alerts[0]['id']} ({alerts[0]['rule']}, globex): resolved, false_alarm\n"
    wrong = command("alerts", "resolve", alerts[0]["id"], "--outcome", "won")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err.startswith("bellwether: body.outcome: ")


def test_the_health_of_all_and_the_weeks_review(command: Command) -> None:
    done = command("portfolio", "health")
    assert done.code == 0, done.err
    (whole,) = [line.split() for line in done.out.splitlines() if line.split()[:1] == ["all"]]
    assert whole == ["all", "2", "1", "1", "0", "0", "30"]
    assert (
        command("portfolio", "health", "--table", "trend", "-o", "csv").out.splitlines()[1]
        == "2026-11-21,2,1,1,0,0,30.0"
    )
    done = command("portfolio", "operations")
    assert "week 2026-W47, from 2026-11-16 to 2026-11-21" in done.out
    assert "rated red: 1 account" in done.out
    answer = json.loads(command("portfolio", "operations", "-o", "json").out)
    assert [each["account_id"] for each in answer["ratings_red"]["data"]] == ["globex"]
    review = command("portfolio", "operations", "-o", "csv").out.splitlines()
    assert {line.partition(",")[0] for line in review[1:]} == {
        each["account_id"] for each in answer["review"]["data"]
    }


def test_a_part_that_is_none_is_said_in_one_line(command: Command) -> None:
    done = command("portfolio", "operations", "-o", "csv", "--table", "months")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("bellwether: query.table: Input should be ")


def test_accounts_of_a_band(command: Command) -> None:
    answer = json.loads(command("accounts", "--band", "yellow", "-o", "json").out)
    assert [each["account_id"] for each in answer["data"]] == ["initech"]
