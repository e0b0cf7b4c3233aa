from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.rules.condition import Condition
from alerts.rules.rule import Playbook, Rule, render_title
from alerts.rules.title import Title, formatted
from alerts.values import Kind
from tests.unit.readings_by_hand import SMALL


def rule_titled(text):
    return Rule("some-rule", Condition.parse("a.flag", SMALL), Title.parse(text, SMALL))


@pytest.mark.parametrize(
    ("kind", "value", "style", "text"),
    [
        (Kind.RATIO, -0.25, "", "-25%"),
        (Kind.RATIO, -0.2544, "", "-25.4%"),
        (Kind.RATIO, -0.25, "abs", "25%"),
        (Kind.RATIO, 0.12, "signed", "+12%"),
        (Kind.RATIO, -0.12, "signed", "-12%"),
        (Kind.RATIO, 0, "signed", "0%"),
        (Kind.RATIO, -0.0001, "", "0%"),
        (Kind.RATIO, 12.5, "", "1,250%"),
        (Kind.DAYS, 1, "", "1 day"),
        (Kind.DAYS, 0, "", "0 days"),
        (Kind.DAYS, 16, "", "16 days"),
        (Kind.COUNT, 1200, "", "1,200"),
        (Kind.COUNT, 3, "signed", "+3"),
        (Kind.FLAG, True, "", "yes"),
        (Kind.FLAG, False, "", "no"),
        (Kind.MONEY, "1234.50", "", "1234.50"),
        (Kind.TEXT, "red\x1b[31m\n", "", "red[31m"),
        (Kind.TEXT, "x" * 500, "", "x" * 80),
        *((kind, None, "", "n/a") for kind in Kind),
    ],
)
def test_a_value_reads_as_people_write_its_kind(kind, value, style, text):
    assert formatted(kind, value, style) == text


def test_a_title_fills_its_metrics_and_keeps_its_braces():
    rule = rule_titled("{{x}} {a.ratio:abs} of {a.count}, {b.ratio}")
    assert render_title(rule, {"a.ratio": -0.5, "a.count": 3}) == "{x} 50% of 3, n/a"
    assert rule.title == "{{x}} {a.ratio:abs} of {a.count}, {b.ratio}"
    assert rule.heading.metrics == ("a.ratio", "a.count", "b.ratio")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a.rato}", 'unknown metric "a.rato": did you mean "a.ratio"?'),
        ("{}", "empty placeholder"),
        ("{a.ratio", "a single {"),
        ("a.ratio}", "a single {"),
        ("{a.ratio!r}", "has no !r"),
        ("{a.ratio:.2f}", "unknown style"),
        ("{a.ratio:singed}", 'did you mean "signed"?'),
        ("{a.word:abs}", "has no sign"),
        ("{a.ratio.__class__}", "unknown metric"),
        ("{a.ratio[0]}", "unknown metric"),
        ("two\nlines", "one line"),
        ("", "one line"),
        ("x" * 201, "one line"),
    ],
)
def test_a_placeholder_that_could_not_be_filled_is_refused(text, message):
    with pytest.raises(ValueError, match=r".") as refusal:
        Title.parse(text, SMALL)
    assert message in str(refusal.value)


anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.lists(st.integers())
    | st.binary()
)


@given(st.dictionaries(st.sampled_from(sorted(SMALL)), anything))
def test_a_title_never_raises_whatever_the_values(values):
    titled = rule_titled("{a.ratio:abs} {b.ratio:signed} {a.count} {a.days} {a.flag} {a.money} {a.word}")
    assert render_title(titled, values)


def test_a_title_that_cannot_be_filled_is_the_rule_s_id():
    assert render_title(rule_titled("{a.ratio}"), {"a.ratio": "not a number"}) == "some-rule"
    assert render_title(rule_titled("{a.money}"), {"a.money": Unprintable()}) == "some-rule"


class Unprintable:
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("playbook", "renewal", "due", "written"),
    [
        (Playbook("", 14, True), None, 114, "14d or renewal"),
        (Playbook("", 14, True), 110, 110, "14d or renewal"),
        (Playbook("", 14, True), 120, 114, "14d or renewal"),
        (Playbook("", 14, True), 99, 114, "14d or renewal"),
        (Playbook("", 14, False), 101, 114, "14d"),
        (Playbook("", None, True), 130, 130, "renewal"),
        (Playbook("", None, True), None, None, "renewal"),
        (Playbook(), 101, None, None),
    ],
)
def test_work_is_due_after_its_days_or_at_the_renewal_if_that_is_earlier(playbook, renewal, due, written):
    assert playbook.due_day(100, renewal) == due
    assert playbook.due == written
