"""Risk level: the worst of what fires, and what silence means."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alerts.alert import Severity
from alerts.metrics.catalogue import CATALOGUE
from alerts.risk import RiskLevel, indicated, risk_level
from tests.unit.metric_streams import TODAY, Stream, readings_of

severities = st.lists(st.sampled_from(list(Severity)))


def test_the_worst_firing_alert_gives_its_name_to_the_account() -> None:
    assert risk_level([Severity.MEDIUM, Severity.CRITICAL, Severity.LOW], known=True) is RiskLevel.CRITICAL


def test_nothing_fires_and_something_can_be_told_is_low() -> None:
    assert risk_level([], known=True) is RiskLevel.LOW


def test_nothing_fires_and_nothing_can_be_told_is_unknown() -> None:
    assert risk_level([], known=False) is RiskLevel.UNKNOWN


def test_any_leading_indicator_tells_and_no_attribute_does() -> None:
    stream = Stream().add("account.updated", "a", TODAY - 9, owner="ana", size="small")
    stream.add("seats.changed", "b", TODAY - 9, purchased=5)
    readings = readings_of(stream.lines, as_of=TODAY)
    known = dict(zip(readings.portfolio.account_ids, indicated(readings).tolist(), strict=True))
    assert known == {"a": False, "b": True}


def test_leading_indicators_are_those_of_section_2_but_for_attributes() -> None:
    leading = {name for name, metric in CATALOGUE.items() if metric.leads}
    assert {"logins.change_28d", "champion.status", "renewal.days_to", "sentiment.rating"} <= leading
    assert not {"account.owner", "engagement.score", "health.band", "ttfv.days"} & leading


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
