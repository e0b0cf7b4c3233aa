"""Every shipped rule: one reading that fires it, one that just does not, one that cannot tell, one that resolves it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from alerts.alert import Verdict
from alerts.metrics.catalogue import CATALOGUE
from alerts.rules.explain import explain
from alerts.rules.loader import default_rules
from alerts.rules.rule import render_title
from alerts.values import Status, plain
from consumers.facts import RATINGS
from tests.unit.readings_by_hand import ByHand

RULES = {rule.id: rule for rule in default_rules(CATALOGUE)}

# what ships, word by word
TABLE = {
    "login-decline": ("logins.change_28d <= -0.20", "high", "7d"),
    "login-fade": ("logins.drawdown_180d <= -0.40", "medium", "14d"),
    "gone-dark": ("activity.dormant_days >= 14 and activity.users_before >= 3", "critical", "3d"),
    "seat-utilization-low": (
        "seats.utilization < 0.60 and seats.unused >= 3 and not seats.days_since_increase < 30",
        "medium",
        "14d",
    ),
    "seat-utilization-critical": (
        "seats.utilization < 0.40 and seats.unused >= 3 and not seats.days_since_increase < 30",
        "high",
        "14d or renewal",
    ),
    "seats-declining": ("seats.utilization_change_28d <= -0.15 and seats.unused >= 3", "medium", "14d"),
    "champion-departed": ("champion.departed", "critical", "3d"),
    "champion-changed": ("champion.days_since_change <= 30", "high", "7d"),
    "champion-silent": ('champion.status == "silent"', "medium", "7d"),
    "qbr-missing": ("qbr.missing", "high", "14d"),
    "stickiness-low": ("engagement.dau_mau < 0.10", "medium", "14d"),
    "renewal-overdue": ("renewal.overdue_days >= 1", "low", "7d"),
    "seats-upsell": ("seats.utilization > 0.80 and seats.purchased >= 10", "info", "30d"),
    "sponsor-absent": ("sponsor.days_since_login >= 60", "medium", "14d"),
    "adoption-narrow": ("features.breadth <= 0.20", "medium", "14d"),
    "feature-abandoned": ("features.abandoned_count >= 1", "medium", "14d"),
    "escalation-before-renewal": ("escalations.open >= 1 and renewal.days_to <= 90", "high", "3d"),
    "sentiment-red": ('sentiment.rating == "red"', "high", "3d"),
    "sentiment-crashed": ('sentiment.rating == "red" and sentiment.previous == "green"', "critical", "1d"),
    "sentiment-overdue": ("sentiment.overdue", "info", "7d"),
    "first-value-late": ("ttfv.days > 60", "medium", "7d"),
    "integration-lost": ("integrations.lost >= 1", "low", "14d"),
    "health-red": ('health.band == "red"', "critical", "3d"),
    "health-yellow-4w": ('health.band == "yellow" and health.days_in_band >= 28', "medium", "14d"),
    "renewal-at-risk": (
        'renewal.days_to <= 90 and (health.band == "yellow" or health.band == "red")',
        "high",
        "7d",
    ),
}


def seats(used, bought, since_increase=Status.NOT_APPLICABLE):
    return {
        "seats.utilization": Fraction(used, bought),
        "seats.unused": max(bought - used, 0),
        "seats.purchased": bought,
        "seats.days_since_increase": since_increase,
    }


def lost(share, unused):
    return {"seats.utilization_change_28d": share, "seats.unused": unused}


def escalated(open_ones, days_to):
    return {"escalations.open": open_ones, "renewal.days_to": days_to}


def rated(newest, before=Status.NOT_APPLICABLE):
    return {"sentiment.rating": newest, "sentiment.previous": before}


def banded(band, days):
    return {"health.band": band, "health.days_in_band": days}


def renewing(days_to, band):
    return {"renewal.days_to": days_to, "health.band": band}


NO_SEATS = dict.fromkeys(seats(0, 1), Status.NOT_APPLICABLE)
N_A, STALE, NEW = Status.NOT_APPLICABLE, Status.STALE_SOURCE, Status.INSUFFICIENT_HISTORY
TRUE, FALSE, UNKNOWN = Verdict.TRUE, Verdict.FALSE, Verdict.UNKNOWN

# rule, what an account's metrics say, the verdict
CASES = [
    ("login-decline", {"logins.change_28d": Fraction(-20, 100)}, TRUE),
    ("login-decline", {"logins.change_28d": Fraction(-1)}, TRUE),
    ("login-decline", {"logins.change_28d": Fraction(-1999, 10000)}, FALSE),
    ("login-decline", {"logins.change_28d": Fraction(3, 10)}, FALSE),
    ("login-decline", {"logins.change_28d": Status.LOW_VOLUME}, UNKNOWN),
    ("login-decline", {"logins.change_28d": STALE}, UNKNOWN),
    ("login-fade", {"logins.drawdown_180d": Fraction(-2, 5)}, TRUE),
    ("login-fade", {"logins.drawdown_180d": Fraction(-399, 1000)}, FALSE),
    ("login-fade", {"logins.drawdown_180d": Fraction(0)}, FALSE),
    ("login-fade", {"logins.drawdown_180d": NEW}, UNKNOWN),
    ("gone-dark", {"activity.dormant_days": 14, "activity.users_before": 3}, TRUE),
    ("gone-dark", {"activity.dormant_days": 13, "activity.users_before": 3}, FALSE),
    ("gone-dark", {"activity.dormant_days": 99, "activity.users_before": 2}, FALSE),
    ("gone-dark", {"activity.dormant_days": STALE, "activity.users_before": 3}, UNKNOWN),
    ("gone-dark", {"activity.dormant_days": NEW, "activity.users_before": 2}, FALSE),
    ("gone-dark", {"activity.dormant_days": 0, "activity.users_before": 30}, FALSE),
    ("seat-utilization-low", seats(59, 100), TRUE),
    ("seat-utilization-low", seats(59, 100, since_increase=30), TRUE),
    ("seat-utilization-low", seats(59, 100, since_increase=29), FALSE),
    ("seat-utilization-low", seats(60, 100), FALSE),
    ("seat-utilization-low", seats(2, 4), FALSE),
    ("seat-utilization-low", seats(59, 100, since_increase=Status.UNKNOWN), UNKNOWN),
    ("seat-utilization-low", {**seats(0, 1), "seats.utilization": NEW, "seats.unused": NEW}, UNKNOWN),
    ("seat-utilization-low", seats(90, 100), FALSE),
    ("seat-utilization-low", NO_SEATS, FALSE),
    ("seat-utilization-critical", seats(39, 100), TRUE),
    ("seat-utilization-critical", seats(40, 100), FALSE),
    ("seat-utilization-critical", seats(1, 3), FALSE),
    (
        "seat-utilization-critical",
        {**seats(0, 1), "seats.utilization": STALE, "seats.unused": STALE},
        UNKNOWN,
    ),
    ("seat-utilization-critical", seats(70, 100), FALSE),
    ("seat-utilization-critical", NO_SEATS, FALSE),
    ("seats-declining", lost(Fraction(-15, 100), 3), TRUE),
    ("seats-declining", lost(Fraction(-14, 100), 3), FALSE),
    ("seats-declining", lost(Fraction(-50, 100), 2), FALSE),
    ("seats-declining", lost(NEW, 3), UNKNOWN),
    ("seats-declining", lost(Fraction(0), 3), FALSE),
    ("champion-departed", {"champion.departed": True}, TRUE),
    ("champion-departed", {"champion.departed": False}, FALSE),
    ("champion-departed", {"champion.departed": Status.UNKNOWN}, UNKNOWN),
    ("champion-changed", {"champion.days_since_change": 0}, TRUE),
    ("champion-changed", {"champion.days_since_change": 30}, TRUE),
    ("champion-changed", {"champion.days_since_change": 31}, FALSE),
    ("champion-changed", {"champion.days_since_change": N_A}, FALSE),
    ("champion-changed", {"champion.days_since_change": Status.UNKNOWN}, UNKNOWN),
    ("champion-silent", {"champion.status": "silent"}, TRUE),
    ("champion-silent", {"champion.status": "active"}, FALSE),
    ("champion-silent", {"champion.status": "departed"}, FALSE),
    ("champion-silent", {"champion.status": "unmapped"}, FALSE),
    ("champion-silent", {"champion.status": STALE}, UNKNOWN),
    ("qbr-missing", {"qbr.missing": True}, TRUE),
    ("qbr-missing", {"qbr.missing": False}, FALSE),
    ("qbr-missing", {"qbr.missing": N_A}, FALSE),
    ("qbr-missing", {"qbr.missing": Status.UNKNOWN}, UNKNOWN),
    ("stickiness-low", {"engagement.dau_mau": Fraction(99, 1000)}, TRUE),
    ("stickiness-low", {"engagement.dau_mau": Fraction(10, 100)}, FALSE),
    ("stickiness-low", {"engagement.dau_mau": Fraction(1, 2)}, FALSE),
    ("stickiness-low", {"engagement.dau_mau": N_A}, FALSE),
    ("stickiness-low", {"engagement.dau_mau": Status.LOW_VOLUME}, UNKNOWN),
    ("renewal-overdue", {"renewal.overdue_days": 1}, TRUE),
    ("renewal-overdue", {"renewal.overdue_days": 0}, FALSE),
    ("renewal-overdue", {"renewal.overdue_days": N_A}, FALSE),
    ("renewal-overdue", {"renewal.overdue_days": Status.UNKNOWN}, UNKNOWN),
    ("seats-upsell", seats(81, 100), TRUE),
    ("seats-upsell", seats(12, 10), TRUE),
    ("seats-upsell", seats(80, 100), FALSE),
    ("seats-upsell", seats(9, 9), FALSE),
    ("seats-upsell", {**seats(0, 10), "seats.utilization": NEW}, UNKNOWN),
    ("seats-upsell", NO_SEATS, FALSE),
    ("sponsor-absent", {"sponsor.days_since_login": 60}, TRUE),
    ("sponsor-absent", {"sponsor.days_since_login": 59}, FALSE),
    ("sponsor-absent", {"sponsor.days_since_login": 0}, FALSE),
    ("sponsor-absent", {"sponsor.days_since_login": Status.UNKNOWN}, UNKNOWN),
    ("sponsor-absent", {"sponsor.days_since_login": STALE}, UNKNOWN),
    ("adoption-narrow", {"features.breadth": Fraction(1, 5)}, TRUE),
    ("adoption-narrow", {"features.breadth": Fraction(201, 1000)}, FALSE),
    ("adoption-narrow", {"features.breadth": Fraction(4, 5)}, FALSE),
    ("adoption-narrow", {"features.breadth": N_A}, FALSE),
    ("adoption-narrow", {"features.breadth": STALE}, UNKNOWN),
    ("feature-abandoned", {"features.abandoned_count": 1}, TRUE),
    ("feature-abandoned", {"features.abandoned_count": 0}, FALSE),
    ("feature-abandoned", {"features.abandoned_count": NEW}, UNKNOWN),
    ("escalation-before-renewal", escalated(1, 90), TRUE),
    ("escalation-before-renewal", escalated(1, 0), TRUE),
    ("escalation-before-renewal", escalated(1, 91), FALSE),
    ("escalation-before-renewal", escalated(1, N_A), FALSE),
    ("escalation-before-renewal", escalated(0, 30), FALSE),
    ("escalation-before-renewal", escalated(Status.UNKNOWN, 30), UNKNOWN),
    ("sentiment-red", rated("red"), TRUE),
    ("sentiment-red", rated("yellow", "red"), FALSE),
    ("sentiment-red", rated(Status.UNKNOWN, Status.UNKNOWN), UNKNOWN),
    ("sentiment-crashed", rated("red", "green"), TRUE),
    ("sentiment-crashed", rated("red", "yellow"), FALSE),
    ("sentiment-crashed", rated("red"), FALSE),
    ("sentiment-crashed", rated("green", "green"), FALSE),
    ("sentiment-crashed", rated(Status.UNKNOWN, Status.UNKNOWN), UNKNOWN),
    ("sentiment-overdue", {"sentiment.overdue": True}, TRUE),
    ("sentiment-overdue", {"sentiment.overdue": False}, FALSE),
    ("sentiment-overdue", {"sentiment.overdue": Status.UNKNOWN}, UNKNOWN),
    ("first-value-late", {"ttfv.days": 61}, TRUE),
    ("first-value-late", {"ttfv.days": 60}, FALSE),
    ("first-value-late", {"ttfv.days": NEW}, UNKNOWN),
    ("integration-lost", {"integrations.lost": 1}, TRUE),
    ("integration-lost", {"integrations.lost": 0}, FALSE),
    ("integration-lost", {"integrations.lost": N_A}, FALSE),
    ("integration-lost", {"integrations.lost": Status.UNKNOWN}, UNKNOWN),
    ("health-red", banded("red", 1), TRUE),
    ("health-red", banded("yellow", 1), FALSE),
    ("health-red", banded(Status.UNKNOWN, Status.UNKNOWN), UNKNOWN),
    ("health-yellow-4w", banded("yellow", 28), TRUE),
    ("health-yellow-4w", banded("yellow", 27), FALSE),
    ("health-yellow-4w", banded("green", 90), FALSE),
    ("health-yellow-4w", banded(STALE, STALE), UNKNOWN),
    ("renewal-at-risk", renewing(90, "yellow"), TRUE),
    ("renewal-at-risk", renewing(0, "red"), TRUE),
    ("renewal-at-risk", renewing(91, "red"), FALSE),
    ("renewal-at-risk", renewing(30, "green"), FALSE),
    ("renewal-at-risk", renewing(N_A, "red"), FALSE),
    ("renewal-at-risk", renewing(30, Status.UNKNOWN), UNKNOWN),
]


def says(metrics, status):
    return any(value is status for value in metrics.values())  # by identity: a status is a number too


def reading(metrics):
    rated_now = metrics.get("sentiment.rating")
    code = RATINGS.index(rated_now) if isinstance(rated_now, str) else 0
    parts = {"sentiment.previous": {"rating_code": np.array([code])}}
    return ByHand({name: [value] for name, value in metrics.items()}, parts=parts)


@pytest.mark.parametrize(("rule", "metrics", "verdict"), CASES)
def test_a_shipped_rule_says_what_metrics_section_6_says(rule, metrics, verdict):
    judgement = RULES[rule].judge(reading(metrics))
    assert Verdict(int(judgement.verdict[0])) is verdict
    explanation = explain(RULES[rule], reading(metrics), 0)
    assert explanation.verdict is verdict
    assert judgement.because_not_applicable[0] == (
        verdict is FALSE and says(metrics, N_A) and not _false_anyway(rule, metrics)
    )
    assert judgement.stale[0] == (verdict is UNKNOWN and says(metrics, STALE))


def _false_anyway(rule, metrics):
    """Whether the verdict would be false too if what does not exist were merely not known."""
    softer = {name: Status.UNKNOWN if value is N_A else value for name, value in metrics.items()}
    return RULES[rule].judge(reading(softer)).verdict[0] == FALSE


def test_the_shipped_rules_are_those_of_metrics_section_6_with_their_severity_and_due():
    told = {rule.id: (rule.when.text, rule.severity.value, rule.playbook.due) for rule in RULES.values()}
    assert told == TABLE
    assert all(rule.resolve_when is None and rule.for_us == 0 and not rule.floors for rule in RULES.values())


def test_every_shipped_rule_has_cases_for_all_three_verdicts():
    for rule in RULES:
        assert {verdict for name, _, verdict in CASES if name == rule} == {TRUE, FALSE, UNKNOWN}, rule


def test_every_shipped_rule_tells_a_person_what_to_do():
    for rule in RULES.values():
        assert 40 <= len(rule.playbook.action) <= 300, rule.id
        assert rule.playbook.action.endswith("."), rule.id
        assert "\n" not in rule.playbook.action


TITLES = {
    "login-decline": ({"logins.change_28d": Fraction(-254, 1000)}, "Logins fell 25.4% in four weeks"),
    "login-fade": (
        {"logins.drawdown_180d": Fraction(-45, 100)},
        "Logins have faded 45% below their best four weeks of the last half year",
    ),
    "gone-dark": (
        {"activity.dormant_days": 16, "activity.users_before": 1200},
        "Nobody has been active for 16 days (1,200 people were before)",
    ),
    "seat-utilization-low": (seats(52, 100), "Only 52% of the seats are in use, 48 are not"),
    "seat-utilization-critical": (
        seats(1, 3) | {"seats.unused": 2},
        "Only 33.3% of the seats are in use, 2 are paid for and idle",
    ),
    "seats-declining": (
        lost(Fraction(-18, 100), 40),
        "18% of the seats went quiet in four weeks, 40 are unused",
    ),
    "champion-departed": ({}, "The champion is gone and nobody has been named to follow"),
    "champion-changed": (
        {"champion.days_since_change": 1},
        "The champion left or was replaced 1 day ago",
    ),
    "champion-silent": ({}, "The champion, once a regular, has not been active for 30 days or more"),
    "qbr-missing": (
        {"renewal.days_to": 45},
        "No business review planned or held, and the renewal is in 45 days",
    ),
    "stickiness-low": (
        {"engagement.dau_mau": Fraction(7, 100)},
        "Only 7% of the monthly users are active on a given day",
    ),
    "renewal-overdue": ({"renewal.overdue_days": 3}, "The renewal date passed 3 days ago"),
    "seats-upsell": (seats(102, 120), "85% of 120 seats are in use: room to grow"),
    "sponsor-absent": (
        {"sponsor.days_since_login": 75},
        "The executive sponsor has not been seen for 75 days",
    ),
    "adoption-narrow": ({"features.breadth": Fraction(1, 8)}, "Only 12.5% of the core features are in use"),
    "feature-abandoned": (
        {"features.abandoned_count": 2},
        "Core features in use a month ago and given up since: 2",
    ),
    "escalation-before-renewal": (escalated(2, 30), "Open escalations: 2, and the renewal is in 30 days"),
    "sentiment-red": ({}, "The CSM's rating is red"),
    "sentiment-crashed": ({}, "The CSM's rating fell from green to red"),
    "sentiment-overdue": ({"sentiment.age_days": 8}, "The CSM's rating is 8 days old"),
    "first-value-late": (
        {"ttfv.days": 61},
        "61 days in, the first value took too long or is still to come",
    ),
    "integration-lost": ({"integrations.lost": 1}, "Integrations disconnected and not replaced: 1"),
    "health-red": ({}, "Health is red"),
    "health-yellow-4w": ({"health.days_in_band": 28}, "Health has been yellow for 28 days"),
    "renewal-at-risk": (renewing(42, "yellow"), "The renewal is in 42 days and health is yellow"),
}


@pytest.mark.parametrize("rule", TITLES)
def test_a_shipped_title_reads_like_a_sentence(rule):
    metrics, sentence = TITLES[rule]
    readings = reading(metrics)
    values = {name: plain(CATALOGUE[name], readings.values(name), 0) for name in metrics}
    assert render_title(RULES[rule], values) == sentence


def test_every_shipped_title_is_tried():
    assert set(TITLES) == set(RULES)
