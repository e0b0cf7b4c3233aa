"""The backtest: rules judged against planted churn that was counted by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alert import Severity
from alerts.backtest.outcomes import Course, Outcomes, outcomes_of_silence
from alerts.backtest.score import ANY_RULE, Bench, Opening, Period, Score
from alerts.backtest.trial import Trial, trial
from alerts.metrics.catalogue import CATALOGUE
from alerts.replay import replay
from alerts.rules.loader import default_rules
from consumers.days import Calendar
from consumers.errors import ConfigurationError
from consumers.history import read_history
from tests.recount_backtest import recount
from tests.recount_rules import read_lines
from tests.unit.metric_streams import TODAY, Stream

START = TODAY - 200
END = START + 400
PEOPLE = ("u1", "u2", "u3")
RULES = tuple(rule for rule in default_rules(CATALOGUE) if rule.id in {"login-decline", "gone-dark"})


def planted() -> Stream:
    """Three people log in every day of 400; who stops on day d alerts login-decline at the close of d + 5.

    With nobody there gone-dark opens thirteen days after the first silent one.

        alerts 30 days early   silent from 101, login-decline on 106, churns on 136 (gone-dark on 114)
        alerts 10 days early   silent from 151, login-decline on 156, churns on 166 (gone-dark on 164)
        never told             churns on 250 without a sign
        told too early         silent from 121 to 127 only, login-decline on 126, churns on 246, 120 days later
        false alarm            silent from 131 to 137 only, login-decline on 136, stays
        churns early           on day 50, within the horizon of the beginning
        alerts late            silent from 341, login-decline on 346, gone-dark on 354; the horizon ends on 399
        stays                  nothing ever
    """
    stream = Stream()
    silent = {
        "alerts 30 days early": range(101, 400),
        "alerts 10 days early": range(151, 400),
        "never told": range(250, 400),
        "told too early": range(121, 128),
        "false alarm": range(131, 138),
        "churns early": range(50, 400),
        "alerts late": range(341, 400),
        "stays": range(0),
    }
    for account, quiet in silent.items():
        stream.active(account, PEOPLE, (START + day for day in range(400) if day not in quiet))
    return stream


CHURNS = {
    "alerts 30 days early": 136,
    "alerts 10 days early": 166,
    "never told": 250,
    "told too early": 246,
    "churns early": 50,
    "alerts late": 390,
}


def outcomes(churns: dict[str, int] = CHURNS, later: int = 0) -> Outcomes:
    return Outcomes({account: Course((START + day + later,)) for account, day in churns.items()})


def judged(fates: Outcomes, lines: list[bytes] | None = None, **how: Any) -> Trial:
    history = read_history(planted().lines if lines is None else lines, Calendar())
    return trial(history, RULES, Calendar(), fates, **how)


@pytest.fixture(scope="module")
def found() -> Trial:
    return judged(outcomes())


@pytest.fixture(scope="module")
def scores(found: Trial) -> dict[str, Score]:
    return {score.rule: score for score in found.scores({rule.id: rule.severity for rule in RULES})}


# --- counted by hand


def test_the_period_leaves_a_horizon_at_the_end(found: Trial) -> None:
    assert found.population.period == (START, START + 399 - 90, START + 399, 90)


def test_churns_without_a_full_lead_or_without_alerts_that_count_are_set_aside(found: Trial) -> None:
    population = found.population
    assert (population.churns, population.too_early, population.too_late) == (4, 1, 1)
    assert (population.after_end, population.strangers) == (0, 0)


def test_customers_days_end_with_their_churn(found: Trial) -> None:
    whole = 310  # days 0 to 309
    assert found.population.account_days == 136 + 166 + 250 + 246 + whole + 50 + whole + whole
    # before each churn 90 days, or all 50; of the late one's (300 to 389) ten were judged
    assert found.population.days_before_churn == 4 * 90 + 50 + 10


def test_the_decline_is_true_twice_and_false_twice(scores: dict[str, Score]) -> None:
    score = scores["login-decline"]
    assert (score.alerts, score.true_alerts, score.precision.value) == (4, 2, 0.5)
    assert score.censored == 1  # the late one, although its churn is known


def test_it_caught_two_of_four_churns_thirty_and_ten_days_before(scores: dict[str, Score]) -> None:
    score = scores["login-decline"]
    assert (score.churns, score.leads, score.recall.value) == (4, [10, 30], 0.5)
    assert (score.lead.value, score.lead.interval) == (20, None)
    assert score.lead_quartiles == (15, 25)


def test_gone_dark_is_true_each_time_but_later(scores: dict[str, Score]) -> None:
    score = scores["gone-dark"]
    # "never told" and "churns early" fall silent when they churn, so their alerts come after it
    assert (score.alerts, score.true_alerts, score.after_churn, score.censored) == (2, 2, 2, 1)
    assert score.leads == [2, 22]


def test_any_rule_counts_days_and_takes_the_earliest(scores: dict[str, Score]) -> None:
    score = scores[ANY_RULE]
    assert (score.alerts, score.true_alerts, score.leads) == (6, 4, [10, 30])


def test_lift_is_over_the_share_of_days_and_the_rate_over_weeks(
    found: Trial, scores: dict[str, Score]
) -> None:
    score, population = scores["login-decline"], found.population
    assert score.lift.value == pytest.approx(0.5 * population.account_days / population.days_before_churn)
    assert score.rate.value == pytest.approx(4 / population.account_days * 700)


def test_two_rules_on_one_day_are_one_alert_of_any_rule_and_info_is_none() -> None:
    bench = Bench({"a": 0}, Outcomes({"a": Course((50,))}), Period(0, 100, 190, 40))
    openings = [Opening(rule, "a", 20) for rule in ("one", "two", "hint")] + [Opening("hint", "a", 30)]
    severities = {"one": Severity.HIGH, "two": Severity.LOW, "hint": Severity.INFO}
    told = {score.rule: score for score in bench.scores(openings, severities)}
    assert {rule: score.alerts for rule, score in told.items()} == {
        "one": 1,
        "two": 1,
        "hint": 2,
        ANY_RULE: 1,
    }


# --- no look ahead


def test_outcomes_moved_into_the_future_change_no_evaluation(found: Trial) -> None:
    for later in (1, 90, 1_000, 100_000):
        moved = judged(outcomes(later=later))
        assert moved.openings == found.openings
    assert judged(Outcomes()).openings == found.openings != []


def test_the_openings_are_those_of_the_ledger(found: Trial) -> None:
    ledger = [
        (line.rule, line.account_id, line.day)
        for line in replay(planted().lines, RULES, Calendar())
        if line.event == "opened"
    ]
    assert found.openings == ledger


def test_churns_after_the_end_have_not_happened_yet() -> None:
    late = judged(outcomes(later=500))
    assert (late.population.churns, late.population.after_end) == (0, 6)
    assert late.population.base_rate == 0
    score = late.scores({rule.id: rule.severity for rule in RULES})[-1]
    assert (score.precision.value, score.recall.value, score.lift.value) == (0, None, None)


def test_events_after_a_day_do_not_change_what_opened_by_then(found: Trial) -> None:
    stream = planted()
    cut = START + 250
    past = [line for line in stream.lines if _day_of(line) <= cut]
    before = judged(outcomes(), past)
    assert before.openings == [each for each in found.openings if each.day <= cut]


def _day_of(line: bytes) -> int:
    return Calendar().parse_day(line.decode().partition('"occurred_at": "')[2][:10])


# --- the period asked for


def test_a_later_beginning_judges_churns_only_with_a_horizon_of_judged_days() -> None:
    later = judged(outcomes(), first=START + 100)
    assert later.population.period.first == START + 100
    # 136 and 166 lie within 90 days of it, and 50 before it
    assert (later.population.churns, later.population.too_early) == (2, 3)


def test_a_churn_before_the_first_event_or_on_its_day_is_too_early() -> None:
    told = {"a": 9, "b": 10, "c": 11, "d": 60}
    fates = Outcomes({account: Course((day,)) for account, day in told.items()})
    population = Bench(dict.fromkeys(told, 10), fates, Period(0, 100, 190, 40)).population
    assert (population.churns, population.too_early) == (1, 3)
    assert population.account_days == 1 + 50  # of c and d


def test_an_earlier_end_keeps_the_outcomes_that_came_after_it() -> None:
    early = judged(outcomes(), until=START + 120)
    score = early.scores({"login-decline": Severity.HIGH})[0]
    assert early.population.period.end == START + 399
    assert (score.alerts, score.true_alerts) == (1, 1)


def test_a_shorter_horizon_makes_the_earlier_warning_false() -> None:
    score = judged(outcomes(), horizon=20).scores({"login-decline": Severity.HIGH})[0]
    assert score.leads == [10]


def test_files_shorter_than_the_horizon_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no day can be judged"):
        judged(outcomes(), horizon=400)
    with pytest.raises(ConfigurationError, match="no event"):
        judged(outcomes(), [b"{}"])


# --- against a recount that shares no code

_accounts = st.sampled_from(("a", "b", "c", "stranger"))


@st.composite
def _fates(draw: st.DrawFn) -> dict[str, tuple[list[int], list[int]]]:
    fates = {}
    for account in draw(st.sets(_accounts)):
        days = sorted(draw(st.sets(st.integers(0, 130), max_size=5)))
        turns = draw(st.sampled_from((0, 1)))
        churns, renewals = days[turns::2], days[1 - turns :: 2]
        fates[account] = (churns, renewals)
    return fates


@given(
    fates=_fates(),
    since=st.dictionaries(st.sampled_from(("a", "b", "c")), st.integers(0, 60), min_size=1),
    days=st.sets(st.tuples(st.sampled_from(("a", "b", "c")), st.integers(0, 120)), max_size=25),
    first=st.integers(0, 30),
    horizon=st.integers(1, 40),
    shorter=st.integers(0, 20),
)
def test_counts_equal_a_recount_day_by_day(
    fates: Any, since: dict[str, int], days: Iterable[tuple[str, int]], first: int, horizon: int, shorter: int
) -> None:
    period = Period(first, 110 - horizon - shorter, 110, horizon)
    known = {account: max(day, first) for account, day in since.items()}
    openings = sorted((account, day) for account, day in days if day >= known.get(account, 999))
    told = Outcomes({account: Course(tuple(out), tuple(back)) for account, (out, back) in fates.items()})
    bench = Bench(known, told, period)
    score = bench.scores([Opening("r", *each) for each in openings], {"r": Severity.LOW})[0]
    people = bench.population
    assert {
        "alerts": score.alerts,
        "true": score.true_alerts,
        "after": score.after_churn,
        "censored": score.censored,
        "churns": people.churns,
        "early": people.too_early,
        "late": people.too_late,
        "days": people.account_days,
        "warned": people.days_before_churn,
        "leads": score.leads,
    } == recount(openings, known, fates, period)


# --- churn told from silence


def test_silence_of_so_many_days_is_a_churn_on_the_day_after_the_last_login() -> None:
    stream = Stream().active("a", ["u"], (START, START + 10, START + 41)).active("b", ["u"], [START + 60])
    history = read_history(stream.lines, Calendar())
    fates = outcomes_of_silence(history, 30)
    assert fates.courses == {
        "a": Course((START + 11,), (START + 41,))
    }  # 30 days lie between; since 41 only 19
    assert fates.settled_before_end == 29


def test_what_is_no_login_does_not_end_a_silence() -> None:
    stream = Stream().active("a", ["u"], [START]).active("a", ["u"], [START + 40], kind="feature.used")
    assert outcomes_of_silence(read_history(stream.lines, Calendar()), 40).courses == {
        "a": Course((START + 1,))
    }
    assert outcomes_of_silence(read_history(stream.lines, Calendar()), 41).courses == {}


def test_of_the_last_days_before_the_end_nobody_can_say_whether_it_is_silence() -> None:
    stream = Stream().active("a", PEOPLE, range(START, START + 300))
    found = trial(
        read_history(stream.lines, Calendar()),
        RULES,
        Calendar(),
        outcomes_of_silence(read_history(stream.lines, Calendar()), 100),
        horizon=90,
    )
    assert found.population.period == (START, START + 299 - 99 - 90, START + 299 - 99, 90)


# --- the real file


@pytest.fixture(scope="module")
def real(real_data: Path) -> Trial:
    calendar = Calendar()
    history = read_history(read_lines(real_data), calendar)
    rules = [rule for rule in default_rules(CATALOGUE) if rule.id in {"login-decline", "gone-dark"}]
    return trial(history, rules, calendar, outcomes_of_silence(history, 180))


def test_the_table_of_the_real_file_is_the_one_in_the_docs(real: Trial) -> None:
    people = real.population
    assert (people.accounts, people.account_days, people.churns, people.too_late) == (12, 35_154, 12, 1)
    decline, dark, _ = real.scores({"login-decline": Severity.HIGH, "gone-dark": Severity.CRITICAL})
    assert (decline.alerts, decline.true_alerts, len(decline.leads)) == (524, 5, 3)
    assert (dark.alerts, dark.true_alerts, len(dark.leads)) == (262, 12, 5)
    page = (Path(__file__).parents[2] / "docs" / "backtest.md").read_text()
    for score in (decline, dark):
        figures = (
            score.alerts,
            f"{score.precision.value:.1%}",
            f"{score.recall.value:.1%}",
            f"{score.lift.value:.2f}",
        )
        line = next(line for line in page.splitlines() if line.startswith(f" {score.rule} "))
        assert [word for word in line.split() if "–" not in word][1:5] == [str(figure) for figure in figures]


def test_the_real_counts_equal_a_recount_day_by_day(real: Trial, real_data: Path) -> None:
    fates, since = _real_fates(real_data)
    for rule in ("login-decline", "gone-dark"):
        openings = [(each.account_id, each.day) for each in real.openings if each.rule == rule]
        expected = recount(openings, since, fates, real.population.period)
        score = real.scores({rule: Severity.HIGH})[0]
        assert (score.alerts, score.true_alerts) == (expected["alerts"], expected["true"])
        assert (score.after_churn, score.censored) == (expected["after"], expected["censored"])
        assert list(score.leads) == expected["leads"]
        assert real.population.account_days == expected["days"]
        assert real.population.days_before_churn == expected["warned"]


def _real_fates(path: Path) -> tuple[dict[str, tuple[list[int], list[int]]], dict[str, int]]:
    """Churns, renewals and first days, from the lines alone."""
    logins: dict[str, set[int]] = {}
    since: dict[str, int] = {}
    newest = 0
    for line in read_lines(path):
        event = json.loads(line)
        at = datetime.fromisoformat(event["occurred_at"]).astimezone(UTC)
        day = at.toordinal() - datetime(1970, 1, 1).toordinal()
        since[event["account_id"]] = min(day, since.get(event["account_id"], day))
        newest = max(newest, day)
        if event["type"] == "user.login":
            logins.setdefault(event["account_id"], set()).add(day)
    fates: dict[str, tuple[list[int], list[int]]] = {}
    for account, days in logins.items():
        churns, renewals = [], []
        for day in sorted(days):
            silent = all(day + more not in days for more in range(1, 181))
            if silent and day + 180 <= newest:
                churns.append(day + 1)
                renewals += [min(later for later in days if later > day)] if max(days) > day else []
        fates[account] = (churns, renewals)
    return fates, since
