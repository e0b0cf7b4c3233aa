"""Small numbers: ``significant()`` against the definition of the test in whole numbers, and in the rule language."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alerts.alert import Verdict
from alerts.configuration import problems_in
from alerts.metrics.catalogue import CATALOGUE
from alerts.rules.bands import overlap
from alerts.rules.condition import Condition
from alerts.rules.explain import explain
from alerts.rules.expression import And, Comparison, Not, Op, Or, Significance
from alerts.rules.language import ConditionError, parse
from alerts.rules.rule import Rule
from alerts.rules.significance import TABLE, is_significant, p_value, significant
from alerts.rules.title import Title
from alerts.signals import signals
from alerts.values import Status, Values
from tests.unit.metric_streams import TODAY, Stream, readings_of
from tests.unit.readings_by_hand import SMALL

CHANGE = replace(SMALL["a.ratio"], counts=("current", "previous"))
KNOWN = {**SMALL, "a.ratio": CHANGE}

# decimals as a rule writes them, a half of a half of a half among them: there p can be the level itself
levels = st.sampled_from(
    [Fraction(each, 1000) for each in (1, 10, 50, 100, 125, 200, 250, 375, 499)]
) | st.integers(1, 499_999_999).map(lambda number: Fraction(number, 10**9))
counts = st.integers(0, 200)


def chance(current, previous):
    """The two-sided p-value by its definition: all outcomes of the throws that are no likelier than this one."""
    total = current + previous
    ways = [math.comb(total, side) for side in range(total + 1)]
    return Fraction(sum(each for each in ways if each <= ways[current]), 2**total)


@given(counts, counts, levels)
@example(0, 3, Fraction(1, 4))  # p is 2/8
@example(1, 6, Fraction(1, 8))  # p is 16/128
@example(0, 0, Fraction(499, 1000))
def test_a_change_is_significant_when_no_likelier_ones_together_are_at_most_the_level(
    current, previous, level
):
    expected = chance(current, previous) <= level
    assert is_significant(current, previous, level) is expected
    assert is_significant(previous, current, level) is expected
    assert p_value(current, previous) == float(chance(current, previous))


@given(st.lists(st.tuples(counts, counts), max_size=20), levels)
def test_many_accounts_are_told_what_each_is_told(pairs, level):
    current, previous = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    expected = [chance(*pair) <= level for pair in pairs]
    assert significant(current, previous, level).tolist() == expected


def most_significant(total, level):
    """The largest smaller count that is significant, by adding up binomial coefficients; -1 for none."""
    edge = level.numerator << total
    ways = found = 1
    count = 0
    while 2 * level.denominator * found <= edge:
        ways = ways * (total - count) // (count + 1)
        found += ways
        count += 1
    return count - 1


@pytest.mark.parametrize("level", [Fraction(1, 20), Fraction(1, 100), Fraction(1, 10**9), Fraction(49, 100)])
@pytest.mark.parametrize("total", [1_000, 1_024, 4_999, 20_011])
def test_the_edge_is_exact_for_large_totals_too(total, level):
    edge = most_significant(total, level)
    assert is_significant(edge, total - edge, level)
    assert not is_significant(edge + 1, total - edge - 1, level)


def found_edge(total, level):
    """The same by asking."""
    low, high = -1, total // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_significant(middle, total - middle, level) else (low, middle)
    return low


def most_significant_in_50_digits(total, level):
    """The same where whole numbers are too long: what 50 digits round off decides nothing here."""
    with localcontext() as context:
        context.prec = 50
        edge = Decimal(level.numerator) / level.denominator / 2
        term = found = Decimal(2) ** -total
        count = 0
        while found <= edge:
            term = term * (total - count) / (count + 1)
            found += term
            count += 1
    return count - 1


def test_beyond_the_table_the_edge_goes_on_without_a_step():
    level = Fraction(1, 20)
    edges = [found_edge(total, level) for total in range(TABLE - 2, TABLE + 4)]
    assert {later - earlier for earlier, later in pairwise(edges)} <= {0, 1}
    assert edges[-1] == most_significant_in_50_digits(TABLE + 3, level)
    assert most_significant_in_50_digits(5_000, level) == most_significant(5_000, level)


def test_beyond_the_table_accounts_are_told_one_by_one_and_p_is_near():
    many = 10 * TABLE
    # one and a half, and three standard deviations of the difference
    near, far = int(1.5 * math.isqrt(2 * many)) // 2, 3 * math.isqrt(2 * many) // 2
    current = np.array([many - near, many - far, many, 0], dtype=np.int64)
    previous = np.array([many + near, many + far, many, 5], dtype=np.int64)
    assert significant(current, previous, Fraction(1, 20)).tolist() == [False, True, False, False]
    assert p_value(many - near, many + near) == pytest.approx(math.erfc(1.5 / math.sqrt(2)), rel=1e-2)
    assert p_value(many - far, many + far) == pytest.approx(math.erfc(3 / math.sqrt(2)), rel=1e-2)


# --- the language


def leaf(level="0.05"):
    return Significance(CHANGE, Fraction(level))


def test_it_is_a_clause_like_any_other():
    assert parse("significant(a.ratio, 0.05)", KNOWN) == leaf()
    assert parse("not significant( a.ratio ,0.010 )", KNOWN) == Not(leaf("0.01"))
    fallen = Comparison(CHANGE, Op.LE, Fraction(-1, 5))
    assert parse("a.ratio <= -0.2 and significant(a.ratio, 0.05) or a.flag", KNOWN) == Or(
        (And((fallen, leaf())), parse("a.flag", KNOWN))
    )
    assert Condition.parse("significant(a.ratio, 0.1) or a.flag", KNOWN).metrics == ("a.ratio", "a.flag")


@given(levels, st.booleans(), st.booleans())
def test_the_canonical_text_reads_back_as_the_same_tree(level, negated, joined):
    tree = Significance(CHANGE, level)
    tree = Not(tree) if negated else tree
    tree = And((Or((tree, parse("a.flag", KNOWN))), parse("b.flag", KNOWN))) if joined else tree
    assert parse(str(tree), KNOWN) == tree
    assert Condition.parse(str(tree), KNOWN) == Condition.of(tree)


REFUSED = [
    ("significant(a.rato, 0.05)", 13, 'unknown metric "a.rato": did you mean "a.ratio"?'),
    ("significant(b.ratio, 0.05)", 13, "b.ratio is no change of two counts: significant() can test a.ratio"),
    (
        "signifcant(a.ratio, 0.05)",
        1,
        'no functions in a condition but significant(): did you mean "significant"?',
    ),
    ("a.flag and max(a.ratio, 0.05)", 12, "no functions in a condition but significant()"),
    ("significant(a.ratio)", 1, "wants a metric and a level"),
    ("significant(a.ratio, 0.05, 1)", 1, "wants a metric and a level"),
    ("significant()", 1, "wants a metric and a level"),
    ("significant(a.ratio, 0)", 22, "above 0 and below 0.5"),
    ("significant(a.ratio, 0.5)", 22, "above 0 and below 0.5"),
    ("significant(a.ratio, -0.05)", 22, "above 0 and below 0.5"),
    ("significant(a.ratio, 5)", 22, "above 0 and below 0.5"),
    ("significant(a.ratio, 5%)", 23, "write 20% as 0.20"),
    ("significant(a.ratio, .05)", 22, "write a digit before the point"),
    ("significant(a.ratio, true)", 22, "above 0 and below 0.5"),
    ('significant(a.ratio, "0.05")', 22, "above 0 and below 0.5"),
    ("significant(a.ratio, b.ratio)", 22, "above 0 and below 0.5"),
    ("significant(0.05, a.ratio)", 13, "wants a metric first"),
    ("significant(significant(a.ratio, 0.05), 0.05)", 13, "write it alone"),
    ("significant(a.ratio, 0.05) == true", 1, "write it alone, or after `not`"),
    ("significant(a.ratio, 0.05)(a.flag)", 1, "no functions"),
    ("a.significant(a.ratio, 0.05)", 1, "no functions"),
    ("significant", 1, "unknown metric"),
    ("a.ratio < .5", 11, "write a digit before the point"),
]


@pytest.mark.parametrize(("text", "column", "message"), REFUSED, ids=[each[0] for each in REFUSED])
def test_what_it_cannot_test_is_refused_with_its_column(text, column, message):
    with pytest.raises(ConditionError) as refusal:
        parse(text, KNOWN)
    assert message in refusal.value.message
    assert refusal.value.offset + 1 == column


def test_a_file_with_a_wrong_level_is_told_file_line_and_column(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text(
        "rules:\n"
        "  - id: fell\n"
        "    when: logins.change_28d <= -0.2 and significant(logins.change_28d, 0.95)\n"
        "  - id: wrong\n"
        "    when: significant(activity.user_days_change_28d, 0.05)\n"
    )
    first, second = map(str, problems_in(file, CATALOGUE))
    assert first == f"{file}:3:72: the level is a number above 0 and below 0.5, as in 0.05"
    assert second.startswith(f"{file}:5:23: activity.user_days_change_28d is no change of two counts")
    assert "significant() can test logins.change_28d" in second


def test_a_resolve_when_beside_a_test_is_not_held_against_it():
    when, clear = (parse(text, KNOWN) for text in ("significant(a.ratio, 0.05)", "a.ratio > -0.1"))
    assert overlap(when, clear) is None


# --- judged


class Counted:
    """Readings of one change, with the counts that it is of."""

    def __init__(self, rows):
        current, previous, status = zip(*rows, strict=True)
        self.size = len(rows)
        later, earlier = np.array(current, dtype=np.int64), np.array(previous, dtype=np.int64)
        self._values = Values(
            later - earlier,
            np.maximum(earlier, 1),
            np.array(status, dtype=np.uint8),
            parts={"current": later, "previous": earlier},
        )

    def values(self, metric, floor):
        return self._values


def rule_of(text):
    return Rule("by-hand", Condition.parse(text, KNOWN), Title.parse("by hand", KNOWN))


@given(st.lists(st.tuples(counts, counts, st.sampled_from(list(Status))), min_size=1, max_size=8), levels)
def test_it_is_three_valued_as_a_comparison_is(rows, level):
    readings = Counted(rows)
    number = Significance(CHANGE, level)
    lone, negated, beside = (
        Condition.of(tree).judge(readings)
        for tree in (number, Not(number), And((number, Comparison(CHANGE, Op.LT, Fraction(0)))))
    )
    for place, (current, previous, status) in enumerate(rows):
        told = None
        if status in {Status.OK, Status.NOT_APPLICABLE}:
            told = status is Status.OK and chance(current, previous) <= level
        assert (bool(lone.true[place]), bool(lone.false[place])) == (told is True, told is False)
        assert (bool(negated.true[place]), bool(negated.false[place])) == (told is False, told is True)
        fell = told is True and current < previous
        assert bool(beside.true[place]) == fell
        assert bool(beside.false[place]) == (told is not None and not fell)
    stale = [status is Status.STALE_SOURCE for *_, status in rows]
    assert [bool(lone.stale is not None and lone.stale[place]) for place in range(len(rows))] == stale


@given(
    st.lists(st.tuples(counts, counts, st.sampled_from(list(Status))), min_size=1, max_size=5),
    levels,
    st.data(),
)
def test_an_explanation_agrees_with_the_sweep(rows, level, data):
    readings, place = Counted(rows), data.draw(st.integers(0, len(rows) - 1))
    rule = Rule("r", Condition.of(Not(Significance(CHANGE, level))), Title.parse("t", KNOWN))
    explained = explain(rule, readings, place)
    assert explained == explain(rule, readings, place, rule.judge(readings))
    assert explained.verdict == Verdict(int(rule.judge(readings).verdict[place]))


def test_an_explanation_tells_p_level_and_counts():
    [leaf] = explain(rule_of("significant(a.ratio, 0.05)"), Counted([(60, 100, Status.OK)]), 0).leaves
    assert (leaf.metric, leaf.clause) == ("a.ratio", "significant(a.ratio, 0.05)")
    assert (leaf.op, leaf.threshold, leaf.value, leaf.gap, leaf.result) == (
        "significant",
        0.05,
        -0.4,
        None,
        "true",
    )
    assert leaf.clears == "not significant(a.ratio, 0.05)"
    assert leaf.test == {
        "p_value": float(chance(60, 100)),
        "level": 0.05,
        "counts": {"current": 60, "previous": 100},
    }


def test_a_test_of_what_does_not_stand_tells_nothing():
    [leaf] = explain(rule_of("significant(a.ratio, 0.05)"), Counted([(1, 5, Status.LOW_VOLUME)]), 0).leaves
    assert (leaf.status, leaf.result, leaf.test) == ("low_volume", "unknown", None)


# --- three users on holiday


def fallen_by_a_quarter(users):
    """Each logged in four times in the four weeks before, and in the last four weeks three times."""
    stream = Stream().active("a", users, [TODAY - 55, TODAY - 48, TODAY - 41, TODAY - 34])
    return readings_of(stream.active("a", users, [TODAY - 20, TODAY - 13, TODAY - 6]).lines, as_of=TODAY)


@pytest.mark.parametrize(("users", "verdict"), [(6, Verdict.FALSE), (60, Verdict.TRUE)])
def test_a_fall_of_a_quarter_is_chance_in_a_small_account_and_not_in_a_large_one(users, verdict):
    readings = fallen_by_a_quarter([f"u{number}" for number in range(users)])
    text = "logins.change_28d <= -0.20 and significant(logins.change_28d, 0.05)"
    rule = Rule("fell", Condition.parse(text, CATALOGUE), Title.parse("t", CATALOGUE))
    assert explain(rule, readings, 0).verdict is verdict
    [told] = signals(readings, 0, [rule])
    assert (told["value"], told["threshold"], told["gap"]) == (-0.25, -0.2, -0.05)
    assert told["breached"] is (verdict is Verdict.TRUE)
    counted = {"current": 3 * users, "previous": 4 * users}
    assert told["test"]["counts"] == counted
    assert told["test"]["p_value"] == pytest.approx(float(chance(*counted.values())))
