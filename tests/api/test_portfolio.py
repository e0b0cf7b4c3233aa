"""Outcomes over REST: what the events add up to, as JSON and as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.database.keys import KeyRing, Scope
from tests.api.house import Api, House, csv_rows

RETENTION = "/v1/portfolio/retention"
ACCOUNTS = "/v1/portfolio/retention/accounts"


def told() -> Iterator[dict[str, Any]]:
    """Five accounts, of which four paid in October 2025; today is the 22nd of November 2026."""

    def pays(account: str, day: str, mrr: str, currency: str = "USD") -> dict[str, Any]:
        return event("subscription.changed", account, day, mrr=mrr, currency=currency)

    yield from (pays("grew", "2025-01-10", "1000"), pays("grew", "2026-03-01", "1500"))
    yield from (pays("shrank", "2025-01-10", "800"), pays("shrank", "2026-05-05", "600.50"))
    yield from (pays("left", "2025-01-10", "500"), pays("left", "2026-10-12", "0"))
    yield pays("steady", "2025-01-10", "100")
    yield pays("new", "2026-02-01", "9000")
    yield pays("abroad", "2025-01-10", "70", "EUR")
    yield event("account.updated", "grew", "2025-02-01", size="enterprise", name="=HYPERLINK(1)")
    yield event("account.updated", "left", "2025-02-01", size="SMB")
    yield event("account.updated", "shrank", "2025-02-01", size="smb", tier="pro")
    for number, score in enumerate((10, 9, 3)):
        yield event("survey.answered", "grew", f"2026-10-{number + 1:02}", kind="nps", score=score)
    for number in range(3):
        yield event("survey.answered", "left", f"2026-03-{number + 1:02}", kind="nps", score=0)
    yield event("survey.answered", "left", "2026-01-01", kind="csat", score=5)
    yield from (login("free", "2025-11-01"), login("free", "2026-11-10"))
    yield from (login("gone", "2025-11-21"), login("grew", "2025-11-01"), login("grew", "2025-10-01"))
    yield login("abroad", "2025-11-01")  # pays, though not in the reporting currency


def event(kind: str, account: str, day: str, /, **data: Any) -> dict[str, Any]:
    identity = f"{kind}-{account}-{day}"
    return {
        "id": identity,
        "type": kind,
        "account_id": account,
        "occurred_at": f"{day}T12:00:00Z",
        "data": data,
    }


def login(account: str, day: str) -> dict[str, Any]:
    return {**event("user.login", account, day), "user_id": "u"}


@pytest.fixture
def portfolio(house: House, api: Api) -> Api:
    house.take_in(told())
    return api


def get(api: Api, path: str = RETENTION, **parameters: Any) -> Any:
    answer = api.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows(api: Api, path: str = RETENTION, **parameters: Any) -> list[dict[str, str]]:
    answer = api.get(path, params={"format": "csv", **parameters})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith("attachment")
    return csv_rows(answer)


def test_the_last_complete_month_and_the_year_that_ends_with_it(portfolio: Api) -> None:
    answer = get(portfolio)
    assert (answer["month"], answer["as_of"], answer["currency"]) == ("2026-10", "2026-11-21", "USD")
    assert answer["left_out"] == {"EUR": 1}
    assert answer["accounts"] == 8
    assert [each["month"] for each in answer["months"]][::11] == ["2025-11", "2026-10"]
    year = answer["months"][-1]
    assert year == {
        "month": "2026-10",
        "start": "2025-10-31",
        "end": "2026-10-31",
        "complete": True,
        "status": "ok",
        "accounts": 4,
        "retained": 3,
        "mrr_start": "2400.00",
        "expansion": "500.00",
        "contraction": "199.50",
        "churn": "500.00",
        "mrr_end": "2200.50",
        "new_accounts": 1,
        "new_mrr": "9000.00",
        "nrr": 0.916875,
        "grr": pytest.approx(1700.5 / 2400),
        "expansion_rate": pytest.approx(500 / 2400),
        "contraction_rate": 0.083125,
        "churned_mrr_rate": pytest.approx(500 / 2400),
        "logo_retention": 0.75,
        "logo_retention_low": pytest.approx(0.3006, abs=1e-4),
        "logo_retention_high": pytest.approx(0.9544, abs=1e-4),
    }
    assert answer["months"][0]["status"] == "insufficient_history"
    assert answer["months"][0]["nrr"] is None


def test_segments_as_they_were_at_the_start(portfolio: Api) -> None:
    answer = get(portfolio, segment=["size", "tier"])
    assert answer["segments"].keys() == {"size", "tier"}
    sizes = {each["segment"]: each["mrr_start"] for each in answer["segments"]["size"]}
    assert sizes == {"SMB": "500.00", "enterprise": "1000.00", "smb": "800.00", None: "100.00"}
    assert get(portfolio)["segments"].keys() == {"size", "channel", "tier", "use_case"}


def test_thirteen_months_of_churn(portfolio: Api) -> None:
    churn = get(portfolio)["churn"]
    assert len(churn) == 13
    assert churn[-1] == {
        "status": "ok",
        "month": "2026-10",
        "start": "2026-09-30",
        "end": "2026-10-31",
        "complete": True,
        "accounts": 5,
        "accounts_lost": 1,
        "logo_churn": 0.2,
        "mrr_start": "11700.50",
        "mrr_lost": "500.00",
        "mrr_churn": pytest.approx(500 / 11700.5),
    }
    assert {each["accounts_lost"] for each in churn[:-1]} == {0}


def test_the_running_month_ends_with_the_last_complete_day(portfolio: Api) -> None:
    answer = get(portfolio, at="2026-11", months=1)
    (month,) = answer["months"]
    assert (month["start"], month["end"], month["complete"]) == ("2025-11-21", "2026-11-21", False)
    assert answer["churn"][-1]["complete"] is False


def test_surveys_have_a_level_and_a_trend(portfolio: Api) -> None:
    nps = get(portfolio)["surveys"]["nps"]
    assert (nps["level"]["status"], nps["level"]["answers"]) == ("ok", 3)
    assert nps["level"]["score"] == pytest.approx(100 / 3)
    assert (nps["level"]["first"], nps["level"]["last"]) == ("2026-05-05", "2026-10-31")
    assert nps["previous"]["status"] == "insufficient_history"  # the first answer ever came in its midst
    assert nps["change"] is None
    assert [each["status"] for each in nps["months"][-3:]] == ["low_volume", "low_volume", "ok"]
    csat = get(portfolio)["surveys"]["csat"]
    assert csat["level"] == {
        **nps["level"],
        "status": "low_volume",
        "answers": 0,
        "positive": 0,
        "negative": 0,
        "score": None,
    }


def test_who_never_paid_is_retained_by_coming_back(portfolio: Api) -> None:
    freemium = get(portfolio)["freemium"]
    assert (freemium["start_first"], freemium["start_last"]) == ("2025-10-23", "2025-11-21")
    assert (freemium["end_first"], freemium["end_last"]) == ("2026-10-23", "2026-11-21")
    assert (freemium["status"], freemium["accounts"], freemium["retained"]) == ("ok", 2, 1)
    assert freemium["logo_retention"] == 0.5
    assert get(portfolio, at="2026-11")["freemium"] == freemium
    assert get(portfolio, at="2026-09")["freemium"] is None


def test_against_companies_of_the_same_stage(portfolio: Api) -> None:
    assert get(portfolio)["benchmark"] is None
    benchmark = get(portfolio, stage="series_a")["benchmark"]
    assert (benchmark["level"], benchmark["warning_below"]) == ("below_average", 0.9)
    assert get(portfolio, stage="series_b")["benchmark"]["level"] == "warning"
    targets = {(each["rate"], each["size"]): (each["value"], each["met"]) for each in benchmark["targets"]}
    assert targets["expansion_rate", None] == (pytest.approx(500 / 2400), True)
    assert targets["contraction_rate", None] == (0.083125, False)
    assert targets["grr", "smb"] == (pytest.approx(600.5 / 1300), False)  # SMB and smb are one size
    assert targets["grr", "enterprise"] == (1.0, True)


def test_in_another_currency(portfolio: Api) -> None:
    answer = get(portfolio, currency="EUR")
    assert (answer["currency"], answer["left_out"]) == ("EUR", {"USD": 5})
    assert answer["months"][-1]["mrr_start"] == "70.00"


def test_every_part_as_csv(portfolio: Api) -> None:
    months = rows(portfolio)
    assert len(months) == 12
    assert (months[-1]["month"], months[-1]["nrr"], months[-1]["mrr_end"]) == (
        "2026-10",
        "0.916875",
        "2200.50",
    )
    assert (months[0]["status"], months[0]["nrr"], months[0]["complete"]) == (
        "insufficient_history",
        "",
        "true",
    )
    segments = rows(portfolio, table="segments", segment="size")
    assert [(row["dimension"], row["segment"], row["churn"]) for row in segments] == [
        ("size", "SMB", "500.00"),
        ("size", "enterprise", "0.00"),
        ("size", "smb", "0.00"),
        ("size", "", "0.00"),
    ]
    assert [row["accounts_lost"] for row in rows(portfolio, table="churn")][-2:] == ["0", "1"]
    surveys = rows(portfolio, table="surveys", months=1)
    assert [(row["survey"], row["window"], row["answers"]) for row in surveys] == [
        ("nps", "level", "3"),
        ("nps", "previous", "3"),
        ("nps", "month", "3"),
        ("csat", "level", "0"),
        ("csat", "previous", "1"),
        ("csat", "month", "0"),
    ]


def test_the_waterfall_of_each_account_adds_up(portfolio: Api) -> None:
    page = get(portfolio, ACCOUNTS, limit=2)
    assert (page["month"], page["start"], page["end"], page["currency"]) == (
        "2026-10",
        "2025-10-31",
        "2026-10-31",
        "USD",
    )
    everyone = portfolio.walk(ACCOUNTS, limit=2)
    assert [row["account_id"] for row in everyone] == ["grew", "left", "new", "shrank", "steady"]
    assert everyone[3] == {
        "account_id": "shrank",
        "name": None,
        "size": "smb",
        "channel": None,
        "tier": "pro",
        "use_case": None,
        "mrr_start": "800.00",
        "expansion": "0.00",
        "contraction": "199.50",
        "churn": "0.00",
        "new": "0.00",
        "mrr_end": "600.50",
    }
    listed = rows(portfolio, ACCOUNTS)
    assert [row["account_id"] for row in listed] == [row["account_id"] for row in everyone]
    assert sum(round(float(row["mrr_end"]) * 100) for row in listed) == 1_120_050


def test_a_year_that_was_not_seen_whole_says_so_by_account_too(portfolio: Api) -> None:
    page, year = get(portfolio, ACCOUNTS, at="2025-06"), get(portfolio, at="2025-06")["months"][-1]
    assert (page["status"], year["status"]) == ("insufficient_history", "insufficient_history")
    assert {row["status"] for row in rows(portfolio, ACCOUNTS, at="2025-06")} == {"insufficient_history"}
    assert (get(portfolio, ACCOUNTS)["status"], rows(portfolio, ACCOUNTS)[0]["currency"]) == ("ok", "USD")


def test_a_formula_in_a_name_is_text_in_a_csv(portfolio: Api) -> None:
    assert rows(portfolio, ACCOUNTS)[0]["name"] == "'=HYPERLINK(1)"
    assert get(portfolio, ACCOUNTS)["data"][0]["name"] == "=HYPERLINK(1)"


def test_an_empty_house_knows_nothing(api: Api) -> None:
    answer = get(api)
    assert {each["status"] for each in answer["months"]} == {"unknown"}
    assert (answer["currency"], answer["accounts"], answer["freemium"]["status"]) == (None, 0, "unknown")
    assert answer["surveys"]["nps"]["level"]["status"] == "unknown"
    assert (get(api, ACCOUNTS)["status"], get(api, ACCOUNTS)["data"]) == ("unknown", [])
    assert rows(api, ACCOUNTS) == []


@pytest.mark.parametrize("path", [RETENTION, ACCOUNTS])
@pytest.mark.parametrize(
    "wrong",
    [
        {"at": "2026-13"},
        {"at": "2026-12"},
        {"at": "0000-01"},
        {"at": "now"},
        {"currency": "dollars"},
        {"format": "xls"},
    ],
)
def test_what_is_refused(api: Api, path: str, wrong: dict[str, str]) -> None:
    answer = api.get(path, params=wrong)
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_request"
    assert next(iter(wrong)) in answer.json()["detail"]


def test_a_cursor_of_another_list_is_refused(portfolio: Api) -> None:
    cursor = get(portfolio, "/v1/accounts", limit=1)["next_cursor"]
    answer = portfolio.get(ACCOUNTS, params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


def test_reading_is_a_right_of_its_own(house: House) -> None:
    api = Api(house.services(keys=KeyRing(house.database, None)), house.key(Scope.INGEST))
    assert api.get(RETENTION).status_code == 403
    assert api.get(ACCOUNTS).status_code == 403
