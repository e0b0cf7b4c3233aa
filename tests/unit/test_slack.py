"""The Slack card: what it says, that it stays within Slack's limits, and that customers' text stays text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery import ErrorKind, Outcome, address
from alerts.slack import SlackChannel, alert_card, says_ok, summary_card
from alerts.values import Kind

DATA: dict[str, Any] = {
    "id": "al_1",
    "rule": "login-decline",
    "account": {
        "id": "acme",
        "name": "Acme",
        "owner": "ana",
        "renewal_date": "2027-01-02",
        "renewal_in_days": 41,
        "mrr": "1200.00",
    },
    "severity": "high",
    "status": "firing",
    "title": "Logins fell 31% in four weeks",
    "reason": "condition_true",
    "fired_at": "2026-11-22T10:00:00Z",
    "resolved_at": None,
    "due_at": "2026-11-29T10:00:00Z",
    "playbook": {"action": "Call the champion", "due": "7d"},
    "evidence": {
        "conditions": [
            {"metric": "logins.change_28d", "value": -0.31, "op": "<=", "threshold": -0.2, "negated": False},
            {"metric": "seats.days_since_increase", "value": None, "op": "<", "threshold": 30, "negated": True,
             "status": "not_applicable"},
        ]
    },
    "links": {"account": "https://bell.example/v1/accounts/acme/risk", "alert": "https://bell.example/v1/alerts/al_1"},
}  # fmt: skip
KINDS = {"logins.change_28d": Kind.RATIO, "seats.days_since_increase": Kind.DAYS}


def texts(card: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every text object of a card."""
    for block in card["blocks"]:
        yield from block.get("fields", [])
        yield from block.get("elements", [])
        if "text" in block:
            yield block["text"]


def said(card: dict[str, Any]) -> str:
    return "\n".join(each["text"] for each in texts(card))


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def assert_within_limits(card: dict[str, Any]) -> None:
    assert 1 <= len(card["blocks"]) <= 50
    total = units(card["text"])
    for block in card["blocks"]:
        assert len(block.get("fields", [])) <= 10
        assert len(block.get("elements", [])) <= 10
        assert all(units(each["text"]) <= 2_000 for each in block.get("fields", []))
        if block["type"] == "header":
            assert units(block["text"]["text"]) <= 150
    for each in texts(card):
        assert 1 <= units(each["text"]) <= 3_000
        total += units(each["text"])
    assert total <= 12_000
    assert card["text"]
    json.dumps(card).encode("ascii")


def test_the_card_says_what_how_much_since_when_whose_and_what_to_do() -> None:
    card = alert_card(DATA, environment="staging", kinds=KINDS)
    assert card["blocks"][0]["text"]["text"] == "[staging] 🟠 High: Logins fell 31% in four weeks"
    assert card["text"] == "[staging] 🟠 High: Logins fell 31% in four weeks — Acme"
    fields = [each["text"] for each in card["blocks"][1]["fields"]]
    assert fields == [
        "*Account*", "Acme", "*Owner*", "ana", "*Renewal*", "2027-01-02 (41 days)", "*Since*", "2026-11-22 10:00 UTC"
    ]  # fmt: skip
    assert "logins.change_28d is -31%   (threshold: ≤ -20%)" in said(card)
    assert "seats.days_since_increase is not_applicable   (threshold: not below 30 days)" in said(card)
    assert "To do (due 2026-11-29): Call the champion" in said(card)
    assert "<https://bell.example/v1/alerts/al_1|Open the alert>" in said(card)
    assert_within_limits(card)


def test_a_resolved_alert_says_when_and_why_and_asks_for_nothing() -> None:
    resolved = {
        **DATA, "status": "resolved", "reason": "condition_false", "resolved_at": "2026-11-25T08:30:00Z"
    }  # fmt: skip
    card = alert_card(resolved)
    assert card["blocks"][0]["text"]["text"].startswith("🟢 Resolved: ")
    assert "2026-11-25 08:30 UTC the condition no longer holds" in said(card)
    assert "To do" not in said(card)


def test_an_alert_that_got_worse_says_so() -> None:
    assert "it got worse" in said(alert_card({**DATA, "severity": "critical", "reason": "severity_up"}))


def test_a_renewal_is_told_with_the_days_to_it_or_since_it() -> None:
    def renewal(date: str | None, days: int | None) -> str:
        account = {**DATA["account"], "renewal_date": date, "renewal_in_days": days}
        return str(alert_card({**DATA, "account": account})["blocks"][1]["fields"][5]["text"])

    assert renewal(None, None) == "none on file"
    assert renewal("2026-11-22", 0) == "2026-11-22 (today)"
    assert renewal("2026-11-23", 1) == "2026-11-23 (1 day)"
    assert renewal("2026-11-20", -2) == "2026-11-20 (2 days ago)"


def test_the_summary_counts_and_links() -> None:
    card = summary_card(
        {
            "accounts": 120,
            "alerts": 9,
            "by_severity": {"critical": 2, "low": 7},
            "by_rule": {f"rule-{no}": 1 for no in range(14)},
            "links": {"alerts": "https://bell.example/v1/alerts"},
        },
        environment="staging",
    )
    assert card["blocks"][0]["text"]["text"] == "[staging] 9 alerts on 120 accounts from the start"
    assert "🔴 2 critical   🔵 7 low" in said(card)
    assert "…and 4 more" in said(card)
    assert "<https://bell.example/v1/alerts|Open the alerts>" in said(card)
    assert_within_limits(card)


def test_commands_links_mentions_and_emphasis_in_a_customers_name_stay_text() -> None:
    name = "<!channel> *Bold* & <https://evil.example|click> `x` @here"
    card = alert_card({**DATA, "title": name, "account": {**DATA["account"], "name": name, "owner": name}})
    shown = json.dumps(card, ensure_ascii=False)
    assert "<!channel" not in shown
    assert "<https://evil" not in shown
    assert "*Bold*" not in card["text"]
    assert "&lt;!channel&gt;" in card["text"]
    assert "&amp;" in card["text"]


def test_a_link_that_could_break_out_of_its_brackets_is_left_out() -> None:
    card = alert_card({**DATA, "links": {"alert": "https://x|y>*", "account": "javascript:alert(1)"}})
    assert "Open the" not in said(card)
    assert_within_limits(card)


customers_text = st.text(st.characters() | st.sampled_from("<>&*_~`|\n\0\u202e\ud800😀"), max_size=60)
nasty = st.one_of(customers_text, customers_text.map(lambda text: text * 60))


@given(nasty, nasty, nasty, nasty, st.lists(nasty, max_size=14), st.sampled_from(["firing", "resolved"]))
def test_no_text_breaks_a_limit_or_gets_out_of_its_quotes(
    title: str, name: str, owner: str, action: str, values: list[str], status: str
) -> None:
    data = {
        **DATA,
        "title": title,
        "status": status,
        "reason": name,
        "account": {**DATA["account"], "name": name, "owner": owner},
        "playbook": {"action": action},
        "evidence": {
            "conditions": [
                {"metric": value, "value": value, "op": "==", "threshold": [value]} for value in values
            ]
        },
    }
    card = alert_card(data, environment=owner[:64])
    assert_within_limits(card)
    # The only markup is our own: five labels and two links.
    link = r"<https://bell\.example/[^<>|]*\|Open the \w+>"
    ours = re.compile(rf"\*[A-Z][a-z]+\*|{link}   {link}")
    for each in texts(card):
        if each["type"] == "mrkdwn":
            assert ours.fullmatch(each["text"])
        else:
            assert not set("<>") & set(each["text"])
            assert each["emoji"] is False
    assert not set("<>") & set(card["text"])
    assert not re.search(r"&(?!amp;|lt;|gt;)", card["text"])
    assert not re.search(r"[*_~`](?!\u200b)|(?<!\u200b)[*_~`]", card["text"])


@given(st.dictionaries(nasty, st.integers(0, 10**9), max_size=40))
def test_no_summary_breaks_a_limit(by_rule: dict[str, int]) -> None:
    assert_within_limits(
        summary_card({"accounts": 1, "alerts": 1, "by_rule": by_rule, "by_severity": by_rule})
    )


@pytest.mark.parametrize("body", ["ok", " OK\n", '{"ok": true}'])
def test_ok_is_success(body: str) -> None:
    outcome = Outcome(1.0, status_code=200, body=body)
    assert SlackChannel("s", "https://hooks.slack.com/x").read(outcome) is outcome


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no_service",
        "okay",
        '{"ok": false, "error": "ratelimited"}',
        '{"ok": "true"}',
        "[true]",
        "[" * 100_000,
    ],
)
def test_a_200_whose_body_is_not_ok_is_a_failure(body: str) -> None:
    assert not says_ok(body)
    read = SlackChannel("s", "https://hooks.slack.com/x").read(Outcome(1.0, status_code=200, body=body))
    assert read.error is ErrorKind.NOT_OK


def test_other_answers_are_left_as_they_are() -> None:
    channel = SlackChannel("s", "https://hooks.slack.com/x")
    for outcome in (Outcome(1.0, status_code=404, body="no_service"), Outcome(1.0, error=ErrorKind.TIMEOUT)):
        assert channel.read(outcome) is outcome


def test_the_channel_posts_cards_and_summaries_as_json() -> None:
    channel = SlackChannel("s", "https://hooks.slack.com/x", environment="staging", kinds=KINDS)

    def posted(kind: str, data: dict[str, Any]) -> dict[str, Any]:
        made = address(
            ["s"],
            kind=kind,
            alert_id="al_1",
            account_id="acme",
            episode=1,
            seq=1,
            payload=json.dumps(data),
            now=0,
        )
        message = channel.compose(made[0], 0)
        assert message.headers["content-type"].startswith("application/json")
        return dict(json.loads(message.body))

    assert posted("alert.firing", DATA) == alert_card(DATA, environment="staging", kinds=KINDS)
    assert posted("alert.summary", {"accounts": 3, "alerts": 1}) == summary_card(
        {"accounts": 3, "alerts": 1}, environment="staging"
    )
    assert "hooks.slack.com" not in repr(channel)
