"""The nouns of an alert: what a rule found in one account, over one episode, and how it moved.

Instants are UTC epoch microseconds, days are days since 1970-01-01 in the organisation's zone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any


class Severity(StrEnum):
    """From worst to mildest; ``info`` never raises an account's risk level."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for info up to 4 for critical."""
        return 4 - list(Severity).index(self)


class AlertStatus(StrEnum):
    """Where an episode stands. Acknowledged and snoozed are attributes, not states."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Reason(StrEnum):
    """Why an alert moved; closed, so that it can label a metric."""

    CONDITION_TRUE = "condition_true"
    SEVERITY_UP = "severity_up"
    CONDITION_FALSE = "condition_false"
    NOT_APPLICABLE = "not_applicable"
    CANNOT_TELL = "cannot_tell"
    CHURNED = "churned"
    RULE_REMOVED = "rule_removed"
    MANUAL = "manual"


class Outcome(StrEnum):
    """What came of an alert: a person says so, but for an account that churned. Closed, so that it can be counted."""

    SAVED = "saved"  # the risk was real, and the customer stays
    CHURNED = "churned"  # the risk was real, and the customer left
    FALSE_ALARM = "false_alarm"  # there was no risk
    NO_ACTION = "no_action"  # nothing was done, and nothing had to be


class Verdict(IntEnum):
    """Kleene's three values of a rule's condition."""

    UNKNOWN = -1
    FALSE = 0
    TRUE = 1


def alert_key(rule: str, account_id: str, label: str = "") -> str:
    """The identity of an alert: a hash of rule, account and label; numbers, text and severity are not in it.

    Nothing sets a label yet: it would tell apart several alerts of one rule on one account.
    """
    return hashlib.sha256("\x1f".join((rule, account_id, label)).encode()).hexdigest()


def alert_id(key: str, episode: int) -> str:
    """The id of one episode: the same after a restored backup."""
    return "al_" + hashlib.sha256(f"{key}/{episode}".encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Alert:
    """One episode of one condition of one account, as it stands."""

    id: str
    key: str
    rule: str
    account_no: int
    account_id: str
    episode: int
    status: AlertStatus
    severity: Severity
    title: str
    rule_version: str
    updated_at: int
    label: str = ""
    reason: Reason | None = None
    baseline: bool = False  # already true at the account's first judgement: listed, told in one summary
    dismissed: bool = False  # resolved by hand while true: stays closed until the condition was false once
    seq: int = 0  # grows with every move; a receiver orders by it
    pending_since: int | None = None
    fired_at: int | None = None
    resolved_at: int | None = None
    false_since: int | None = None  # keep_firing_for counts from here
    unknown_since_day: int | None = None  # the 28-day hold counts from here
    check_at: int | None = None  # when the clock must look again although nothing happened
    due_at: int | None = None
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None
    snoozed_until: int | None = None
    outcome: Outcome | None = None
    outcome_at: int | None = None
    outcome_by: str | None = None  # None: by itself, as of a churned account
    outcome_note: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Pending or firing."""
        return self.status is not AlertStatus.RESOLVED


@dataclass(frozen=True, slots=True)
class Move:
    """One transition of one alert: what is written, and what is told.

    ``kind`` is the history's word: ``pending``, ``firing``, ``resolved``, ``updated``, ``dropped`` (a pending alert
    whose condition went away), ``held`` (nothing to tell, a timer moved), ``acknowledged``, ``snoozed``, ``commented``,
    ``feedback``.
    ``tells`` says whether destinations hear of it.
    """

    before: Alert | None
    after: Alert
    kind: str
    reason: Reason | None
    tells: bool
    actor: str = ""
