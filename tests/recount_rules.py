"""The shipped rules and the ledger of a replay, told a second time: three-valued logic and the hold, spelt out.

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

from tests.recount import NONE, OK, Recount, View

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


def number(value: Any) -> Any:
    """A value as the ledger writes it."""
    return float(value) if isinstance(value, Fraction) else value


def ledger(recount: Recount, first: int | None = None, until: int | None = None) -> list[dict[str, Any]]:
    """What the shipped rules say at each day's close."""
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
            for rule, (severity, condition) in RULES.items():
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
    for entry in ledger(Recount(read_lines(Path(sys.argv[1])))):
        print(json.dumps(entry, ensure_ascii=False))
