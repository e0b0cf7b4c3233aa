"""Replay: history told again, one day's close after the other."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.configuration import load_configuration
from alerts.metrics.catalogue import CATALOGUE
from alerts.replay import Summary, replay
from alerts.rules.loader import default_rules
from alerts.rules.rule import Rule
from consumers.days import Calendar
from tests.recount import Recount
from tests.recount_rules import ALL_RULES, RULES, Opinions
from tests.recount_rules import ledger as recounted
from tests.unit import test_metric_framework, test_metric_health
from tests.unit.metric_streams import TODAY, ZONES, Stream, streams

DEFAULTS = default_rules(CATALOGUE)
# Those of which the quick recount knows; the others are held against theirs below.
USAGE = tuple(rule for rule in DEFAULTS if rule.id in RULES)
PEOPLE = ("u1", "u2", "u3")


@pytest.fixture
def rule(tmp_path: Any) -> Any:
    """A function that reads one rule as a rule file has it."""

    def read(**fields: Any) -> tuple[Rule, ...]:
        path = tmp_path / "rules.yaml"
        path.write_text(yaml.safe_dump({"rules": [{"id": "r", "severity": "low", "title": "t", **fields}]}))
        return load_configuration(path, CATALOGUE).rules

    return read


def told(
    lines: Sequence[bytes],
    rules: Sequence[Rule] = DEFAULTS,
    first: int | None = None,
    until: int | None = None,
    zone: str = "UTC",
    **how: Any,
) -> list[dict[str, Any]]:
    return [json.loads(line.json()) for line in replay(lines, rules, Calendar(zone), first, until, **how)]


def moves(lines: list[dict[str, Any]], rule: str) -> list[tuple[int, str, str]]:
    """(days after TODAY, what, why) of one rule."""
    epoch = date(1970, 1, 1) + timedelta(days=TODAY)
    return [
        ((date.fromisoformat(line["day"]) - epoch).days, line["event"], line["reason"])
        for line in lines
        if line["rule"] == rule
    ]


def busy(last: int = 0) -> Stream:
    """Three people every day for two months, up to ``last`` days after TODAY."""
    return Stream().active("a", PEOPLE, range(TODAY - 60, TODAY + last + 1))


# --- against the second opinion


@settings(max_examples=40)
@given(
    stream=streams(),
    zone=st.sampled_from(ZONES),
    first=st.none() | st.integers(-90, 10),
    until=st.none() | st.integers(-20, 60),
)
def test_the_ledger_equals_the_recount_of_any_stream(
    stream: Stream, zone: str, first: int | None, until: int | None
) -> None:
    stream.active("a", PEOPLE, range(TODAY - 100, TODAY - 40), times=2)
    begin, end = (None if day is None else TODAY + day for day in (first, until))
    expected = recounted(Recount(stream.lines, zone), begin, end)
    assert told(stream.lines, USAGE, begin, end, zone) == expected


@st.composite
def eventful(draw: st.DrawFn) -> Stream:
    """Everything that any shipped rule reads: usage and money, adoption and people, support and surveys."""
    stream = Stream()
    kinds = (streams(), test_metric_framework.streams(), test_metric_health.streams())
    for letter, kind in zip("abc", kinds, strict=True):
        own = f'"id": "{letter}'.encode()
        stream.lines += [line.replace(b'"id": "e', own) for line in draw(kind).lines]
    return stream


def test_the_recount_knows_every_shipped_rule() -> None:
    assert set(ALL_RULES) == {rule.id for rule in DEFAULTS}


@settings(max_examples=10, deadline=None)
@given(stream=eventful(), zone=st.sampled_from(ZONES), first=st.integers(-30, 10), days=st.integers(0, 40))
def test_the_ledger_of_every_shipped_rule_equals_the_recount(
    stream: Stream, zone: str, first: int, days: int
) -> None:
    if not stream.lines:
        return
    core = test_metric_health.CORE
    begin, end = TODAY + first, TODAY + first + days
    expected = recounted(Opinions(stream.lines, zone, core), begin, end)
    model = test_metric_health.MODEL
    assert told(stream.lines, DEFAULTS, begin, end, zone, model=model) == expected


# --- what a line is


def test_a_line_says_what_moved_and_the_numbers_behind_it() -> None:
    line = next(iter(replay(busy().lines, DEFAULTS, Calendar(), until=TODAY + 14)))
    assert line.json() == (
        '{"day": "2026-04-23", "event": "opened", "rule": "login-decline", "account_id": "a", '
        '"severity": "high", "reason": "condition_true", "metrics": {"logins.change_28d": -0.21428571428571427}}'
    )


def test_lines_are_sorted_by_day_account_and_rule() -> None:
    stream = busy()
    stream.active("0", PEOPLE, range(TODAY - 60, TODAY + 1))
    lines = told(stream.lines, until=TODAY + 40)
    keys = [(line["day"], line["account_id"], line["rule"], line["event"]) for line in lines]
    assert keys == sorted(keys)
    assert len(keys) == len(set(keys))
    assert {line["account_id"] for line in lines} == {"0", "a"}


def test_the_order_of_the_file_and_repeats_change_nothing() -> None:
    lines = busy(3).lines
    shuffled = random.Random(4).sample(lines + lines[::3], k=len(lines) + len(lines[::3]))
    assert told(shuffled, until=TODAY + 40) == told(lines, until=TODAY + 40) != []


# --- how alerts open and resolve


def test_silence_opens_at_the_fourteenth_day_and_activity_ends_it() -> None:
    stream = busy().active("a", ["u1"], [TODAY + 20])
    assert moves(told(stream.lines, until=TODAY + 20), "gone-dark") == [
        (14, "opened", "condition_true"),
        (20, "resolved", "condition_false"),
    ]


def test_an_alert_that_cannot_be_told_any_more_is_held_for_28_closes() -> None:
    stream = busy()
    assert moves(told(stream.lines, until=TODAY + 120), "login-decline") == [
        (6, "opened", "condition_true"),
        # The last day on which the four weeks before hold 20 logins is the 49th: the hold counts from the 50th.
        (77, "resolved", "cannot_tell"),
    ]


def test_what_stops_existing_resolves_as_not_applicable() -> None:
    stream = busy(30).add("seats.changed", "a", TODAY - 40, purchased=20)
    stream.add("seats.changed", "a", TODAY + 10, purchased=0)
    assert moves(told(stream.lines), "seat-utilization-critical")[-1] == (10, "resolved", "not_applicable")


def test_an_account_that_churned_resolves_everything_and_opens_nothing() -> None:
    stream = busy().add("account.updated", "a", TODAY + 30, lifecycle="churned")
    lines = told(stream.lines, until=TODAY + 200)
    assert moves(lines, "gone-dark") == [(14, "opened", "condition_true"), (30, "resolved", "churned")]
    assert {line["day"] for line in lines if line["event"] == "resolved"} == {"2026-05-17"}
    assert max(line["day"] for line in lines) == "2026-05-17"


def test_a_rule_that_waits_opens_when_its_time_has_passed(rule: Any) -> None:
    waiting = rule(when="activity.dormant_days >= 14", **{"for": "3d"})
    stream = busy().active("a", ["u1"], [TODAY + 30])
    assert moves(told(stream.lines, waiting, until=TODAY + 30), "r") == [
        (17, "opened", "condition_true"),
        (30, "resolved", "condition_false"),
    ]


def test_a_rule_that_waits_says_nothing_of_what_passed_before(rule: Any) -> None:
    waiting = rule(when="activity.dormant_days >= 14", **{"for": "3d"})
    assert told(busy().active("a", ["u1"], [TODAY + 16]).lines, waiting) == []


def test_the_space_between_two_thresholds_holds(rule: Any) -> None:
    banded = rule(when="activity.dormant_days >= 14", resolve_when="activity.dormant_days <= 1")
    stream = busy().active("a", ["u1"], [TODAY + 20])
    lines = told(stream.lines, banded, until=TODAY + 30)
    assert moves(lines, "r") == [(14, "opened", "condition_true"), (20, "resolved", "condition_false")]


def test_a_resolved_alert_keeps_quiet_while_it_cools(rule: Any) -> None:
    cooling = rule(when="activity.dormant_days >= 14", cooldown="10d")
    stream = busy().active("a", ["u1"], [TODAY + 15])
    lines = told(stream.lines, cooling, until=TODAY + 40)
    assert moves(lines, "r") == [
        (14, "opened", "condition_true"),
        (15, "resolved", "condition_false"),
        (29, "opened", "condition_true"),
    ]


def test_floors_of_a_rule_decide_and_are_shown(rule: Any) -> None:
    stream = Stream().active("a", ["u1"], range(TODAY - 60, TODAY + 1, 4))
    low = rule(when="logins.change_28d <= -0.20", floors={"logins.change_28d": 5})
    assert told(stream.lines, until=TODAY + 20) == []
    assert told(stream.lines, low, until=TODAY + 20)[0]["metrics"]["logins.change_28d"] < -0.20


# --- from when to when, and what counts


def test_no_alert_is_open_before_the_first_day_asked_for_though_all_earlier_events_count() -> None:
    lines = told(busy().lines, first=TODAY + 20, until=TODAY + 21)
    assert moves(lines, "gone-dark") == [(20, "opened", "condition_true")]
    assert min(line["day"] for line in lines) == "2026-05-07"


def test_days_close_from_the_first_event_to_the_newest() -> None:
    summary = Summary()
    assert told(busy().lines, summary=summary) == []
    assert (summary.first_day, summary.last_day, summary.days) == (TODAY - 60, TODAY, 61)


def test_a_day_is_a_civil_day_of_the_organisation() -> None:
    # 23:30 in UTC is the next day in Berlin, so the dark begins a day later there.
    stream = Stream().active("a", PEOPLE, range(TODAY - 60, TODAY + 1), second=84_600)
    assert moves(told(stream.lines, until=TODAY + 20), "gone-dark")[0][0] == 14
    assert moves(told(stream.lines, until=TODAY + 20, zone="Europe/Berlin"), "gone-dark")[0][0] == 15


def test_of_two_copies_the_earlier_stands_then_the_one_with_the_smaller_bytes() -> None:
    stream = busy(20)
    stream.add("seats.changed", "a", TODAY - 40, id="s", purchased=50)
    for copies in (
        Stream().add("seats.changed", "a", TODAY - 41, id="s", purchased=60).lines,
        Stream().add("seats.changed", "a", TODAY - 40, id="s", purchased=49).lines,
    ):
        lines = stream.lines + copies
        summary = Summary()
        forth = told(lines, summary=summary)
        assert forth == told(lines[::-1]) == recounted(Opinions(lines))
        assert (summary.totals.duplicate, summary.totals.conflicting_duplicate) == (1, 1)


def test_the_same_id_of_two_senders_is_two_events() -> None:
    line = Stream().active("a", ["u1"], [TODAY], times=1).lines[0]
    other = json.dumps({**json.loads(line), "source": "crm"}).encode()
    summary = Summary()
    told([line, other, line], summary=summary)
    assert (summary.totals.accepted, summary.totals.duplicate) == (2, 1)


def test_lines_that_are_no_events_are_counted_by_reason_and_the_others_stand() -> None:
    summary = Summary()
    stream = busy()
    broken = [b"", b"[]", b'{"id": "x"}', stream.lines[0][:-1]]
    assert told(broken + stream.lines, until=TODAY + 40, summary=summary) == told(
        stream.lines, until=TODAY + 40
    )
    assert summary.totals.accepted == len(stream.lines)
    assert summary.totals.rejected.total() == 4
    assert summary.totals.records == len(stream.lines) + 4


def test_events_after_the_present_are_rejected_when_there_is_one() -> None:
    summary = Summary()
    told(busy().lines, now_us=TODAY * 86_400_000_000, summary=summary)
    assert summary.totals.rejected == {"in_the_future": 3}
    assert summary.last_day == TODAY - 1


def test_our_own_people_are_left_out_and_counted() -> None:
    summary = Summary()
    stream = busy().active("a", ["svc-probe"], range(TODAY, TODAY + 30))
    lines = told(
        stream.lines, until=TODAY + 20, is_internal=lambda user: user.startswith("svc-"), summary=summary
    )
    assert moves(lines, "gone-dark") == [(14, "opened", "condition_true")]
    assert summary.totals.internal == 30


def test_nothing_in_gives_nothing_out() -> None:
    summary = Summary()
    assert told([], summary=summary) == []
    assert told([b"{}"], summary=summary) == []
    assert (summary.first_day, summary.days, summary.accounts) == (None, 0, 0)


def test_the_summary_counts_accounts_and_moves_by_rule() -> None:
    summary = Summary()
    stream = busy().active("b", ["u"], [TODAY + 3]).active("a", ["u1"], [TODAY + 20])
    told(stream.lines, summary=summary)
    assert summary.accounts == 2
    assert summary.opened["gone-dark"] == summary.resolved["gone-dark"] == 1


def test_many_days_and_accounts_are_judged_in_stretches_that_change_nothing() -> None:
    stream = Stream()
    for number in range(60):
        stream.active(f"account-{number:02}", PEOPLE, range(TODAY - 60 - number, TODAY - number, 2))
    lines = told(stream.lines, USAGE, until=TODAY + 60)
    assert lines == recounted(Recount(stream.lines), until=TODAY + 60)
    assert len({line["account_id"] for line in lines}) == 60


def test_copies_far_apart_in_a_large_and_partly_broken_file_are_still_compared() -> None:
    stream = Stream().active("a", PEOPLE, range(TODAY - 60, TODAY + 21), times=20)
    body: list[bytes] = []
    for number, line in enumerate(stream.lines):  # a third of the lines is broken, so blocks are uneven
        body += [line, b"{"] if number % 2 else [line]
    first, last = (
        Stream().add("seats.changed", "a", TODAY - 40, id="s", purchased=seats).lines for seats in (60, 50)
    )
    whole = first + body + last
    assert len(whole) > 7_000
    summary = Summary()
    expected = recounted(Recount([line for line in whole if line != b"{"]))
    assert told(whole, USAGE, summary=summary) == expected
    assert told(whole[::-1]) == told(whole) == told(last + body)
    assert summary.totals.conflicting_duplicate == 1
