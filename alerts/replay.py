"""A dry run of history: what the rules would have said at the close of each day, whatever the order of the file.

At the close of a day every event of that day or earlier is known, and nothing later; nothing is stale, since
a file is complete. Windows, metrics, rules and the life cycle are those of the service, so that a ledger and
a live run agree.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

import numpy as np

from alerts.alert import Alert, AlertStatus, Reason, Severity, Verdict
from alerts.finding import Occasion, Subject, Terms
from alerts.health.memory import HealthMemory
from alerts.lifecycle import transition
from alerts.metrics.readings import Readings
from alerts.model import Model
from alerts.past import Past, Stretch
from alerts.rules.rule import Judgement, Rule
from alerts.ruling import finding_of, terms_of
from alerts.values import BoolArray
from consumers.days import EPOCH, Calendar
from consumers.history import History, read_history
from consumers.pipeline import Totals

_TRUE = int(Verdict.TRUE)  # as an integer: numpy takes ten times as long to see through an enum
_SHOWN: Mapping[str, Literal["opened", "resolved"]] = {"firing": "opened", "resolved": "resolved"}


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One alert that fired or resolved as ``day`` closed; ``metrics`` are those that its rule reads, as in JSON."""

    day: int
    event: Literal["opened", "resolved"]
    rule: str
    account_id: str
    severity: Severity
    reason: Reason
    metrics: Mapping[str, Any]

    def json(self) -> str:
        """The line as the ledger file has it."""
        return json.dumps(
            {
                "day": date.fromordinal(self.day + EPOCH).isoformat(),
                "event": self.event,
                "rule": self.rule,
                "account_id": self.account_id,
                "severity": self.severity.value,
                "reason": self.reason.value,
                "metrics": dict(self.metrics),
            },
            ensure_ascii=False,
        )


@dataclass(slots=True)
class Summary:
    """What a replay read and found; filled in as it goes on. ``opened`` and ``resolved`` count by rule.

    ``known_since`` has each account's first event's day, or the first day judged if that is later.
    """

    totals: Totals = field(default_factory=Totals)
    known_since: dict[str, int] = field(default_factory=dict)
    first_day: int | None = None
    last_day: int | None = None
    days: int = 0  # closed so far
    opened: Counter[str] = field(default_factory=Counter)
    resolved: Counter[str] = field(default_factory=Counter)

    @property
    def accounts(self) -> int:
        """How many accounts were known at the end."""
        return len(self.known_since)


def replay(
    bodies: Iterable[bytes],
    rules: Sequence[Rule],
    calendar: Calendar,
    first: int | None = None,
    until: int | None = None,
    *,
    now_us: int | None = None,
    is_internal: Callable[[str], bool] | None = None,
    summary: Summary | None = None,
    model: Model | None = None,
) -> Iterator[LedgerLine]:
    """The ledger of ``bodies``, one event each: sorted by day, account, rule and event (docs/events.md, docs/rules.md).

    Days close from the first event's to the newest's, or from ``first`` to ``until``; no alert is open before
    the first, though metrics see all earlier events. Events more than five minutes after ``now_us`` are
    rejected as in the future, None takes any. Rejected and repeated events are counted in ``summary``.
    """
    history = read_history(bodies, calendar, now_us=now_us, is_internal=is_internal)
    yield from ledger(history, rules, calendar, first, until, summary=summary, model=model)


def ledger(
    history: History,
    rules: Sequence[Rule],
    calendar: Calendar,
    first: int | None = None,
    until: int | None = None,
    *,
    summary: Summary | None = None,
    with_metrics: bool = True,
    model: Model | None = None,
) -> Iterator[LedgerLine]:
    """As :func:`replay`, of a history that was read already; rules need ids of their own, and may be of several files.

    Lines are without metrics if nobody asks for them. Health remembers: where a rule reads it, the days before the
    first are closed too, and judged by no rule.
    """
    summary = Summary() if summary is None else summary
    summary.totals = history.totals
    span = history.span
    if span is None:
        return
    summary.first_day = span[0] if first is None else max(first, span[0])
    summary.last_day = span[1] if until is None else until
    judge = _Judge(rules, calendar, with_metrics)
    memory = HealthMemory() if any(map(_reads_health, rules)) else None
    begin = summary.first_day if memory is None else span[0]
    for whole in Past(history, calendar, model).stretches(begin, summary.last_day):
        if memory is not None:
            memory.close(whole.portfolio, whole.closes)
        stretch = whole.since(summary.first_day)
        account_ids = stretch.portfolio.account_ids
        for day, rows in stretch.closes:  # new accounts come last
            for row in range(rows.start + len(summary.known_since), rows.stop):
                summary.known_since[account_ids[row]] = day
        for _, lines in judge.closes(stretch):
            for line in lines:
                (summary.opened if line.event == "opened" else summary.resolved)[line.rule] += 1
                yield line
            summary.days += 1


def _reads_health(rule: Rule) -> bool:
    return any(name.startswith("health.") for name in rule.metrics)


class _Judge:
    """The rules and their alerts, moved from one day's close to the next."""

    def __init__(self, rules: Sequence[Rule], calendar: Calendar, with_metrics: bool) -> None:
        self._calendar = calendar
        self._cases = [_Case(rule, with_metrics) for rule in rules]

    def closes(self, stretch: Stretch) -> Iterator[tuple[int, list[LedgerLine]]]:
        """Each day of the stretch, with what fired and what resolved as it closed, in order."""
        if not stretch.closes:
            return
        readings = Readings(stretch.portfolio)
        for case in self._cases:
            case.read(readings)
        for day, rows in stretch.closes:
            occasion = Occasion(now=self._calendar.close_us(day), close_day=day)
            lines = [line for case in self._cases for line in case.close(rows, occasion)]
            lines.sort(key=lambda line: (line.account_id, line.rule, line.event))
            yield day, lines


@dataclass(slots=True)
class _Case:
    """One rule, and the newest episode of each account that it ever concerned, by the account's place."""

    rule: Rule
    with_metrics: bool
    terms: Terms = field(init=False)
    alerts: dict[int, Alert] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)  # of those, the ones that fire with no timer running
    readings: Readings = field(init=False)
    judgement: Judgement = field(init=False)
    churned: BoolArray = field(init=False)
    true_rows: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.terms = terms_of(self.rule)

    def read(self, readings: Readings) -> None:
        """Judge a whole stretch of days at once."""
        self.readings, self.judgement = readings, self.rule.judge(readings)
        self.churned = readings.portfolio.churned
        true = (self.judgement.verdict == _TRUE) & ~self.churned
        self.true_rows = np.flatnonzero(true).tolist()

    def close(self, rows: slice, occasion: Occasion) -> Iterator[LedgerLine]:
        """Move the alerts of the accounts where one may move, on the day whose close is in ``rows``."""
        true = self.true_rows[slice(*(bisect_left(self.true_rows, row) for row in (rows.start, rows.stop)))]
        holds = {row - rows.start for row in true}
        places = (holds - self.settled) | (self.open - holds)
        for place in places:
            row = rows.start + place
            account_id = self.readings.portfolio.account_ids[row]
            alert, subject = self.alerts.get(place), Subject(place, account_id)
            move = transition(
                alert, subject, self.terms, finding_of(self.judgement, self.churned, row), occasion
            )
            if move is None:
                continue
            self._keep(place, move.after)
            if move.kind in _SHOWN and move.reason is not None:
                yield LedgerLine(
                    day=occasion.close_day or 0,
                    event=_SHOWN[move.kind],
                    rule=self.rule.id,
                    account_id=account_id,
                    severity=move.after.severity,
                    reason=move.reason,
                    metrics=self._metrics(row),
                )

    def _keep(self, place: int, alert: Alert) -> None:
        self.alerts[place] = alert
        timers = (alert.check_at, alert.false_since, alert.unknown_since_day)
        settled = alert.status is AlertStatus.FIRING and timers == (None, None, None)
        (self.open.add if alert.open else self.open.discard)(place)
        (self.settled.add if settled else self.settled.discard)(place)

    def _metrics(self, row: int) -> dict[str, Any]:
        if not self.with_metrics:
            return {}
        floors = self.rule.floors
        return {name: self.readings.plain(name, row, floors.get(name)) for name in self.rule.metrics}
