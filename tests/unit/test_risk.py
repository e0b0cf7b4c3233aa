"""Risk level: the worst of what fires, and what silence means."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alerts.alert import Severity
from alerts.risk import RiskLevel, risk_level

severities = st.lists(st.sampled_from(list(Severity)))


def test_the_worst_firing_alert_gives_its_name_to_the_account() -> None:
    assert risk_level([Severity.MEDIUM, Severity.CRITICAL, Severity.LOW], known=True) is RiskLevel.CRITICAL


def test_nothing_fires_and_something_can_be_told_is_low() -> None:
    assert risk_level([], known=True) is RiskLevel.LOW


def test_nothing_fires_and_nothing_can_be_told_is_unknown() -> None:
    assert risk_level([], known=False) is RiskLevel.UNKNOWN


def test_info_never_counts() -> None:
    assert risk_level([Severity.INFO], known=True) is RiskLevel.LOW
    assert risk_level([Severity.INFO], known=False) is RiskLevel.UNKNOWN


def test_an_alert_that_holds_while_nothing_can_be_told_still_counts() -> None:
    assert risk_level([Severity.HIGH], known=False) is RiskLevel.HIGH


@given(severities, st.booleans())
def test_neither_order_nor_repetition_nor_info_changes_it(firing: list[Severity], known: bool) -> None:
    level = risk_level(firing, known)
    assert level is risk_level(list(reversed(firing)) * 2, known)
    assert level is risk_level([each for each in firing if each is not Severity.INFO], known)


@given(severities, st.sampled_from(list(Severity)), st.booleans())
def test_one_more_alert_never_lowers_it(firing: list[Severity], more: Severity, known: bool) -> None:
    order = list(RiskLevel)[::-1]
    assert order.index(risk_level([*firing, more], known)) >= order.index(risk_level(firing, known))
