"""What decides the life of an alert: what was found of the account, what its rule says, and when one looked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from alerts.alert import Severity, Verdict


class Found(StrEnum):
    """What an evaluation found, as the table's columns."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"
    CHURNED = "churned"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose alert it is: the account, and a label, which nothing sets yet (:func:`alerts.alert.alert_key`)."""

    account_no: int
    account_id: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rule says about the life of its alerts. ``shadow``: recorded, never told."""

    rule: str
    version: str
    severity: Severity
    for_us: int = 0
    keep_firing_for_us: int = 0
    cooldown_us: int = 0
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule's condition says of one account.

    ``clear`` is the verdict of ``resolve_when``, None for a rule without one. ``because_not_applicable`` says why
    a false verdict is false, ``stale`` why an unknown one is unknown: the silence is ours.
    """

    verdict: Verdict
    clear: Verdict | None = None
    because_not_applicable: bool = False
    stale: bool = False
    churned: bool = False

    def opening(self) -> Found:
        """The condition, as an alert that is not firing sees it."""
        return Found.CHURNED if self.churned else _FOUND[self.verdict]

    def clearing(self) -> Found:
        """The condition, as an alert that fires sees it: with a ``resolve_when`` the space between holds.

        What stopped existing resolves in any case: a ``resolve_when`` about it could never become true.
        """
        if self.clear is None or self.churned or self.verdict is Verdict.TRUE or self._gone:
            return self.opening()
        return _FOUND[Verdict(1 - self.clear) if self.clear is not Verdict.UNKNOWN else Verdict.UNKNOWN]

    @property
    def _gone(self) -> bool:
        return self.verdict is Verdict.FALSE and self.because_not_applicable


@dataclass(frozen=True, slots=True)
class Occasion:
    """When and why the evaluation is: the instant, the day that it closes (None: it closes none), and whether the
    account was never judged before, so that what is true now is its baseline."""

    now: int
    close_day: int | None = None
    first_judgement: bool = False


_FOUND = {Verdict.TRUE: Found.TRUE, Verdict.FALSE: Found.FALSE, Verdict.UNKNOWN: Found.UNKNOWN}
