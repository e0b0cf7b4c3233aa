"""The evaluation as a whole, in memory: what it looks at, what it says, and to whom."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.account_rows import AccountRows
from alerts.alert import Alert, AlertStatus, Move, Reason, Severity, Verdict, alert_id, alert_key
from alerts.announcement import Announcer, Baseline, Tally
from alerts.configuration import Match, Route
from alerts.delivery import Delivery, Telling
from alerts.evaluation import Evaluator
from alerts.finding import Finding, Occasion, Subject, Terms
from alerts.lifecycle import transition
from alerts.metrics.catalogue import CATALOGUE
from alerts.rulebook import Rulebook
from alerts.rules.condition import Condition
from alerts.rules.rule import Judgement, Rule
from alerts.rules.title import Title
from alerts.store import AlertMoved, Batch
from alerts.webhook import RuleCard
from alerts.worklist import clearing, worklist
from consumers.days import DAY_US, Calendar
from consumers.facts import Profile
from tests.contract.alert_grounds import MemoryGround
from tests.contract.memory_alerts import MemoryAlertTransaction, standing_of

HOUR = 3_600_000_000
DAY = 20_779
NOW = DAY * DAY_US + 10 * HOUR


def rule(id_: str, when: str, **more: Any) -> Rule:
    title = Title.parse("{seats.purchased} seats", CATALOGUE)
    return Rule(id_, Condition.parse(when, CATALOGUE), title, **more)


FEW = rule("few-seats", "seats.purchased < 10", severity=Severity.HIGH)
SHORT = rule("short-term", "account.term_months < 6", severity=Severity.LOW)


def evaluator(ground: MemoryGround, *rules: Rule, stale: tuple[str, ...] = (), **more: Any) -> Evaluator:
    book = Rulebook(rules or (FEW,), Announcer(Telling.LIVE, ("crm", "slack"), **more))
    return Evaluator(ground.store, lambda: book, Calendar("UTC"), stale=lambda _now: stale)


@pytest.fixture
def ground() -> MemoryGround:
    ground = MemoryGround()
    ground.fed({"seats": 100})
    return ground


def judge(ground: MemoryGround, judge: Evaluator, at: int = NOW, **profile: int) -> int:
    no = ground.account("acme", Profile(**profile), owner="ana")
    ground.touch(no)
    judge.evaluate_touched(10, at)
    return no


# --- reasons, evidence, risk


def test_a_thing_that_no_longer_exists_resolves_its_alert_as_not_applicable(ground: MemoryGround) -> None:
    judge(ground, evaluator(ground), seats=5)
    judge(ground, evaluator(ground), seats=0)
    assert [each.reason for each in ground.alerts()] == [Reason.NOT_APPLICABLE]


def test_evidence_is_the_comparisons_and_the_proof_of_each_metric_in_plain_json(ground: MemoryGround) -> None:
    judge(ground, evaluator(ground), seats=5)
    evidence = json.loads(json.dumps(ground.alerts()[0].evidence))
    assert evidence["rule_version"] == FEW.version
    [comparison] = evidence["conditions"]
    assert (comparison["value"], comparison["threshold"], comparison["gap"]) == (5, 10, -5)
    assert evidence["metrics"]["seats.purchased"]["numerator"] == 5


def test_an_account_with_a_working_indicator_and_no_alert_is_low(ground: MemoryGround) -> None:
    no = judge(ground, evaluator(ground), seats=50)
    assert ground.line(no)[0] == "low"


def test_attributes_alone_indicate_nothing(ground: MemoryGround) -> None:
    no = judge(ground, evaluator(ground), term_months=12)
    assert ground.line(no)[0] == "unknown"


def test_the_worst_of_several_alerts_gives_the_risk_and_it_falls_as_they_resolve(
    ground: MemoryGround,
) -> None:
    both = evaluator(ground, FEW, SHORT)
    no = judge(ground, both, seats=5, term_months=3)
    assert ground.line(no)[0] == "high"
    judge(ground, both, seats=50, term_months=3)
    assert ground.line(no)[0] == "low"
    assert [(each.rule, each.open) for each in ground.alerts()] == [
        ("few-seats", False),
        ("short-term", True),
    ]


def test_a_rule_made_more_severe_raises_its_open_alerts_at_the_next_judgement(ground: MemoryGround) -> None:
    judge(ground, evaluator(ground), seats=50)
    no = judge(ground, evaluator(ground), seats=5)
    evaluator(ground, replace(FEW, severity=Severity.CRITICAL)).evaluate_all(NOW)
    assert ground.line(no)[0] == "critical"
    assert [each.kind for each in ground.deliveries() if each.destination == "crm"] == [
        "alert.firing",
        "alert.updated",
    ]


def test_a_transaction_that_lost_a_race_is_done_again(ground: MemoryGround) -> None:
    judge(ground, evaluator(ground), seats=50)
    lost: list[Sequence[Move]] = []

    class Unlucky(MemoryAlertTransaction):
        def apply(self, moves: Sequence[Move], deliveries: Sequence[Delivery], now: int) -> None:
            if not lost:
                lost.append(moves)
                raise AlertMoved("a rival was first")
            super().apply(moves, deliveries, now)

    ground.store.opens = Unlucky
    judge(ground, evaluator(ground), seats=5)
    assert len(lost) == 1
    assert [each.status for each in ground.alerts()] == [AlertStatus.FIRING]


# --- who hears


def test_each_destination_hears_what_is_routed_to_it_and_its_summary_counts_no_more(
    ground: MemoryGround,
) -> None:
    routes = (Route(Match(severity=frozenset({Severity.HIGH})), ("slack",)), Route(Match(), ("crm",)))
    routed = evaluator(ground, FEW, SHORT, routes=routes)
    judge(ground, routed, seats=5, term_months=3)
    found = {each.destination: json.loads(each.payload) for each in ground.deliveries()}
    assert found["slack"]["by_rule"] == {"few-seats": 1}
    assert found["crm"]["by_rule"] == {"short-term": 1}
    judge(ground, routed, seats=50, term_months=12)
    assert [
        (each.destination, each.kind) for each in ground.deliveries() if each.kind != "alert.summary"
    ] == [
        ("crm", "alert.resolved"),
        ("slack", "alert.resolved"),
    ]


def test_owners_and_labels_route_too(ground: MemoryGround) -> None:
    cards = {"few-seats": RuleCard("call", "7d", {"team": "cs"})}
    mine = Match(owner=frozenset({"ana"}), labels={"team": "cs"})
    announced: dict[str, Any] = {"routes": (Route(mine, ("slack",)),), "rules": cards}
    judge(ground, evaluator(ground, **announced), seats=50)
    judge(ground, evaluator(ground, **announced), seats=5)
    [delivery] = ground.deliveries()
    assert delivery.destination == "slack"
    assert json.loads(delivery.payload)["playbook"] == {"action": "call", "due": "7d"}


def test_a_destination_that_is_gone_gets_no_summary() -> None:
    baseline = Baseline("al_1", {"gone": Tally(1, {"high": 1}, {"few-seats": 1})})
    assert Announcer(Telling.LIVE, ("crm",)).summaries(baseline, now=NOW) == []


def test_what_is_kept_for_a_summary_reads_back_as_it_was() -> None:
    baseline = Baseline("al_1", {"crm": Tally(2, {"high": 3}, {"few-seats": 3})})
    assert Baseline.load(baseline.dump()) == baseline
    assert Baseline.load(None) == Baseline()


# --- the worklist leaves nothing out

WHEN = "account.term_months < 6"
verdict_lists = st.lists(st.sampled_from(list(Verdict)), min_size=6, max_size=6)
flags = st.lists(st.booleans(), min_size=6, max_size=6)
known_alerts: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    status=st.sampled_from(list(AlertStatus)),
    severity=st.sampled_from([Severity.HIGH, Severity.LOW]),
    dismissed=st.booleans(),
    resolved_at=st.sampled_from([NOW - 9 * HOUR, NOW - HOUR]),
    timers=st.sampled_from(
        [{}, {}, {"false_since": NOW - HOUR}, {"unknown_since_day": DAY - 9}, {"check_at": NOW}]
    ),
)


def alert(place: int, given: dict[str, Any]) -> Alert:
    status = given["status"]
    key = alert_key("r", f"account-{place}")
    resolved = status is AlertStatus.RESOLVED
    return Alert(
        id=alert_id(key, 1),
        key=key,
        rule="r",
        account_no=place + 1,
        account_id=f"account-{place}",
        episode=1,
        status=status,
        severity=given["severity"],
        title="",
        rule_version="v1",
        updated_at=NOW - 2 * HOUR,
        seq=1,
        pending_since=NOW - 2 * HOUR if status is AlertStatus.PENDING else None,
        fired_at=None if status is AlertStatus.PENDING else NOW - 10 * HOUR,
        resolved_at=given["resolved_at"] if resolved else None,
        dismissed=resolved and bool(given["dismissed"]),
        **({} if resolved else given["timers"]),
    )


@given(
    verdicts=verdict_lists,
    clear=st.none() | verdict_lists,
    gone=flags,
    stale=flags,
    churned=flags,
    known=st.dictionaries(st.integers(0, 5), known_alerts),
    closing=st.booleans(),
    waits=st.sampled_from([0, HOUR, 5 * HOUR]),
)
@settings(max_examples=300, deadline=None)
def test_a_cell_that_is_not_looked_at_would_not_have_moved(
    verdicts: list[Verdict],
    clear: list[Verdict] | None,
    gone: list[bool],
    stale: list[bool],
    churned: list[bool],
    known: dict[int, dict[str, Any]],
    closing: bool,
    waits: int,
) -> None:
    subject = rule(
        "r", WHEN, severity=Severity.HIGH, for_us=waits, keep_firing_for_us=waits, cooldown_us=waits
    )
    judgement = Judgement(
        np.array(verdicts, dtype=np.int8),
        np.array(gone),
        np.array(stale),
        None if clear is None else np.array(clear, dtype=np.int8),
    )
    alerts = {place: alert(place, given) for place, given in known.items()}
    relevant = {
        place: each
        for place, each in alerts.items()
        if each.open or each.dismissed or (each.resolved_at or 0) > NOW - waits
    }
    rows = AccountRows(range(1, 7), [f"account-{no}" for no in range(6)], [], [], [], lambda _name: [], list)
    batch = Batch(rows, ["low"] * 6, [True] * 6, [standing_of(relevant[place]) for place in sorted(relevant)])
    cells = worklist([subject], [judgement], np.array(churned), batch, closing=closing)
    looked_at = {cell.account for cell in cells}
    terms = Terms("r", subject.version, Severity.HIGH, waits, waits, waits)
    occasion = Occasion(NOW, DAY - 1 if closing else None)
    for place in range(6):
        finding = Finding(
            verdicts[place],
            None if clear is None else clear[place],
            gone[place],
            stale[place],
            churned[place],
        )
        if not churned[place]:
            one_by_one = {Verdict.TRUE: "true", Verdict.FALSE: "false", Verdict.UNKNOWN: "unknown"}
            assert one_by_one[Verdict(int(clearing(judgement)[place]))] == finding.clearing()
        if place not in looked_at:
            who = Subject(place + 1, f"account-{place}")
            assert transition(relevant.get(place), who, terms, finding, occasion) is None
