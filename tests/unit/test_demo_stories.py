"""The demo's stories end in the alerts that they promise, on whatever day and at whatever hour they are told."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from alerts.alert import Verdict
from alerts.configuration import load_configuration
from alerts.metrics.catalogue import CATALOGUE
from alerts.metrics.health import close_health, remember, remembered
from app.demo.script import Event
from app.demo.stage import DAYS, Play
from app.demo.stories import FADE_DAYS, HOSTILE_NAME, stories
from consumers.decode import Rejection, decode, decode_batch
from tests.unit.metric_streams import readings_of

RULES = load_configuration(None, CATALOGUE).rules
# A band's age counts from the first close, and the demo has one: yesterday's. Four weeks of yellow take 28 more.
UNTOLD = {"health-yellow-4w"}
NOWS = (
    datetime(2026, 3, 3, 14, 5, tzinfo=UTC),  # a Tuesday
    datetime(2028, 3, 4, 0, 0, 20, tzinfo=UTC),  # a Saturday after a leap day, just past midnight
    datetime(2027, 1, 3, 23, 59, 59, tzinfo=UTC),  # a Sunday after the turn of the year
)


@pytest.fixture(scope="module")
def play() -> Play:
    return stories(NOWS[0])


Bands = dict[str, Any]  # what a close left of each account's health


def true_rules(
    events: Iterable[Event], now: datetime, bands: Bands | None = None
) -> tuple[dict[str, set[str]], Bands]:
    """The rules that hold for each account at ``now``, by the package's own metrics and rules.

    Without ``bands`` yesterday closes first, as when the demo has sent its history; what it left is returned.
    """
    today = int(now.timestamp()) // 86_400
    readings = readings_of([json.dumps(event).encode() for event in events], as_of=today - 1, today=today)
    if bands is None:
        close_health(readings.portfolio)
    else:
        remember(readings.portfolio, np.array([bands[each] for each in readings.portfolio.account_ids]))
    records = remembered(readings.portfolio)
    found: dict[str, set[str]] = {account: set() for account in readings.portfolio.account_ids}
    for rule in RULES:
        verdict = rule.judge(readings).verdict
        for place, account in enumerate(readings.portfolio.account_ids):
            if verdict[place] == int(Verdict.TRUE) and not readings.portfolio.churned[place]:
                found[account].add(rule.id)
    return found, dict(zip(readings.portfolio.account_ids, records, strict=True))


@pytest.mark.parametrize("now", NOWS, ids=lambda now: f"{now:%a %H:%M}")
def test_every_account_has_exactly_the_alerts_of_its_story(now: datetime) -> None:
    play = stories(now)
    found, bands = true_rules(play.history, now)
    assert found == {story.company.account_id: set(story.baseline) for story in play.stories}
    theirs = [event for event in play.history if event["account_id"] in play.told]
    before, _ = true_rules(theirs, now, bands)
    after, _ = true_rules([*theirs, *play.live], now, bands)
    moved = {
        account: {("firing", rule) for rule in after[account] - before[account]}
        | {("resolved", rule) for rule in before[account] - after[account]}
        for account in after
    }
    assert moved == play.told


def test_every_shipped_rule_is_told_by_some_story(play: Play) -> None:
    told = {rule for story in play.stories for rule in story.baseline}
    told |= {rule for story in play.stories for what, rule in story.live if what == "firing"}
    assert told == {rule.id for rule in RULES} - UNTOLD


def test_there_are_120_accounts_and_most_are_healthy(play: Play) -> None:
    accounts = {story.company.account_id for story in play.stories}
    assert len(accounts) == len(play.stories) == 120
    assert accounts == {event["account_id"] for event in play.history}
    assert len(play.spare) > 70
    assert len({company.name for company in play.spare}) == len(play.spare)


def test_somebody_came_late_yesterday_so_that_no_hour_of_today_finds_the_source_silent(play: Play) -> None:
    midnight = play.now.replace(hour=0, minute=0, second=0, microsecond=0)
    logins = [str(event["occurred_at"]) for event in play.history if event["type"] == "user.login"]
    assert datetime.fromisoformat(max(logins)) == midnight - timedelta(seconds=1)


def test_history_ends_yesterday_and_today_comes_live(play: Play) -> None:
    midnight = play.now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [(midnight - datetime.fromisoformat(str(event["occurred_at"]))).days for event in play.history]
    assert min(days) == 0
    assert max(days) <= FADE_DAYS
    assert sum(day > DAYS for day in days) < len(days) / 10  # only the fades reach further back
    lived = [datetime.fromisoformat(str(event["occurred_at"])) for event in play.live]
    assert all(play.now - timedelta(minutes=2) <= at <= play.now for at in lived)


def test_the_feed_has_what_real_feeds_do_wrong(play: Play) -> None:
    ids = [event["id"] for event in play.history]
    assert len(ids) - len(set(ids)) == play.duplicates > 0
    assert play.late > 100
    times = [event["occurred_at"] for event in play.history]
    assert times != sorted(times)


def test_good_events_are_taken_and_bad_ones_refused_each_for_its_own_reason(play: Play) -> None:
    now_us = int(play.now.timestamp() * 1_000_000)
    bodies = [json.dumps(event).encode() for event in (*play.history, *play.live)]
    assert decode_batch(bodies, now_us)[1] == []
    refused = [decode(body, now_us) for body in play.refused]
    reasons = {each.reason for each in refused if isinstance(each, Rejection)}
    assert len(reasons) == len(play.refused) == 5


def test_the_same_moment_tells_the_same_stories(play: Play) -> None:
    assert stories(NOWS[0]) == play


def test_one_name_is_markup_and_no_person_has_a_name(play: Play) -> None:
    named = [event["data"]["name"] for event in play.history if "name" in event.get("data", {})]
    assert HOSTILE_NAME in named
    assert not any(event["type"] == "user.updated" and "name" in event["data"] for event in play.history)
    assert all("name" not in event["data"] for event in play.history if event["type"] == "contact.updated")
