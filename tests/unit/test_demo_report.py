"""What the demo prints, and where it keeps its data."""

from __future__ import annotations

import json
import stat
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import yaml

from app.demo import report
from app.demo.companies import companies
from app.demo.folder import folder
from consumers.errors import ConfigurationError

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def leaf(metric: str, op: str, value: object, threshold: object) -> dict[str, object]:
    return {"conditions": [{"metric": metric, "op": op, "value": value, "threshold": threshold}]}


@pytest.mark.parametrize(
    ("evidence", "shown"),
    [
        (leaf("logins.change_28d", "<=", -0.254, -0.2), "-25.4% ≤ -20%"),
        (leaf("activity.dormant_days", ">=", 16, 14), "16 ≥ 14 days"),
        (leaf("champion.departed", "==", True, True), "yes"),
        (leaf("champion.status", "==", "silent", "silent"), "silent"),
        ({"truncated": True}, ""),
    ],
)
def test_a_number_stands_beside_its_threshold(evidence: dict[str, object], shown: str) -> None:
    assert report.number(evidence) == shown


@pytest.mark.parametrize(
    ("day", "shown"),
    [("2026-12-22", "in 30 d"), ("2026-11-22", "in 0 d"), ("2026-11-17", "5 d ago"), (None, "none")],
)
def test_a_renewal_is_told_in_days(day: str | None, shown: str) -> None:
    assert report.renewal(day, date(2026, 11, 22)) == shown


def test_the_command_carries_one_whole_event_and_fits_a_terminal() -> None:
    company = companies()[36]
    lines = report.command("http://127.0.0.1:65535", company, NOW, proxied=True)
    assert max(map(len, lines)) <= 100
    command, _, quoted = "\n".join(lines).partition("'{")
    assert command.startswith("curl -sS --noproxy '*' http://127.0.0.1:65535/v1/events")
    event = json.loads("{" + quoted.removesuffix("'"))
    assert event["occurred_at"] == "2026-11-22T10:00:00Z"
    assert event["account_id"] == company.account_id
    assert "'" not in json.dumps(event)


def test_companies_are_120_different_ones() -> None:
    found = companies()
    assert len({each.account_id for each in found}) == len({each.name for each in found}) == 120
    assert all(each.account_id.replace("-", "").isalpha() for each in found)


def test_a_temporary_folder_goes_and_a_named_one_stays(tmp_path: Path) -> None:
    with folder(None) as temporary:
        assert temporary.path.is_dir()
    assert not temporary.path.exists()
    with folder(tmp_path / "kept") as kept:
        kept.mark_seeded()
    assert kept.seeded


def test_a_folder_with_a_database_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bellwether.db").touch()
    with pytest.raises(ConfigurationError, match="not a demo's database"), folder(tmp_path):
        pass


def test_the_configuration_has_two_destinations_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    with folder(tmp_path) as place:
        for _ in range(2):
            place.write_configuration(
                inbox_url="http://127.0.0.1:9", slack_path="/slack/x", secret="whsec_AAAA"
            )
        written = yaml.safe_load(place.configuration.read_text())
    assert list(written) == ["destinations"]
    assert [each["type"] for each in written["destinations"]] == ["webhook", "slack"]
    assert stat.S_IMODE(place.configuration.stat().st_mode) == 0o600
