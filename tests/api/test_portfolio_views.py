"""The portfolio's health and the week's review over REST, as JSON and as CSV."""

from __future__ import annotations

from typing import Any

import pytest

from alerts.alert import AlertStatus, Severity
from tests.api.closes import AS_OF, close
from tests.api.house import NOW, TODAY, Api, House, csv_rows

HEALTH, OPERATIONS = "/v1/portfolio/health", "/v1/portfolio/operations"
DAY = 86_400_000_000
MONDAY = AS_OF - 5  # the 21st of November 2026 is a Saturday


def get(api: Api, path: str, **parameters: Any) -> Any:
    answer = api.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows(api: Api, path: str, **parameters: Any) -> list[dict[str, str]]:
    answer = api.get(path, params={"format": "csv", **parameters})
    return csv_rows(answer)


def bands(**counts: Any) -> dict[str, Any]:
    found = {"red": 0, "yellow": 0, "green": 0, "unknown": 0, **counts}
    return {**found, "accounts": sum(found[band] for band in ("red", "yellow", "green", "unknown"))}


# --- health


@pytest.fixture
def healthy(house: House) -> House:
    """Five customers, one of them never closed, and one who churned."""
    big = [house.add_account(name, size="enterprise", name=f"={name}") for name in ("a", "b")]
    small = house.add_account("c", size="smb", tier="pro")
    other = house.add_account("d")
    house.add_account("e", size="smb")
    gone = house.add_account("gone", size="smb", lifecycle="churned")
    close(house, {big[0]: "green", big[1]: "yellow", small: "red", gone: "red"}, day=AS_OF - 1, score=6_000)
    close(house, {big[0]: "green"}, score=10_000, days_in_band=9)
    close(house, {big[1]: "yellow"}, score=5_005, lost=1)
    close(house, {small: "red", gone: "red"}, score=999)
    close(house, {other: "unknown"}, score=-1, lost=3)
    return house


def test_accounts_per_band_and_by_segment_without_who_churned(api: Api, healthy: House) -> None:
    answer = get(api, HEALTH)
    assert (answer["as_of"], answer["churned"]) == ("2026-11-21", 1)
    assert answer["bands"] == bands(red=1, yellow=1, green=1, unknown=2, mean_score=53.35)
    assert list(answer["segments"]) == ["size", "channel", "tier", "use_case"]
    assert answer["segments"]["size"] == [
        {"segment": "enterprise", **bands(yellow=1, green=1, mean_score=75.03)},
        {"segment": "smb", **bands(red=1, unknown=1, mean_score=9.99)},
        {"segment": None, **bands(unknown=1, mean_score=None)},
    ]
    assert list(get(api, HEALTH, segment="tier")["segments"]) == ["tier"]


def test_how_scores_are_spread_and_how_much_is_known(api: Api, healthy: House) -> None:
    answer = get(api, HEALTH)
    assert [step["accounts"] for step in answer["distribution"]] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    assert answer["distribution"][9] == {"over": 90, "under": 100, "accounts": 1}
    assert answer["coverage"] == {
        "mean": 0.925,
        "whole": 2,
        "enough": 2,
        "too_little": 0,
        "never_closed": 1,
    }


def test_inputs_that_disappeared_are_named(api: Api, healthy: House) -> None:
    answer = get(api, HEALTH)
    assert answer["disappeared"] == {"product": 0, "support": 1, "relationship": 0, "satisfaction": 0}
    assert answer["notices"] == [{"account_id": "b", "name": "=b", "component": "support", "closes": 15}]
    assert get(api, HEALTH, notices=0)["notices"] == []
    (row,) = rows(api, HEALTH, table="notices")
    assert (row["account_id"], row["name"]) == ("b", "'=b")


def test_the_trend_has_a_line_for_each_day_that_closed(api: Api, healthy: House) -> None:
    trend = get(api, HEALTH)["trend"]
    assert [(each["day"], each["accounts"], each["mean_score"]) for each in trend] == [
        ("2026-11-20", 3, 60.0),
        ("2026-11-21", 4, 53.35),
    ]
    assert trend[0] == {"day": "2026-11-20", **bands(red=1, yellow=1, green=1, mean_score=60.0)}
    assert [each["day"] for each in get(api, HEALTH, days=1)["trend"]] == ["2026-11-21"]


def test_health_as_csv_by_part(api: Api, healthy: House) -> None:
    segments = rows(api, HEALTH)
    assert [(row["dimension"], row["segment"], row["accounts"]) for row in segments[:4]] == [
        ("", "", "5"),
        ("size", "enterprise", "2"),
        ("size", "smb", "2"),
        ("size", "", "1"),
    ]
    assert [row["day"] for row in rows(api, HEALTH, table="trend")] == ["2026-11-20", "2026-11-21"]
    assert sum(int(row["accounts"]) for row in rows(api, HEALTH, table="distribution")) == 3


def test_of_an_empty_house_there_is_nothing_to_tell(api: Api) -> None:
    answer = get(api, HEALTH)
    assert answer["bands"] == bands(mean_score=None)
    assert (answer["trend"], answer["coverage"]["mean"]) == ([], None)
    week = get(api, OPERATIONS)
    assert week["review"] == {"accounts": 0, "alerts": 0, "data": []}


# --- operations


def listed(api: Api, name: str, **parameters: Any) -> list[str]:
    found = get(api, OPERATIONS, **parameters)[name]
    return [each["account_id"] for each in found["data"]]


def test_newly_red_is_red_since_this_week(api: Api, house: House) -> None:
    for name, days, band in (
        ("monday", 5, "red"),
        ("sunday", 6, "red"),
        ("today", 0, "red"),
        ("better", 2, "green"),
    ):
        close(house, {house.add_account(name, renewal_day=TODAY + days): band}, days_in_band=days)
    close(house, {house.add_account("gone", lifecycle="churned"): "red"})
    answer = get(api, OPERATIONS)
    assert (answer["week"], answer["monday"], answer["as_of"]) == ("2026-W47", "2026-11-16", "2026-11-21")
    assert answer["bands"] == bands(red=3, green=1, mean_score=50.0)
    assert [(each["account_id"], each["since"]) for each in answer["newly_red"]["data"]] == [
        ("today", "2026-11-21"),
        ("monday", "2026-11-16"),
    ]


def rated(account: str, day: str, rating: str) -> dict[str, Any]:
    return {
        "id": f"{account}-{day}",
        "type": "sentiment.rated",
        "account_id": account,
        "occurred_at": f"{day}T09:00:00Z",
        "data": {"rating": rating},
    }


def test_red_and_overdue_ratings_whatever_the_rules_say(api: Api, house: House) -> None:
    touch = {"id": "t", "type": "touchpoint.logged", "occurred_at": "2026-11-21T12:00:00Z", "data": {}}
    size = {"type": "account.updated", "occurred_at": "2026-11-01T00:00:00Z", "data": {"size": "enterprise"}}
    left = {
        "type": "account.updated",
        "occurred_at": "2026-11-02T00:00:00Z",
        "data": {"lifecycle": "churned"},
    }
    house.take_in([
        rated("fresh-red", "2026-11-20", "red"),
        rated("old-red", "2026-11-10", "red"),
        rated("fresh", "2026-11-14", "green"),
        rated("old", "2026-11-13", "yellow"),
        rated("large", "2026-11-20", "green"),
        {**touch, "account_id": "large"},
        {**size, "id": "s", "account_id": "large"},
        {**touch, "id": "t2", "account_id": "fresh"},
        rated("left", "2026-11-01", "red"),
        {**left, "id": "l", "account_id": "left"},
    ])  # fmt: skip
    assert listed(api, "ratings_red") == ["fresh-red", "old-red"]
    assert listed(api, "ratings_overdue") == ["large", "old", "old-red"]
    (old, *_) = [row for row in rows(api, OPERATIONS, table="ratings_overdue") if row["account_id"] == "old"]
    assert (old["since"], old["rating"], old["band"]) == ("2026-11-13", "yellow", "unknown")


def test_alerts_are_listed_by_what_their_rules_read(api: Api, house: House) -> None:
    def alert(account: str, rule: str, severity: Severity = Severity.HIGH, **more: Any) -> None:
        house.add_alert(numbers[account], account, rule, severity=severity, **more)

    numbers = {name: house.add_account(name) for name in ("seats", "logins", "upsell", "health", "done")}
    alert("seats", "seat-utilization-critical")
    alert("seats", "seats-declining", Severity.MEDIUM)
    alert("logins", "login-fade", Severity.MEDIUM)
    alert("upsell", "seats-upsell", Severity.INFO)
    alert("health", "health-red", Severity.CRITICAL)
    alert("health", "of-a-rule-that-is-gone")
    alert("done", "login-decline", status=AlertStatus.RESOLVED, resolved_at=NOW)
    assert listed(api, "utilization") == ["seats"]
    assert listed(api, "logins") == ["logins"]
    assert listed(api, "review") == ["seats", "logins", "upsell"]
    found = get(api, OPERATIONS)["utilization"]
    assert (found["accounts"], found["alerts"]) == (1, 2)
    assert [each["rule"] for each in found["data"][0]["alerts"]] == [
        "seat-utilization-critical",
        "seats-declining",
    ]


def test_the_review_begins_with_renewals_in_91_to_180_days(api: Api, house: House) -> None:
    for name, renewal, severity, mrr in (
        ("soon", 90, Severity.CRITICAL, 9),
        ("first-day", 91, Severity.MEDIUM, 1),
        ("last-day", 180, Severity.HIGH, 1),
        ("later", 181, Severity.CRITICAL, 9),
        ("rich", 91, Severity.MEDIUM, 2),
        ("never", None, Severity.CRITICAL, 9),
    ):
        day = None if renewal is None else TODAY + renewal
        no = house.add_account(name, renewal_day=day, mrr_cents=mrr)
        house.add_alert(no, name, "login-decline", severity=severity)
    order = ["last-day", "rich", "first-day", "soon", "later", "never"]
    assert listed(api, "review") == order
    assert listed(api, "review", limit=2) == order[:2]
    assert get(api, OPERATIONS, limit=2)["review"]["accounts"] == 6
    table = rows(api, OPERATIONS)
    assert [row["account_id"] for row in table] == order
    assert (table[0]["days_to_renewal"], table[0]["severity"], table[0]["rules"]) == (
        "180",
        "high",
        "login-decline",
    )


def test_what_came_of_alerts_by_rule(api: Api, house: House) -> None:
    no = house.add_account("acme")
    for number, outcome in enumerate(("saved", "saved", "churned", "false_alarm", "no_action", None)):
        alert = house.add_alert(no, "acme", f"rule-{number % 2}", episode=number + 1)
        body = {} if outcome is None else {"outcome": outcome}
        assert api.post(f"/v1/alerts/{alert.id}/resolve", json=body).status_code == 200
    told = get(api, OPERATIONS)["outcomes"]
    assert told == [
        {
            "rule": "rule-0",
            "closed": 3,
            "saved": 1,
            "churned": 1,
            "false_alarm": 0,
            "no_action": 1,
            "untold": 0,
        }
        | {"worth": pytest.approx(2 / 3)},
        {
            "rule": "rule-1",
            "closed": 3,
            "saved": 1,
            "churned": 0,
            "false_alarm": 1,
            "no_action": 0,
            "untold": 1,
        }
        | {"worth": 0.5},
    ]
    assert [row["worth"] for row in rows(api, OPERATIONS, table="outcomes")][1] == "0.5"
    assert get(api, "/v1/alerts/outcomes")["data"] == told
    house.dial.now += 91 * DAY
    assert get(api, "/v1/alerts/outcomes")["data"] == []
    assert len(get(api, "/v1/alerts/outcomes", days=92)["data"]) == 2


# --- both


@pytest.mark.parametrize("path", [HEALTH, OPERATIONS])
def test_a_wrong_question_is_refused(api: Api, path: str) -> None:
    for wrong in ({"table": "months"}, {"format": "xml"}, {"unknown": "1"}):
        assert api.get(path, params=wrong).json()["code"] == "invalid_request"
