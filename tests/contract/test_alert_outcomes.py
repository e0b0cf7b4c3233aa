"""What came of alerts, and until when to act: kept by the store in memory and by the ones in a database."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from alerts.alert import Alert, Outcome, Reason, Severity
from alerts.announcement import Announcer
from alerts.delivery import Telling
from alerts.desk import AlertDesk, AlertOpen
from alerts.evaluation import Evaluator
from alerts.metrics.catalogue import CATALOGUE
from alerts.rulebook import Rulebook
from alerts.rules.condition import Condition
from alerts.rules.rule import Playbook, Rule
from alerts.rules.title import Title
from consumers.days import DAY_US, Calendar
from consumers.facts import Profile
from tests.contract.alert_grounds import Ground, MemoryGround, SqlGround
from tests.contract.conftest import OpenDatabase

HOUR = 3_600_000_000
DAY = 20_779
NOW = DAY * DAY_US + 10 * HOUR
UTC_DAYS = Calendar("UTC")
SHORT = Rule(
    "short-term",
    Condition.parse("account.term_months < 6", CATALOGUE),
    Title.parse("Only {account.term_months} months", CATALOGUE),
    severity=Severity.MEDIUM,
    playbook=Playbook("call", 14, or_renewal=True),
)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def ground(request: pytest.FixtureRequest, open_database: OpenDatabase) -> Ground:
    return MemoryGround() if request.param == "memory" else SqlGround(open_database(request.param))


def evaluator(ground: Ground, rule: Rule = SHORT) -> Evaluator:
    book = Rulebook((rule,), Announcer(Telling.LIVE, ("crm",)))
    return Evaluator(ground.store, lambda: book, UTC_DAYS)


def judged(ground: Ground, profile: Profile, at: int = NOW, rule: Rule = SHORT) -> None:
    ground.touch(ground.account("acme", profile))
    evaluator(ground, rule).evaluate_touched(100, at)


def firing(ground: Ground, rule: Rule = SHORT) -> Alert:
    judged(ground, Profile(term_months=12), NOW - HOUR, rule)
    judged(ground, Profile(term_months=3, renewal_day=DAY + 10), NOW, rule)
    return ground.alerts()[0]


def desk(ground: Ground, act: Callable[[AlertDesk], Alert]) -> Alert:
    with ground.store.transaction() as work:
        return act(AlertDesk(work, Announcer(Telling.LIVE, ("crm",)), UTC_DAYS))


def outcome(alert: Alert) -> tuple[Outcome | None, int | None, str | None, str | None]:
    return alert.outcome, alert.outcome_at, alert.outcome_by, alert.outcome_note


def test_an_alert_is_closed_with_what_came_of_it_and_that_is_told(ground: Ground) -> None:
    alert = firing(ground)
    desk(ground, lambda it: it.resolve(alert.id, "ana", NOW + 1, Outcome.SAVED, "they renewed"))
    assert outcome(ground.alerts()[0]) == (Outcome.SAVED, NOW + 1, "ana", "they renewed")
    said = json.loads(ground.deliveries()[-1].payload)
    assert (said["status"], said["outcome"], said["outcome_by"], said["outcome_note"]) == (
        "resolved",
        "saved",
        "ana",
        "they renewed",
    )


def test_without_a_word_on_it_there_is_no_outcome(ground: Ground) -> None:
    alert = firing(ground)
    assert outcome(desk(ground, lambda it: it.resolve(alert.id, "ana", NOW + 1))) == (None, None, None, None)


def test_the_outcome_can_be_said_later_and_the_last_word_stands_untold(ground: Ground) -> None:
    alert = firing(ground)
    judged(ground, Profile(term_months=12), NOW + HOUR)
    desk(ground, lambda it: it.feedback(alert.id, "ana", NOW + 2 * HOUR, Outcome.NO_ACTION))
    desk(ground, lambda it: it.resolve(alert.id, "ben", NOW + 3 * HOUR, Outcome.FALSE_ALARM, "a test"))
    kept = ground.alerts()[0]
    assert outcome(kept) == (Outcome.FALSE_ALARM, NOW + 3 * HOUR, "ben", "a test")
    assert (kept.reason, kept.evidence) == (Reason.CONDITION_FALSE, kept.evidence)
    assert [kind for _, _, kind in ground.history()] == ["firing", "resolved", "feedback", "feedback"]
    assert [each.kind for each in ground.deliveries()] == ["alert.firing", "alert.resolved"]


def test_the_same_outcome_twice_is_written_once(ground: Ground) -> None:
    alert = firing(ground)
    desk(ground, lambda it: it.resolve(alert.id, "ana", NOW + 1, Outcome.SAVED))
    again = desk(ground, lambda it: it.resolve(alert.id, "ben", NOW + 2, Outcome.SAVED))
    assert again.outcome_by == "ana"
    assert [kind for _, _, kind in ground.history()] == ["firing", "resolved"]


def test_nothing_can_have_come_of_an_open_alert(ground: Ground) -> None:
    alert = firing(ground)
    with pytest.raises(AlertOpen, match="is firing: resolve it with its outcome"):
        desk(ground, lambda it: it.feedback(alert.id, "ana", NOW, Outcome.SAVED))
    assert outcome(ground.alerts()[0]) == (None, None, None, None)


def test_of_an_account_that_churned_it_is_known_by_itself(ground: Ground) -> None:
    firing(ground)
    judged(ground, Profile(term_months=3, churned=1), NOW + HOUR)
    assert ground.alerts()[0].reason is Reason.CHURNED
    assert outcome(ground.alerts()[0]) == (Outcome.CHURNED, NOW + HOUR, None, None)


def test_an_alert_that_never_fired_has_no_outcome(ground: Ground) -> None:
    waits = replace(SHORT, for_us=DAY_US)
    firing(ground, waits)
    judged(ground, Profile(term_months=3, churned=1), NOW + HOUR, waits)
    assert [each.reason for each in ground.alerts()] == [Reason.CHURNED]
    assert ground.alerts()[0].outcome is None


def test_the_next_episode_begins_without_one(ground: Ground) -> None:
    alert = firing(ground)
    desk(ground, lambda it: it.resolve(alert.id, "ana", NOW + 1, Outcome.SAVED))
    judged(ground, Profile(term_months=12), NOW + HOUR)
    judged(ground, Profile(term_months=3), NOW + 2 * HOUR)
    assert [(each.episode, each.outcome) for each in ground.alerts()] == [(1, Outcome.SAVED), (2, None)]


def test_due_stays_when_the_renewal_moves_the_evidence_changes_and_the_severity_rises(ground: Ground) -> None:
    due = firing(ground).due_at
    assert due == UTC_DAYS.close_us(DAY + 10) - 1_000_000  # the renewal, before the 14 days are over
    for day, profile in enumerate(
        [Profile(term_months=2, renewal_day=DAY + 5), Profile(term_months=1, renewal_day=DAY + 400)], 1
    ):
        judged(ground, profile, NOW + day * DAY_US)
        evaluator(ground).close_day(DAY + day, NOW + (day + 1) * DAY_US)
    worse = replace(SHORT, severity=Severity.CRITICAL, playbook=Playbook("call", 1))
    judged(ground, Profile(term_months=1), NOW + 9 * DAY_US, worse)
    (alert,) = ground.alerts()
    assert (alert.severity, alert.reason, alert.due_at) == (Severity.CRITICAL, Reason.SEVERITY_UP, due)
    assert [json.loads(each.payload)["due_at"] for each in ground.deliveries()] == [
        "2026-12-02T23:59:59Z"
    ] * 2
