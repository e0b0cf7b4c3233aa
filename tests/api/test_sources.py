"""Sources of activity over REST: what flows, and whose silence is ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.database.journal import JournalSource
from consumers.days import instant
from tests.api.house import NOW, Api, House

HOUR = 3_600_000_000


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.take_in(
        {
            "id": f"e{hour}",
            "type": "user.login",
            "account_id": "acme",
            "user_id": "u",
            "occurred_at": instant(NOW - hour * HOUR).isoformat(),
        }
        for hour in range(24 * 40)
    )
    return made


def test_a_source_says_when_it_was_heard_and_how_long_it_may_be_silent(house: House) -> None:
    (source,) = Api(house.services()).walk("/v1/sources")
    assert source == {
        "source": "sender BELLWETHER_ADMIN_KEY",
        "state": "flowing",
        "because": None,
        "families": {"logins": "2026-11-22T10:00:00Z"},
        "counted": ["logins"],
        "newest_event_at": "2026-11-22T10:00:00Z",
        "first_day": "2026-10-13",
        "longest_gap_s": 3_600,
        "expected_gap_s": 24 * 3_600,
    }


def test_a_day_later_its_silence_is_ours_and_everybody_who_looks_is_told(house: House) -> None:
    api, clockwork = Api(house.services()), house.parts.clockwork()

    def turn_to(now: int) -> None:
        house.dial.now = now
        house.parts.consumer(JournalSource(house.database)).drain()
        clockwork.tick(now)

    turn_to(NOW + 24 * HOUR)
    assert [each["state"] for each in api.walk("/v1/sources")] == ["unsettled"]
    metrics = api.get("/v1/accounts/acme/metrics").json()["metrics"]
    assert metrics["logins.change_28d"]["status"] != "stale_source"
    turn_to(NOW + 24 * HOUR + 1)
    assert [each["state"] for each in api.walk("/v1/sources")] == ["stale"]
    metrics = api.get("/v1/accounts/acme/metrics").json()["metrics"]
    assert metrics["logins.change_28d"]["status"] == "stale_source"
    text = api.get("/metrics").text
    assert 'bellwether_source_stale{source="sender BELLWETHER_ADMIN_KEY"} 1.0' in text
    assert 'bellwether_incidents_open{kind="stale_source"} 1.0' in text
    (told,) = api.walk("/v1/deliveries")
    assert (told["destination"], told["kind"]) == ("crm", "alert.summary")


def test_where_nobody_sent_any_activity_there_is_no_source(tmp_path: Path) -> None:
    assert Api(House(tmp_path).services()).walk("/v1/sources") == []
