"""The directory: filters, orders, pages that stay put, and one account with everything about it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.metrics.catalogue import CATALOGUE
from app.database import accounts
from app.database.accounts import Filter, Sort
from app.http.accounts import Risk
from app.http.instants import instant
from consumers.days import DAY_US
from tests.api.house import NOW, TODAY, Api, House

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
LEVELS = ["critical", "high", "medium", "low", "unknown"]


@pytest.fixture
def portfolio(house: House) -> None:
    for number in range(25):
        house.add_account(
            f"acc-{number:02}",
            name=None if number % 7 == 0 else f"Customer {25 - number}",
            owner=["ada", "grace", None][number % 3],
            owner_email=f"{['ada', 'grace', 'x'][number % 3]}@ourcompany.example",
            risk_level=LEVELS[number % 5],
            renewal_day=None if number % 4 == 0 else TODAY + number - 5,
            mrr_cents=None if number % 5 == 0 else 100_00 * (number % 6),
        )


@pytest.mark.usefixtures("portfolio")
@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize("limit", [1, 7, 25, 200])
def test_pages_together_are_the_whole_list_in_order(api: Api, house: House, sort: Sort, limit: int) -> None:
    ids = [row["account_id"] for row in api.walk("/v1/accounts", sort=sort.value, limit=limit)]
    assert sorted(ids) == [f"acc-{number:02}" for number in range(25)]
    with house.database.read() as connection:
        rows = accounts.page(connection, Filter(), sort=sort, limit=100)
    assert ids == [row.account_id for row in rows]
    places: list[Any] = [(row.sort_value, row.account_id) for row in rows]
    assert places == sorted(places, reverse=sort.down)


@pytest.mark.usefixtures("portfolio")
def test_what_has_no_value_comes_last_or_lowest(api: Api) -> None:
    renewals = [row["renewal_date"] for row in api.walk("/v1/accounts", sort="renewal_date")]
    assert None not in renewals[:18]
    assert renewals[:18] == sorted(renewals[:18])
    assert set(renewals[18:]) == {None}
    assert api.get("/v1/accounts?sort=-risk_level").json()["data"][0]["risk_level"] == "critical"
    assert api.get("/v1/accounts?sort=-renewal_date").json()["data"][0]["renewal_date"] == "2026-12-10"
    assert api.get("/v1/accounts?sort=-mrr").json()["data"][0]["mrr"] == "500.00"


@pytest.mark.usefixtures("portfolio")
def test_an_account_that_appears_meanwhile_shifts_no_page(api: Api, house: House) -> None:
    first = api.get("/v1/accounts?limit=10").json()
    house.add_account("aaa-first")
    house.add_account("zzz-last")
    rest = [first["next_cursor"]]
    ids = [row["account_id"] for row in first["data"]]
    while rest[-1]:
        page = api.get("/v1/accounts", params={"limit": 10, "cursor": rest[-1]}).json()
        ids += [row["account_id"] for row in page["data"]]
        rest.append(page["next_cursor"])
    assert ids == [f"acc-{number:02}" for number in range(25)] + ["zzz-last"]


@pytest.mark.usefixtures("portfolio")
@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ({"owner": "ada"}, lambda row: row["owner"] == "ada"),
        ({"owner": "grace@ourcompany.example"}, lambda row: row["owner"] == "grace"),
        ({"risk_level": ["high", "critical"]}, lambda row: row["risk_level"] in {"high", "critical"}),
        ({"renewing_within": 10}, lambda row: "2026-11-22" <= (row["renewal_date"] or "") <= "2026-12-02"),
        ({"renewing_within": 0}, lambda row: row["renewal_date"] == "2026-11-22"),
        ({"q": "CUSTOMER 1"}, lambda row: (row["name"] or "").startswith("Customer 1")),
        ({"q": "ACC-0"}, lambda row: row["account_id"].startswith("acc-0")),
        ({"band": "unknown"}, lambda _row: True),
        ({"band": ["green", "unknown"], "owner": "ada"}, lambda row: row["owner"] == "ada"),
        ({"band": ["green", "yellow", "red"]}, lambda _row: False),
        ({"q": "%"}, lambda _row: False),
        ({"q": "_"}, lambda _row: False),
        ({"q": "'; DROP TABLE account; --"}, lambda _row: False),
    ],
)
def test_a_filter_keeps_what_it_says(api: Api, query: dict[str, Any], matches: Any) -> None:
    everything = api.walk("/v1/accounts")
    wanted = [row["account_id"] for row in everything if matches(row)]
    assert [row["account_id"] for row in api.walk("/v1/accounts", limit=4, **query)] == wanted


@given(
    names=st.lists(st.text(LETTERS, max_size=70), max_size=12),
    limit=st.integers(1, 5),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_in_any_script_page_without_loss(house: House, names: list[str], limit: int) -> None:
    with house.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM account")
    for number, name in enumerate(names):
        house.add_account(f"a{number}", name=name)
    rows = Api(house.services()).walk("/v1/accounts", sort="name", limit=limit)
    assert sorted(row["account_id"] for row in rows) == sorted(f"a{number}" for number in range(len(names)))


def test_an_account_shows_dates_money_and_instants_as_text(api: Api, house: House) -> None:
    house.add_account(
        "acme",
        name="<b>Acme</b>",
        mrr_cents=123_456,
        currency="EUR",
        renewal_day=TODAY,
        first_day=0,
        evaluated_at=NOW,
    )
    row = api.get("/v1/accounts/acme").json()
    assert row["name"] == "<b>Acme</b>"
    assert (row["mrr"], row["currency"], row["renewal_date"]) == ("1234.56", "EUR", "2026-11-22")
    assert (row["first_activity_on"], row["evaluated_at"]) == ("1970-01-01", "2026-11-22T10:00:00Z")
    assert (row["risk_level"], row["open_alerts"]) == ("unknown", 0)


@pytest.mark.parametrize(
    "account_id", ["acme/emea", "a b", "ü", "100%", "a?b#c", "..acme", "a/risk/b", "x" * 128]
)
def test_an_account_id_may_hold_anything_an_address_can_escape(
    api: Api, house: House, account_id: str
) -> None:
    house.take_in([login("e1", account_id, NOW - DAY_US)])
    escaped = quote(account_id, safe="")
    assert api.get(f"/v1/accounts/{escaped}").json()["account_id"] == account_id
    assert api.get(f"/v1/accounts/{escaped}/risk").json()["account_id"] == account_id
    assert api.get(f"/v1/accounts/{escaped}/timeline").json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize("what", ["", "/risk", "/metrics", "/timeline"])
def test_an_unknown_account_is_not_found(api: Api, what: str) -> None:
    answer = api.get(f"/v1/accounts/nobody{what}")
    assert (answer.status_code, answer.json()["code"]) == (404, "account_not_found")
    assert answer.json()["detail"] == "there is no account 'nobody'"


def test_the_timeline_tells_every_move_newest_first(api: Api, house: House) -> None:
    no = house.add_account("acme")
    first = house.add_alert(no, "acme", "gone-dark")
    house.add_alert(no, "acme", "login-decline", at=NOW + 1_000_000)
    api.post(f"/v1/alerts/{first.id}/acknowledge", json={"by": "ada"})
    rows = api.walk("/v1/accounts/acme/timeline", limit=1)
    assert sorted((row["rule"], row["kind"], row["actor"]) for row in rows) == [
        ("gone-dark", "alert.acknowledged", "ada"),
        ("gone-dark", "alert.firing", ""),
        ("login-decline", "alert.firing", ""),
    ]
    assert [row["at"] for row in rows] == sorted((row["at"] for row in rows), reverse=True)


def test_the_risk_of_an_account_says_why_with_numbers(api: Api, house: House) -> None:
    house.take_in(fading("acme"))
    answer = api.get("/v1/accounts/acme/risk")
    assert answer.text == Risk.model_validate_json(answer.content).model_dump_json()  # as described
    risk = answer.json()
    assert set(risk) == {
        "account_id", "as_of", "evaluated_at", "risk_level", "health", "signals", "open_alerts", "renewal_date", "mrr"
    }  # fmt: skip
    assert (risk["account_id"], risk["as_of"], risk["evaluated_at"]) == (
        "acme",
        "2026-11-21",
        "2026-11-22T10:00:00Z",
    )
    assert (risk["risk_level"], risk["renewal_date"], risk["mrr"]) == ("high", "2027-06-30", "1200.00")
    health = risk["health"]
    assert (health["score"], health["band"], health["coverage"]) == (None, "unknown", 0.4)
    assert {name: part["status"] for name, part in health["components"].items()} == {
        "product": "ok",
        "support": "unknown",
        "relationship": "unknown",
        "satisfaction": "unknown",
    }
    [decline] = [signal for signal in risk["signals"] if signal["metric"] == "logins.change_28d"]
    assert (decline["value"], decline["status"], decline["breached"]) == (-0.5, "ok", True)
    assert (decline["threshold"], decline["rules"]) == (-0.2, ["login-decline"])
    assert decline["evidence"]
    assert "login-decline" in [alert["rule"] for alert in risk["open_alerts"]]


def test_accounts_that_are_asked_for_together_get_what_each_gets_alone(house: House) -> None:
    house.take_in([*fading("zeta"), *fading("acme")])
    house.add_account("silent")
    reader = house.parts.reader
    names = ["zeta", "nobody", "silent", "acme"]
    told = reader.risks([*names, "zeta"])
    assert told == {name: alone for name in names for alone in reader.risks([name]).values()}
    assert {name: bool(each["open_alerts"]) for name, each in told.items()} == {"zeta": True, "acme": True}


def test_every_metric_of_an_account_has_a_value_a_status_and_evidence(api: Api, house: House) -> None:
    house.take_in(fading("acme"))
    answer = api.get("/v1/accounts/acme/metrics").json()
    assert (answer["account_id"], answer["as_of"]) == ("acme", "2026-11-21")
    assert set(answer["metrics"]) == set(CATALOGUE)
    assert answer["metrics"]["logins.change_28d"]["value"] == -0.5
    for name, metric in answer["metrics"].items():
        assert (metric["value"] is None) == (metric["status"] != "ok"), name


def login(event_id: str, account_id: str, at: int, user_id: str = "u1") -> dict[str, Any]:
    return {
        "id": event_id,
        "type": "user.login",
        "account_id": account_id,
        "user_id": user_id,
        "occurred_at": instant(at),
    }


def fading(account_id: str) -> list[dict[str, Any]]:
    """Two logins a day for four weeks, then one a day for four more; a contract worth 1,200 a month until next June."""
    days = [(age, number) for age in range(1, 57) for number in range(2 if age > 28 else 1)]
    events = [
        login(f"{account_id}-{age}-{number}", account_id, NOW - age * DAY_US, f"u{number}")
        for age, number in days
    ]
    # Seen a day earlier than the windows begin, so that there is history enough.
    events.append(login(f"{account_id}-first", account_id, NOW - 60 * DAY_US))
    common = {"account_id": account_id, "occurred_at": instant(NOW - 60 * DAY_US)}
    worth = {"mrr": "1200.00", "currency": "EUR", "renewal_date": "2027-06-30"}
    events.append({**common, "id": f"{account_id}-mrr", "type": "subscription.changed", "data": worth})
    return events


def test_evidence_names_what_was_given_up_who_pays_what_is_open_and_what_is_gone(
    api: Api, house: House
) -> None:
    def event(number: int, type_: str, age: int, **more: Any) -> dict[str, Any]:
        at = instant(NOW - age * DAY_US)
        return {"id": f"n{number}", "type": type_, "account_id": "acme", "occurred_at": at, **more}

    uses = [
        event(number, "feature.used", age, user_id=user, data={"feature": feature})
        for number, (age, user, feature) in enumerate(
            [(70, "u1", "reports"), (40, "u1", "reports"), (40, "u2", "reports"), (1, "u1", "boards")]
        )
    ]
    facts: list[tuple[str, int, dict[str, Any]]] = [
        ("account.updated", 80, {"core_features": ["reports", "boards"]}),
        ("contact.updated", 60, {"contact_id": "c7", "user_id": "u9", "roles": ["economic_buyer"]}),
        ("escalation.opened", 9, {"escalation_id": "esc-1"}),
        ("escalation.opened", 8, {"escalation_id": "esc-2"}),
        ("escalation.resolved", 7, {"escalation_id": "esc-2"}),
        ("integration.disconnected", 50, {"integration": "long gone"}),
        ("integration.disconnected", 5, {"integration": "crm"}),
    ]
    house.take_in(
        uses + [event(10 + number, kind, age, data=data) for number, (kind, age, data) in enumerate(facts)]
    )
    metrics = api.get("/v1/accounts/acme/metrics").json()["metrics"]

    def details(name: str) -> Any:
        return metrics[name]["evidence"]["details"]

    def day(age: int) -> str:
        return instant(NOW - age * DAY_US)[:10]

    assert metrics["features.abandoned_count"]["value"] == 1
    assert details("features.abandoned_count") == {"abandoned": ["reports"]}
    assert details("sponsor.days_since_login") == {
        "contacts": [{"contact_id": "c7", "user_id": "u9", "since": day(60)}]
    }
    assert details("escalations.open") == {"open": [{"escalation_id": "esc-1", "opened": day(9)}]}
    assert metrics["integrations.lost"]["value"] == 1
    assert details("integrations.lost") == {"lost": [{"integration": "crm", "lost": day(5)}]}


def test_an_alert_keeps_who_left_what_was_given_up_and_how_fresh_that_was(api: Api, house: House) -> None:
    def event(number: int, type_: str, age: int, **more: Any) -> dict[str, Any]:
        at = instant(NOW - age * DAY_US)
        return {"id": f"n{number}", "type": type_, "account_id": "acme", "occurred_at": at, **more}

    contact = {"contact_id": "c1", "user_id": "u1", "name": "Ada", "roles": ["champion"]}
    left = {"kind": "left_company", "previous_user_id": "u1", "effective_at": "2026-12-31"}
    uses = [(70, "u1", "reports"), (40, "u1", "reports"), (40, "u2", "reports"), (1, "u1", "boards")]
    house.take_in(
        [
            event(1, "account.updated", 80, data={"core_features": ["reports", "boards"]}),
            event(2, "contact.updated", 60, data=contact),
            event(3, "champion.changed", 2, data=left),
            *(
                event(10 + number, "feature.used", age, user_id=user, data={"feature": feature})
                for number, (age, user, feature) in enumerate(uses)
            ),
        ]
    )
    alerts = {each["rule"]: each["id"] for each in api.get("/v1/alerts").json()["data"]}

    def proof(rule: str, metric: str) -> Any:
        return api.get(f"/v1/alerts/{alerts[rule]}").json()["evidence"]["metrics"][metric]

    given_up = proof("feature-abandoned", "features.abandoned_count")
    assert (given_up["value"], given_up["details"]) == (1, {"abandoned": ["reports"]})
    assert given_up["inputs"]["features"]["newest_at"] == instant(NOW - DAY_US)
    departed = proof("champion-departed", "champion.departed")["details"]
    assert departed["people"] == [{"contact_id": "c1", "user_id": "u1", "name": "Ada", "status": "departed"}]
    assert departed["effective_at"] == "2026-12-31"


def test_evidence_names_the_champions_the_seats_and_the_versions_of_the_rules(api: Api, house: House) -> None:
    common = {"account_id": "acme", "occurred_at": instant(NOW - DAY_US)}
    contact = {"contact_id": "c1", "user_id": "u1", "name": "Ada", "roles": ["champion"]}
    left = {"kind": "left_company", "previous_user_id": "u1", "effective_at": "2026-12-31"}
    house.take_in(
        [
            {**common, "id": "1", "type": "contact.updated", "data": contact},
            {**common, "id": "2", "type": "champion.changed", "data": left},
            {**common, "id": "3", "type": "seats.changed", "data": {"purchased": 25}},
        ]
    )
    people = [{"contact_id": "c1", "user_id": "u1", "name": "Ada", "status": "departed"}]
    metrics = api.get("/v1/accounts/acme/metrics").json()["metrics"]
    for name in ("champion.departed", "champion.status", "champion.days_since_change"):
        told = metrics[name]["evidence"]["details"]
        assert told == {"people": people, "effective_at": "2026-12-31"}
    assert metrics["seats.purchased"]["evidence"]["details"] == {"purchased": {"default": 25}}
    assert "details" not in metrics["logins.change_28d"]["evidence"]

    signals = {each["metric"]: each for each in api.get("/v1/accounts/acme/risk").json()["signals"]}
    departed = signals["champion.departed"]
    assert (departed["breached"], departed["rules"]) == (True, ["champion-departed"])
    rule = house.configuration.rule("champion-departed")
    assert rule is not None
    assert departed["evidence"]["rules"] == {"champion-departed": rule.version}
    assert departed["evidence"]["rules"] == metrics["champion.departed"]["evidence"]["rules"]
    assert departed["evidence"]["details"]["effective_at"] == "2026-12-31"
