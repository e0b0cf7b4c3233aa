"""What a CSV says is what JSON says, field by field: of every route that answers both, and every table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from alerts.alert import AlertStatus, Severity
from app.http.retention_views import Dimension, Table
from app.http.reviews import HealthTable, OperationsTable
from consumers.ledger import SEGMENTS
from tests.api.closes import close
from tests.api.house import NOW, TODAY, Api, House, csv_rows
from tests.api.test_portfolio import told

Row = Mapping[str, Any]
RETENTION, ACCOUNTS = "/v1/portfolio/retention", "/v1/portfolio/retention/accounts"
HEALTH, OPERATIONS, QUEUE = "/v1/portfolio/health", "/v1/portfolio/operations", "/v1/interventions"
HISTORY = "/v1/accounts/i/health"
DAY = 86_400_000_000
LISTS = [table.value for table in OperationsTable if table is not OperationsTable.OUTCOMES]


@pytest.fixture
def portfolio(house: House, api: Api) -> Api:
    """Subscriptions, surveys and logins, two closes, alerts that fire with and without due dates, an outcome."""
    house.take_in(told())
    ill = [
        house.add_account(name, renewal_day=TODAY + 100, owner="ada", mrr_cents=100) for name in ("i", "j")
    ]
    close(house, {ill[0]: "yellow", ill[1]: "red"}, day=TODAY - 2)
    close(house, {ill[0]: "red", ill[1]: "red"}, lost=1)
    for no, name in zip(ill, ("i", "j"), strict=True):
        house.add_alert(no, name, "login-decline", due_at=NOW + DAY)
        house.add_alert(no, name, "seat-utilization-low", severity=Severity.MEDIUM)
        house.add_alert(no, name, "seats-upsell", severity=Severity.INFO, due_at=NOW)
    closed = house.add_alert(ill[0], "i", "health-red", status=AlertStatus.RESOLVED, resolved_at=NOW)
    body = {"outcome": "saved", "by": "ada", "note": "=signed"}
    assert api.post(f"/v1/alerts/{closed.id}/resolve", json=body).status_code == 200
    return api


def alerts(found: Sequence[Row]) -> dict[str, str]:
    due = " ".join(each["due_at"] or "none" for each in found)
    cells = {name: " ".join(each[key] for each in found) for name, key in NAMES.items()}
    return {**cells, "due_dates": due}


NAMES = {"rules": "rule", "severities": "severity", "alert_ids": "id"}


def without(row: Row, *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def retention(table: Table) -> Callable[[Row], list[Row]]:
    def rows(answer: Row) -> list[Row]:
        money = {"currency": answer["currency"]}
        match table:
            case Table.MONTHS | Table.CHURN:
                return [{**each, **money} for each in answer[table.value]]
            case Table.SEGMENTS:
                span = {name: answer["months"][-1][name] for name in ("month", "start", "end")}
                return [
                    {"dimension": dimension, **each, **span, **money}
                    for dimension, parts in answer["segments"].items()
                    for each in parts
                ]
            case Table.FREEMIUM:
                return [answer["freemium"]]
            case Table.SURVEYS:
                return [
                    {"survey": survey, "window": window, "change": change, **each}
                    for survey, found in answer["surveys"].items()
                    for window, change, each in [
                        ("level", found["change"], found["level"]),
                        ("previous", None, found["previous"]),
                        *(("month", None, each) for each in found["months"]),
                    ]
                ]
            case Table.BENCHMARK:
                told = answer["benchmark"]
                return [{**without(told, "targets"), **each} for each in told["targets"]]

    return rows


def health(table: HealthTable) -> Callable[[Row], list[Row]]:
    def rows(answer: Row) -> list[Row]:
        match table:
            case HealthTable.SEGMENTS:
                whole = {"dimension": "", "segment": None, **answer["bands"]}
                return [whole] + [
                    {"dimension": dimension, **each}
                    for dimension, parts in answer["segments"].items()
                    for each in parts
                ]
            case HealthTable.COVERAGE:
                return [{"churned": answer["churned"], **answer["coverage"]}]
            case HealthTable.DISAPPEARED:
                return [{"component": name, "accounts": of} for name, of in answer["disappeared"].items()]
            case _:
                return list(answer[table.value])

    return rows


def listed(name: str) -> Callable[[Row], list[Row]]:
    return lambda answer: [
        {
            **without(each, "alerts"),
            "severity": each["alerts"][0]["severity"] if each["alerts"] else None,
            **alerts(each["alerts"]),
        }
        for each in answer[name]["data"]
    ]


def queued(answer: Row) -> list[Row]:
    rows: list[Row] = []
    for each in answer["data"]:
        of = alerts(each["open_alerts"])
        said = each["last_outcome"] or dict.fromkeys(("outcome", "at", "by", "note"))
        rows.append(
            {
                **without(each, "last_outcome"),
                "reasons": " ".join(each["reasons"]),
                "open_alerts": of.pop("rules"),
                **of,
                "last_outcome": said["outcome"],
                **{f"last_outcome_{name}": said[name] for name in ("at", "by", "note")},
            }
        )
    return rows


def waterfall(answer: Row) -> list[Row]:
    return [{**each, **without(answer, "data", "next_cursor")} for each in answer["data"]]


CASES: list[tuple[str, dict[str, str], Callable[[Row], list[Row]]]] = [
    *((RETENTION, {"table": each.value, "stage": "series_a"}, retention(each)) for each in Table),
    (ACCOUNTS, {}, waterfall),
    *((HEALTH, {"table": each.value}, health(each)) for each in HealthTable),
    *((OPERATIONS, {"table": each}, listed(each)) for each in LISTS),
    (OPERATIONS, {"table": "outcomes"}, lambda answer: answer["outcomes"]),
    (QUEUE, {}, queued),
    (HISTORY, {}, lambda answer: [{"account_id": "i", **each} for each in answer["days"]]),
    ("/v1/alerts/outcomes", {}, lambda answer: answer["data"]),
]


def cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case str() if value.startswith(("=", "-")) and len(value) > 1:
            return f"'{value}"
        case _:
            return str(value)


def test_every_field_of_json_is_in_the_csv_and_no_other(portfolio: Api) -> None:
    empty = []
    for path, query, rows in CASES:
        answer = portfolio.get(path, params=query)
        expected = [{name: cell(value) for name, value in row.items()} for row in rows(answer.json())]
        found = csv_rows(portfolio.get(path, params={**query, "format": "csv"}))
        assert found == expected, (path, query)
        if not expected:
            empty.append(query.get("table"))
    assert empty == ["ratings_red", "ratings_overdue"]


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        (QUEUE, {"limit": 2}, "limit"),
        (QUEUE, {"cursor": "x"}, "cursor"),
        (ACCOUNTS, {"limit": 50}, "limit"),
        (ACCOUNTS, {"cursor": "x"}, "cursor"),
        (OPERATIONS, {"limit": 2}, "limit"),
        (HEALTH, {"notices": 0}, "notices"),
        (RETENTION, {"table": "benchmark"}, "stage"),
    ],
)
def test_a_csv_of_which_less_is_asked_is_refused(
    api: Api, path: str, query: dict[str, Any], field: str
) -> None:
    answer = api.get(path, params={**query, "format": "csv"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == f"query.{field}"


def test_segments_are_those_that_the_ledger_keeps() -> None:
    assert tuple(Dimension) == SEGMENTS
