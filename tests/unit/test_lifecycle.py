"""The life of one alert, a step at a time, as drawings: T true, f false, n not there, ? unknown, s stale, C churned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.alert import Alert, AlertStatus, Move, Reason, Severity, Verdict
from alerts.finding import Finding, Found, Occasion, Subject, Terms
from alerts.lifecycle import TABLE, State, resolved, transition

HOUR = 3_600_000_000
DAY = 24 * HOUR
ACME = Subject(7, "acme")
RULE = Terms("gone-dark", "v1", Severity.HIGH)
FINDINGS = {
    "T": Finding(Verdict.TRUE),
    "f": Finding(Verdict.FALSE),
    "n": Finding(Verdict.FALSE, because_not_applicable=True),
    "?": Finding(Verdict.UNKNOWN),
    "s": Finding(Verdict.UNKNOWN, stale=True),
    "C": Finding(Verdict.TRUE, churned=True),
}


def live(
    drawing: str, terms: Terms = RULE, *, every: int = HOUR, alert: Alert | None = None, start: int = 0
) -> tuple[Alert | None, list[Move]]:
    """One evaluation ``every`` so often; a step at a midnight closes the day before."""
    moves: list[Move] = []
    for step, letter in enumerate(drawing):
        now = start + step * every
        closes = now // DAY - 1 if now % DAY == 0 else None
        move = transition(
            alert,
            ACME,
            terms,
            FINDINGS[letter],
            Occasion(now, closes),
            last_episode=alert.episode if alert else 0,
        )
        if move is not None:
            moves.append(move)
            alert = move.after
    return alert, moves


def told(moves: list[Move]) -> list[str]:
    return [move.kind for move in moves if move.tells]


def kinds(moves: list[Move]) -> list[str]:
    return [move.kind for move in moves]


def test_every_state_meets_every_finding_and_each_meeting_has_a_reason() -> None:
    assert set(TABLE) == {(state, found) for state in State for found in Found}
    assert all(step.why for step in TABLE.values())


def test_a_true_condition_fires_at_once_where_the_rule_has_no_for() -> None:
    alert, moves = live("T")
    assert alert is not None
    assert (alert.status, alert.seq, alert.episode, alert.fired_at) == (AlertStatus.FIRING, 1, 1, 0)
    assert told(moves) == ["firing"]


def test_a_condition_that_stays_true_moves_nothing() -> None:
    assert kinds(live("TTTTT")[1]) == ["firing"]


def test_a_false_condition_resolves_and_says_why() -> None:
    for letter, reason in (
        ("f", Reason.CONDITION_FALSE),
        ("n", Reason.NOT_APPLICABLE),
        ("C", Reason.CHURNED),
    ):
        alert, moves = live("T" + letter)
        assert alert is not None
        assert (alert.status, alert.reason, told(moves)) == (
            AlertStatus.RESOLVED,
            reason,
            ["firing", "resolved"],
        )


def test_a_churned_account_opens_nothing() -> None:
    assert live("C")[1] == []


def test_a_condition_that_returns_opens_the_next_episode_with_its_own_id() -> None:
    first, _ = live("T")
    second, moves = live("TfT")
    assert first is not None
    assert second is not None
    assert (second.episode, second.key, second.seq) == (2, first.key, 1)
    assert second.id != first.id
    assert told(moves) == ["firing", "resolved", "firing"]


# --- for


def test_a_rule_with_a_for_waits_in_pending_and_tells_nothing_of_it() -> None:
    terms = replace(RULE, for_us=3 * HOUR)
    alert, moves = live("TTT", terms)
    assert alert is not None
    assert (alert.status, alert.check_at) == (AlertStatus.PENDING, 3 * HOUR)
    assert told(moves) == []


def test_it_fires_when_the_for_has_run_out() -> None:
    alert, moves = live("TTTT", replace(RULE, for_us=3 * HOUR))
    assert alert is not None
    assert (alert.status, alert.fired_at, alert.check_at) == (AlertStatus.FIRING, 3 * HOUR, None)
    assert kinds(moves) == ["pending", "firing"]


def test_one_false_evaluation_drops_a_pending_alert_and_the_for_begins_anew() -> None:
    alert, moves = live("TTfTTT", replace(RULE, for_us=3 * HOUR))
    assert alert is not None
    assert (alert.status, alert.episode) == (AlertStatus.PENDING, 2)
    assert kinds(moves) == ["pending", "dropped", "pending"]
    assert told(moves) == []


def test_the_for_stands_still_while_the_source_is_stale() -> None:
    #         0 1 2 3 4 5 6 7   three hours of truth: 0-1, 1-2, then 5-6
    drawing = "T T s s s T T".replace(" ", "")
    alert, _ = live(drawing, replace(RULE, for_us=3 * HOUR))
    assert alert is not None
    assert alert.status is AlertStatus.FIRING
    alert, _ = live(drawing[:-1], replace(RULE, for_us=3 * HOUR))
    assert alert is not None
    assert alert.status is AlertStatus.PENDING


def test_the_for_runs_on_while_the_condition_cannot_be_told_but_fires_only_once_it_is_true() -> None:
    terms = replace(RULE, for_us=3 * HOUR)
    assert kinds(live("T????", terms)[1])[-1] == "held"
    alert, _ = live("T????T", terms)
    assert alert is not None
    assert alert.status is AlertStatus.FIRING


def test_a_pending_alert_that_waits_for_a_verdict_no_longer_rings() -> None:
    alert, _ = live("T???", replace(RULE, for_us=3 * HOUR))
    assert alert is not None
    assert alert.check_at is None


# --- keep_firing_for, hysteresis, cooldown


def test_keep_firing_for_holds_a_resolve_back_and_a_true_evaluation_clears_its_timer() -> None:
    terms = replace(RULE, keep_firing_for_us=2 * HOUR)
    assert told(live("TffTff", terms)[1]) == ["firing"]
    alert, moves = live("TffTfff", terms)
    assert alert is not None
    assert alert.status is AlertStatus.RESOLVED
    assert told(moves) == ["firing", "resolved"]


def test_keep_firing_for_says_when_to_look_again() -> None:
    alert, _ = live("TTf", replace(RULE, keep_firing_for_us=5 * HOUR))
    assert alert is not None
    assert (alert.false_since, alert.check_at) == (2 * HOUR, 7 * HOUR)


@pytest.mark.parametrize(
    ("verdict", "clear", "resolves"),
    [
        (Verdict.FALSE, Verdict.FALSE, False),  # in the space between
        (Verdict.FALSE, Verdict.TRUE, True),
        (Verdict.FALSE, Verdict.UNKNOWN, False),
        (Verdict.UNKNOWN, Verdict.TRUE, True),
        (Verdict.TRUE, Verdict.TRUE, False),  # the bands overlap: the louder one counts
    ],
)
def test_with_a_resolve_when_a_firing_alert_resolves_by_that(
    verdict: Verdict, clear: Verdict, resolves: bool
) -> None:
    firing, _ = live("T")
    move = transition(firing, ACME, RULE, Finding(verdict, clear), Occasion(HOUR))
    assert (move is not None and move.kind == "resolved") is resolves


def test_what_stopped_existing_resolves_although_its_resolve_when_can_never_be_true() -> None:
    firing, _ = live("T")
    gone = Finding(Verdict.FALSE, Verdict.FALSE, because_not_applicable=True)
    move = transition(firing, ACME, RULE, gone, Occasion(HOUR))
    assert move is not None
    assert move.reason is Reason.NOT_APPLICABLE


def test_within_the_cooldown_nothing_opens_and_the_clock_is_told_when_it_ends() -> None:
    terms = replace(RULE, cooldown_us=5 * HOUR)
    alert, moves = live("TfTTTT", terms)
    assert alert is not None
    assert (alert.status, alert.check_at) == (AlertStatus.RESOLVED, 6 * HOUR)
    assert told(moves) == ["firing", "resolved"]


def test_when_the_cooldown_ends_and_it_is_still_true_it_opens() -> None:
    alert, moves = live("TfTTTTT", replace(RULE, cooldown_us=5 * HOUR))
    assert alert is not None
    assert (alert.status, alert.episode, alert.fired_at) == (AlertStatus.FIRING, 2, 6 * HOUR)
    assert told(moves) == ["firing", "resolved", "firing"]


def test_a_dropped_pending_alert_needs_no_cooldown() -> None:
    alert, _ = live("TfT", replace(RULE, for_us=3 * HOUR, cooldown_us=DAY))
    assert alert is not None
    assert alert.status is AlertStatus.PENDING


# --- the hold while nothing can be told


def test_an_open_alert_holds_for_27_day_closes_and_resolves_at_the_28th() -> None:
    assert told(live("T" + "?" * 27, every=DAY)[1]) == ["firing"]
    alert, moves = live("T" + "?" * 28, every=DAY)
    assert alert is not None
    assert (alert.reason, told(moves)) == (Reason.CANNOT_TELL, ["firing", "resolved"])


def test_a_verdict_in_between_starts_the_row_again() -> None:
    assert told(live("T" + "?" * 27 + "T" + "?" * 27, every=DAY)[1]) == ["firing"]


def test_evaluations_between_closes_do_not_count() -> None:
    assert told(live("T" + "?" * 23, every=HOUR)[1]) == ["firing"]


def test_while_the_source_is_stale_an_alert_holds_without_end() -> None:
    assert kinds(live("T" + "s" * 400, every=DAY)[1]) == ["firing"]


def test_a_stale_close_breaks_the_row() -> None:
    assert told(live("T" + "?" * 20 + "s" + "?" * 27, every=DAY)[1]) == ["firing"]


def test_closes_missed_in_a_downtime_count_by_the_difference_of_days() -> None:
    firing, _ = live("T")
    first = transition(firing, ACME, RULE, FINDINGS["?"], Occasion(DAY, close_day=100))
    assert first is not None
    after = transition(first.after, ACME, RULE, FINDINGS["?"], Occasion(40 * DAY, close_day=127))
    assert after is not None
    assert after.reason is Reason.CANNOT_TELL


def test_a_pending_alert_holds_likewise_and_is_dropped_at_the_28th_close() -> None:
    alert, moves = live("T" + "?" * 28, replace(RULE, for_us=300 * DAY), every=DAY)
    assert alert is not None
    assert (alert.status, alert.reason) == (AlertStatus.RESOLVED, Reason.CANNOT_TELL)
    assert (moves[-1].kind, told(moves)) == ("dropped", [])


# --- severity, baseline, hands


def test_a_worse_severity_is_told_on_the_same_alert_and_wakes_it() -> None:
    firing, _ = live("T")
    assert firing is not None
    asleep = replace(firing, acknowledged_at=1, acknowledged_by="ana", snoozed_until=99 * DAY)
    worse = replace(RULE, severity=Severity.CRITICAL, version="v2")
    move = transition(asleep, ACME, worse, FINDINGS["T"], Occasion(HOUR))
    assert move is not None
    assert (move.kind, move.reason, move.tells) == ("updated", Reason.SEVERITY_UP, True)
    assert (move.after.id, move.after.severity, move.after.rule_version) == (
        firing.id,
        Severity.CRITICAL,
        "v2",
    )
    assert (move.after.acknowledged_at, move.after.snoozed_until) == (None, None)


def test_a_milder_severity_changes_without_a_word() -> None:
    firing, _ = live("T")
    move = transition(firing, ACME, replace(RULE, severity=Severity.LOW), FINDINGS["T"], Occasion(HOUR))
    assert move is not None
    assert (move.kind, move.tells, move.after.severity) == ("held", False, Severity.LOW)


def test_what_is_true_at_the_first_judgement_opens_as_baseline_untold_and_its_end_is_told() -> None:
    first = transition(None, ACME, RULE, FINDINGS["T"], Occasion(0, first_judgement=True))
    assert first is not None
    assert (first.kind, first.after.baseline, first.tells) == ("firing", True, False)
    last = transition(first.after, ACME, RULE, FINDINGS["f"], Occasion(HOUR))
    assert last is not None
    assert last.tells


def test_a_baseline_that_had_to_wait_fires_untold_as_well() -> None:
    terms = replace(RULE, for_us=HOUR)
    first = transition(None, ACME, terms, FINDINGS["T"], Occasion(0, first_judgement=True))
    assert first is not None
    then = transition(first.after, ACME, terms, FINDINGS["T"], Occasion(HOUR))
    assert then is not None
    assert (then.kind, then.after.baseline, then.tells) == ("firing", True, False)


def test_a_dismissed_alert_stays_closed_until_its_condition_was_false_once() -> None:
    firing, _ = live("T")
    assert firing is not None
    closed = resolved(firing, Reason.MANUAL, HOUR, "ana").after
    assert closed.dismissed
    assert live("TT?sT", alert=closed, start=2 * HOUR)[1] == []
    alert, moves = live("TTfT", alert=closed, start=2 * HOUR)
    assert alert is not None
    assert (kinds(moves), alert.episode) == (["held", "firing"], 2)


def test_resolved_by_hand_when_known_to_be_false_is_no_dismissal() -> None:
    waning, _ = live("Tf", replace(RULE, keep_firing_for_us=DAY))
    assert waning is not None
    assert not resolved(waning, Reason.MANUAL, 2 * HOUR, "ana").after.dismissed


def test_a_shadow_rule_moves_its_alerts_and_tells_nothing() -> None:
    shadow = replace(RULE, shadow=True)
    alert, moves = live("TfT", shadow)
    assert alert is not None
    assert (kinds(moves), told(moves)) == (["firing", "resolved", "firing"], [])
