"""The life of an alert, as a table one can print: where it stands × what was found → what to do, and why.

                 true         false        unknown      churned
    closed       opens        ·            ·            ·
    cooling      waits        ·            ·            ·
    dismissed    ·            is lifted    ·            ·
    pending      matures      is dropped   holds        is dropped
    firing       stays        clears       holds        resolves

Pure: time is an argument, and the same finding at the same instant twice moves nothing the second time. The
words and their semantics are Prometheus' (``for``, ``keep_firing_for``); a condition that cannot be told holds what is
(METRICS section 1). Instants and durations are microseconds.

``check_at`` says when the clock must look again although nothing happened: when a ``for`` or a
``keep_firing_for`` runs out, or a cooldown ends. A pending alert without one has its ``for`` stopped, since
``updated_at``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from alerts.alert import Alert, AlertStatus, Move, Outcome, Reason, Verdict, alert_id, alert_key
from alerts.finding import Finding, Found, Occasion, Subject, Terms

HOLD_CLOSES = 28  # day closes in a row without a verdict, after which an alert resolves as cannot_tell


class State(StrEnum):
    """Where the identity stands: the newest episode's status, and what keeps a closed one from opening."""

    CLOSED = "closed"
    COOLING = "cooling"
    DISMISSED = "dismissed"
    PENDING = "pending"
    FIRING = "firing"


def state_of(alert: Alert | None, terms: Terms, now: int) -> State:
    """Where the identity whose newest known episode is ``alert`` stands at ``now``."""
    if alert is None:
        return State.CLOSED
    if alert.status is AlertStatus.PENDING:
        return State.PENDING
    if alert.status is AlertStatus.FIRING:
        return State.FIRING
    if alert.dismissed:
        return State.DISMISSED
    if (
        alert.fired_at is not None
        and alert.resolved_at is not None
        and now < alert.resolved_at + terms.cooldown_us
    ):
        return State.COOLING
    return State.CLOSED


def transition(
    alert: Alert | None,
    subject: Subject,
    terms: Terms,
    finding: Finding,
    occasion: Occasion,
    *,
    last_episode: int = 0,
) -> Move | None:
    """What the finding does to the alert, None if nothing.

    ``alert`` is the identity's newest episode as far as it matters: open, dismissed or cooling, else None.
    ``last_episode`` is the number of the newest episode that ever was, 0 for none. A new alert has no title and no
    evidence, and no due time: whoever asked adds them, since they are wanted only for what moves.
    """
    case = _Case(alert, subject, terms, finding, occasion, last_episode)
    state = state_of(alert, terms, occasion.now)
    found = finding.clearing() if state in _SEES_CLEARING else finding.opening()
    return TABLE[state, found].act(case)


def resolved(
    alert: Alert, reason: Reason, now: int, actor: str = "", *, outcome: Outcome | None = None, note: str = ""
) -> Move:
    """An open alert's end, with what came of it if somebody says so; of a churned account's that is known.

    One that never fired is ``dropped`` and not told. A resolve by hand while the condition is not known to be false
    is a dismissal: it stays closed until the condition was false once.
    """
    fired = alert.status is AlertStatus.FIRING
    if outcome is None and fired and reason is Reason.CHURNED:
        outcome = Outcome.CHURNED
    told = alert if outcome is None else concluded(alert, outcome, now, actor, note)
    after = replace(
        told,
        status=AlertStatus.RESOLVED,
        reason=reason,
        resolved_at=now,
        dismissed=reason is Reason.MANUAL and alert.false_since is None,
        false_since=None,
        unknown_since_day=None,
        check_at=None,
        acknowledged_at=None,
        acknowledged_by=None,
        snoozed_until=None,
    )
    return moved(alert, after, "resolved" if fired else "dropped", reason, now, tells=fired, actor=actor)


def concluded(alert: Alert, outcome: Outcome, now: int, actor: str, note: str = "") -> Alert:
    """The alert with what came of it: the newest word stands, the history has those before."""
    return replace(
        alert, outcome=outcome, outcome_at=now, outcome_by=actor or None, outcome_note=note or None
    )


def moved(
    before: Alert,
    after: Alert,
    kind: str,
    reason: Reason | None,
    now: int,
    *,
    tells: bool,
    actor: str = "",
) -> Move:
    """The move from ``before`` to ``after``, which gets the next number and the time."""
    return Move(before, replace(after, seq=before.seq + 1, updated_at=now), kind, reason, tells, actor)


# --- the steps of the table -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Case:
    alert: Alert | None
    subject: Subject
    terms: Terms
    finding: Finding
    occasion: Occasion
    last_episode: int

    @property
    def known(self) -> Alert:
        assert self.alert is not None, "only the closed state has no alert"
        return self.alert

    def tell(self, move: Move) -> Move:
        return replace(move, tells=False) if self.terms.shadow else move


def _stay(_case: _Case) -> Move | None:
    return None


def _open(case: _Case) -> Move:
    terms, subject, now = case.terms, case.subject, case.occasion.now
    key = alert_key(terms.rule, subject.account_id, subject.label)
    episode = max(case.last_episode, case.alert.episode if case.alert else 0) + 1
    waits = terms.for_us > 0
    after = Alert(
        id=alert_id(key, episode),
        key=key,
        rule=terms.rule,
        account_no=subject.account_no,
        account_id=subject.account_id,
        label=subject.label,
        episode=episode,
        status=AlertStatus.PENDING if waits else AlertStatus.FIRING,
        severity=terms.severity,
        title="",
        rule_version=terms.version,
        updated_at=now,
        reason=Reason.CONDITION_TRUE,
        baseline=case.occasion.first_judgement,
        seq=1,
        pending_since=now if waits else None,
        fired_at=None if waits else now,
        check_at=now + terms.for_us if waits else None,
    )
    if waits:
        return Move(None, after, "pending", Reason.CONDITION_TRUE, tells=False)
    return case.tell(Move(None, after, "firing", Reason.CONDITION_TRUE, tells=not after.baseline))


def _cool(case: _Case) -> Move | None:
    """A condition that came back within the cooldown: opens when that ends, if it is true then."""
    alert = case.known
    assert alert.resolved_at is not None
    ends = alert.resolved_at + case.terms.cooldown_us
    return _held(alert, replace(alert, check_at=ends), case.occasion.now)


def _mature(case: _Case) -> Move | None:
    """A pending alert whose condition is true: fires once it was for as long as the rule asks."""
    alert, terms, now = case.known, case.terms, case.occasion.now
    assert alert.pending_since is not None
    stood_still = 0 if alert.check_at is not None else max(0, now - alert.updated_at)
    since = alert.pending_since + stood_still
    if now - since >= terms.for_us:
        after = replace(
            alert,
            status=AlertStatus.FIRING,
            reason=Reason.CONDITION_TRUE,
            severity=terms.severity,
            rule_version=terms.version,
            pending_since=since,
            fired_at=now,
            unknown_since_day=None,
            check_at=None,
        )
        return case.tell(moved(alert, after, "firing", Reason.CONDITION_TRUE, now, tells=not alert.baseline))
    after = replace(
        alert,
        severity=terms.severity,
        pending_since=since,
        unknown_since_day=None,
        check_at=since + terms.for_us,
    )
    return _held(alert, after, now)


def _drop(case: _Case) -> Move:
    reason = Reason.CHURNED if case.finding.churned else _why_false(case.finding)
    return resolved(case.known, reason, case.occasion.now)


def _confirm(case: _Case) -> Move | None:
    """A firing alert whose condition is true (or not cleared): timers stop; a worse severity is told."""
    alert, terms, now = case.known, case.terms, case.occasion.now
    after = replace(alert, false_since=None, unknown_since_day=None, check_at=None)
    if case.finding.verdict is not Verdict.TRUE or terms.severity is alert.severity:
        return _held(alert, after, now)
    after = replace(after, severity=terms.severity, rule_version=terms.version)
    if terms.severity.rank < alert.severity.rank:
        return _held(alert, after, now)
    after = replace(
        after, reason=Reason.SEVERITY_UP, acknowledged_at=None, acknowledged_by=None, snoozed_until=None
    )
    return case.tell(moved(alert, after, "updated", Reason.SEVERITY_UP, now, tells=True))


def _clear(case: _Case) -> Move | None:
    """A firing alert whose condition is false: resolves, after ``keep_firing_for`` where the rule has one."""
    alert, terms, now = case.known, case.terms, case.occasion.now
    since = now if alert.false_since is None else alert.false_since
    if now - since >= terms.keep_firing_for_us:
        return case.tell(resolved(alert, _why_false(case.finding), now))
    after = replace(
        alert, false_since=since, unknown_since_day=None, check_at=since + terms.keep_firing_for_us
    )
    return _held(alert, after, now)


def _hold(case: _Case) -> Move | None:
    """An open alert whose condition cannot be told: counts day closes in a row, unless the silence is ours.

    Closes are counted as a difference of days, so one that fell into a downtime counts too. A close while the
    source is stale breaks the row: an alert must not end because we were deaf.
    """
    alert, day, now = case.known, case.occasion.close_day, case.occasion.now
    since = alert.unknown_since_day
    if day is not None:
        since = None if case.finding.stale else day if since is None else min(since, day)
        if since is not None and day - since + 1 >= HOLD_CLOSES:
            return case.tell(resolved(alert, Reason.CANNOT_TELL, now))
    if alert.status is AlertStatus.PENDING:
        return _hold_pending(case, since)
    rings = alert.check_at if alert.check_at is not None and alert.check_at > now else None
    return _held(alert, replace(alert, unknown_since_day=since, check_at=rings), now)


def _hold_pending(case: _Case, since_day: int | None) -> Move | None:
    """Its ``for`` stands still while the source is stale, else runs on; over, it waits for a true verdict."""
    alert, now = case.known, case.occasion.now
    assert alert.pending_since is not None
    after = replace(alert, unknown_since_day=since_day)
    rings = alert.pending_since + case.terms.for_us
    if alert.check_at is None:  # stopped: because of us, or because it is over
        over = alert.updated_at >= rings
        if case.finding.stale or over:
            # The stop counts from updated_at, which therefore stays.
            return _held(alert, after, alert.updated_at)
        resumed = alert.pending_since + max(0, now - alert.updated_at)
        return _held(alert, replace(after, pending_since=resumed, check_at=resumed + case.terms.for_us), now)
    if case.finding.stale or now >= rings:
        return _held(alert, replace(after, check_at=None), now)
    return _held(alert, replace(after, check_at=rings), now)


def _lift(case: _Case) -> Move | None:
    """A dismissed alert whose condition was false once: it may open again."""
    return _held(case.known, replace(case.known, dismissed=False), case.occasion.now)


def _churn(case: _Case) -> Move:
    return case.tell(resolved(case.known, Reason.CHURNED, case.occasion.now))


def _why_false(finding: Finding) -> Reason:
    return Reason.NOT_APPLICABLE if finding.because_not_applicable else Reason.CONDITION_FALSE


def _held(before: Alert, after: Alert, now: int) -> Move | None:
    """A move that only sets timers; none if they already stood so."""
    return None if after == before else moved(before, after, "held", None, now, tells=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One cell of the table: what to do, and the reason it is right."""

    act: Callable[[_Case], Move | None]
    why: str


_S, _F = State, Found
TABLE: Mapping[tuple[State, Found], Step] = {
    (_S.CLOSED, _F.TRUE): Step(
        _open, "the condition became true: pending if the rule has a for, else firing"
    ),
    (_S.CLOSED, _F.FALSE): Step(_stay, "nothing to say"),
    (_S.CLOSED, _F.UNKNOWN): Step(_stay, "no alert opens on what cannot be told"),
    (_S.CLOSED, _F.CHURNED): Step(_stay, "nobody is left to keep"),
    (_S.COOLING, _F.TRUE): Step(_cool, "it just resolved: opens if still true when the cooldown ends"),
    (_S.COOLING, _F.FALSE): Step(_stay, "nothing to say"),
    (_S.COOLING, _F.UNKNOWN): Step(_stay, "nothing to say"),
    (_S.COOLING, _F.CHURNED): Step(_stay, "nobody is left to keep"),
    (_S.DISMISSED, _F.TRUE): Step(_stay, "somebody closed it by hand, and it is the same condition still"),
    (_S.DISMISSED, _F.FALSE): Step(_lift, "the dismissed condition ended; the next one is news"),
    (_S.DISMISSED, _F.UNKNOWN): Step(_stay, "not known to have ended"),
    (_S.DISMISSED, _F.CHURNED): Step(_stay, "nobody is left to keep"),
    (_S.PENDING, _F.TRUE): Step(_mature, "fires when it was true for as long as the rule asks"),
    (_S.PENDING, _F.FALSE): Step(_drop, "one false evaluation ends a pending alert"),
    (_S.PENDING, _F.UNKNOWN): Step(
        _hold, "neither confirmed nor refuted; the for stands still while the source is stale"
    ),
    (_S.PENDING, _F.CHURNED): Step(_drop, "nobody is left to keep"),
    (_S.FIRING, _F.TRUE): Step(_confirm, "still true: timers stop, a worse severity is told"),
    (_S.FIRING, _F.FALSE): Step(_clear, "the condition ended: resolves, after keep_firing_for"),
    (_S.FIRING, _F.UNKNOWN): Step(_hold, "held; at the 28th day close in a row it resolves as cannot_tell"),
    (_S.FIRING, _F.CHURNED): Step(_churn, "nobody is left to keep"),
}
_SEES_CLEARING = frozenset({State.FIRING, State.DISMISSED})
