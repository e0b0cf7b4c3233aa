"""Rules out of YAML: what is read, and what is refused with its line and column."""

from __future__ import annotations

from fractions import Fraction
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alert import Severity
from alerts.configuration import read_configuration
from alerts.metrics.catalogue import CATALOGUE
from alerts.rules.bands import overlap
from alerts.rules.durations import DAY_US, parse_duration, spelt_duration
from alerts.rules.language import parse
from alerts.rules.loader import default_rules
from alerts.rules.rule import Mode, Playbook
from consumers.errors import ConfigurationError
from tests.unit.readings_by_hand import SMALL

SHIPPED = tuple(rule.id for rule in default_rules(CATALOGUE))


def read(text, catalogue=CATALOGUE):
    return read_configuration(dedent(text), "rules.yaml", catalogue)


def refusal(text):
    with pytest.raises(ConfigurationError) as refused:
        read(text)
    return str(refused.value)


FULL = """
    rules:
      - id: seats-bleeding
        when: seats.utilization < 0.40 and logins.change_28d <= -0.10
        resolve_when: seats.utilization >= 0.55
        for: 3d
        keep_firing_for: 1d12h
        cooldown: 2w
        severity: high
        title: "Seats down to {seats.utilization}"
        playbook: {action: Call them., due: 14d or renewal}
        labels: {team: cs, region: "1"}
        floors: {logins.change_28d: 5}
        mode: shadow
"""


def test_every_field_of_a_rule_is_read():
    (rule,) = read(FULL).rules
    assert rule.id == "seats-bleeding"
    assert rule.when.text == "seats.utilization < 0.40 and logins.change_28d <= -0.10"
    assert rule.resolve_when is not None
    assert rule.resolve_when.text == "seats.utilization >= 0.55"
    assert (rule.for_us, rule.keep_firing_for_us, rule.cooldown_us) == (
        3 * DAY_US,
        3 * DAY_US // 2,
        14 * DAY_US,
    )
    assert rule.severity is Severity.HIGH
    assert rule.title == "Seats down to {seats.utilization}"
    assert rule.playbook == Playbook("Call them.", 14, or_renewal=True)
    assert rule.labels == {"team": "cs", "region": "1"}
    assert rule.floors == {"logins.change_28d": 5}
    assert rule.mode is Mode.SHADOW
    assert rule.line == 3
    assert rule.metrics == ("seats.utilization", "logins.change_28d")


def test_a_rule_describes_itself_as_its_file_writes_it():
    (rule,) = read(FULL).rules
    assert rule.describe() == {
        "id": "seats-bleeding",
        "when": "seats.utilization < 0.40 and logins.change_28d <= -0.10",
        "resolve_when": "seats.utilization >= 0.55",
        "for": "3d",
        "keep_firing_for": "1d12h",
        "cooldown": "14d",
        "severity": "high",
        "title": "Seats down to {seats.utilization}",
        "playbook": {"action": "Call them.", "due": "14d or renewal"},
        "labels": {"team": "cs", "region": "1"},
        "floors": {"logins.change_28d": 5},
        "mode": "shadow",
        "metrics": ["seats.utilization", "logins.change_28d"],
        "version": rule.version,
    }


def test_only_an_id_and_a_condition_are_needed():
    (rule,) = read("rules: [{id: no-champion, when: champion.departed}]").rules
    assert (rule.title, rule.severity, rule.for_us, rule.mode) == (
        "No champion",
        Severity.MEDIUM,
        0,
        Mode.LIVE,
    )
    assert rule.playbook.due is None


def test_a_condition_may_be_folded_over_lines():
    (rule,) = read("rules:\n  - id: x\n    when: >\n      champion.departed\n      and qbr.missing\n").rules
    assert rule.when.text == "champion.departed and qbr.missing"


def test_without_a_list_of_rules_the_shipped_ones_hold():
    for text in (
        "",
        "# nothing\n",
        "internal_users: [bot]\n",
        "extends: defaults\n",
        "extends: defaults\nrules: []\n",
    ):
        assert tuple(rule.id for rule in read(text).rules) == SHIPPED


def test_an_own_list_stands_alone():
    assert [rule.id for rule in read("rules: [{id: x, when: qbr.missing}]").rules] == ["x"]
    assert read("rules: []").rules == ()


def test_an_own_rule_may_have_a_shipped_id_without_the_shipped_fields():
    (rule,) = read("rules: [{id: login-decline, when: qbr.missing}]").rules
    assert rule.playbook.action == ""


def test_extending_changes_removes_and_adds():
    rules = read(
        """
        extends: defaults
        rules:
          - {id: login-decline, when: logins.change_28d <= -0.30, floors: {logins.change_28d: 5}}
          - {id: stickiness-low, disabled: true}
          - {id: own, when: qbr.missing}
        """
    ).rules
    by_id = {rule.id: rule for rule in rules}
    assert set(by_id) == {*SHIPPED, "own"} - {"stickiness-low"}
    changed = by_id["login-decline"]
    assert changed.when.text == "logins.change_28d <= -0.30"
    assert changed.floors == {"logins.change_28d": 5}
    assert changed.severity is Severity.HIGH  # kept from the shipped one
    assert changed.playbook.due == "7d"


def test_an_own_rule_can_be_disabled_and_still_spoken_of():
    text = """
        rules: [{id: x, when: qbr.missing, disabled: true}]
        destinations: [{name: s, type: slack, url: "https://hooks.example/x"}]
        routes: [{match: {rule: x}, to: s}]
    """
    assert read(text).rules == ()


def rule_with(field):
    return f"rules:\n  - id: x\n    when: seats.utilization < 0.4\n    {field}\n"


REFUSED = [
    (
        "rules:\n  - id: x\n    when: logins.chnge_28d < 0\n",
        '3:11: unknown metric "logins.chnge_28d": did you mean',
    ),
    ('rules:\n  - id: x\n    when: "qbr.missing and qbr.mising"\n', '3:28: unknown metric "qbr.mising"'),
    (
        "rules:\n  - id: x\n    when: >\n      qbr.missing and\n      qbr.mising\n",
        '3: unknown metric "qbr.mising"',
    ),
    ("rules:\n  - id: x\n    when: 'champion.status == \"silnt\"'\n", '3:31: unknown word "silnt"'),
    ("rules:\n  - id: x\n    when: true\n", "3:11: when must be text"),
    ("rules:\n  - id: x\n    when:\n", "3:10: when must be text"),
    ("rules:\n  - id: x\n    when: ''\n", "3:11: when is empty"),
    ("rules:\n  - id: x\n", "2:5: a rule needs `when`"),
    ("rules:\n  - when: qbr.missing\n", "2:5: a rule needs an id"),
    (
        "rules:\n  - id: x\n    wehn: qbr.missing\n",
        '3:5: unknown field "wehn" in a rule: did you mean "when"?',
    ),
    ("extends: defaults\nrules: [{id: my-own-thing, severity: low}]\n", "2:9: a rule needs `when`"),
    ("rules:\n  - id: 'a b'\n    when: qbr.missing\n", '2:9: "a b" is no id'),
    ("rules:\n  - id: 7\n    when: qbr.missing\n", "2:9: id must be text (put it in quotes)"),
    (rule_with("severty: high"), '4:5: unknown field "severty" in a rule: did you mean "severity"?'),
    (rule_with("severity: hihg"), '4:15: unknown severity "hihg": did you mean "high"?'),
    (rule_with("severity: [high]"), "4:15: severity must be text"),
    (rule_with("for: 3 days"), "4:10: for: a length of time looks like"),
    (rule_with("for: 90"), "4:10: for must be text"),
    (rule_with("cooldown: 600w"), "4:15: cooldown: longer than ten years"),
    (rule_with("mode: shadwo"), 'unknown mode "shadwo": did you mean "shadow"?'),
    (rule_with("disabled: maybe"), "4:15: disabled must be true or false"),
    (rule_with("title: '{seats.utilisation}'"), "4:12: title: unknown metric"),
    (rule_with("title: 'x {'"), "4:12: title: a single {"),
    (rule_with("playbook: call them"), "4:15: playbook must hold fields"),
    (rule_with("playbook: {acton: x}"), '4:16: unknown field "acton" in `playbook`: did you mean "action"?'),
    (rule_with("playbook: {due: 12h}"), "4:21: due counts whole days"),
    (rule_with("playbook: {due: soon}"), "4:21: due looks like 7d"),
    (rule_with("playbook: {due: renewal or renewal}"), "4:21: due looks like 7d"),
    (rule_with("labels: {team: 1}"), "4:20: team must be text"),
    (rule_with("labels: {'a b': x}"), '4:14: "a b" is no label'),
    (rule_with(f"labels: {{{', '.join(f'a{n}: x' for n in range(21))}}}"), "more than 20 labels"),
    (rule_with("floors: {logins.chnge_28d: 5}"), '4:14: unknown metric "logins.chnge_28d"'),
    (rule_with("floors: {logins.change_28d: 5}"), "4:14: the rule does not read logins.change_28d"),
    (rule_with("floors: {seats.utilization: 5}"), "4:14: seats.utilization has no floor"),
    (
        "rules:\n  - id: x\n    when: logins.change_28d < 0\n    floors: {logins.change_28d: 0}\n",
        "4:33: logins.change_28d must be a whole number from 1 to 1,000,000",
    ),
    (rule_with("for: 1d\n    for: 2d"), '5:5: "for" is here twice, first in line 4'),
    (rule_with("yes: x"), "4:5: a field in a rule must be a plain name"),
    (rule_with("resolve_when: seats.utilization > 0.3"), "at seats.utilization = 0.35: leave a gap"),
    (rule_with("resolve_when: seats.utilization < 0.2"), "4:19: resolve_when holds while when does"),
    (
        "rules:\n  - {id: x, when: qbr.missing}\n  - {id: x, when: qbr.missing}\n",
        '3:10: rule "x" is here twice, first in',
    ),
    ("rules: {id: x}\n", "1:8: rules must be a list"),
    ("rules:\n  - champion.departed\n", "2:5: a rule must hold fields"),
    ("- id: x\n", "1:1: the file must hold fields"),
    ("ruls: []\n", '1:1: unknown field "ruls" in the file: did you mean "rules"?'),
    ("extends: default\n", '1:10: unknown extends "default": did you mean "defaults"?'),
    (
        "extends: defaults\nrules: [{id: login-decl, severity: low}]\n",
        'shipped rule "login-decl": did you mean "login-',
    ),
    ("rules: [{id: gone-dark, disabled: true}]\n", "`extends: defaults` keeps the shipped ones"),
    ("rules: [\n", "not YAML: "),
    ("rules:\n  - id: x\n\twhen: y\n", "3:1: not YAML: "),
    ("a: &a [1]\nrules: *a\n", "2:8: not YAML: aliases are not read"),
    ("rules: []\n---\nrules: []\n", "not YAML: but found another document"),
    ("rules: []\n# \x07\n", "2: a character that YAML does not allow"),
    ("rules: " + "[" * 40 + "]" * 40 + "\n", "nested too deeply"),
    ("rules: !!python/object/apply:os.system ['true']\n", "1:8: not YAML: tags are not read"),
    ("rules: []\n#" + "x" * (1 << 20), "1: larger than 1,024 KiB"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[each[1][:50] for each in REFUSED])
def test_a_bad_file_is_refused_whole_with_its_line_and_the_nearest_name(text, message):
    told = refusal(text)
    assert message in told
    assert told.startswith("rules.yaml:")
    assert told.count("\n") <= 1


def test_an_inherited_rule_s_problem_says_where_the_own_part_stands():
    told = refusal("extends: defaults\nrules:\n  - {id: login-decline, when: logins.change_28 < 0}\n")
    assert told.startswith(
        'rules.yaml:3:31: unknown metric "logins.change_28": did you mean "logins.change_28d"?'
    )


def test_several_problems_are_told_as_the_first_and_a_count():
    assert refusal("ruls: []\nrouts: []\nextends: x\n") == (
        'rules.yaml:1:1: unknown field "ruls" in the file: did you mean "rules"?\n'
        "(and 2 more: bellwether rules check rules.yaml)"
    )


@given(st.text(max_size=200))
def test_no_text_does_more_than_be_refused(text):
    try:
        read_configuration(text, "rules.yaml", CATALOGUE)
    except ConfigurationError as refused:
        assert str(refused).startswith("rules.yaml:")  # noqa: PT017 - most texts are refused, some are read


lines = st.sampled_from(FULL.splitlines())


@given(st.lists(lines, max_size=12), st.integers(0, 4))
def test_nor_do_the_lines_of_a_rule_in_any_order(chosen, indent):
    try:
        read_configuration("\n".join(line[indent:] for line in chosen), "rules.yaml", CATALOGUE)
    except ConfigurationError as refused:
        assert str(refused).startswith("rules.yaml:")  # noqa: PT017 - as above


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("90s", 90_000_000),
        ("15m", 900_000_000),
        ("6h", DAY_US // 4),
        ("3d", 3 * DAY_US),
        ("2w", 14 * DAY_US),
        ("1d12h", 3 * DAY_US // 2),
        ("0s", 0),
    ],
)
def test_a_duration_is_read(text, microseconds):
    assert parse_duration(text) == microseconds


@pytest.mark.parametrize(
    "text", ["", "3", "d", "3 d", "12h1d", "1.5d", "-1d", "3D", "1y", "9999999999d", "٣d"]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="looks like 90s"):
        parse_duration(text)


@given(st.integers(0, 10 * 365 * 86_400).map(lambda seconds: seconds * 1_000_000))
def test_a_duration_that_is_spelt_reads_back(microseconds):
    assert parse_duration(spelt_duration(microseconds)) == microseconds


@pytest.mark.parametrize(
    ("when", "clear", "witness"),
    [
        ("a.ratio < 0.4", "a.ratio > 0.55", None),
        ("a.ratio < 0.4", "a.ratio >= 0.4", None),
        ("a.ratio <= 0.4", "a.ratio >= 0.4", Fraction(2, 5)),
        ("a.ratio < 0.4", "a.ratio > 0.3", Fraction(7, 20)),
        ("a.ratio < 0.4", "a.ratio < 0.2", Fraction(-4, 5)),
        ("a.ratio > 0.8", "a.ratio > 0.9", Fraction(19, 10)),
        ("0.1 <= a.ratio <= 0.9", "not 0 < a.ratio < 1", None),
        ("a.ratio == 1", "a.ratio != 1", None),
        ("a.days > 3", "a.days < 4", None),
        ("a.days > 3", "a.days < 5", Fraction(4)),
        ("a.days >= 2.5", "a.days < 3", None),
        ("a.ratio < 0.4", "b.ratio < 0.4", None),
        ("a.flag", "a.flag", None),
    ],
)
def test_hysteresis_bands_that_overlap_are_found_with_a_value(when, clear, witness):
    found = overlap(parse(when, SMALL), parse(clear, SMALL))
    assert (found is None) == (witness is None)
    assert witness is None or found is not None
    if witness is not None:
        assert found == witness


edges = st.integers(-3, 3).map(str)
halves = st.builds(
    lambda op, edge: f"a.ratio {op} {edge}", st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), edges
)


@given(halves, halves)
def test_bands_that_pass_never_hold_together_at_any_value_between(when, clear):
    first, second = parse(when, SMALL), parse(clear, SMALL)
    both = [
        Fraction(n, 4)
        for n in range(-20, 21)
        if all(eval(text, {"a": type("", (), {"ratio": Fraction(n, 4)})}) for text in (when, clear))
    ]
    assert (overlap(first, second) is not None) == bool(both)
