"""Kleene's logic in vectors, against a second evaluator that knows only Fractions and truth tables."""

from __future__ import annotations

import operator
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alerts.alert import Severity, Verdict
from alerts.rules.condition import Condition
from alerts.rules.explain import explain, gap, grounds, threshold
from alerts.rules.expression import And, Comparison, Not, Op, Or, leaves
from alerts.rules.rule import Rule
from alerts.rules.title import Title
from alerts.values import Kind, Status, Values
from tests.unit.readings_by_hand import SMALL, ByHand

OPS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "in": lambda value, words: value in words,
    "not in": lambda value, words: value not in words,
}
NOT_OK = [each for each in Status if each is not Status.OK]

# few thresholds and few values, so that they often meet exactly
edges = st.sampled_from([Fraction(-1, 5), Fraction(0), Fraction(1, 10), Fraction(3, 5), Fraction(1)])
wholes = st.sampled_from([Fraction(-1), Fraction(0), Fraction(3), Fraction(30)])
orders = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
words = st.sampled_from(["red", "yellow", "green"])

VALUES = {
    "a.ratio": edges,
    "b.ratio": edges,
    "a.count": wholes,
    "a.days": wholes,
    "a.flag": st.booleans(),
    "b.flag": st.booleans(),
    "a.word": words,
}


def comparison(name):
    metric = SMALL[name]
    if metric.kind is Kind.FLAG:
        return st.booleans().map(lambda wanted: Comparison(metric, Op.EQ, wanted))
    if metric.kind is Kind.TEXT:
        one = st.builds(
            lambda op, word: Comparison(metric, Op(op), word), st.sampled_from(["==", "!="]), words
        )
        some = st.builds(
            lambda op, each: Comparison(metric, Op(op), tuple(each)),
            st.sampled_from(["in", "not in"]),
            st.lists(words, min_size=1, max_size=3),
        )
        return one | some
    thresholds = edges if metric.kind is Kind.RATIO else wholes
    return st.builds(lambda op, edge: Comparison(metric, Op(op), edge), orders, thresholds)


comparisons = st.sampled_from(sorted(VALUES)).flatmap(comparison)
trees = st.recursive(
    comparisons,
    lambda inner: (
        inner.map(Not)
        | st.lists(inner, min_size=2, max_size=3).map(lambda each: And(tuple(each)))
        | st.lists(inner, min_size=2, max_size=3).map(lambda each: Or(tuple(each)))
    ),
    max_leaves=6,
)
accounts = st.fixed_dictionaries({name: values | st.sampled_from(NOT_OK) for name, values in VALUES.items()})
portfolios = st.lists(accounts, min_size=1, max_size=8)


def readings_of(portfolio):
    return ByHand({name: [account[name] for account in portfolio] for name in VALUES})


def by_the_table(node, account, *, not_applicable_is=False):
    """True, False or None (unknown) for one account, by METRICS section 1 and nothing else."""
    match node:
        case Comparison(metric=metric, op=op, threshold=edge):
            value = account[metric.name]
            if isinstance(value, Status):
                return not_applicable_is if value is Status.NOT_APPLICABLE else None
            return bool(OPS[op.value](value, edge))
        case Not(operand):
            inner = by_the_table(operand, account, not_applicable_is=not_applicable_is)
            return None if inner is None else not inner
        case And(operands):
            inner = [by_the_table(each, account, not_applicable_is=not_applicable_is) for each in operands]
            return False if False in inner else None if None in inner else True
        case Or(operands):
            inner = [by_the_table(each, account, not_applicable_is=not_applicable_is) for each in operands]
            return True if True in inner else None if None in inner else False


def stale_makes_it_unknown(node, account):
    if by_the_table(node, account) is not None:
        return False
    match node:
        case Comparison(metric=metric):
            return account[metric.name] is Status.STALE_SOURCE
        case Not(operand):
            return stale_makes_it_unknown(operand, account)
        case And(operands) | Or(operands):
            return any(stale_makes_it_unknown(each, account) for each in operands)


def word(verdict):
    return {None: Verdict.UNKNOWN, False: Verdict.FALSE, True: Verdict.TRUE}[verdict]


def rule_of(tree, clear=None, **more):
    return Rule(
        id="by-hand",
        when=Condition.of(tree),
        heading=Title.parse("by hand", SMALL),
        resolve_when=None if clear is None else Condition.of(clear),
        **more,
    )


@given(trees, portfolios)
def test_a_sweep_over_many_accounts_says_what_the_truth_tables_say_of_each(tree, portfolio):
    judgement = rule_of(tree).judge(readings_of(portfolio))
    assert judgement.verdict.dtype == np.int8
    assert judgement.verdict.tolist() == [word(by_the_table(tree, account)) for account in portfolio]
    assert judgement.clear is None


@given(trees, portfolios)
def test_false_for_want_of_the_thing_is_false_that_would_be_unknown_if_it_were_only_not_known(
    tree, portfolio
):
    judgement = rule_of(tree).judge(readings_of(portfolio))
    expected = [
        by_the_table(tree, account) is False and by_the_table(tree, account, not_applicable_is=None) is None
        for account in portfolio
    ]
    assert judgement.because_not_applicable.tolist() == expected


@given(trees, portfolios)
def test_stale_is_unknown_with_a_stale_source_among_the_causes(tree, portfolio):
    judgement = rule_of(tree).judge(readings_of(portfolio))
    assert judgement.stale.tolist() == [stale_makes_it_unknown(tree, account) for account in portfolio]


@given(trees, trees, portfolios)
def test_resolve_when_has_its_own_verdict_and_its_own_staleness_counts_too(tree, clear, portfolio):
    judgement = rule_of(tree, clear).judge(readings_of(portfolio))
    assert judgement.clear is not None
    assert judgement.clear.tolist() == [word(by_the_table(clear, account)) for account in portfolio]
    assert judgement.stale.tolist() == [
        stale_makes_it_unknown(tree, account) or stale_makes_it_unknown(clear, account)
        for account in portfolio
    ]


@given(trees, portfolios)
def test_judging_changes_nothing_and_gives_the_same_twice(tree, portfolio):
    readings = readings_of(portfolio)
    kept = {name: readings.values(name) for name in VALUES}
    readings.values = lambda name, floor=None: kept[name]
    before = {name: (each.numerator.copy(), each.status.copy()) for name, each in kept.items()}
    rule = rule_of(tree)
    first, second = rule.judge(readings), rule.judge(readings)
    assert first.verdict.tolist() == second.verdict.tolist()
    for name, (numerator, status) in before.items():
        assert kept[name].numerator.tolist() == numerator.tolist()
        assert kept[name].status.tolist() == status.tolist()


@given(trees)
def test_the_canonical_text_reads_back_as_the_same_tree(tree):
    once = Condition.parse(str(tree), SMALL)
    assert Condition.parse(str(once.root), SMALL) == once


@given(trees, portfolios)
def test_the_canonical_text_judges_like_the_tree(tree, portfolio):
    readings = readings_of(portfolio)
    read = Condition.parse(str(tree), SMALL).judge(readings)
    masks = Condition.of(tree).judge(readings)
    assert read.true.tolist() == masks.true.tolist()
    assert read.false.tolist() == masks.false.tolist()


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(1, 2**63 - 1),
    st.decimals(-(10**9) + 1, 10**9 - 1, places=9),
    orders,
)
def test_numbers_of_any_size_compare_exactly(numerator, denominator, edge, op):
    class One:
        size = 1

        def values(self, metric, floor):
            return Values(
                np.array([numerator], dtype=np.int64),
                np.array([denominator], dtype=np.int64),
                np.array([Status.OK], dtype=np.uint8),
            )

    exact = Fraction(edge)
    masks = Condition.of(Comparison(SMALL["a.ratio"], Op(op), exact)).judge(One())
    assert masks.true.tolist() == [OPS[op](Fraction(numerator, denominator), exact)]


def test_a_fall_of_exactly_twenty_percent_is_one():
    readings = ByHand({"a.ratio": [Fraction(-5, 25), Fraction(-1999999, 10000000), Status.LOW_VOLUME]})
    rule = Rule("r", Condition.parse("a.ratio <= -0.20", SMALL), Title.parse("t", SMALL))
    assert rule.judge(readings).verdict.tolist() == [Verdict.TRUE, Verdict.FALSE, Verdict.UNKNOWN]


def test_no_accounts_have_no_verdicts():
    judgement = rule_of(Condition.parse("a.ratio < 1 and a.word == 'red' or not a.flag", SMALL).root).judge(
        _NoAccounts()
    )
    assert judgement.verdict.tolist() == []
    assert judgement.because_not_applicable.tolist() == []


class _NoAccounts:
    size = 0

    def values(self, metric, floor):
        none = np.zeros(0, dtype=np.int64)
        return Values(none, none, np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=object))


def test_a_rule_reads_a_metric_with_the_floor_that_it_asks_for():
    readings = ByHand({"a.ratio": [0.5], "b.ratio": [0.5]})
    tree = Condition.parse("a.ratio < 1 and b.ratio < 1", SMALL).root
    rule_of(tree, floors={"a.ratio": 5}).judge(readings)
    assert readings.asked == {"a.ratio": 5, "b.ratio": None}


@given(trees, portfolios, st.data())
def test_an_explanation_agrees_with_the_sweep_and_with_every_truth_table_leaf(tree, portfolio, data):
    index = data.draw(st.integers(0, len(portfolio) - 1))
    account = portfolio[index]
    rule, readings = rule_of(tree), readings_of(portfolio)
    explanation = explain(rule, readings, index)
    assert explanation == explain(rule, readings, index, rule.judge(readings))
    assert explanation.verdict == word(by_the_table(tree, account))
    told = {None: "unknown", False: "false", True: "true"}
    pairs = list(leaves(tree))
    assert len(explanation.leaves) == len(pairs)
    for leaf, (comparison, negated) in zip(explanation.leaves, pairs, strict=True):
        value = account[comparison.metric.name]
        clause = Not(comparison) if negated else comparison
        assert leaf.clause == str(clause)
        assert leaf.result == told[by_the_table(clause, account)]
        assert leaf.comparison == told[by_the_table(comparison, account)]
        assert leaf.negated is negated
        assert leaf.status == (value if isinstance(value, Status) else Status.OK).word
        numeric = isinstance(comparison.threshold, Fraction) and not isinstance(value, Status)
        assert leaf.gap == (float(value - comparison.threshold) if numeric else None)
        assert (leaf.clears is not None) == (leaf.result == "true")


@given(trees, portfolios, st.data())
def test_the_grounds_of_a_true_condition_alone_make_it_true(tree, portfolio, data):
    index = data.draw(st.integers(0, len(portfolio) - 1))
    account = portfolio[index]
    found = grounds(rule_of(tree), readings_of(portfolio), index)
    assert bool(found) == (by_the_table(tree, account) is True)
    if found:
        assert told_by(tree, {each: by_the_table(each, account) for each in found}) is True


def told_by(node, known):
    """The verdict where of all comparisons only ``known`` can be told."""
    match node:
        case Comparison():
            return known.get(node)
        case Not(operand):
            inner = told_by(operand, known)
            return None if inner is None else not inner
        case And(operands) | Or(operands):
            inner = [told_by(each, known) for each in operands]
            decides = isinstance(node, Or)
            return decides if decides in inner else None if None in inner else not decides


def test_a_clause_under_a_not_is_told_as_it_reads():
    rule = rule_of(Condition.parse("not a.days < 30 and not b.ratio < 0.5", SMALL).root)
    readings = ByHand({"a.days": [44], "b.ratio": [Status.NOT_APPLICABLE]})
    first, second = explain(rule, readings, 0).describe()["conditions"]
    assert (first["clause"], first["result"], first["comparison"]) == ("not a.days < 30", "true", "false")
    assert first["clears"] == "a.days < 30"
    assert (second["status"], second["result"], second["comparison"]) == ("not_applicable", "true", "false")


def test_of_several_comparisons_with_a_metric_a_reader_sees_the_one_that_holds():
    rule = rule_of(Condition.parse("a.days > 90 or a.days < 7", SMALL).root)
    readings = ByHand({"a.days": [3]})
    seen = [threshold(rule, "a.days"), threshold(rule, "a.days", grounds(rule, readings, 0))]
    assert [each.plain_threshold for each in seen if each is not None] == [90, 7]


def test_an_explanation_shows_value_threshold_gap_and_what_would_clear_it():
    rule = rule_of(
        Condition.parse("0 <= a.days <= 90 and not b.ratio < 0.60 and a.word in ('red')", SMALL).root
    )
    told = explain(
        rule, ByHand({"a.days": [44], "b.ratio": [Status.UNKNOWN], "a.word": ["red"]}), 0
    ).describe()
    assert told["verdict"] == "unknown"
    assert [
        (
            each["metric"],
            each["op"],
            each["threshold"],
            each["value"],
            each["result"],
            each["gap"],
            each["clears"],
        )
        for each in told["conditions"]
    ] == [
        ("a.days", ">=", 0, 44, "true", 44.0, "a.days < 0"),
        ("a.days", "<=", 90, 44, "true", -46.0, "a.days > 90"),
        ("b.ratio", "<", 0.6, None, "unknown", None, None),
        ("a.word", "in", ["red"], "red", "true", None, 'a.word not in ("red")'),
    ]


def test_the_threshold_that_a_reader_of_a_metric_wants_is_the_rule_s_own_and_not_one_under_a_not():
    rule = rule_of(Condition.parse("not a.ratio < -1 and a.ratio <= -0.25 and a.flag", SMALL).root)
    found = threshold(rule, "a.ratio")
    assert found is not None
    assert (found.op, found.plain_threshold) == (Op.LE, -0.25)
    values = ByHand({"a.ratio": [Fraction(-1, 2), Status.LOW_VOLUME]}).values("a.ratio")
    assert gap(found, values, 0) == -0.25
    assert gap(found, values, 1) is None
    assert threshold(rule, "b.ratio") is None


def test_the_version_is_the_meaning_and_not_the_spelling():
    def version(text, **more):
        return Rule("r", Condition.parse(text, SMALL), Title.parse("t", SMALL), **more).version

    plain = version("a.ratio <= -0.2")
    assert plain == version("(-0.200 >= a.ratio)")
    assert plain == Rule("r", Condition.parse("a.ratio <= -0.2", SMALL), Title.parse("other", SMALL)).version
    others = {
        version("a.ratio <= -0.21"),
        version("a.ratio < -0.2"),
        version("a.ratio <= -0.2", for_us=1),
        version("a.ratio <= -0.2", severity=Severity.HIGH),
        version("a.ratio <= -0.2", floors={"a.ratio": 5}),
    }
    assert len(others | {plain}) == 6
