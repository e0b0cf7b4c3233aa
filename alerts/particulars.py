"""What an alert that moves says of what was found: its title, when it is due, and its evidence.

Worked out only for the few that move of all that a batch of accounts was judged by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alerts.alert import Alert, Move
from alerts.finding import Finding
from alerts.metrics.readings import Readings, evidence
from alerts.rules.explain import explain
from alerts.rules.rule import Judgement, Mode, Rule, render_title
from alerts.ruling import finding_of
from alerts.store import Batch
from alerts.worklist import Cell
from consumers.days import Calendar
from consumers.windows import NEVER

Details = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the rules found in a batch of accounts, and what they read."""

    rules: Sequence[Rule]
    judgements: Sequence[Judgement]
    batch: Batch
    readings: Readings

    def finding(self, cell: Cell) -> Finding:
        """What the cell's rule found of its account."""
        return finding_of(self.judgements[cell.rule], self.readings.portfolio.churned, cell.account)


def with_particulars(
    move: Move, verdicts: Verdicts, cell: Cell, calendar: Calendar, details: Details | None
) -> Move:
    """The move, its alert with title, due time and evidence; ``details`` as :func:`evidence` has them.

    One that is only held keeps the evidence it has. A resolved one keeps the title under which it fired.
    """
    if move.kind == "held":
        return replace(move, after=replace(move.after, evidence={}))
    rule, readings, place = verdicts.rules[cell.rule], verdicts.readings, cell.account
    alert = replace(
        move.after, evidence=_evidence(rule, readings, place, verdicts.judgements[cell.rule], details)
    )
    if alert.open:
        shown = {name: readings.plain(name, place, rule.floors.get(name)) for name in rule.heading.metrics}
        alert = replace(alert, title=render_title(rule, shown))
    if move.kind == "firing":
        alert = replace(alert, due_at=_due_at(rule, readings, place, alert, calendar))
    return replace(move, after=alert)


def _evidence(
    rule: Rule, readings: Readings, place: int, judgement: Judgement, details: Details | None
) -> dict[str, Any]:
    """Why the rule found what it found, and each metric that it read, as they are now."""
    proofs = {
        name: evidence(readings, name, place, rule.floors.get(name), details=details) for name in rule.metrics
    }
    found = {**explain(rule, readings, place, judgement).describe(), "metrics": proofs}
    return {**found, "mode": rule.mode.value} if rule.mode is Mode.SHADOW else found


def _due_at(rule: Rule, readings: Readings, place: int, alert: Alert, calendar: Calendar) -> int | None:
    """The last second of the last day to act."""
    assert alert.fired_at is not None
    renewal_day = int(readings.portfolio.number("renewal_day")[place])
    day = rule.playbook.due_day(
        calendar.day_of_us(alert.fired_at), None if renewal_day == NEVER else renewal_day
    )
    return None if day is None else calendar.close_us(day) - 1_000_000
