"""Health over REST: the score of now, the band of the last close, and what every close said."""

from __future__ import annotations

from typing import Any

import pytest

from app.http.instants import instant
from consumers.days import DAY_US
from tests.api.house import NOW, TODAY, Api, House, csv_rows

PEOPLE = ("u1", "u2", "u3", "u4")


def at(day: int) -> str:
    return instant(day * DAY_US + DAY_US // 2)


def lively(account_id: str, *, since: int = 60, until: int = 1) -> list[dict[str, Any]]:
    """Everybody logs in once a day, four of ten seats, an escalation that is over, and answers."""
    told = [
        {"type": "seats.changed", "occurred_at": at(TODAY - since), "data": {"purchased": 10}},
        {"type": "escalation.opened", "occurred_at": at(TODAY - 9), "data": {"escalation_id": "1"}},
        {"type": "escalation.resolved", "occurred_at": at(TODAY - 8), "data": {"escalation_id": "1"}},
        *({"type": "survey.answered", "occurred_at": at(TODAY - 3), "data": {"kind": "nps", "score": 9}},)
        * 3,
    ]
    for day in range(TODAY - since, TODAY - until + 1):
        told += [{"type": "user.login", "user_id": user, "occurred_at": at(day)} for user in PEOPLE]
    return [
        {"id": f"{account_id}-{number}", "account_id": account_id, **each} for number, each in enumerate(told)
    ]


def hears(house: House) -> None:
    """Somebody elsewhere logs in, which shows that we hear."""
    told = {"id": f"n{house.dial.now}", "account_id": "elsewhere", "occurred_at": instant(house.dial.now)}
    house.take_in([{**told, "type": "user.login", "user_id": "somebody"}])


def close(house: House, day: int) -> None:
    """A minute after midnight; then it is again as late as it was."""
    before = house.dial.now
    house.dial.now = (day + 1) * DAY_US + 60_000_000
    hears(house)
    house.parts.evaluator.close_day(day, house.dial.now)
    house.dial.now = before


@pytest.fixture
def acme(house: House) -> None:
    house.take_in(lively("acme"))


@pytest.mark.usefixtures("acme")
def test_before_the_first_close_there_is_a_score_and_no_band(api: Api) -> None:
    health = api.get("/v1/accounts/acme/risk").json()["health"]
    assert health["band"] == "unknown"
    assert health["score"] == 84.67  # 75, 100 and 90 at 0.40, 0.20 and 0.15
    assert health["coverage"] == 0.75
    assert health["components"] == {
        "product": {"value": 75.0, "status": "ok", "weight": 0.4, "kept_closes": 0},
        "support": {"value": 100.0, "status": "ok", "weight": 0.2, "kept_closes": 0},
        "relationship": {"value": None, "status": "unknown", "weight": 0.25, "kept_closes": 0},
        "satisfaction": {"value": 90.0, "status": "ok", "weight": 0.15, "kept_closes": 0},
    }


@pytest.mark.usefixtures("acme")
def test_the_band_is_the_one_of_the_close_and_metrics_read_it(api: Api, house: House) -> None:
    close(house, TODAY - 1)
    hears(house)
    assert api.get("/v1/accounts/acme/risk").json()["health"]["band"] == "green"
    metrics = api.get("/v1/accounts/acme/metrics").json()["metrics"]
    assert metrics["health.band"]["value"] == "green"
    assert metrics["health.score"]["value"] == 84.67
    assert metrics["health.days_in_band"]["value"] == 0
    assert metrics["health.coverage"]["value"] == 0.75
    assert metrics["engagement.score"]["value"] == 75.0
    proof = metrics["health.band"]["evidence"]
    assert proof["parts"]["since_day"] == proof["parts"]["closed_day"] == proof["as_of"]


@pytest.mark.usefixtures("acme")
def test_an_input_that_disappeared_is_held_and_then_named(api: Api, house: House) -> None:
    close(house, TODAY - 1)
    for closes, status in ((0, "ok"), (1, "held")):
        house.dial.now = NOW + closes * 400 * DAY_US
        if closes:
            house.take_in([{**each, "id": f"x{each['id']}"} for each in later(lively("acme"), 400)])
            close(house, TODAY + 399)
        satisfaction = api.get("/v1/accounts/acme/risk").json()["health"]["components"]["satisfaction"]
        assert (satisfaction["value"], satisfaction["status"]) == (90.0, status)
        assert satisfaction["kept_closes"] == closes
    for day in range(TODAY + 400, TODAY + 415):
        close(house, day)
    house.dial.now = NOW + 415 * DAY_US
    # What follows is read while we are deaf, and says the same.
    satisfaction = api.get("/v1/accounts/acme/risk").json()["health"]["components"]["satisfaction"]
    assert satisfaction == {"value": None, "status": "disappeared", "weight": 0.15, "kept_closes": 16}


def later(events: list[dict[str, Any]], days: int) -> list[dict[str, Any]]:
    """The same activity that many days later, and nothing else."""
    logins = [each for each in events if each["type"] == "user.login"]
    return [{**each, "occurred_at": at(TODAY - 60 + place // 4 + days)} for place, each in enumerate(logins)]


@pytest.mark.usefixtures("acme")
def test_while_we_are_deaf_the_band_stands_and_nothing_else(api: Api, house: House) -> None:
    close(house, TODAY - 1)  # and nothing was heard since
    health = api.get("/v1/accounts/acme/risk").json()["health"]
    assert (health["score"], health["band"]) == (None, "green")
    assert health["components"]["product"]["status"] == "held"
    metrics = api.get("/v1/accounts/acme/metrics").json()["metrics"]
    assert metrics["health.band"]["status"] == metrics["health.score"]["status"] == "stale_source"


@pytest.mark.usefixtures("acme")
def test_every_close_is_a_day_of_the_history(api: Api, house: House) -> None:
    for day in (TODAY - 3, TODAY - 2, TODAY - 1):
        close(house, day)
    answer = api.get("/v1/accounts/acme/health")
    assert answer.status_code == 200
    told = answer.json()
    assert (told["account_id"], told["since"], told["until"]) == ("acme", "2026-08-24", "2026-11-21")
    assert [each["day"] for each in told["days"]] == ["2026-11-19", "2026-11-20", "2026-11-21"]
    assert told["days"][-1] == {"day": "2026-11-21", "score": 84.67, "band": "green", "coverage": 0.75}
    some = api.get("/v1/accounts/acme/health?since=2026-11-20&until=2026-11-20").json()
    assert [each["day"] for each in some["days"]] == ["2026-11-20"]


@pytest.mark.usefixtures("acme")
def test_the_history_comes_as_csv_too(api: Api, house: House) -> None:
    close(house, TODAY - 1)
    (row,) = csv_rows(api.get("/v1/accounts/acme/health?format=csv"))
    closed = {"day": "2026-11-21", "score": "84.67", "band": "green", "coverage": "0.75"}
    assert row == {"account_id": "acme", **closed}


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?since=2026-11-20&until=2026-11-19", 422),
        ("?since=2020-01-01", 422),
        ("?since=1960-01-01&until=1960-01-02", 422),
        ("?since=yesterday", 422),
        ("?format=xml", 422),
        ("?days=3", 422),
        ("?since=2026-11-21", 200),
    ],
)
def test_a_span_that_makes_no_sense_is_refused(api: Api, query: str, status: int) -> None:
    assert api.get(f"/v1/accounts/acme/health{query}").status_code == status


def test_nobody_has_heard_of_this_account(api: Api) -> None:
    answer = api.get("/v1/accounts/a/b/health")
    assert (answer.status_code, answer.json()["code"]) == (404, "account_not_found")


def test_an_account_whose_id_holds_a_slash_has_a_history(api: Api, house: House) -> None:
    house.take_in(lively("eu/acme"))
    close(house, TODAY - 1)
    assert len(api.get("/v1/accounts/eu/acme/health").json()["days"]) == 1


@pytest.mark.usefixtures("acme")
def test_what_was_closed_while_we_were_deaf_is_closed_when_all_was_heard(api: Api, house: House) -> None:
    house.dial.now = NOW + DAY_US // 12
    house.parts.evaluator.close_day(TODAY - 1, house.dial.now)
    assert api.get("/v1/accounts/acme/risk").json()["health"]["band"] == "unknown"
    hears(house)
    house.parts.evaluator.evaluate_all(house.dial.now)
    assert api.get("/v1/accounts/acme/risk").json()["health"]["band"] == "green"
    [day] = api.get("/v1/accounts/acme/health").json()["days"]
    assert (day["day"], day["band"]) == ("2026-11-21", "green")


def test_a_band_that_turns_red_at_a_close_opens_an_alert_that_events_of_the_day_leave_open(
    api: Api, house: House
) -> None:
    house.take_in(lively("acme", since=90, until=31))

    def rules() -> set[str]:
        return {each["rule"] for each in api.get("/v1/alerts?account_id=acme&status=firing").json()["data"]}

    assert "health-red" not in rules()
    for number in range(2):
        escalation = {"escalation_id": f"new-{number}"}
        told = {"id": f"e{number}", "account_id": "acme", "occurred_at": at(TODAY - 1), "data": escalation}
        house.take_in([{**told, "type": "escalation.opened"}])
    close(house, TODAY - 1)
    assert api.get("/v1/accounts/acme/risk").json()["health"]["band"] == "red"
    assert "health-red" in rules()
    hears(house)
    house.take_in(
        [
            {
                "id": "t",
                "account_id": "acme",
                "type": "user.login",
                "user_id": "u1",
                "occurred_at": instant(NOW),
            }
        ]
    )
    assert "health-red" in rules()
