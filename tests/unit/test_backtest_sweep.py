"""Sweeps: one rule with other thresholds, as a table and as a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.backtest.chart import draw_sweep
from alerts.backtest.outcomes import Course, Outcomes
from alerts.backtest.sweep import Sweep, describe_sweep, marked, parse_sweep
from alerts.backtest.trial import trial
from alerts.configuration import load_configuration
from alerts.metrics.catalogue import CATALOGUE
from alerts.rules.loader import default_rules
from alerts.rules.rule import Rule
from consumers.days import Calendar
from consumers.errors import ConfigurationError
from consumers.history import read_history
from tests.unit.metric_streams import TODAY, Stream

RULES = default_rules(CATALOGUE)
SVG = "{http://www.w3.org/2000/svg}"


def thresholds(text: str, rules: tuple[Rule, ...] = RULES) -> list[str]:
    return [str(float(each)) for each in parse_sweep(text, rules).thresholds]


@pytest.fixture
def rule(tmp_path: Path) -> Any:
    """A function that reads one rule as a rule file has it."""

    def read(**fields: Any) -> tuple[Rule, ...]:
        path = tmp_path / "rules.yaml"
        path.write_text(yaml.safe_dump({"rules": [{"id": "r", "severity": "low", "title": "t", **fields}]}))
        return load_configuration(path, CATALOGUE).rules

    return read


# --- what is asked for


def test_nine_thresholds_unless_said_otherwise() -> None:
    assert thresholds("login-decline=-0.1..-0.5") == [
        *("-0.1", "-0.15", "-0.2", "-0.25", "-0.3", "-0.35", "-0.4", "-0.45", "-0.5")
    ]


def test_a_step_or_a_number_of_them() -> None:
    assert thresholds("login-decline=-0.5..-0.1/0.2") == ["-0.5", "-0.3", "-0.2", "-0.1"]
    assert thresholds("login-decline=-0.3..-0.6:4") == ["-0.3", "-0.4", "-0.5", "-0.6"]


def test_the_rules_own_threshold_is_among_them() -> None:
    assert thresholds("login-decline=-0.1..-0.5:2") == ["-0.1", "-0.2", "-0.5"]


def test_days_and_counts_are_whole() -> None:
    assert thresholds("gone-dark=7..28:4") == ["7.0", "14.0", "21.0", "28.0"]
    assert thresholds("gone-dark=7..10") == ["7.0", "8.0", "9.0", "10.0"]


def test_only_the_first_number_is_varied() -> None:
    sweep = parse_sweep("gone-dark=7..28:2", RULES)
    assert [str(variant.when.root) for variant in sweep.variants] == [
        "activity.dormant_days >= 7 and activity.users_before >= 3",
        "activity.dormant_days >= 14 and activity.users_before >= 3",
        "activity.dormant_days >= 28 and activity.users_before >= 3",
    ]


def test_an_equal_comparison_later_in_the_rule_keeps_its_threshold(rule: Any) -> None:
    rules = rule(
        when='account.tier == "x" and not (seats.unused >= 3 or seats.active >= 3) or seats.unused >= 3'
    )
    assert str(parse_sweep("r=4..5", rules).variants[0].when.root) == (
        'account.tier == "x" and not (seats.unused >= 4 or seats.active >= 3) or seats.unused >= 3'
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("login-decline", "not understood"),
        ("login-decline=0.1", "not understood"),
        ("login-declin=-0.1..-0.5", "login-decline"),
        ("champion-departed=1..2", "compares nothing with a number"),
        ("login-decline=-0.1..-0.1", "two thresholds at least"),
        ("login-decline=-0.1..-0.5/0", "two thresholds at least"),
        ("login-decline=-0.1..-0.5:1", "two thresholds at least"),
        ("gone-dark=14.1..14.4:2", "whole numbers"),
        ("login-decline=-0.2..-0.2000001", "decimals of six places"),
        ("login-decline=-0.1..-0.5/0.001", "would try 401 thresholds"),
        ("login-decline=-0.1..-0.5/0.6", "would try 1 thresholds"),
    ],
)
def test_what_makes_no_sweep_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        parse_sweep(text, RULES)


def test_a_threshold_at_which_the_rule_would_resolve_at_once_is_refused(rule: Any) -> None:
    rules = rule(when="logins.change_28d <= -0.20", resolve_when="logins.change_28d >= -0.10")
    assert len(parse_sweep("r=-0.2..-0.5", rules).variants) == 9
    with pytest.raises(ConfigurationError, match="resolve_when"):
        _ = parse_sweep("r=-0.05..-0.5", rules).variants


# --- what it finds


@pytest.fixture(scope="module")
def swept() -> Any:
    """Four accounts that fade to three, two, one and none of their four people, one after the other churning."""
    stream = Stream()
    for account, left in {"a": 3, "b": 2, "c": 1, "d": 0}.items():
        stream.active(account, ("u1", "u2", "u3", "u4"), range(TODAY - 200, TODAY - 100))
        stream.active(account, ("u1", "u2", "u3", "u4")[:left], range(TODAY - 100, TODAY + 100))
    stream.active("e", ("u1", "u2", "u3", "u4"), range(TODAY - 200, TODAY + 100))
    sweep = parse_sweep("login-decline=-0.1..-0.9:5", RULES)
    fates = Outcomes({account: Course((TODAY - 40,)) for account in "bd"})
    found = trial(read_history(stream.lines, Calendar()), sweep.variants, Calendar(), fates)
    return sweep, sweep.scores(found)


def test_a_stricter_threshold_takes_fewer_accounts(swept: Any) -> None:
    assert [
        (float(threshold), score.alerts, score.true_alerts, len(score.leads)) for threshold, score in swept[1]
    ] == [
        (-0.1, 4, 2, 2),
        (-0.2, 4, 2, 2),
        (-0.3, 3, 2, 2),
        (-0.5, 3, 2, 2),
        (-0.7, 2, 1, 1),
        (-0.9, 1, 1, 1),
    ]


def test_a_stricter_threshold_alerts_later(swept: Any) -> None:
    leads = [max(score.leads) for _, score in swept[1]]
    assert leads == sorted(leads, reverse=True)
    assert leads[0] > leads[-1]


def test_a_sweep_gives_what_the_rule_with_that_threshold_gives(swept: Any, rule: Any) -> None:
    sweep, scores = swept
    own = dict(scores)[sweep.own]
    assert (own.alerts, own.rule) == (4, "login-decline=-0.2")
    assert [name for name, _ in marked(sweep, scores)][:3] == ["-0.1", "-0.2 *", "-0.3"]
    told = describe_sweep(sweep, scores)
    assert (told["metric"], told["op"], told["own_threshold"]) == ("logins.change_28d", "<=", -0.2)
    assert [point["threshold"] for point in told["points"]] == [float(each) for each in sweep.thresholds]


# --- the picture


def test_the_picture_is_svg_with_a_line_and_a_band_for_each_figure(swept: Any) -> None:
    root = ElementTree.fromstring(draw_sweep(*swept))
    assert root.tag == f"{SVG}svg"
    lines = root.findall(f"{SVG}polyline")
    assert len(lines) == len(root.findall(f"{SVG}polygon")) == 3
    assert all(len(line.attrib["points"].split()) == 6 for line in lines)
    texts = {text.text for text in root.findall(f"{SVG}text")}
    assert {"login-decline", "recall", "precision", "alerts", "−10 %", "−90 %", "now −20 %"} <= texts


def test_everything_lies_inside_the_picture(swept: Any) -> None:
    root = ElementTree.fromstring(draw_sweep(*swept))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for shape in (*root.findall(f"{SVG}polyline"), *root.findall(f"{SVG}polygon")):
        for point in shape.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
    for text in root.findall(f"{SVG}text"):
        assert 0 <= float(text.attrib["y"]) <= height


def test_names_of_lines_do_not_touch(swept: Any) -> None:
    root = ElementTree.fromstring(draw_sweep(*swept))
    right = [text for text in root.findall(f"{SVG}text") if float(text.attrib["x"]) > 630]
    heights = sorted(float(text.attrib["y"]) for text in right)
    assert all(low - high >= 12 for high, low in pairwise(heights))


def test_a_threshold_without_an_alert_leaves_a_gap_and_text_stays_text() -> None:
    from dataclasses import replace

    from alerts.alert import Severity
    from alerts.backtest.score import Score

    sweep = parse_sweep("login-decline=-0.1..-0.3:3", RULES)
    odd = replace(sweep.rule, id="<b>&")
    scores = [
        (threshold, Score("r", Severity.LOW, alerts, 0, 0, (), 700, 0.1))
        for threshold, alerts in zip(sweep.thresholds, (3, 0, 2), strict=True)
    ]
    root = ElementTree.fromstring(
        draw_sweep(Sweep(odd, sweep.comparison, sweep.thresholds, Fraction(9)), scores)
    )
    lines = [line.attrib["points"] for line in root.findall(f"{SVG}polyline")]
    assert len(lines) == 3  # two pieces of precision, one of alerts, none of recall
    assert root.findall(f"{SVG}text")[0].text == "<b>&"
