"""What is usual for the whole portfolio is worked out at a day's close, kept, and judged by until the next."""

from __future__ import annotations

import struct

import pytest

from alerts.account_rows import MedianChange
from alerts.announcement import Announcer
from alerts.evaluation import Evaluator
from alerts.metrics.catalogue import CATALOGUE
from alerts.rulebook import Rulebook
from alerts.rules.condition import Condition
from alerts.rules.rule import Rule
from alerts.rules.title import Title
from consumers.days import DAY_US, Calendar
from consumers.facts import Profile
from consumers.windows import KEPT_DAYS
from tests.contract.alert_grounds import Ground, MemoryGround, SqlGround
from tests.contract.conftest import OpenDatabase

TODAY = 20_779
D = TODAY - 1
NOW = TODAY * DAY_US + 3_600_000_000
DECLINE = "logins.change_28d_adjusted <= -0.20"


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def ground(request: pytest.FixtureRequest, open_database: OpenDatabase) -> Ground:
    return MemoryGround() if request.param == "memory" else SqlGround(open_database(request.param))


def rule(when: str) -> Rule:
    return Rule("decline", Condition.parse(when, CATALOGUE), Title.parse("Fewer logins", CATALOGUE))


def evaluator(ground: Ground, when: str = DECLINE, *, stale: tuple[str, ...] = ()) -> Evaluator:
    book = Rulebook((rule(when),), Announcer())
    return Evaluator(ground.store, lambda: book, Calendar("UTC"), stale=lambda _now: stale, sweep_accounts=7)


def with_logins(ground: Ground, account_id: str, before: int, now: int) -> int:
    """So many logins on D-28, and on D."""
    ring = [0] * KEPT_DAYS
    ring[(D - 28) % KEPT_DAYS], ring[D % KEPT_DAYS] = before, now
    profile = Profile(first_day=D - 100, last_day=D, ring_day=D)
    return ground.account(account_id, profile, days=struct.pack(f"<{KEPT_DAYS}H", *ring))


def everybody_halves(ground: Ground, accounts: int = 21) -> None:
    ground.fed({"logins": D - 200})
    for place in range(accounts):
        with_logins(ground, f"a{place:02}", 40, 20)


def firing(ground: Ground) -> list[str]:
    return [each.account_id for each in ground.alerts() if each.open]


def test_a_fall_that_all_share_is_no_alert_and_a_deeper_one_is(ground: Ground) -> None:
    everybody_halves(ground, 19)
    with_logins(ground, "deep", 100, 25)
    evaluator(ground).close_day(D, NOW)
    assert firing(ground) == ["deep"]
    assert ground.store.median_change() == MedianChange(D, -1, 2, 20)
    [alert] = ground.alerts()
    told = alert.evidence["metrics"]["logins.change_28d_adjusted"]
    assert told["value"] == -0.25
    counted = ("median_numerator", "median_denominator", "median_accounts", "median_day")
    assert [told["parts"][name] for name in counted] == [-1, 2, 20, "2026-11-21"]


def test_of_nineteen_accounts_nothing_is_taken_off(ground: Ground) -> None:
    everybody_halves(ground, 19)
    evaluator(ground).close_day(D, NOW)
    assert len(firing(ground)) == 19
    told = ground.alerts()[0].evidence["metrics"]["logins.change_28d_adjusted"]
    assert (told["parts"]["median_accounts"], told["parts"]["median_numerator"]) == (19, 0)


def test_an_account_judged_between_closes_is_judged_by_the_median_of_the_close(ground: Ground) -> None:
    everybody_halves(ground)
    evaluator(ground).close_day(D, NOW)
    ground.touch(with_logins(ground, "late", 100, 25))
    ground.touch(with_logins(ground, "later", 100, 45))
    evaluator(ground).evaluate_touched(10, NOW)
    assert firing(ground) == ["late"]


def test_a_median_of_days_ago_is_usual_no_more(ground: Ground) -> None:
    everybody_halves(ground)
    evaluator(ground).close_day(D, NOW)
    ground.touch(with_logins(ground, "late", 100, 60))
    evaluator(ground).evaluate_touched(10, NOW + DAY_US)
    assert firing(ground) == []
    ground.touch(with_logins(ground, "late", 100, 60))
    evaluator(ground).evaluate_touched(10, NOW + 2 * DAY_US)
    assert firing(ground) == ["late"]


def test_without_a_rule_that_goes_by_it_a_sweep_leaves_it_and_it_is_settled_once(ground: Ground) -> None:
    everybody_halves(ground)
    plain = evaluator(ground, "logins.change_28d <= -0.60")
    plain.close_day(D, NOW)
    assert ground.store.median_change() is None
    plain.settle_median(NOW)
    settled = ground.store.median_change()
    with_logins(ground, "other", 100, 100)
    plain.settle_median(NOW)
    assert settled == ground.store.median_change() == MedianChange(D, -1, 2, 21)


def test_what_was_worked_out_while_logins_were_unheard_is_worked_out_again(ground: Ground) -> None:
    everybody_halves(ground)
    evaluator(ground, stale=("logins",)).close_day(D, NOW)
    assert ground.store.median_change() == MedianChange(D)
    evaluator(ground).evaluate_all(NOW)
    assert ground.store.median_change() == MedianChange(D, -1, 2, 21)
    assert firing(ground) == []
