"""A rule: the condition under which an account gets an alert, how long it waits, and what a person should do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.alert import Severity
from alerts.rules.condition import Condition, Masks, Readings
from alerts.rules.durations import spelt_duration
from alerts.rules.title import Title
from alerts.values import BoolArray

VerdictArray = NDArray[np.int8]


class Mode(StrEnum):
    """``shadow``: everything is decided and recorded, nothing is told."""

    LIVE = "live"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True)
class Playbook:
    """What to do about it, and within how many days; ``or_renewal`` takes the renewal day if that is earlier."""

    action: str = ""
    due_days: int | None = None
    or_renewal: bool = False

    def due_day(self, opened_day: int, renewal_day: int | None = None) -> int | None:
        """The last day to act, for an alert that opened on ``opened_day``; a past renewal counts for nothing."""
        due = None if self.due_days is None else opened_day + self.due_days
        if self.or_renewal and renewal_day is not None and renewal_day >= opened_day:
            return renewal_day if due is None else min(due, renewal_day)
        return due

    @property
    def due(self) -> str | None:
        """As the rule file writes it: ``7d``, ``14d or renewal``, ``renewal``."""
        parts = [] if self.due_days is None else [f"{self.due_days}d"]
        return " or ".join(parts + (["renewal"] if self.or_renewal else [])) or None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rule found in each of n accounts.

    ``verdict`` holds :class:`~alerts.alert.Verdict` values. ``because_not_applicable`` marks verdicts that are false
    for want of the thing itself. ``clear`` is the verdict of ``resolve_when``, None for a rule without one. ``stale``
    marks accounts where the verdict, or that of ``resolve_when``, is unknown and a stale source is among the causes.
    """

    verdict: VerdictArray
    because_not_applicable: BoolArray
    stale: BoolArray
    clear: VerdictArray | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the rule file, checked. Durations are microseconds; ``line`` is where it begins in its file.

    ``version`` is a hash of what decides (conditions, floors, times, severity), the same however it is spelt;
    ``metrics`` are the names that its conditions read, each once.
    """

    id: str
    when: Condition
    heading: Title
    severity: Severity = Severity.MEDIUM
    resolve_when: Condition | None = None
    for_us: int = 0
    keep_firing_for_us: int = 0
    cooldown_us: int = 0
    playbook: Playbook = Playbook()
    labels: Mapping[str, str] = field(default_factory=dict)
    floors: Mapping[str, int] = field(default_factory=dict)
    mode: Mode = Mode.LIVE
    line: int = field(default=0, compare=False)
    version: str = field(init=False)
    metrics: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the version and the names."""
        decisive = [
            self.id,
            str(self.when.root),
            str(self.resolve_when.root) if self.resolve_when else "",
            [self.for_us, self.keep_firing_for_us, self.cooldown_us],
            self.severity,
            sorted(self.floors.items()),
        ]
        object.__setattr__(self, "version", hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:16])
        more = self.resolve_when.metrics if self.resolve_when else ()
        object.__setattr__(self, "metrics", tuple(dict.fromkeys((*self.when.metrics, *more))))

    @property
    def title(self) -> str:
        """The title as it was written, with its placeholders."""
        return self.heading.text

    def judge(self, readings: Readings) -> Judgement:
        """The verdict on every account."""
        masks = self.when.judge(readings, self.floors)
        nowhere = np.zeros(readings.size, dtype=np.bool_)
        stale = nowhere if masks.stale is None else masks.stale
        absent = nowhere if masks.absent is None else masks.absent
        if self.resolve_when is None:
            return Judgement(_verdicts(masks), absent, stale)
        clearing = self.resolve_when.judge(readings, self.floors)
        if clearing.stale is not None:
            stale = stale | clearing.stale
        return Judgement(_verdicts(masks), absent, stale, _verdicts(clearing))

    def describe(self) -> dict[str, Any]:
        """The rule as REST shows it; durations and dues as the rule file writes them."""
        return {
            "id": self.id,
            "when": self.when.text,
            "resolve_when": self.resolve_when.text if self.resolve_when else None,
            "for": spelt_duration(self.for_us) if self.for_us else None,
            "keep_firing_for": spelt_duration(self.keep_firing_for_us) if self.keep_firing_for_us else None,
            "cooldown": spelt_duration(self.cooldown_us) if self.cooldown_us else None,
            "severity": self.severity.value,
            "title": self.title,
            "playbook": {"action": self.playbook.action, "due": self.playbook.due},
            "labels": dict(self.labels),
            "floors": dict(self.floors),
            "mode": self.mode.value,
            "metrics": list(self.metrics),
            "version": self.version,
        }


def render_title(rule: Rule, values: Mapping[str, Any]) -> str:
    """The rule's title with plain values of ``rule.heading.metrics``. Never raises: the id is better than no alert."""
    try:
        return rule.heading.render(values)
    except Exception:
        return rule.id


def _verdicts(masks: Masks) -> VerdictArray:
    """1 where true, 0 where false, -1 where neither: :class:`~alerts.alert.Verdict` without a branch."""
    return masks.true.view(np.int8) - (~(masks.true | masks.false)).view(np.int8)
