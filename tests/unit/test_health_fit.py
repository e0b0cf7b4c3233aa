"""Fitted weights: portfolios in which it is known what keeps customers, and sums that were done another way."""

from __future__ import annotations

import json
import random
import statistics
from datetime import datetime
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.backtest.intervals import Interval
from alerts.backtest.outcomes import Course, Outcomes
from alerts.health.fates import Fates, Paid, Told
from alerts.health.fit import (
    ENOUGH,
    Cohort,
    Fit,
    NothingToPropose,
    PartFit,
    chosen_days,
    correlation,
    fingerprint,
    fitted,
    judged_on,
    months_later,
    read_cohort,
    weights_of,
)
from alerts.health.judging import Verdict, judged
from alerts.model import PARTS, HealthModel, HealthTerms
from consumers.days import Calendar
from consumers.errors import ConfigurationError
from consumers.history import History, read_history
from tests.recount_health import TARGETS, HealthRecount, half_up
from tests.unit.planted_portfolio import CORE, END, FIRST, MODEL, SECOND, START, day_number, portfolio

UTC = Calendar("UTC")
EQUAL = (1_000, 1_000, 1_000, 1_000)


def history_of(lines: list[bytes]) -> History:
    return read_history(lines, UTC)


def cohort_of(lines: list[bytes], day: int, fates: Fates | None = None) -> Cohort:
    history = history_of(lines)
    return read_cohort(history, UTC, MODEL, day, fates or Paid.read(history, UTC))


def fit_of(lines: list[bytes]) -> Fit:
    return fitted(cohort_of(lines, FIRST), UTC, EQUAL)


def weighing(weights: tuple[int, int, int, int]) -> HealthModel:
    return HealthModel(HealthTerms(engagement=weights))


def day_of(line: bytes) -> int:
    return int(datetime.fromisoformat(json.loads(line)["occurred_at"]).timestamp() // 86_400)


# --- planted portfolios -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("predictor", PARTS)
def test_the_one_part_that_predicts_gets_one_half_and_is_better_a_year_later(predictor: str) -> None:
    lines = portfolio(predictor).lines
    found = fit_of(lines)
    by_name = dict(zip(PARTS, found.weights, strict=True))
    assert by_name[predictor] == 500
    assert sum(found.weights) == 1_000
    part = next(part for part in found.parts if part.name == predictor)
    assert part.interval is not None
    assert part.interval.low > 0.2
    later = judged_on(cohort_of(lines, SECOND), weighing(EQUAL), weighing(found.weights))
    assert later.present.value < later.proposed.value
    assert later.verdict is Verdict.BETTER


def test_the_scores_are_those_of_the_day() -> None:
    lines = portfolio("logins", accounts=12).lines
    recount = HealthRecount(lines, "UTC", CORE)
    cohort = cohort_of(lines, FIRST)
    assert len(cohort.account_ids) == 12
    for name, scores in zip(cohort.account_ids, cohort.parts.tolist(), strict=True):
        ratios = recount.account(name, FIRST, FIRST).parts()
        for part, score in zip(PARTS, scores, strict=True):
            ratio, status = ratios[part]
            assert ratio is not None, status
            assert score == half_up(100 * min(ratio / TARGETS[part], Fraction(1))) * 100


def test_where_nothing_predicts_nothing_is_proposed() -> None:
    with pytest.raises(NothingToPropose, match="no part of the score predicts who stayed") as refusal:
        fit_of(portfolio(None).lines)
    assert "logins +0.000" in str(refusal.value)


def test_weights_are_judged_no_better_where_nothing_predicts_and_worse_without_what_does() -> None:
    twins = cohort_of(portfolio(None, accounts=200).lines, FIRST)
    same = judged_on(twins, weighing(EQUAL), weighing((500, 300, 100, 100)))
    assert (same.present.value, same.proposed.value, same.difference.value) == (0.5, 0.5, 0)
    assert same.verdict is Verdict.NO_BETTER
    cohort = cohort_of(portfolio("depth").lines, SECOND)
    assert judged_on(cohort, weighing(EQUAL), weighing((400, 300, 0, 300))).verdict is Verdict.WORSE


def test_too_few_outcomes_are_refused_with_their_number() -> None:
    lines = portfolio("logins", accounts=60).lines
    cohort = cohort_of(lines, FIRST)
    kept = int(cohort.kept.sum())
    assert min(kept, 60 - kept) < ENOUGH
    with pytest.raises(NothingToPropose, match=f"{kept} were kept and {60 - kept} lost by 2024-06-30"):
        fitted(cohort, UTC, EQUAL)


@pytest.mark.parametrize(("lost", "fits"), [(ENOUGH - 1, False), (ENOUGH, True)])
def test_thirty_of_each_outcome_are_enough(lost: int, fits: bool) -> None:
    planted = portfolio("logins", accounts=0)
    for number in range(70):
        planted.joins(f"{number}")
        levels = {"logins": 1 if number < lost else 3, "breadth": 1, "depth": 1, "seats": 1}
        planted.works(f"{number}", FIRST, levels)
        if number < lost:
            planted.leaves(f"{number}", FIRST + 30)
    lines = planted.lines
    if not fits:
        with pytest.raises(NothingToPropose, match="too few outcomes"):
            fit_of(lines)
        return
    found = fit_of(lines)
    # One separates everybody; of the others, which are the same for all, no correlation can be told.
    assert [part.correlation for part in found.parts] == [1.0, None, None, None]
    assert found.parts[0].interval == Interval(1.0, 1.0)
    assert found.weights == (500, 167, 167, 166)


def test_a_part_that_was_never_sent_keeps_its_share() -> None:
    lines = [line for line in portfolio("logins").lines if b"session.ended" not in line]
    found = fitted(cohort_of(lines, FIRST), UTC, (500, 500, 200, 800))
    depth = found.parts[PARTS.index("depth")]
    assert (depth.enough, depth.correlation, found.weights[2]) == (False, None, 100)
    assert sum(found.weights) == 1_000


# --- never ahead, and whatever the order ------------------------------------------------------------------------


def test_what_happens_after_the_day_changes_no_score() -> None:
    lines = portfolio("seats", accounts=80).lines
    before = cohort_of(lines, FIRST)
    chance = random.Random(1)
    changed = [line for line in lines if day_of(line) <= FIRST or chance.random() < 0.5]
    changed += [
        line.replace(b'"id": "e', b'"id": "more').replace(b"2024-06-2", b"2023-07-0")
        for line in lines
        if day_of(line) > FIRST and b"subscription" not in line
    ]
    after = cohort_of(changed, FIRST)
    scores = [dict(zip(each.account_ids, each.parts.tolist(), strict=True)) for each in (before, after)]
    assert scores[0] == scores[1]
    assert before.kept.tolist() != after.kept.tolist()


def test_any_order_of_the_file_gives_the_same_proposal() -> None:
    lines = portfolio("breadth", accounts=120).lines
    found = []
    for seed in range(3):
        shuffled = random.Random(seed).sample(lines, len(lines))
        again = shuffled + shuffled[:500]  # told twice
        cohorts = [cohort_of(again, day) for day in (FIRST, SECOND)]
        fit = fitted(cohorts[0], UTC, EQUAL)
        judgement = judged_on(cohorts[1], weighing(EQUAL), weighing(fit.weights))
        parts = [(part.correlation, part.interval) for part in fit.parts]
        found.append((fit.weights, parts, judgement, fingerprint("v", fit.weights, cohorts)))
    assert found[0] == found[1] == found[2]


def test_the_fingerprint_changes_with_any_score_or_outcome() -> None:
    lines = portfolio("breadth", accounts=100).lines
    usual = fingerprint("v", EQUAL, [cohort_of(lines, FIRST)])
    leaving = next(line for line in lines if b'"mrr": 0' in line and day_of(line) < SECOND)
    login = next(line for line in lines if b"user.login" in line and FIRST - 5 < day_of(line) <= FIRST)
    for dropped in (leaving, login):
        others = [line for line in lines if line != dropped]
        assert fingerprint("v", EQUAL, [cohort_of(others, FIRST)]) != usual
    assert fingerprint("w", EQUAL, [cohort_of(lines, FIRST)]) != usual


# --- who was a customer -----------------------------------------------------------------------------------------


def test_a_customer_pays_at_the_day_and_is_kept_who_pays_twelve_months_later() -> None:
    planted = portfolio(None, accounts=0)
    names = [
        "stays",
        "leaves on the last day",
        "leaves a day later",
        "comes back",
        "left before",
        "changes money",
    ]
    for name in names:
        planted.joins(name)
    planted.leaves("leaves on the last day", SECOND)
    planted.leaves("leaves a day later", SECOND + 1)
    planted.leaves("comes back", FIRST + 1)
    planted.stream.add("subscription.changed", "comes back", SECOND, mrr=1, currency="EUR")
    planted.leaves("left before", FIRST)
    planted.stream.add("subscription.changed", "changes money", FIRST + 5, mrr=10, currency="USD")
    planted.stream.add("user.login", "never paid", START, "u")
    cohort = cohort_of(planted.lines, FIRST)
    assert dict(zip(cohort.account_ids, cohort.kept.tolist(), strict=True)) == {
        "stays": True,
        "leaves on the last day": False,
        "leaves a day later": True,
        "comes back": True,
        "changes money": True,
    }


def test_by_outcomes_a_customer_has_not_churned_and_is_kept_who_does_not() -> None:
    courses = {
        "churns on the last day": Course((SECOND,)),
        "churns a day later": Course((SECOND + 1,)),
        "churned today": Course((FIRST,)),
        "churned before": Course((FIRST - 9,)),
        "came back today": Course((FIRST - 9,), (FIRST,)),
        "comes back later": Course((FIRST - 9,), (FIRST + 1,)),
        "churns and comes back": Course((FIRST + 9,), (FIRST + 20,)),
    }
    names = [*courses, "nobody wrote of it"]
    customers, kept = Told(Outcomes(courses)).between(names, FIRST, SECOND)
    assert [name for name, each in zip(names, customers, strict=True) if each] == [
        "churns on the last day",
        "churns a day later",
        "came back today",
        "churns and comes back",
        "nobody wrote of it",
    ]
    assert [name for name, each in zip(names, kept, strict=True) if each] == [
        "churns a day later",
        "came back today",
        "nobody wrote of it",
    ]


# --- which days -------------------------------------------------------------------------------------------------


def test_by_default_no_outcome_is_in_both_cohorts() -> None:
    assert chosen_days((START, END), UTC, None, None) == (FIRST, SECOND)


def test_a_shorter_history_is_judged_after_half_a_year() -> None:
    assert chosen_days((FIRST, END), UTC, None, None) == (day_number("2023-12-31"), SECOND)


def test_a_day_to_judge_on_is_at_most_a_year_after_the_cohort() -> None:
    early = day_number("2020-01-15")
    assert chosen_days((early - 100, END), UTC, early, None) == (early, day_number("2021-01-15"))
    assert chosen_days((early, END), UTC, day_number("2024-01-15"), None)[1] == SECOND
    assert chosen_days((early, END), UTC, None, day_number("2021-03-31"))[0] == day_number("2020-03-31")


@pytest.mark.parametrize(
    ("span", "days", "kind", "told"),
    [
        (None, (None, None), NothingToPropose, "no event"),
        ((SECOND - 180, END), (None, None), NothingToPropose, "too short"),
        ((START, END), (START - 1, None), ConfigurationError, "--cohort 2023-05-20 is not in the data"),
        ((START, END), (SECOND + 1, None), ConfigurationError, "the latest day is 2024-06-30"),
        ((START, END), (None, SECOND + 1), ConfigurationError, "--judge 2024-07-01"),
        ((START, END), (SECOND - 29, None), ConfigurationError, "30 days or more"),
        ((START, END), (SECOND, FIRST), ConfigurationError, "name an earlier --cohort"),
    ],
)
def test_days_that_will_not_do_are_refused(
    span: tuple[int, int] | None, days: tuple[int | None, int | None], kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        chosen_days(span, UTC, *days)


@pytest.mark.parametrize(
    ("day", "months", "then"),
    [
        ("2024-06-30", 12, "2025-06-30"),
        ("2024-02-29", 12, "2025-02-28"),
        ("2023-02-28", 12, "2024-02-29"),
        ("2024-01-30", 12, "2025-01-30"),
        ("2024-08-30", -6, "2024-02-29"),
        ("2025-03-15", -6, "2024-09-15"),
    ],
)
def test_months_later_is_the_same_date_or_a_months_end(day: str, months: int, then: str) -> None:
    assert months_later(day_number(day), months) == day_number(then)


# --- sums done another way --------------------------------------------------------------------------------------

_scored = st.lists(
    st.tuples(st.integers(0, 10_000) | st.integers(0, 3), st.booleans()), min_size=4, max_size=40
)


@given(_scored)
def test_the_correlation_is_pearsons(rows: list[tuple[int, bool]]) -> None:
    scores, kept = ([row[place] for row in rows] for place in (0, 1))
    found = correlation(np.array(scores), np.array(kept))
    if len(set(scores)) == 1 or len(set(kept)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(
            statistics.correlation(scores, [float(each) for each in kept]), abs=1e-9
        )


def wins(above: int, below: int) -> Fraction:
    return Fraction(1 if above > below else 0) if above != below else Fraction(1, 2)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), min_size=4, max_size=24))
def test_areas_and_their_variance_are_delongs_by_every_pair(rows: list[tuple[int, int, bool]]) -> None:
    stayed, left = [row for row in rows if row[2]], [row for row in rows if not row[2]]
    arrays: list[Any] = [np.array([row[place] for row in rows]) for place in range(3)]
    if min(len(stayed), len(left)) < 2:
        with pytest.raises(ValueError, match="two accounts of each"):
            judged(*arrays)
        return
    found = judged(*arrays)

    def by_pairs(value: Any) -> tuple[float, float]:
        rows_of = [statistics.mean(value(one, other) for other in left) for one in stayed]
        columns = [statistics.mean(value(one, other) for one in stayed) for other in left]
        variance = statistics.variance(rows_of) / len(stayed) + statistics.variance(columns) / len(left)
        return float(statistics.mean(rows_of)), 1.959963984540054 * float(variance) ** 0.5

    for estimate, least, value in (
        (found.present, 0, lambda one, other: wins(one[0], other[0])),
        (found.proposed, 0, lambda one, other: wins(one[1], other[1])),
        (found.difference, -1, lambda one, other: wins(one[1], other[1]) - wins(one[0], other[0])),
    ):
        middle, half = by_pairs(value)
        assert estimate.value == pytest.approx(middle)
        assert estimate.interval.low == pytest.approx(max(middle - half, least))
        assert estimate.interval.high == pytest.approx(min(middle + half, 1))


_correlations = st.lists(
    st.none() | st.floats(-1, 1) | st.sampled_from((0.0, 0.1, 0.3)), min_size=4, max_size=4
)
_enough = st.lists(st.booleans(), min_size=4, max_size=4)
_present = st.lists(st.integers(0, 5_000), min_size=4, max_size=4).filter(any)


def part_of(name: str, found: float | None, enough: bool) -> PartFit:
    known = found if enough else None
    interval = None if known is None else Interval(known - 0.15, known + 0.15)
    return PartFit(name, 100, 50 if enough else 10, known, interval)


@given(_correlations, _enough, _present)
def test_weights_add_up_and_none_passes_one_half(
    found: list[float | None], enough: list[bool], present: list[int]
) -> None:
    parts = [part_of(*each) for each in zip(PARTS, found, enough, strict=True)]
    one, two, three, four = present
    weights = weights_of(parts, (one, two, three, four))
    assert sum(weights) == 1_000
    assert all(0 <= weight <= 500 for weight in weights)
    positive = [max(part.correlation or 0.0, 0.0) for part in parts]
    for stronger in range(4):
        for weaker in range(4):
            if positive[stronger] > positive[weaker] > 0:
                assert weights[stronger] >= weights[weaker]
    if not any(part.enough and strength for part, strength in zip(parts, positive, strict=True)):
        return  # then nothing is proposed
    again = weights_of(parts, weights)
    assert weights_of(parts, again) == again
    if all(enough):
        assert again == weights
    else:  # a part that keeps its share keeps it; what it was rounded by may move another's last digit
        assert all(abs(one - two) <= 1 for one, two in zip(again, weights, strict=True))


@pytest.mark.parametrize(
    ("found", "present", "weights"),
    [
        ((0.1, 0.2, 0.1, 0.1), EQUAL, (200, 400, 200, 200)),
        ((0.3, 0.3, 0.3, -0.5), EQUAL, (334, 333, 333, 0)),
        ((0.6, 0.1, 0.3, 0.0), EQUAL, (500, 134, 333, 33)),  # of 0.1 too much each of the others gets a third
        ((0.8, 0.01, -0.1, -0.2), EQUAL, (500, 256, 244, 0)),  # but for one that is below 0 for sure
        ((0.8, -0.3, -0.3, -0.2), EQUAL, (500, 167, 167, 166)),
        ((0.8, -0.1, -0.1, 0.0), (0, 100, 300, 0), (500, 167, 167, 166)),
        ((0.8, 0.0, 0.0, -0.3), (100, 0, 0, 0), (500, 250, 250, 0)),
        ((0.8, None, -0.1, 0.2), EQUAL, (500, 250, 50, 200)),  # too few of the second: it keeps its share
        ((0.8, None, 0.1, 0.1), (0, 900, 50, 50), (400, 500, 50, 50)),
    ],
)
def test_weights_go_by_correlation_up_to_one_half_and_the_rest_in_equal_shares(
    found: tuple[float | None, ...], present: tuple[int, int, int, int], weights: tuple[int, ...]
) -> None:
    parts = [part_of(name, each, each is not None) for name, each in zip(PARTS, found, strict=True)]
    assert weights_of(parts, present) == weights
