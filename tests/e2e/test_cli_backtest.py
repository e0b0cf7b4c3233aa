"""`bellwether backtest` and `bellwether rules diff`, as people run them."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.command import Command

START = datetime(2025, 1, 1, 9, tzinfo=UTC)
OLD = "rules: [{id: fading, when: logins.change_28d <= -0.50, title: t}]\n"
NEW = "rules: [{id: fading, when: logins.change_28d <= -0.20, title: t}]\n"
SWEPT = ("--outcomes-from-silence", "60", "--sweep", "login-decline=-0.1..-0.5:3")


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A year of two accounts with three people; `leaver` falls silent after 200 days, and one person of `stayer`."""
    lines = []
    for day in range(365):
        people = {"leaver": 3 if day < 200 else 0, "stayer": 3 if day < 250 else 2}
        lines += [
            json.dumps(
                {
                    "id": f"{account}-{day}-{user}",
                    "type": "user.login",
                    "account_id": account,
                    "user_id": f"u{user}",
                    "occurred_at": (START + timedelta(days=day)).isoformat(),
                }
            )
            for account, count in people.items()
            for user in range(count)
        ]
    path = tmp_path / "history.jsonl"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def outcomes(tmp_path: Path) -> Path:
    """`leaver` churned on day 225: the decline was told at the close of day 205, the silence at that of day 213."""
    path = tmp_path / "outcomes.csv"
    churned = (START + timedelta(days=225)).date()
    path.write_text(
        f"account_id,churned_on,renewed_on\nleaver,{churned},\nstayer,,2025-06-01\nnobody,2025-03-01,\n"
    )
    return path


def test_rules_are_judged_by_a_file_of_outcomes(bellwether: Command, history: Path, outcomes: Path) -> None:
    ended = bellwether("backtest", history, "--outcomes", outcomes, "-o", "json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert (told["from"], told["until"], told["data_end"]) == ("2025-01-01", "2025-10-02", "2025-12-31")
    assert (told["accounts"], told["churns"], told["accounts_without_events"]) == (2, 1, 1)
    rules = {each["rule"]: each for each in told["rules"]}
    decline, dark = rules["login-decline"], rules["gone-dark"]
    assert (decline["alerts"], decline["true_alerts"], decline["lead_days"]["value"]) == (2, 1, 20)
    assert (dark["alerts"], dark["true_alerts"], dark["lead_days"]["value"]) == (1, 1, 12)
    assert (decline["recall"]["value"], rules["any rule"]["lead_days"]["value"]) == (1, 20)
    assert told["rules"][-1]["rule"] == "any rule"

    table = bellwether("backtest", history, "--outcomes", outcomes)
    assert table.code == 0, table.err
    assert "1 churns counted" in table.out
    assert "1 accounts of the outcomes have no event" in table.out
    assert "50.0% (9.5%–90.5%)" in table.out


def test_an_event_of_the_future_is_rejected_and_the_end_of_the_data_stays(
    bellwether: Command, history: Path, outcomes: Path, tmp_path: Path
) -> None:
    stray = json.loads(history.read_text().splitlines()[0]) | {
        "id": "stray",
        "occurred_at": "2099-01-01T00:00:00Z",
    }
    (tmp_path / "stray.jsonl").write_text(json.dumps(stray))
    judged = bellwether("backtest", history, "stray.jsonl", "--outcomes", outcomes, "-o", "json")
    assert (judged.code, judged.err) == (0, "1 event rejected: in_the_future\n")
    told = json.loads(judged.out)
    assert (told["until"], told["data_end"], told["rejected"]) == (
        "2025-10-02",
        "2025-12-31",
        {"in_the_future": 1},
    )
    (tmp_path / "old.yaml").write_text(OLD)
    changed = bellwether("rules", "diff", "old.yaml", "old.yaml", history, "stray.jsonl", "-o", "json")
    assert changed.err == judged.err
    assert (json.loads(changed.out)["days"], json.loads(changed.out)["rejected"]) == (
        365,
        {"in_the_future": 1},
    )
    frozen = bellwether("backtest", history, "--outcomes", outcomes, "-o", "json", now="2025-11-30T12:00:00Z")
    assert json.loads(frozen.out)["data_end"] == "2025-11-30"


def test_who_has_no_event_by_the_last_day_is_not_said_to_have_none(
    bellwether: Command, history: Path, outcomes: Path
) -> None:
    ended = bellwether("backtest", history, "--outcomes", outcomes, "--until", "2025-03-01")
    assert "1 accounts of the outcomes have no event up to 2025-03-01 and count nowhere" in ended.out


def test_each_rule_is_a_line_of_csv(bellwether: Command, history: Path, outcomes: Path) -> None:
    ended = bellwether("backtest", history, "--outcomes", outcomes, "-o", "csv", "--from", "2025-02-01")
    assert ended.code == 0, ended.err
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    decline = next(row for row in rows if row["rule"] == "login-decline")
    assert (decline["alerts"], decline["precision"], decline["lead_days_lower_quartile"]) == (
        "2",
        "0.5",
        "20.0",
    )
    assert float(decline["precision_low"]) < 0.5 < float(decline["precision_high"])


def test_a_sweep_is_a_table_and_a_picture(
    bellwether: Command, history: Path, outcomes: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "sweep.svg"
    sweep = ("--sweep", "login-decline=-0.1..-0.5:3", "--svg", picture)
    ended = bellwether("backtest", history, "--outcomes", outcomes, *sweep)
    assert ended.code == 0, ended.err
    assert "-0.2 *" in ended.out
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    told = json.loads(bellwether("backtest", history, "--outcomes", outcomes, *sweep, "-o", "json").out)
    points = told["sweep"]["points"]
    assert [(each["threshold"], each["alerts"]) for each in points] == [
        (-0.1, 2),
        (-0.2, 2),
        (-0.3, 1),
        (-0.5, 1),
    ]


def test_the_table_is_there_though_the_picture_cannot_be_written(bellwether: Command, history: Path) -> None:
    ended = bellwether("backtest", history, *SWEPT, "--svg", "/dev/full")
    assert (ended.code, "-0.2 *" in ended.out) == (2, True)
    assert ended.err == "bellwether: --svg /dev/full cannot be written: No space left on device\n"


def test_churn_can_be_told_from_the_logins_themselves(bellwether: Command, history: Path) -> None:
    told = json.loads(bellwether("backtest", history, "--outcomes-from-silence", "60", "-o", "json").out)
    assert (told["churns"], told["data_end"]) == (1, "2025-11-02")
    decline = next(each for each in told["rules"] if each["rule"] == "login-decline")
    assert (decline["true_alerts"], decline["after_churn"]) == (0, 1)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "--outcomes FILE.csv"),
        (("--outcomes", "o.csv", "--outcomes-from-silence", "60"), "one of them"),
        (("--outcomes", "wrong.csv"), "wrong.csv:2: churned_on 'soon' is not a day"),
        (("--outcomes", "none.csv"), "none.csv"),
        (("--outcomes-from-silence", "60", "--svg", "x.svg"), "--svg draws a sweep"),
        ((*SWEPT, "--svg", "none/x.svg"), "--svg none/x.svg: there is no folder"),
        ((*SWEPT, "--svg", "."), "--svg . is a folder"),
        (
            ("--outcomes-from-silence", "60", "--sweep", "login-declin=-0.1..-0.2"),
            'did you mean "login-decline"',
        ),
        (("--outcomes-from-silence", "60", "--horizon", "360"), "no day can be judged"),
        (("--outcomes-from-silence", "60", "--from", "soon"), "--from 'soon' is not a day"),
    ],
)
def test_what_cannot_be_judged_is_told_in_two_lines(
    bellwether: Command, history: Path, words: tuple[str, ...], told: str
) -> None:
    (history.parent / "o.csv").write_text("account_id,churned_on\n")
    (history.parent / "wrong.csv").write_text("account_id,churned_on\nleaver,soon\n")
    ended = bellwether("backtest", history, *words)
    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
    assert len(ended.err.splitlines()) <= 2


def test_a_change_of_rules_says_whom_it_would_tell_of(
    bellwether: Command, history: Path, tmp_path: Path
) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(OLD)
    new.write_text(NEW)
    told = json.loads(bellwether("rules", "diff", old, new, history, "-o", "json").out)
    assert (told["accounts"], told["days"]) == (2, 365)
    fading = told["rules"][0]
    assert (fading["change"], fading["alerts_before"], fading["alerts_after"]) == ("changed", 1, 2)
    assert fading["gained"] == [{"account_id": "stayer", "since": "2025-09-24"}]
    table = bellwether("rules", "diff", old, new, history)
    assert table.code == 0, table.err
    assert "stayer" in table.out
    assert "would alert" in table.out
    same = bellwether("rules", "diff", old, old, history)
    assert (same.code, "no rule decides otherwise" in same.err) == (0, True)
