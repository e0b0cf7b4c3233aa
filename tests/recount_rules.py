"""The shipped rules and the ledger of a replay, told a second time: three-valued logic and the hold, spelt out.

RULES need no more than ``recount.py`` and are quick; ALL_RULES are all that ship, which only Opinions can answer.
Also a program: ``python -m tests.recount_rules FILE`` prints the ledger of an NDJSON file, plain or .gz.
"""

from __future__ import annotations

import gzip
import json
import sys
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.recount import NONE, OK, UNKNOWN, Reading, Recount, View
from tests.recount_framework import METRICS as FRAMEWORK
from tests.recount_framework import FrameworkRecount
from tests.recount_health import WEIGHTS, HealthRecount
from tests.unit.test_health_closing import GONE, OneAccount

# A condition is a function from readings to (what it says, what it would say if what does not exist were unknown).
Verdict = tuple[bool | None, bool | None]


def compare(name: str, holds: Any) -> Any:
    def condition(metrics: View) -> Verdict:
        value, status = metrics[name]
        if status == OK:
            return bool(holds(value)), bool(holds(value))
        return (False, None) if status == NONE else (None, None)

    return condition


def both(*conditions: Any) -> Any:
    def least(values: list[bool | None]) -> bool | None:
        return False if False in values else None if None in values else True

    def condition(metrics: View) -> Verdict:
        verdicts = [each(metrics) for each in conditions]
        return least([verdict[0] for verdict in verdicts]), least([verdict[1] for verdict in verdicts])

    return condition


def negated(inner: Any) -> Any:
    def opposite(value: bool | None) -> bool | None:
        return None if value is None else not value

    def condition(metrics: View) -> Verdict:
        says, without_nothing = inner(metrics)
        return opposite(says), opposite(without_nothing)

    return condition


def judged(
    open_: dict[tuple[str, str], int], key: tuple[str, str], verdict: Verdict, churned: bool
) -> str | None:
    """Moves one alert by one close; says why, or None if nothing is told."""
    says, without_nothing = verdict
    if key not in open_:
        if says and not churned:
            open_[key] = 0
            return "condition_true"
        return None
    if churned:
        why: str | None = "churned"
    elif says:
        open_[key], why = 0, None
    elif says is False:
        why = "condition_false" if without_nothing is False else "not_applicable"
    else:
        open_[key] += 1
        why = "cannot_tell" if open_[key] == 28 else None
    if why:
        del open_[key]
    return why


_grown = negated(compare("seats.days_since_increase", lambda days: days < 30))
_idle = compare("seats.unused", lambda seats: seats >= 3)

RULES: dict[str, tuple[str, Any]] = {
    "login-decline": ("high", compare("logins.change_28d", lambda change: change <= Fraction(-20, 100))),
    "login-fade": ("medium", compare("logins.drawdown_180d", lambda change: change <= Fraction(-40, 100))),
    "gone-dark": (
        "critical",
        both(
            compare("activity.dormant_days", lambda days: days >= 14),
            compare("activity.users_before", lambda users: users >= 3),
        ),
    ),
    "seat-utilization-low": (
        "medium",
        both(compare("seats.utilization", lambda ratio: ratio < Fraction(60, 100)), _idle, _grown),
    ),
    "seat-utilization-critical": (
        "high",
        both(compare("seats.utilization", lambda ratio: ratio < Fraction(40, 100)), _idle, _grown),
    ),
    "seats-declining": (
        "medium",
        both(compare("seats.utilization_change_28d", lambda change: change <= Fraction(-15, 100)), _idle),
    ),
    "champion-departed": ("critical", compare("champion.departed", lambda departed: departed)),
    "champion-changed": ("high", compare("champion.days_since_change", lambda days: days <= 30)),
    "champion-silent": ("medium", compare("champion.status", lambda word: word == "silent")),
    "qbr-missing": ("high", compare("qbr.missing", lambda missing: missing)),
    "stickiness-low": ("medium", compare("engagement.dau_mau", lambda ratio: ratio < Fraction(10, 100))),
    "renewal-overdue": ("low", compare("renewal.overdue_days", lambda days: days >= 1)),
    "seats-upsell": (
        "info",
        both(
            compare("seats.utilization", lambda ratio: ratio > Fraction(80, 100)),
            compare("seats.purchased", lambda seats: seats >= 10),
        ),
    ),
}

READS: dict[str, tuple[str, ...]] = {
    "login-decline": ("logins.change_28d",),
    "login-fade": ("logins.drawdown_180d",),
    "gone-dark": ("activity.dormant_days", "activity.users_before"),
    "seat-utilization-low": ("seats.utilization", "seats.unused", "seats.days_since_increase"),
    "seat-utilization-critical": ("seats.utilization", "seats.unused", "seats.days_since_increase"),
    "seats-declining": ("seats.utilization_change_28d", "seats.unused"),
    "champion-departed": ("champion.departed",),
    "champion-changed": ("champion.days_since_change",),
    "champion-silent": ("champion.status",),
    "qbr-missing": ("qbr.missing",),
    "stickiness-low": ("engagement.dau_mau",),
    "renewal-overdue": ("renewal.overdue_days",),
    "seats-upsell": ("seats.utilization", "seats.purchased"),
}


_at_risk = compare("renewal.days_to", lambda days: days <= 90)
_red = compare("sentiment.rating", lambda word: word == "red")

ALL_RULES: dict[str, tuple[str, Any]] = RULES | {
    "sponsor-absent": ("medium", compare("sponsor.days_since_login", lambda days: days >= 60)),
    "adoption-narrow": ("medium", compare("features.breadth", lambda ratio: ratio <= Fraction(20, 100))),
    "feature-abandoned": ("medium", compare("features.abandoned_count", lambda count: count >= 1)),
    "escalation-before-renewal": (
        "high",
        both(compare("escalations.open", lambda count: count >= 1), _at_risk),
    ),
    "sentiment-red": ("high", _red),
    "sentiment-crashed": (
        "critical",
        both(_red, compare("sentiment.previous", lambda word: word == "green")),
    ),
    "sentiment-overdue": ("info", compare("sentiment.overdue", lambda overdue: overdue)),
    "first-value-late": ("medium", compare("ttfv.days", lambda days: days > 60)),
    "integration-lost": ("low", compare("integrations.lost", lambda count: count >= 1)),
    "health-red": ("critical", compare("health.band", lambda word: word == "red")),
    "health-yellow-4w": (
        "medium",
        both(
            compare("health.band", lambda word: word == "yellow"),
            compare("health.days_in_band", lambda days: days >= 28),
        ),
    ),
    "renewal-at-risk": (
        "high",
        both(_at_risk, compare("health.band", lambda word: word in ("yellow", "red"))),
    ),
}

READS |= {
    "sponsor-absent": ("sponsor.days_since_login",),
    "adoption-narrow": ("features.breadth",),
    "feature-abandoned": ("features.abandoned_count",),
    "escalation-before-renewal": ("escalations.open", "renewal.days_to"),
    "sentiment-red": ("sentiment.rating",),
    "sentiment-crashed": ("sentiment.rating", "sentiment.previous"),
    "sentiment-overdue": ("sentiment.overdue",),
    "first-value-late": ("ttfv.days",),
    "integration-lost": ("integrations.lost",),
    "health-red": ("health.band",),
    "health-yellow-4w": ("health.band", "health.days_in_band"),
    "renewal-at-risk": ("renewal.days_to", "health.band"),
}


class Opinions(Recount):
    """All that the shipped rules read at a close: each metric as the recount of its family has it."""

    def __init__(self, lines: list[bytes], zone: str = "UTC", core: tuple[str, ...] = ()) -> None:
        super().__init__(lines, zone)
        self.framework = FrameworkRecount(lines, zone, core)
        self.health = HealthRecount(lines, zone, core)
        self.closed: dict[str, tuple[OneAccount, int]] = {}  # each with the next day to close

    def metrics(self, account_id: str, as_of: int, today: int, stale: frozenset[str] = frozenset()) -> View:
        view = super().metrics(account_id, as_of, today, stale)
        framework = self.framework.view(account_id, as_of, today, stale)
        view.read.update({name: framework[name] for name in FRAMEWORK if not name.startswith("logins")})
        band, days = self.band(account_id, as_of)
        view.read.update({"health.band": band, "health.days_in_band": days})
        return view

    def band(self, account_id: str, day: int) -> tuple[Reading, Reading]:
        """The band and the days in it, after all closes since the account is known."""
        one, coming = self.closed.get(account_id, (OneAccount(), self.accounts[account_id].born))
        for each in range(coming, day + 1):
            found = self.health.account(account_id, each, each).components()
            inputs = {name: GONE if points is None else points for name, (points, _) in found.items()}
            one.close(each, inputs, WEIGHTS, 70, 40)
        self.closed[account_id] = (one, day + 1)
        if one.band == "unknown" or one.since is None:
            return (None, UNKNOWN), (None, UNKNOWN)
        return (one.band, OK), (day - one.since, OK)


def number(value: Any) -> Any:
    """A value as the ledger writes it."""
    return float(value) if isinstance(value, Fraction) else value


def ledger(recount: Recount, first: int | None = None, until: int | None = None) -> list[dict[str, Any]]:
    """What the shipped rules say at each day's close: ALL_RULES in the eyes of Opinions, else RULES."""
    rules = ALL_RULES if isinstance(recount, Opinions) else RULES
    begin = min(recount.days) if first is None else max(first, min(recount.days))
    end = max(recount.days) if until is None else until
    lines: list[dict[str, Any]] = []
    open_: dict[tuple[str, str], int] = {}  # (account, rule) → closes in a row without a verdict
    for day in range(begin, end + 1):
        today: list[dict[str, Any]] = []
        for account_id, account in recount.accounts.items():
            if account.born > day:
                continue
            metrics = recount.metrics(account_id, day, day)
            churned = recount.churned(account_id, day)
            for rule, (severity, condition) in rules.items():
                move = judged(open_, (account_id, rule), condition(metrics), churned)
                if move is None:
                    continue
                today.append(
                    {
                        "day": (date(1970, 1, 1) + timedelta(days=day)).isoformat(),
                        "event": "opened" if move == "condition_true" else "resolved",
                        "rule": rule,
                        "account_id": account_id,
                        "severity": severity,
                        "reason": move,
                        "metrics": {name: number(metrics[name][0]) for name in READS[rule]},
                    }
                )
        lines += sorted(today, key=lambda line: (line["account_id"], line["rule"], line["event"]))
    return lines


def read_lines(path: Path) -> list[bytes]:
    """The lines of an NDJSON file, plain or .gz."""
    raw = path.read_bytes()
    return [
        line for line in (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines() if line.strip()
    ]


if __name__ == "__main__":
    for entry in ledger(Opinions(read_lines(Path(sys.argv[1])))):
        print(json.dumps(entry, ensure_ascii=False))
