"""What a rule and its judgement say to the life of an alert: the same live and in a replay."""

from __future__ import annotations

from alerts.alert import Verdict
from alerts.finding import Finding, Terms
from alerts.rules.rule import Judgement, Mode, Rule
from alerts.values import BoolArray

_VERDICTS = {int(verdict): verdict for verdict in Verdict}  # an enum's own look-up takes ten times as long


def terms_of(rule: Rule) -> Terms:
    """What a rule says about the life of its alerts."""
    return Terms(
        rule=rule.id,
        version=rule.version,
        severity=rule.severity,
        for_us=rule.for_us,
        keep_firing_for_us=rule.keep_firing_for_us,
        cooldown_us=rule.cooldown_us,
        shadow=rule.mode is Mode.SHADOW,
    )


def finding_of(judgement: Judgement, churned: BoolArray, place: int) -> Finding:
    """What a judgement says of the account at ``place``."""
    return Finding(
        verdict=_VERDICTS[judgement.verdict[place].item()],
        clear=None if judgement.clear is None else _VERDICTS[judgement.clear[place].item()],
        because_not_applicable=bool(judgement.because_not_applicable[place]),
        stale=bool(judgement.stale[place]),
        churned=bool(churned[place]),
    )
