"""An account's leading indicators: which of them are part of why a rule's condition holds."""

from __future__ import annotations

from typing import Any

from alerts.alert import Severity
from alerts.metrics.catalogue import CATALOGUE
from alerts.metrics.readings import Readings
from alerts.rules.condition import Condition
from alerts.rules.rule import Rule
from alerts.rules.title import Title
from alerts.signals import signals
from tests.unit.metric_streams import TODAY, Stream, readings_of

TEN = [f"u{number}" for number in range(10)]


def rule(condition: str, name: str = "one", severity: Severity = Severity.MEDIUM) -> Rule:
    when = Condition.parse(condition, CATALOGUE)
    return Rule(name, when, Title.parse("by hand", CATALOGUE), severity=severity)


def account() -> Readings:
    """Ten seats, three of them in use; no renewal date, and nobody who is a champion."""
    stream = Stream().add("seats.changed", "a", TODAY - 200, purchased=10).active("a", TEN[:3], [TODAY])
    stream.add("subscription.changed", "a", TODAY - 200, mrr="100", currency="EUR")
    return readings_of(stream.active("a", ["u1"], [TODAY - 199]).lines, as_of=TODAY)


def told(*rules: Rule) -> dict[str, dict[str, Any]]:
    return {each["metric"]: each for each in signals(account(), 0, rules)}


def test_what_is_part_of_why_a_condition_holds_is_breached() -> None:
    seats = told(rule("seats.utilization < 0.6 and seats.purchased >= 5"))
    assert [(name, each["breached"]) for name, each in seats.items()] == [
        ("seats.utilization", True),
        ("seats.purchased", True),
    ]
    assert seats["seats.utilization"]["gap"] == -0.3


def test_nothing_is_breached_while_the_condition_does_not_hold() -> None:
    assert not told(rule("seats.utilization < 0.6 and seats.purchased >= 50"))["seats.utilization"][
        "breached"
    ]


def test_the_side_of_an_or_that_does_not_hold_is_not_breached() -> None:
    found = told(rule("seats.utilization < 0.6 or seats.purchased >= 50"))
    assert (found["seats.utilization"]["breached"], found["seats.purchased"]["breached"]) == (True, False)


def test_a_value_that_does_not_exist_is_not_breached_though_its_clause_holds() -> None:
    found = told(rule("seats.utilization < 0.6 and not renewal.days_to < 30"))
    assert found["seats.utilization"]["breached"]
    assert (found["renewal.days_to"]["status"], found["renewal.days_to"]["breached"]) == (
        "not_applicable",
        False,
    )


def test_a_clause_under_a_not_is_breached_as_it_reads() -> None:
    found = told(rule("not seats.utilization >= 0.6"))
    assert (found["seats.utilization"]["breached"], found["seats.utilization"]["threshold"]) == (True, 0.6)


def test_the_threshold_is_of_the_severest_rule_that_the_metric_breaches() -> None:
    rules = (
        rule("seats.utilization < 0.6", "low"),
        rule("seats.utilization < 0.4", "lower", Severity.HIGH),
        rule("seats.utilization < 0.2", "lowest", Severity.CRITICAL),
    )
    [found] = told(*rules).values()
    assert (found["threshold"], found["rules"]) == (0.4, ["low", "lower", "lowest"])


def test_what_clears_a_signal_clears_it_of_every_rule_that_it_breaches() -> None:
    low, lower = rule("seats.utilization < 0.6", "low"), rule("seats.utilization < 0.4", "x", Severity.HIGH)
    [found] = told(low, lower).values()
    assert (found["threshold"], found["clears"]) == (
        0.4,
        {"text": "3 more active seats", "by": 3, "unit": "active seats"},
    )
    alone = told(rule("seats.utilization < 0.6 and seats.purchased >= 50", "low"), lower)
    assert alone["seats.utilization"]["clears"]["by"] == 1, "the other rule does not hold anyway"


def test_what_clears_a_signal_says_nothing_of_other_metrics_of_the_rule() -> None:
    both = rule("seats.purchased >= 5 and seats.purchased < 20 and not seats.utilization >= 0.6")
    found = told(both, rule("seats.utilization < 0.4 or seats.purchased >= 8", "either"))
    assert found["seats.utilization"]["clears"]["text"] == "3 more active seats"
    assert found["seats.purchased"]["clears"]["text"] == "6 fewer seats bought"


def test_evidence_names_the_versions_of_the_rules_that_read_the_metric() -> None:
    low, other = rule("seats.utilization < 0.6", "low"), rule("seats.purchased >= 50", "big")
    found = told(low, other)
    assert found["seats.utilization"]["evidence"]["rules"] == {"low": low.version}
    assert found["seats.purchased"]["evidence"]["rules"] == {"big": other.version}
