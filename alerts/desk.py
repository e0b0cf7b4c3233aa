"""What people do to an alert by hand: acknowledge, snooze, resolve, comment, rate.

One transaction each, with its history.
"""

from __future__ import annotations

from dataclasses import replace

from alerts.alert import Alert, AlertStatus, Move, Outcome, Reason
from alerts.announcement import Announcer
from alerts.lifecycle import concluded, moved, resolved
from alerts.risk import risk_level
from alerts.store import AlertTransaction, Judged
from consumers.days import Calendar
from consumers.errors import BellwetherError


class UnknownAlert(BellwetherError):
    """There is no alert with this id."""


class AlertClosed(BellwetherError):
    """The alert is not in a state in which this can be done; it says which."""


class AlertOpen(BellwetherError):
    """Nothing can have come of the alert yet: it is open."""


class AlertDesk:
    """Acts within the transaction that it is given, so that a caller can write its own rows with the move.

    Asked twice, every act is done once: the second time the alert is returned as it stands. What is said twice is
    written twice.
    """

    def __init__(self, work: AlertTransaction, announcer: Announcer, calendar: Calendar) -> None:
        self._work = work
        self._announcer = announcer
        self._calendar = calendar

    def find(self, alert_id: str) -> Alert:
        """As it stands; until the end of the transaction nobody else moves it. Raises UnknownAlert."""
        alert = self._work.alerts([alert_id]).get(alert_id)
        if alert is None:
            raise UnknownAlert(f"there is no alert {alert_id[:64]!r}")
        return alert

    def acknowledge(self, alert_id: str, actor: str, now: int) -> Alert:
        """``actor`` has it, until it resolves or gets worse. Raises UnknownAlert, AlertClosed, AlertMoved."""
        alert = self._firing(alert_id, "acknowledged")
        if alert.acknowledged_at is not None:
            return alert
        after = replace(alert, acknowledged_at=now, acknowledged_by=actor)
        return self._write(moved(alert, after, "acknowledged", None, now, tells=False, actor=actor), now)

    def snooze(self, alert_id: str, until: int, actor: str, now: int) -> Alert:
        """Marked as snoozed until the instant ``until`` or until it gets worse; one that is past ends a snooze.

        Raises UnknownAlert, AlertClosed, AlertMoved.
        """
        alert = self._firing(alert_id, "snoozed")
        wanted = until if until > now else None
        if alert.snoozed_until == wanted:
            return alert
        after = replace(alert, snoozed_until=wanted)
        return self._write(moved(alert, after, "snoozed", None, now, tells=False, actor=actor), now)

    def resolve(
        self, alert_id: str, actor: str, now: int, outcome: Outcome | None = None, note: str = ""
    ) -> Alert:
        """Closed by hand, and told, with what came of it. While its condition stays true it does not open again.

        Of one that is closed already only the outcome is written, and not told. Raises UnknownAlert, AlertMoved.
        """
        alert = self.find(alert_id)
        if not alert.open:
            news = outcome is not None and (alert.outcome, alert.outcome_note) != (outcome, note or None)
            return self._say("feedback", alert, actor, now, outcome=outcome, note=note) if news else alert
        move = resolved(alert, Reason.MANUAL, now, actor, outcome=outcome, note=note)
        if alert.evidence.get("mode") == "shadow":
            move = replace(move, tells=False)
        after = self._write(move, now)
        self._lower_risk(alert, now)
        return after

    def comment(self, alert_id: str, actor: str, now: int) -> Alert:
        """``actor`` said something of it, open or not; nothing but its history moves.

        Raises UnknownAlert, AlertMoved.
        """
        return self._say("commented", self.find(alert_id), actor, now)

    def feedback(
        self, alert_id: str, actor: str, now: int, outcome: Outcome | None = None, note: str = ""
    ) -> Alert:
        """``actor`` said whether it was useful, the same way, or what came of it once it was closed.

        Raises UnknownAlert, AlertMoved; AlertOpen for an outcome of an open one.
        """
        alert = self.find(alert_id)
        if outcome is not None and alert.open:
            raise AlertOpen(f"alert {alert.id} is {alert.status.value}: resolve it with its outcome")
        return self._say("feedback", alert, actor, now, outcome=outcome, note=note)

    def _say(
        self,
        kind: str,
        alert: Alert,
        actor: str,
        now: int,
        *,
        outcome: Outcome | None = None,
        note: str = "",
    ) -> Alert:
        # A stopped ``for`` counts from updated_at, which therefore stays; so does the evidence, and is not copied.
        said = replace(alert, evidence={})
        if outcome is not None:
            said = concluded(said, outcome, now, actor, note)
        move = moved(alert, said, kind, None, alert.updated_at, tells=False, actor=actor)
        self._work.apply([move], [], now)
        return replace(move.after, evidence=alert.evidence)

    def _firing(self, alert_id: str, done: str) -> Alert:
        alert = self.find(alert_id)
        if alert.status is not AlertStatus.FIRING:
            raise AlertClosed(f"alert {alert.id} is {alert.status.value}: only a firing one can be {done}")
        return alert

    def _write(self, move: Move, now: int) -> Alert:
        cards = self._work.cards([move.after.account_no]) if move.tells else {}
        today = self._calendar.day_of_us(now)
        self._work.apply([move], self._announcer.deliveries([move], cards, today=today, now=now), now)
        return move.after

    def _lower_risk(self, alert: Alert, now: int) -> None:
        """At once from what still fires; whether ``low`` should be ``unknown`` the next judgement says, soon."""
        others = self._work.open_alerts(alert.account_no)
        firing = [other.severity for other in others if other.status is AlertStatus.FIRING]
        level = risk_level(firing, known=True)
        self._work.judge(Judged([], now, {alert.account_no: level.value}))
        self._work.touch([alert.account_no])
