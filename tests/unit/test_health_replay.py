"""Health day after day: a replay closes as one account by hand does, and as a live service that knows today so far."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.configuration import read_configuration
from alerts.health.memory import HealthMemory
from alerts.health.state import BANDS, blank
from alerts.metrics import health as metrics
from alerts.metrics.catalogue import CATALOGUE
from alerts.past import Past
from alerts.replay import replay
from alerts.values import Status
from consumers.days import Calendar
from consumers.history import read_history
from tests.recount_health import WEIGHTS, HealthRecount
from tests.unit.metric_streams import TODAY, Stream, readings_of
from tests.unit.test_health_closing import GONE, OneAccount
from tests.unit.test_metric_health import CORE, MODEL, streams

UTC = Calendar("UTC")


def day_of(line: bytes) -> int:
    at = datetime.fromisoformat(json.loads(line)["occurred_at"])
    return int(at.timestamp() // 86_400)


@settings(max_examples=12, deadline=None)
@given(stream=streams(), nights=st.integers(1, 20))
def test_a_replay_closes_each_account_as_one_by_hand(stream: Stream, nights: int) -> None:
    history = read_history(stream.lines, UTC)
    recount = HealthRecount(stream.lines, "UTC", CORE)
    by_hand: dict[str, OneAccount] = {}
    memory = HealthMemory()
    for stretch in Past(history, UTC, MODEL).stretches(TODAY - nights, TODAY):
        portfolio = stretch.portfolio
        memory.close(portfolio, stretch.closes)
        band = metrics.health_band(portfolio, None)
        days = metrics.days_in_band(portfolio, None)
        score = metrics.health_score(portfolio, None)
        for day, rows in stretch.closes:
            for row in range(rows.start, rows.stop):
                account_id = portfolio.account_ids[row]
                inputs = {
                    name: GONE if points is None else points
                    for name, (points, _) in recount.account(account_id, day, day).components().items()
                }
                expected = by_hand.setdefault(account_id, OneAccount())
                expected.close(day, inputs, WEIGHTS, 70, 40)
                assert BANDS[int(band.numerator[row])] == expected.band
                assert (band.status[row] == Status.OK) == (expected.band != "unknown")
                assert expected.since is not None
                assert days.numerator[row] == day - expected.since
                points = None if score.status[row] else score.numerator[row] / 100
                assert points == (None if expected.points is None else float(expected.points))


def coming_back(stream: Stream, day: int) -> list[tuple[str, str]]:
    """Everybody, but for users who were away for two months: of them the maps forget what was before."""
    last: dict[tuple[str, str], int] = {}
    accounts = set()
    for line in stream.lines:
        event = json.loads(line)
        accounts.add(event["account_id"])
        if event["type"] in ("user.login", "feature.used", "session.ended"):
            key = (event["account_id"], event["user_id"])
            last[key] = max(day_of(line), last.get(key, 0))
    everybody = [(account_id, user) for account_id in sorted(accounts) for user in ("u1", "u2", "u3", "u4")]
    return [each for each in everybody if each not in last or last[each] > day - 30]


@settings(max_examples=12, deadline=None)
@given(stream=streams(), nights=st.integers(1, 4), early=st.integers(0, 600))
def test_a_live_close_after_midnight_equals_the_replay(stream: Stream, nights: int, early: int) -> None:
    """Whoever is active in the first minutes of the new day is no part of the day that closes."""
    history = read_history(stream.lines, UTC)
    memory = HealthMemory()
    for stretch in Past(history, UTC, MODEL).stretches(TODAY - nights, TODAY):
        memory.close(stretch.portfolio, stretch.closes)
        order = list(stretch.portfolio.account_ids[stretch.closes[-1][1]])
    days = [(day_of(line), line) for line in stream.lines]
    records: dict[str, Any] = {}
    for day in range(TODAY - nights, TODAY + 1):
        so_far = Stream()
        so_far.lines = [line for at, line in days if at <= day]
        today = Stream()
        for account_id, user in coming_back(so_far, day):
            today.add("user.login", account_id, day + 1, user, second=early)
        so_far.lines += [line.replace(b'"id": "e', b'"id": "today') for line in today.lines]
        if not so_far.lines:
            continue
        portfolio = readings_of(so_far.lines, as_of=day, today=day + 1, model=MODEL).portfolio
        before = [records.get(account_id, blank(1)) for account_id in portfolio.account_ids]
        metrics.remember(portfolio, np.concatenate(before))
        after = metrics.close_health(portfolio).records
        records.update((name, after[place : place + 1]) for place, name in enumerate(portfolio.account_ids))
    for place, account_id in enumerate(order):
        for name in ("band", "score", "coverage", "since_day"):
            assert records[account_id][name][0] == memory.records[name][place], (account_id, name)


# --- rules ------------------------------------------------------------------------------------------------------


def rules(text: str) -> Any:
    return read_configuration(text, "rules.yaml", CATALOGUE).rules


def fading() -> Stream:
    """Green for four months, then nobody comes any more."""
    stream = Stream().active("a", ("u1", "u2", "u3"), range(TODAY - 200, TODAY - 40))
    for day in (TODAY - 150, TODAY - 149, TODAY - 148):
        stream.add("survey.answered", "a", day, kind="nps", score=5)
    stream.add("escalation.opened", "z", TODAY - 190, escalation_id="1")
    return stream


def told(text: str, **how: Any) -> list[tuple[int, str]]:
    lines = replay(fading().lines, rules(text), UTC, model=MODEL, **how)
    return [(line.day - TODAY, line.event) for line in lines if line.account_id == "a"]


RED = 'rules: [{id: r, when: health.band == "red"}]'
YELLOW = 'rules: [{id: r, when: health.band == "yellow" and health.days_in_band >= 3}]'


def test_a_rule_on_the_band_fires_when_the_band_changes() -> None:
    fired = told(RED, until=TODAY)
    assert [event for _, event in fired] == ["opened"]


@pytest.mark.parametrize("text", [RED, YELLOW])
def test_days_before_the_first_one_count_for_the_band(text: str) -> None:
    everything = told(text, until=TODAY)
    assert everything
    day = everything[0][0]
    assert told(text, first=TODAY + day, until=TODAY)[0] == everything[0]
    assert told(text, first=TODAY + day + 1, until=TODAY)[:1] == [(day + 1, "opened")]
