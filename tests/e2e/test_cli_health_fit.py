"""`bellwether health fit`, as people run it: a proposal, its diff, and every no."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.applied_diff import applied
from tests.e2e.command import Command
from tests.unit.planted_portfolio import portfolio

RULES = "core_features: [reports, exports, boards, alerts]\nhealth:\n  bands: {red_below: 35}\n"


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 customers who stay the longer the longer their sessions are."""
    path = tmp_path_factory.mktemp("planted") / "history.jsonl"
    path.write_bytes(b"\n".join(portfolio("depth").lines))
    return path


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


def test_a_proposal_is_a_diff_that_a_person_applies(bellwether: Command, history: Path, rules: Path) -> None:
    ended = bellwether("health", "fit", history, "--rules", rules)
    assert (ended.code, ended.err) == (0, "")
    assert "fitted to 400 customers of 2023-06-30: 299 kept, 101 lost by 2024-06-30" in ended.out
    assert "judged on 299 customers of 2024-06-30: 215 kept, 84 lost by 2025-06-30" in ended.out
    assert "better: the interval of the difference lies above 0" in ended.out
    assert rules.read_text() == RULES, "the command never writes it"

    patch = ended.out[ended.out.index(f"--- {rules}\n") :]
    rules.write_text(applied(patch, RULES))
    assert "# fitted weights: proposal " in rules.read_text()
    assert bellwether("rules", "check", rules).code == 0
    again = bellwether("health", "fit", history, "--rules", rules)
    assert again.code == 1
    assert "the same: these are the present weights" in again.out
    assert "---" not in again.out


def test_json_has_everything_and_the_fitted_part_leads(
    bellwether: Command, history: Path, rules: Path
) -> None:
    told = json.loads(bellwether("health", "fit", history, "-o", "json", config=str(rules)).out)
    assert told["configuration"] == str(rules)
    assert told["verdict"] == "better"
    assert [part["part"] for part in told["parts"]] == ["logins", "breadth", "depth", "seats"]
    assert told["parts"][2]["proposed"] == 0.5
    assert sum(part["proposed"] for part in told["parts"]) == pytest.approx(1)
    assert told["auc"]["present"]["value"] < told["auc"]["proposed"]["value"]
    assert told["auc"]["difference"]["low"] > 0
    assert f"weights: proposal {told['proposal']}, cohort 2023-06-30 (299 kept, 101 lost)" in told["diff"]
    assert (told["judged_on"]["lost_in_both"], told["segments_with_their_own"]) == (0, [])


def test_outcomes_from_a_file_tell_what_mrr_tells(bellwether: Command, history: Path, tmp_path: Path) -> None:
    events = map(json.loads, history.read_text().splitlines())
    left = [each for each in events if each.get("data", {}).get("mrr") == 0]
    rows = [f"{each['account_id']},{each['occurred_at'][:10]}" for each in left]
    (tmp_path / "outcomes.csv").write_text("\n".join(["account_id,churned_on", *rows]))
    words = ("--cohort", "2023-06-30", "--judge", "2024-05-31", "-o", "json")
    paid = json.loads(bellwether("health", "fit", history, *words).out)
    told = json.loads(bellwether("health", "fit", history, "--outcomes", "outcomes.csv", *words).out)
    assert paid["judged_on"]["day"] == "2024-05-31"
    # The account that only sends the last event never paid, and nobody said that it left; it has no score.
    assert (paid["cohort"]["unscored"], told["judged_on"]["unscored"]) == (0, 0)
    assert paid == told


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--cohort", "soon"), 2, "--cohort 'soon' is not a day"),
        (("--cohort", "2025-01-01"), 2, "the latest day is 2024-06-30"),
        (("--cohort", "2024-06-30"), 2, "30 days or more after the cohort"),
        (("--outcomes", "none.csv"), 2, "none.csv cannot be read"),
        (("--outcomes", "empty.csv"), 1, "400 were kept and 0 lost by 2024-06-30"),
        (("--rules", "partly.yaml"), 2, "must name all four first"),
    ],
)
def test_a_no_says_why_in_two_lines(
    bellwether: Command, history: Path, tmp_path: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    (tmp_path / "empty.csv").write_text("account_id,churned_on\n")
    (tmp_path / "partly.yaml").write_text(
        "health: {segments: [{match: {size: smb}, engagement: {weights: {logins: 2}}}]}\n"
    )
    ended = bellwether("health", "fit", history, *words)
    assert (ended.code, ended.out) == (code, "")
    assert told in ended.err
    assert len(ended.err.splitlines()) <= 2


def test_an_event_of_the_future_is_rejected_and_the_days_stay(
    bellwether: Command, history: Path, tmp_path: Path
) -> None:
    stray = json.loads(history.read_text().splitlines()[0]) | {
        "id": "stray",
        "occurred_at": "2099-01-01T00:00:00Z",
    }
    (tmp_path / "stray.jsonl").write_text(json.dumps(stray))
    ended = bellwether("health", "fit", history, "stray.jsonl", "-o", "json")
    assert ended.err == "1 event rejected: in_the_future\n"
    told = json.loads(ended.out)
    assert told["rejected"] == {"in_the_future": 1}
    assert (told["judged_on"]["day"], told["judged_on"]["until"]) == ("2024-06-30", "2025-06-30")


def test_without_an_mrr_outcomes_are_asked_for(bellwether: Command, history: Path, tmp_path: Path) -> None:
    lines = [line for line in history.read_text().splitlines() if "subscription" not in line]
    (tmp_path / "unpaid.jsonl").write_text("\n".join(lines))
    ended = bellwether("health", "fit", "unpaid.jsonl")
    assert ended.code == 1
    assert "--outcomes FILE.csv" in ended.err
