"""What would clear it, against accounts to which the change is really made, one login, seat or day after the other.

The metrics are counted here a second time, from an account's few numbers and with fractions; what a change is called
("logins", "active seats") says which of these numbers it moves.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from datetime import date
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.metrics.catalogue import CATALOGUE
from alerts.rules.clearing import smallest_change
from alerts.rules.condition import Condition
from alerts.rules.explain import explain
from alerts.rules.expression import And, Comparison, Not, Op, Or, Significance
from alerts.rules.levers import LEVERS
from alerts.rules.reading import Reading
from alerts.rules.rule import Rule
from alerts.rules.title import Title
from alerts.signals import signals
from alerts.values import Kind, Metric, Status, Values
from tests.unit.metric_streams import TODAY, Stream, readings_of
from tests.unit.test_rule_significance import chance

OPS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def coming(name, kind, words=()):
    """A metric that the catalogue may not have yet."""
    return CATALOGUE.get(name) or Metric(name, kind, "0", "to come", lambda *_: None, words=words)


METRICS = dict(CATALOGUE) | {
    each.name: each
    for each in (
        coming("sponsor.days_since_login", Kind.DAYS),
        coming("features.breadth", Kind.RATIO),
        coming("features.abandoned_count", Kind.COUNT),
        coming("escalations.open", Kind.COUNT),
        coming("integrations.lost", Kind.COUNT),
        coming("sentiment.rating", Kind.TEXT, ("red", "yellow", "green")),
        coming("health.band", Kind.TEXT, ("red", "yellow", "green", "unknown")),
    )
}

small, some = st.integers(0, 12), st.integers(1, 12)
ACCOUNT = {
    "current": small,
    "previous": some,
    "peak_above": small,
    "users_current": some,
    "users_previous": some,
    "user_days": small,
    "monthly": some,
    "seats": some,
    "active": small,
    "active_before": small,
    "core": some,
    "in_use": small,
    "abandoned": small,
    "escalations": small,
    "lost": small,
    "renewal": st.integers(0, 20),
    "sponsor": small,
    "champion_change": small,
    "rating": st.sampled_from(["red", "yellow", "green"]),
    "band": st.sampled_from(["red", "yellow", "green", "unknown"]),
}
accounts = st.fixed_dictionaries(ACCOUNT).map(
    lambda each: (
        each | {"in_use": min(each["in_use"], each["core"]), "peak": each["current"] + each["peak_above"]}
    )
)

# name: (what of an account it is, its parts)
COUNTED = {
    "logins.change_28d": (
        lambda a: Fraction(a["current"] - a["previous"], a["previous"]),
        ("current", "previous"),
    ),
    "logins.current_28d": (lambda a: Fraction(a["current"]), ()),
    "logins.per_user_current": (lambda a: Fraction(a["current"], a["users_current"]), ()),
    "logins.per_active_user_change_28d": (
        lambda a: (
            Fraction(a["current"], a["users_current"]) / Fraction(a["previous"], a["users_previous"]) - 1
        ),
        ("current", "previous", "users_current", "users_previous"),
    ),
    "logins.drawdown_180d": (lambda a: Fraction(a["current"], max(a["peak"], 1)) - 1, ("current", "peak")),
    "engagement.dau_mau": (lambda a: Fraction(a["user_days"], 30 * a["monthly"]), ()),
    "seats.utilization": (lambda a: Fraction(a["active"], a["seats"]), ("active", "purchased")),
    "seats.active": (lambda a: Fraction(a["active"]), ()),
    "seats.purchased": (lambda a: Fraction(a["seats"]), ()),
    "seats.unused": (lambda a: Fraction(max(a["seats"] - a["active"], 0)), ("active", "purchased")),
    "seats.utilization_change_28d": (
        lambda a: Fraction(a["active"] - a["active_before"], a["seats"]),
        ("current",),
    ),
    "features.breadth": (lambda a: Fraction(a["in_use"], a["core"]), ()),
    "features.abandoned_count": (lambda a: Fraction(a["abandoned"]), ()),
    "escalations.open": (lambda a: Fraction(a["escalations"]), ()),
    "integrations.lost": (lambda a: Fraction(a["lost"]), ()),
    "renewal.days_to": (lambda a: Fraction(a["renewal"]), ()),
    "sponsor.days_since_login": (lambda a: Fraction(a["sponsor"]), ()),
    "champion.days_since_change": (lambda a: Fraction(a["champion_change"]), ()),
}
WORDS = {"sentiment.rating": "rating", "health.band": "band"}
# The metric's own denominator, which a fraction in lowest terms has lost.
UNDER = {
    "logins.change_28d": lambda a: a["previous"],
    "logins.per_user_current": lambda a: a["users_current"],
    "logins.per_active_user_change_28d": lambda a: a["previous"] * a["users_current"],
    "logins.drawdown_180d": lambda a: max(a["peak"], 1),
    "engagement.dau_mau": lambda a: 30 * a["monthly"],
    "seats.utilization": lambda a: a["seats"],
    "seats.utilization_change_28d": lambda a: a["seats"],
    "features.breadth": lambda a: a["core"],
}


def reading_of(name, account):
    if name in WORDS:
        return Reading(0, 1, Status.OK, account[WORDS[name]])
    count, parts = COUNTED[name]
    under = UNDER.get(name, lambda a: 1)(account)
    over = count(account) * under
    assert over.denominator == 1
    called = {"purchased": "seats"}
    if name.startswith("seats."):
        called["current"] = "active"
    told = {part: account[called.get(part, part)] for part in parts}
    return Reading(int(over), under, Status.OK, None, told)


def waited(account, days):
    longer = {name: account[name] + days for name in ("sponsor", "champion_change")}
    return account | longer | {"renewal": account["renewal"] - days}


def changed(account, text, by):
    """The account after what the text says was done; what it does not know is a mistake."""
    words = text.split()
    if words[0] == "wait":
        return waited(account, by)
    if text == "a login by the sponsor":
        return account | {"sponsor": 0}
    if text in {"a yellow rating", "a green rating"}:
        return account | {"rating": words[1]}
    if text.startswith("health back in the "):
        return account | {"band": words[4]}
    assert str(by) in words
    what, step = {
        "more login": ("current", 1),
        "fewer login": ("current", -1),
        "more user-day": ("user_days", 1),
        "more active": ("active", 1),
        "fewer active": ("active", -1),
        "more seat": ("seats", 1),
        "fewer seat": ("seats", -1),
        "more core": ("in_use", 1),
        "abandoned core": ("abandoned", -1),
        "resolve escalation": ("escalations", -1),
        "reconnect or": ("lost", -1),
        "a renewal": ("renewal", 1),
    }[_gist(words)]
    after = account | {what: account[what] + step * by}
    assert after[what] >= (1 if what == "seats" else 0), "without a seat there is nothing to tell of"
    return after | {"peak": max(after["peak"], after["current"])}


def _gist(words):
    if words[0] in {"reconnect", "a"}:
        return " ".join(words[:2])
    first, second = [word for word in words if not word.isdigit()][:2]
    plural = {"logins": "login", "seats": "seat", "escalations": "escalation", "user-days": "user-day"}
    return f"{first} {plural.get(second, second)}"


def holds(node, account):
    match node:
        case Comparison(metric=metric, op=op, threshold=edge):
            if metric.name in WORDS:
                word = account[WORDS[metric.name]]
                return (
                    (word in edge) is (op is Op.IN)
                    if isinstance(edge, tuple)
                    else (word == edge) is (op is Op.EQ)
                )
            return OPS[op.value](COUNTED[metric.name][0](account), edge)
        case Significance(level=level):
            return chance(account["current"], account["previous"]) <= level
        case Not(operand):
            return not holds(operand, account)
        case And(operands):
            return all(holds(each, account) for each in operands)
        case Or(operands):
            return any(holds(each, account) for each in operands)


def clause_of(name):
    metric = METRICS[name]
    if metric.kind is Kind.TEXT:
        words = st.lists(st.sampled_from(metric.words), min_size=1, max_size=2, unique=True).map(tuple)
        return st.builds(
            lambda op, each: Comparison(metric, op, each), st.sampled_from([Op.IN, Op.NOT_IN]), words
        )
    orders = st.sampled_from([Op(op) for op in OPS])
    if metric.kind is Kind.RATIO:
        edges = st.sampled_from(
            [Fraction(each, 20) for each in (-20, -8, -4, -3, 0, 2, 4, 8, 10, 12, 16, 20, 30)]
        )
    else:
        edges = st.integers(0, 12).map(Fraction)
    return st.builds(lambda op, edge: Comparison(metric, op, edge), orders, edges)


comparisons = st.sampled_from(sorted(COUNTED | WORDS)).flatmap(clause_of)
tests = st.sampled_from([Fraction(1, 4), Fraction(1, 10), Fraction(1, 20)]).map(
    lambda level: Significance(METRICS["logins.change_28d"], level)
)
clauses = comparisons | tests


@given(clauses, accounts)
def test_the_change_turns_the_clause_one_unit_less_does_not_and_without_an_answer_there_is_none(
    clause, account
):
    before = holds(clause, account)
    change = smallest_change(clause, reading_of(clause.metric.name, account))
    if change is None:
        nothing_turns(clause, account)
        return
    told = change.describe()
    if told["by"] is None:
        assert holds(clause, changed(account, told["text"], None)) is not before
        return
    assert told["by"] >= 1
    for fewer in range(1, told["by"]):
        assert holds(clause, changed(account, change.option.told(fewer), fewer)) is before
    assert holds(clause, changed(account, told["text"], told["by"])) is not before


def nothing_turns(clause, account):
    """No number of any of its units does."""
    name = clause.metric.name
    for move in (option for option in LEVERS[name] if hasattr(option, "many")):
        for units in range(1, 60):
            try:
                after = changed(account, move.told(units), units)
            except AssertionError:
                break  # there are no more of them
            if ends_there(name, account, after):
                break
            assert holds(clause, after) is holds(clause, account)


def ends_there(name, account, after):
    match name:
        case "features.breadth":
            return after["in_use"] > after["core"]
        case "engagement.dau_mau":
            return after["user_days"] > 30 * after["monthly"]
        case "logins.drawdown_180d":
            return after["current"] > account["peak"]
        case "renewal.days_to":
            return after["renewal"] < 0
    return False


@pytest.mark.parametrize("status", [each for each in Status if each is not Status.OK])
def test_a_value_that_does_not_stand_cannot_be_moved(status):
    clause = Comparison(METRICS["escalations.open"], Op.GE, Fraction(1))
    assert smallest_change(clause, Reading(3, 1, status)) is None


# --- whole conditions


class OneAccount:
    size = 1

    def __init__(self, account, missing=()):
        self._account, self._missing = account, missing

    def values(self, metric, floor):
        reading = reading_of(metric, self._account)
        text = None if reading.text is None else np.array([reading.text], dtype=object)
        status = Status.UNKNOWN if metric in self._missing else Status.OK
        parts = {name: np.array([count]) for name, count in reading.parts.items()}
        return Values(
            np.array([reading.numerator]),
            np.array([reading.denominator]),
            np.array([status], np.uint8),
            text,
            parts,
        )


def rule_of(when, resolve_when=None):
    clear = None if resolve_when is None else Condition.of(resolve_when)
    return Rule("by-hand", Condition.of(when), Title.parse("by hand", METRICS), resolve_when=clear)


trees = st.recursive(
    clauses,
    lambda inner: (
        inner.map(Not)
        | st.lists(inner, min_size=2, max_size=3).map(lambda each: And(tuple(each)))
        | st.lists(inner, min_size=2, max_size=3).map(lambda each: Or(tuple(each)))
    ),
    max_leaves=5,
)


def after_all(account, clears):
    for step in clears["steps"]:
        account = changed(account, step["text"], step["by"])
    return account


@given(trees, accounts)
def test_after_what_is_told_the_condition_is_false(tree, account):
    told = explain(rule_of(tree), OneAccount(account), 0).describe()
    if not holds(tree, account):
        assert told["clears"] is None
        return
    if told["clears"] is None:
        return
    assert told["clears"]["text"] == " and ".join(step["text"] for step in told["clears"]["steps"])
    assert not holds(tree, after_all(account, told["clears"]))


@given(trees, comparisons, accounts)
def test_with_a_resolve_when_it_is_true_then_and_the_condition_is_false(tree, clear, account):
    told = explain(rule_of(tree, clear), OneAccount(account), 0).describe()
    if not holds(tree, account) and holds(clear, account):
        assert told["clears"] is None
    if told["clears"] is None:
        return
    after = after_all(account, told["clears"])
    assert holds(clear, after)
    assert not holds(tree, after)


def cleared(text, missing=(), **account):
    found = explain(rule_of(Condition.parse(text, METRICS).root), OneAccount(account, missing), 0).describe()
    return found["clears"] and found["clears"]["text"]


def test_one_side_of_an_and_is_enough_and_it_is_the_nearest_one():
    text = "seats.utilization < 0.60 and seats.unused >= 3"
    assert cleared(text, seats=100, active=40) == "20 more active seats"
    assert cleared(text, seats=6, active=2) == "2 more active seats"
    assert cleared(text, seats=5, active=1) == "2 more active seats"
    assert cleared(text, seats=4, active=1) == "1 more active seat"


def test_every_side_of_an_or_that_holds_has_to_end_and_one_change_may_do_for_several():
    text = "logins.change_28d <= -0.20 or logins.current_28d < 90 or escalations.open > 0"
    assert cleared(text, previous=100, current=70, escalations=0) == "20 more logins"
    assert (
        cleared(text, previous=100, current=70, escalations=2) == "20 more logins and resolve 2 escalations"
    )


def test_a_change_that_makes_another_side_true_is_not_told():
    assert cleared("escalations.open == 3 or escalations.open == 2", escalations=3) == "resolve 2 escalations"
    assert (
        cleared("champion.days_since_change < 5 or champion.days_since_change > 3", champion_change=2) is None
    )


def test_work_comes_before_waiting_and_waiting_before_another_contract():
    account = {"renewal": 10, "band": "yellow", "champion_change": 5}
    assert (
        cleared('renewal.days_to <= 90 and health.band == "yellow"', **account)
        == "health back in the green band"
    )
    assert cleared("renewal.days_to <= 90 and champion.days_since_change <= 30", **account) == "wait 26 days"
    assert cleared("renewal.days_to <= 90", **account) == "a renewal 81 days later"


def test_nobody_is_asked_for_fewer_logins_while_there_is_something_better():
    text = "logins.current_28d >= 10 and escalations.open >= 1"
    assert cleared(text, current=11, escalations=5) == "resolve 5 escalations"


def test_what_cannot_be_told_stands_in_the_way_of_an_or_alone():
    account = {"escalations": 1, "lost": 2}
    either, both = (
        "escalations.open >= 1 or integrations.lost >= 1",
        "escalations.open >= 1 and integrations.lost >= 1",
    )
    assert cleared(either, **account) == "resolve 1 escalation and reconnect or replace 2 integrations"
    assert cleared(either, missing=("integrations.lost",), **account) is None
    assert cleared(both, missing=("integrations.lost",), **account) is None  # it does not hold


def test_a_fraction_that_would_have_to_be_an_exact_number_stands_in_the_way_of_its_own_clause_alone():
    account = {"active": 3, "seats": 10, "escalations": 2, "current": 70, "previous": 100}
    either = "seats.utilization != 0.5 {} escalations.open >= 1"
    assert cleared(either.format("and"), **account) == "resolve 2 escalations"
    assert cleared(either.format("or"), **account) is None
    assert cleared("logins.change_28d == -0.3", **account) == "1 more login"


# --- in words


def said(text, numerator, denominator=1, *, word=None, **parts):
    clause = Condition.parse(text, METRICS).root
    change = smallest_change(clause, Reading(numerator, denominator, Status.OK, word, parts))
    return None if change is None else change.describe()


def test_a_count_is_told_with_its_number_and_unit():
    assert said("logins.change_28d <= -0.20", -30, 100, current=70, previous=100) == {
        "text": "11 more logins",
        "by": 11,
        "unit": "logins",
    }
    assert said("logins.drawdown_180d <= -0.40", -4000, 9000)["text"] == "401 more logins"
    assert said("logins.drawdown_180d <= -0.40", -4500, 9000)["text"] == "901 more logins"
    assert (
        said("logins.change_28d <= -0.2", -1400, 2000, current=600, previous=2000)["text"]
        == "1,001 more logins"
    )
    assert said("seats.utilization < 0.60", 5, 10)["text"] == "1 more active seat"
    assert (
        said("seats.utilization > 0.80", 102, 120, active=102, purchased=120)["text"] == "8 more seats bought"
    )
    assert said("seats.purchased >= 10", 12)["text"] == "3 fewer seats bought"
    assert said("escalations.open >= 1", 2)["text"] == "resolve 2 escalations"
    assert said("features.abandoned_count >= 1", 1)["text"] == "1 abandoned core feature used again"
    assert said("engagement.dau_mau < 0.10", 8, 90)["text"] == "1 more user-day of activity"
    assert said("champion.days_since_change <= 30", 22) == {"text": "wait 9 days", "by": 9, "unit": "days"}


def test_an_act_has_no_number():
    assert said("champion.departed", 1) == {"text": "name a successor", "by": None, "unit": None}
    assert (
        said("activity.dormant_days >= 14", 20)["text"] == "a login, a used feature or a session of anybody"
    )
    assert said("sponsor.days_since_login >= 60", 75)["text"] == "a login by the sponsor"
    assert said("renewal.overdue_days >= 1", 3)["text"] == "close the renewal, or give it a new date"
    assert said('champion.status == "silent"', 1, word="silent")["text"] == "a login by the champion"
    assert said('sentiment.rating == "red"', 0, word="red")["text"] == "a yellow rating"
    assert said('sentiment.rating in ("red", "yellow")', 0, word="red")["text"] == "a green rating"


def test_any_new_rating_makes_the_newest_one_the_one_before():
    red, green = 1, 3
    clause = 'sentiment.previous == "green"'
    assert said(clause, 3, word="green", rating_code=red)["text"] == "a new rating"
    assert said(clause, 3, word="green", rating_code=green) is None


def test_a_review_is_to_be_booked_by_the_day_of_the_renewal():
    day = (date(2027, 2, 1) - date(1970, 1, 1)).days
    assert said("qbr.missing", 1, renewal_day=day)["text"] == "book a QBR by 2027-02-01"
    assert said("qbr.missing", 1)["text"] == "book a QBR before the renewal"


def test_what_nobody_can_change_is_not_told():
    assert said("logins.previous_28d >= 20", 30) is None
    assert said('account.tier == "gold"', 0, word="gold") is None
    assert said("logins.drawdown_180d <= 0", -4, 10) is None  # no more than its best it can be


def test_a_fall_is_chance_again_with_so_many_logins_more():
    told = said("significant(logins.change_28d, 0.05)", -30, 100, current=70, previous=100)
    by = told["by"]
    assert told == {"text": f"{by} more logins", "by": by, "unit": "logins"}
    assert chance(70 + by, 100) > Fraction(1, 20) >= chance(70 + by - 1, 100)


def test_every_metric_of_the_catalogue_says_what_moves_it_or_that_nothing_does():
    assert set(CATALOGUE) <= set(LEVERS)


# --- where it is told


def test_a_breached_signal_says_what_would_end_it_and_others_do_not():
    stream = Stream().add("seats.changed", "a", TODAY - 200, purchased=10)
    stream.active("a", ["u1", "u2", "u3"], [TODAY - 199, TODAY])
    readings = readings_of(stream.lines, as_of=TODAY)
    rules = [
        replace(rule_of(Condition.parse(text, CATALOGUE).root), id=name)
        for name, text in (("low", "seats.utilization < 0.60"), ("big", "seats.purchased >= 50"))
    ]
    told = {each["metric"]: each for each in signals(readings, 0, rules)}
    assert told["seats.utilization"]["clears"] == {
        "text": "3 more active seats",
        "by": 3,
        "unit": "active seats",
    }
    assert told["seats.purchased"]["clears"] is None
    leaf = explain(rules[0], readings, 0).describe()["conditions"][0]
    assert (leaf["clears"], leaf["clears_by"]["by"]) == ("seats.utilization >= 0.6", 3)
