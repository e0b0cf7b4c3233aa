from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.rules.condition import Condition
from alerts.rules.expression import And, Comparison, Not, Op, Or
from alerts.rules.language import ConditionError, parse
from tests.unit.readings_by_hand import SMALL


def leaf(name, op, threshold):
    return Comparison(SMALL[name], Op(op), threshold)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a.ratio <= -0.20", leaf("a.ratio", "<=", Fraction(-1, 5))),
        ("-0.20 >= a.ratio", leaf("a.ratio", "<=", Fraction(-1, 5))),
        ("a.ratio < 0.1", leaf("a.ratio", "<", Fraction(1, 10))),
        ("a.count == 7", leaf("a.count", "==", Fraction(7))),
        ("a.flag", leaf("a.flag", "==", True)),
        ("a.flag == true", leaf("a.flag", "==", True)),
        ("a.flag != true", leaf("a.flag", "==", False)),
        ("false == a.flag", leaf("a.flag", "==", False)),
        ("not a.flag", Not(leaf("a.flag", "==", True))),
        ('a.word == "red"', leaf("a.word", "==", "red")),
        ("a.word in ('red', 'green')", leaf("a.word", "in", ("red", "green"))),
        ('a.word in ("red")', leaf("a.word", "in", ("red",))),
        ('a.word not in ("red",)', leaf("a.word", "not in", ("red",))),
        ('a.text != "größe über"', leaf("a.text", "!=", "größe über")),
        ("  a.flag  ", leaf("a.flag", "==", True)),
        ("a.money >= 1234.50", leaf("a.money", ">=", Fraction(2469, 2))),
    ],
)
def test_a_line_is_read_as_it_is_meant(text, tree):
    assert parse(text, SMALL) == tree


def test_a_chain_is_one_comparison_for_each_pair():
    assert parse("0 <= a.days <= 90", SMALL) == And(
        (leaf("a.days", ">=", Fraction(0)), leaf("a.days", "<=", Fraction(90)))
    )


def test_and_binds_closer_than_or_and_brackets_are_kept():
    either = parse("a.flag and b.flag or a.count > 1", SMALL)
    both = parse("a.flag and (b.flag or a.count > 1)", SMALL)
    assert isinstance(either, Or)
    assert isinstance(both, And)
    assert str(both) == "a.flag and (b.flag or a.count > 1)"


def test_two_spellings_of_one_meaning_have_one_canonical_text():
    one = parse("(a.flag==true and b.flag) and (-0.2>=a.ratio)", SMALL)
    other = parse("a.flag and b.flag and a.ratio <= -0.200", SMALL)
    assert one == other
    assert str(one) == "a.flag and b.flag and a.ratio <= -0.2"


def test_a_number_is_the_decimal_that_was_written_and_never_a_binary_float():
    assert parse("a.ratio < 0.1", SMALL).threshold == Fraction(1, 10) != Fraction(0.1)


@given(
    st.decimals(min_value=-(10**9) + 1, max_value=10**9 - 1, places=9, allow_nan=False, allow_infinity=False)
)
def test_every_decimal_survives_reading_and_writing(number):
    text = f"a.ratio <= {number:f}"
    tree = parse(text, SMALL)
    assert tree.threshold == Fraction(number)
    assert parse(str(tree), SMALL) == tree


REFUSED = [
    ("", 1, "empty"),
    ("a.rato < 1", 1, 'unknown metric "a.rato": did you mean "a.ratio"?'),
    ("a.flag and b.flg", 12, 'did you mean "b.flag"?'),
    ("nonsense_without_any_relation < 1", 1, "unknown metric"),
    ("a.ratio", 1, "stands alone"),
    ("a.word", 1, "stands alone"),
    ("true", 1, "must read a metric"),
    ("not 5", 5, "must read a metric"),
    ("a.flag and 1", 12, "must read a metric"),
    ('a.ratio < "low"', 11, "compare it with a number"),
    ("a.ratio < true", 11, "compare it with a number"),
    ("a.days in (1, 2)", 12, "quoted words"),
    ("a.flag == 1", 11, "true or false"),
    ("a.flag < true", 10, "has no order"),
    ("a.word == 3", 11, "compare it with quoted text"),
    ('a.word < "red"', 10, "==, !=, in or not in"),
    ('a.word == ("red", "green")', 11, "==, !=, in or not in"),
    ('a.word == "rde"', 11, 'unknown word "rde" for a.word: did you mean "red"?'),
    ('a.word in ("red", "grean")', 19, 'did you mean "green"?'),
    ("a.word in ()", 11, "empty"),
    ('a.word in "red"', 11, "words in brackets"),
    ('"red" in a.word', 1, "metric comes first"),
    ('a.text in ("x") == true', 1, "cannot be part of a chain"),
    ("a.count == 2.5", 12, "whole number"),
    ("a.ratio < b.ratio", 11, "not with another metric"),
    ("1 < 2", 1, "must be a metric"),
    ("a.ratio = 1", 9, "write =="),
    ("a.flag && b.flag", 8, "write `and`"),
    ("a.flag || b.flag", 8, "write `or`"),
    ("!a.flag", 1, "write `not`"),
    ("a.ratio < 20%", 13, "write 20% as 0.20"),
    ("a.ratio ≤ 1", 9, "write <="),
    ("a.ratio < −1", 11, "plain -"),
    ("a.flag and\nb.flag", 11, "one line"),
    ("a.ratio < 1_000", 12, "right after a value"),
    ("a.ratio < 1e5", 12, "right after a value"),
    ("a.ratio < 0x10", 12, "right after a value"),
    ("a.ratio < 1.2.3", 14, "right after a value"),
    ("a.ratio < 1or a.flag", 12, "right after a value"),
    ("a.ratio < 28d", 13, "right after a value"),
    ('a.word == b"red"', 12, "no prefix"),
    ('a.word == "r\\x65d"', 11, "backslash"),
    ('a.word == "red', 11, "not closed"),
    ('a.word in ("red" "green")', 18, "comma is missing"),
    ("a.ratio < 1234567890", 11, "9 digits"),
    ("a.ratio < 0.1234567890", 11, "9 digits"),
    ("a.ratio - 1 < 2", 1, "no arithmetic"),
    ("-a.ratio < 2", 1, "no arithmetic"),
    ("a.ratio < --2", 11, "no arithmetic"),
    ("abs(a.ratio) < 2", 1, "no functions"),
    ("a.flag is true", 1, "write =="),
    ("a.flag == True", 11, "small letters"),
    ("a.flag == None", 11, "small letters"),
    ("(a.flag and b.flag) == true", 2, "cannot be compared"),
    ("a.flag if b.flag else a.flag", 1, "not part of the language"),
    ("lambda: 1", 7, "unexpected"),
    ("a.ratio <", 10, "ends too early"),
    ("(a.flag", None, ""),
    ("a.flag b.flag", None, "cannot be read here"),
    ("ａ.flag", 1, "unexpected"),
    ('"ü" == a.flag and a.rato < 1', 1, "true or false"),
    ('a.text == "üü" and a.rato < 1', 20, "unknown metric"),
    ("(" * 300 + "a.flag" + ")" * 300, None, ""),
    ("not " * 100 + "a.flag", None, "nested too deeply"),
    (" or ".join(["a.flag"] * 51), 1, "at most 50 comparisons"),
    ("a.flag" + " " * 995, 1001, "at most 1,000 characters"),
]


@pytest.mark.parametrize(("text", "column", "message"), REFUSED, ids=[each[0][:40] for each in REFUSED])
def test_what_is_not_the_language_is_refused_with_its_column(text, column, message):
    with pytest.raises(ConditionError) as refusal:
        parse(text, SMALL)
    assert message in refusal.value.message
    assert "\n" not in str(refusal.value)
    if column is not None:
        assert refusal.value.offset + 1 == column
        assert str(refusal.value).startswith(f"column {column}: ")


@given(st.text(alphabet="ab.ratiocountflag <>=!()notandor0123456789\"'-,\n\\éü%{}[]:;#@\x00", max_size=80))
def test_no_text_whatsoever_does_more_than_be_refused(text):
    try:
        Condition.parse(text, SMALL)
    except ConditionError as refusal:
        assert 0 <= refusal.offset <= len(text)  # noqa: PT017 - most texts are refused, some are read


@given(st.text(max_size=60))
def test_nor_does_text_of_any_alphabet(text):
    with pytest.raises(ConditionError):
        parse(text, SMALL)
