"""Two versions of the rules on one history: what a change would make, and spare."""

from __future__ import annotations

from typing import Any

import pytest

from alerts.backtest.difference import Change, Difference, difference
from alerts.configuration import Configuration, read_configuration
from alerts.metrics.catalogue import CATALOGUE
from alerts.replay import Summary, replay
from consumers.days import Calendar
from consumers.history import History, read_history
from tests.unit.metric_streams import TODAY, Stream

PEOPLE = ("u1", "u2", "u3", "u4")
OLD = """
rules:
  - {id: fading, when: logins.change_28d <= -0.40, title: t}
  - {id: dark, when: activity.dormant_days >= 14, title: t}
  - {id: gone, when: activity.dormant_days >= 20, title: t}
"""
NEW = """
rules:
  - {id: fading, when: logins.change_28d <= -0.20, title: another title}
  - {id: dark, when: activity.dormant_days >= 14, title: another title}
  - {id: quiet, when: activity.dormant_days >= 7, title: t}
"""


def rules(text: str) -> Configuration:
    return read_configuration(text, "rules.yaml", CATALOGUE)


@pytest.fixture(scope="module")
def stream() -> Stream:
    """One account loses a quarter of its people, one all, one nobody, one is away for ten days."""
    stream = Stream()
    for account, left in {"quarter": 3, "all": 0, "nobody": 4}.items():
        stream.active(account, PEOPLE, range(TODAY - 100, TODAY))
        stream.active(account, PEOPLE[:left], range(TODAY, TODAY + 40))
    away = range(TODAY, TODAY + 10)
    return stream.active("away", PEOPLE, (day for day in range(TODAY - 100, TODAY + 40) if day not in away))


@pytest.fixture(scope="module")
def history(stream: Stream) -> History:
    return read_history(stream.lines, Calendar())


@pytest.fixture(scope="module")
def found(history: History) -> Difference:
    return difference(rules(OLD), rules(NEW), (history, history), Calendar())


def test_each_rule_says_how_it_changed_in_the_order_of_the_files(found: Difference) -> None:
    assert [(each.rule, each.change) for each in found.rules] == [
        ("fading", Change.CHANGED),
        ("dark", Change.SAME),  # a title decides nothing
        ("gone", Change.REMOVED),
        ("quiet", Change.ADDED),
    ]


def test_accounts_that_would_alert_and_did_not_and_the_other_way(found: Difference) -> None:
    fading, dark, gone, quiet = found.rules
    # away for the sixth day is a fifth less; a quarter of the people makes a fifth after 23 days
    assert fading.gained == {"away": TODAY + 5, "quarter": TODAY + 22}
    assert fading.lost == {}
    assert (fading.old.opened, fading.new.opened) == (1, 3)
    assert (dark.old, dark.gained, dark.lost) == (dark.new, {}, {})
    assert (gone.old.opened, gone.new.opened, gone.lost) == (1, 0, {"all": TODAY + 19})
    assert (quiet.gained, quiet.old.opened) == ({"all": TODAY + 6, "away": TODAY + 6}, 0)


def test_the_whole_is_about_having_any_alert(found: Difference) -> None:
    assert found.whole.gained == {"away": TODAY + 5, "quarter": TODAY + 22}
    assert found.whole.lost == {}
    assert (found.whole.old.opened, found.whole.new.opened) == (3, 6)


def test_any_rule_counts_an_accounts_day_once_and_leaves_info_out(history: History) -> None:
    twice = """
rules:
  - {id: dark, when: activity.dormant_days >= 14, title: t}
  - {id: darker, when: activity.dormant_days >= 14 and activity.users_before >= 3, title: t}
  - {id: hint, when: activity.dormant_days >= 7, severity: info, title: t}
"""
    hint = (
        OLD.partition("  - {id: dark")[0]
        + "  - {id: dark, severity: info, "
        + OLD.partition("{id: dark, ")[2]
    )
    whole = difference(rules(twice), rules(hint), (history, history), Calendar()).whole
    assert (whole.old.opened, whole.old.first_days) == (1, {"all": TODAY + 13})
    assert (whole.new.opened, whole.new.first_days) == (2, {"all": TODAY + 11})  # fading, then gone


def test_backwards_gains_are_losses(history: History, found: Difference) -> None:
    back = difference(rules(NEW), rules(OLD), (history, history), Calendar())
    assert {each.rule: (each.gained, each.lost) for each in back.rules} == {
        each.rule: (each.lost, each.gained) for each in found.rules
    }


def test_the_counts_are_those_of_two_replays(stream: Stream, found: Difference) -> None:
    for text, side in ((OLD, "old"), (NEW, "new")):
        lines = [
            line for line in replay(stream.lines, rules(text).rules, Calendar()) if line.event == "opened"
        ]
        for each in found.rules:
            mine = [line for line in lines if line.rule == each.rule]
            alerts = getattr(each, side)
            assert alerts.opened == len(mine)
            assert set(alerts.first_days) == {line.account_id for line in mine}


def test_the_same_rules_make_no_difference(history: History) -> None:
    same = difference(rules(OLD), rules(OLD), (history, history), Calendar())
    assert all(each.change is Change.SAME and each.old == each.new for each in same.rules)
    assert same.whole.change is Change.SAME


def test_other_internal_users_are_another_history(stream: Stream, history: History) -> None:
    without = read_history(stream.lines, Calendar(), is_internal=lambda user: user == "u4")
    changed = difference(rules(OLD), rules(OLD), (history, without), Calendar())
    assert [each.change for each in changed.rules] == [Change.SAME] * 3
    assert changed.rules[0].old.first_days == {"all": TODAY + 11}
    everything: dict[str, Any] = changed.rules[0].describe(Calendar())
    assert (everything["change"], everything["alerts_before"]) == ("same", 1)


def test_days_asked_for_bound_both(history: History) -> None:
    summary = Summary()
    bounded = difference(
        rules(OLD), rules(NEW), (history, history), Calendar(), until=TODAY + 6, summary=summary
    )
    assert bounded.whole.new.first_days == {"all": TODAY + 5, "away": TODAY + 5}
    assert (summary.accounts, summary.last_day) == (4, TODAY + 6)
