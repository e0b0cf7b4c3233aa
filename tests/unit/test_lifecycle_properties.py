"""The life cycle against a model that shares only words with it: it keeps the whole log and recounts each time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.alert import Alert, AlertStatus, Move, Reason, Severity, Verdict
from alerts.finding import Finding, Occasion, Subject, Terms
from alerts.lifecycle import resolved, transition

HOUR = 3_600_000_000
DAY = 24 * HOUR
ACME = Subject(7, "acme")


@dataclass(frozen=True)
class Step:
    """What happens at one instant: an evaluation, or a resolve by hand."""

    wait: int
    finding: Finding
    severity: Severity
    by_hand: bool
    closes: bool


@dataclass(frozen=True)
class Seen:
    """One evaluation as the model logs it; ``found`` is one of true, false, unknown, stale."""

    at: int
    found: str
    closed_day: int | None


@dataclass
class Model:
    """What should be told and why, recounted from the log of the open episode."""

    terms: Terms
    status: str = "closed"
    log: list[Seen] = field(default_factory=list)
    severity: Severity = Severity.LOW
    resolved_at: int | None = None
    dismissed: bool = False
    episode: int = 0

    def evaluate(
        self, now: int, finding: Finding, severity: Severity, day: int | None
    ) -> tuple[str, Reason | None] | None:
        seen = Seen(now, self._found(finding), day)
        if self.status == "closed":
            return self._maybe_open(seen, finding, severity)
        self.log.append(seen)
        if finding.churned:
            return self._end(now, Reason.CHURNED)
        if seen.found == "false":
            return self._maybe_end(now, finding)
        if seen.found in {"unknown", "stale"}:
            return self._end(now, Reason.CANNOT_TELL) if self._closes_in_a_row() >= 28 else None
        if self.status == "pending":
            return self._maybe_fire(severity)
        if finding.verdict is Verdict.TRUE and severity is not self.severity:
            worse = severity.rank > self.severity.rank
            self.severity = severity
            return ("updated", Reason.SEVERITY_UP) if worse else None
        return None

    def resolve_by_hand(self, now: int) -> tuple[str, Reason | None] | None:
        if self.status == "closed":
            return None
        known_false = self.status == "firing" and self._false_for(now) is not None
        moved = self._end(now, Reason.MANUAL)
        self.dismissed = not known_false
        return moved

    def _found(self, finding: Finding) -> str:
        verdict, clear = finding.verdict, finding.clear
        sees_clear = self.status == "firing" or (self.status == "closed" and self.dismissed)
        gone = verdict is Verdict.FALSE and finding.because_not_applicable
        if clear is not None and sees_clear and verdict is not Verdict.TRUE and not gone:
            verdict = {Verdict.TRUE: Verdict.FALSE, Verdict.FALSE: Verdict.TRUE}.get(clear, Verdict.UNKNOWN)
        if verdict is Verdict.UNKNOWN:
            return "stale" if finding.stale else "unknown"
        return "true" if verdict is Verdict.TRUE else "false"

    def _maybe_open(
        self, seen: Seen, finding: Finding, severity: Severity
    ) -> tuple[str, Reason | None] | None:
        if finding.churned:
            return None
        if self.dismissed:
            self.dismissed = seen.found != "false"
            return None
        cooling = self.resolved_at is not None and seen.at - self.resolved_at < self.terms.cooldown_us
        if seen.found != "true" or cooling:
            return None
        self.log, self.severity = [seen], severity
        self.episode += 1
        self.status = "pending" if self.terms.for_us else "firing"
        return self.status, Reason.CONDITION_TRUE

    def _maybe_fire(self, severity: Severity) -> tuple[str, Reason | None] | None:
        waited = sum(
            later.at - earlier.at for earlier, later in pairwise(self.log) if earlier.found != "stale"
        )
        self.severity = severity
        if waited < self.terms.for_us:
            return None
        self.status = "firing"
        self.log = self.log[-1:]
        return "firing", Reason.CONDITION_TRUE

    def _maybe_end(self, now: int, finding: Finding) -> tuple[str, Reason | None] | None:
        since = self._false_for(now)
        if self.status == "firing" and since is not None and since < self.terms.keep_firing_for_us:
            return None
        return self._end(
            now, Reason.NOT_APPLICABLE if finding.because_not_applicable else Reason.CONDITION_FALSE
        )

    def _false_for(self, now: int) -> int | None:
        """How long ago the condition was first found false since it was last true; None if it was not."""
        first = None
        for seen in self.log:
            if seen.found == "true":
                first = None
            elif seen.found == "false" and first is None:
                first = seen.at
        return None if first is None else now - first

    def _closes_in_a_row(self) -> int:
        first = last = None
        for seen in self.log:
            if seen.found in {"true", "false"} or (seen.found == "stale" and seen.closed_day is not None):
                first = last = None
            elif seen.found == "unknown" and seen.closed_day is not None:
                first = seen.closed_day if first is None else first
                last = seen.closed_day
        return 0 if first is None or last is None or self.log[-1].closed_day != last else last - first + 1

    def _end(self, now: int, reason: Reason) -> tuple[str, Reason]:
        kind = "resolved" if self.status == "firing" else "dropped"
        self.resolved_at = now if kind == "resolved" else None
        self.status, self.log = "closed", []
        return kind, reason


verdicts = st.sampled_from(list(Verdict))
findings = st.builds(
    Finding,
    verdict=verdicts,
    clear=st.none() | verdicts,
    because_not_applicable=st.booleans(),
    stale=st.booleans(),
    churned=st.sampled_from([False] * 15 + [True]),
)
steps = st.builds(
    Step,
    wait=st.integers(0, 40).map(lambda hours: hours * HOUR),
    finding=findings,
    severity=st.sampled_from([Severity.MEDIUM] * 4 + [Severity.LOW, Severity.CRITICAL]),
    by_hand=st.sampled_from([False] * 9 + [True]),
    closes=st.booleans(),
)
terms = st.builds(
    Terms,
    rule=st.just("gone-dark"),
    version=st.just("v1"),
    severity=st.just(Severity.MEDIUM),
    for_us=st.sampled_from([0, 0, 5 * HOUR, 3 * DAY]),
    keep_firing_for_us=st.sampled_from([0, 0, 7 * HOUR, 2 * DAY]),
    cooldown_us=st.sampled_from([0, 0, 9 * HOUR, 4 * DAY]),
)
# Mostly unknown days, or the 28th close in a row would never come.
long_silence = st.lists(
    st.builds(
        Step,
        wait=st.just(DAY),
        finding=st.sampled_from(
            [Finding(Verdict.UNKNOWN)] * 60 + [Finding(Verdict.UNKNOWN, stale=True), Finding(Verdict.TRUE)]
        ),
        severity=st.just(Severity.MEDIUM),
        by_hand=st.just(False),
        closes=st.just(True),
    ),
    min_size=30,
    max_size=70,
)
lives = st.lists(steps, max_size=40) | st.builds(
    lambda a, b, c: a + b + c, st.lists(steps, max_size=5), long_silence, st.lists(steps, max_size=5)
)


def run(rule: Terms, life: list[Step]) -> list[tuple[Move, bool]]:
    """Every move of the life cycle, and whether the model expects it; fails where they differ."""
    model, alert, now = Model(rule), None, 100 * DAY
    moves = []
    for step in life:
        now += step.wait
        day = now // DAY - 1 if step.closes else None
        move: Move | None
        if step.by_hand:
            wanted = model.resolve_by_hand(now)
            move = resolved(alert, Reason.MANUAL, now, "ana") if alert is not None and alert.open else None
        else:
            wanted = model.evaluate(now, step.finding, step.severity, day)
            current = replace(rule, severity=step.severity)
            episode = alert.episode if alert else 0
            move = transition(alert, ACME, current, step.finding, Occasion(now, day), last_episode=episode)
        got = None if move is None or move.kind == "held" else (move.kind, move.reason)
        assert got == wanted, (step, alert)
        if move is not None:
            moves.append((move, wanted is not None))
            alert = move.after
    return moves


@given(terms, lives)
@settings(max_examples=250, deadline=None)
def test_the_life_cycle_tells_what_a_recount_of_its_whole_log_would(rule: Terms, life: list[Step]) -> None:
    run(rule, life)


@given(terms, lives)
@settings(max_examples=80, deadline=None)
def test_numbers_grow_episodes_follow_and_no_two_are_open(rule: Terms, life: list[Step]) -> None:
    newest: dict[str, Alert] = {}
    for move, _ in run(rule, life):
        after, before = move.after, newest.get(move.after.id)
        assert after.seq == (before.seq if before else 0) + 1
        newest[after.id] = after
        assert sum(alert.open for alert in newest.values()) <= 1
        assert after.open or after.reason is not None
        assert after.episode == len(newest)
        if move.kind in {"resolved", "updated"}:
            assert move.tells
        if move.kind in {"pending", "dropped", "held"}:
            assert not move.tells


@given(terms, lives)
@settings(max_examples=80, deadline=None)
def test_the_same_finding_at_the_same_instant_moves_nothing_twice(rule: Terms, life: list[Step]) -> None:
    alert, now = None, 100 * DAY
    for step in life:
        now += step.wait
        occasion = Occasion(now, now // DAY - 1 if step.closes else None)
        current = replace(rule, severity=step.severity)
        for attempt in range(2):
            move = transition(
                alert, ACME, current, step.finding, occasion, last_episode=alert.episode if alert else 0
            )
            if move is not None:
                assert attempt == 0
                alert = move.after


@given(terms, lives)
@settings(max_examples=80, deadline=None)
def test_an_alert_that_rang_does_not_ring_again_for_the_same_reason(rule: Terms, life: list[Step]) -> None:
    """A due alert, looked at, has either moved or its next ring lies ahead: the clock never spins on it."""
    alert, now = None, 100 * DAY
    for step in life:
        now += step.wait
        move = transition(
            alert, ACME, rule, step.finding, Occasion(now), last_episode=alert.episode if alert else 0
        )
        alert = move.after if move is not None else alert
        if alert is not None and alert.open:
            assert alert.check_at is None or alert.check_at > now
            assert alert.status is AlertStatus.FIRING or alert.pending_since is not None
