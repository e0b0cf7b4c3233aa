"""Every metric against a second opinion: whatever happens, in whatever order it arrives, the two agree."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.metrics.catalogue import CATALOGUE
from alerts.metrics.readings import Readings
from alerts.past import Past
from consumers.days import Calendar
from consumers.history import read_history
from tests import recount_framework
from tests.recount import ACTIVITY, LOW, METRICS, NONE, OK, SHORT, STALE, UNKNOWN, Recount
from tests.recount_facts import ordinal
from tests.unit.metric_streams import TODAY, ZONES, Stream, readings_of, streams, told

STALE_SETS = (
    frozenset[str](),
    frozenset[str](),
    frozenset(("logins",)),
    frozenset(("features",)),
    frozenset(ACTIVITY),
)


def test_every_metric_of_the_catalogue_has_a_second_opinion_in_its_order() -> None:
    others = {*recount_framework.METRICS, *recount_framework.HEALTH}
    assert others.isdisjoint(METRICS)
    assert others | set(METRICS) == set(CATALOGUE)
    assert tuple(name for name in CATALOGUE if name not in others) == METRICS


@settings(max_examples=80)
@given(
    stream=streams(),
    zone=st.sampled_from(ZONES),
    live=st.booleans(),
    second=st.sampled_from((0, 1, 7_200, 43_200, 86_399)),
    stale=st.sampled_from(STALE_SETS),
    seed=st.integers(0, 2**32),
)
def test_every_metric_and_status_equals_the_recount_in_any_order_and_batches(
    stream: Stream, zone: str, live: bool, second: int, stale: frozenset[str], seed: int
) -> None:
    now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=TODAY, seconds=second)
    today = ordinal(now.astimezone(ZoneInfo(zone)).date())
    as_of = today - 1 if live else today
    known = [line for line in stream.lines if _known(line, now, zone, today, live)]
    readings = readings_of(
        known, as_of=as_of, today=today, zone=zone, stale=stale, shuffle=random.Random(seed)
    )
    recount = Recount(known, zone)
    for index, account_id in enumerate(readings.portfolio.account_ids):
        view = recount.metrics(account_id, as_of, today, stale)
        for name in METRICS:
            assert told(readings, name, index) == view[name], (account_id, name)
        assert readings.portfolio.churned[index] == recount.churned(account_id, today)


@settings(max_examples=60)
@given(stream=streams(), zone=st.sampled_from(ZONES))
def test_every_metric_equals_the_recount_as_its_windows_slide_over_every_day(
    stream: Stream, zone: str
) -> None:
    calendar = Calendar(zone)
    recount = Recount(stream.lines, zone)
    history = read_history(stream.lines, calendar)
    if not recount.days:
        assert history.span is None
        return
    assert history.span == (min(recount.days), max(recount.days))
    for stretch in Past(history, calendar).stretches(TODAY - 130, TODAY + 40):
        readings = Readings(stretch.portfolio)
        for day, rows in stretch.closes:
            known = {name for name, account in recount.accounts.items() if account.born <= day}
            assert set(readings.portfolio.account_ids[rows]) == known
            for index in range(rows.start, rows.stop):
                view = recount.metrics(readings.portfolio.account_ids[index], day, day)
                for name in METRICS:
                    assert told(readings, name, index) == view[name], (day - TODAY, name)


def _known(line: bytes, now: datetime, zone: str, today: int, live: bool) -> bool:
    """Live, what happened until now; at the close of a day, all of that day."""
    at = datetime.fromisoformat(json.loads(line)["occurred_at"])
    return at <= now if live else ordinal(at.astimezone(ZoneInfo(zone)).date()) <= today


# --- every status that a metric can have, reached --------------------------------------------------------------

_WINDOWED = {OK, SHORT, STALE, UNKNOWN}
REACHABLE = {
    "logins.change_28d": _WINDOWED | {LOW},
    "logins.current_28d": _WINDOWED,
    "logins.previous_28d": _WINDOWED,
    "logins.users_56d": _WINDOWED,
    "logins.per_user_current": _WINDOWED | {NONE},
    "logins.per_user_previous": _WINDOWED | {NONE},
    "logins.per_active_user_change_28d": _WINDOWED | {NONE, LOW},
    "activity.user_days_change_28d": _WINDOWED | {LOW},
    "logins.drawdown_180d": _WINDOWED | {LOW},
    "activity.dormant_days": _WINDOWED,
    "activity.users_before": {OK, UNKNOWN},
    "seats.utilization": _WINDOWED | {NONE},
    "seats.purchased": {OK, NONE, UNKNOWN},
    "seats.active": _WINDOWED | {NONE},
    "seats.unused": _WINDOWED | {NONE},
    "seats.days_since_increase": {OK, NONE, UNKNOWN},
    "seats.utilization_change_28d": _WINDOWED | {NONE},
    "engagement.dau_mau": _WINDOWED | {NONE, LOW},
    "champion.status": {OK, STALE, UNKNOWN},
    "champion.departed": {OK, UNKNOWN},
    "champion.days_since_change": {OK, NONE, UNKNOWN},
    "renewal.days_to": {OK, NONE},
    "renewal.overdue_days": {OK, NONE},
    "renewal.decision_days_to": {OK, NONE},
    "qbr.missing": {OK, NONE, UNKNOWN},
    **{name: {OK, UNKNOWN} for name in METRICS if name.startswith("account.")},
}

PEOPLE = ("u1", "u2", "u3", "u4")


def rich() -> Stream:
    """A portfolio in which every family flows: one account well, one new, tiny, quiet, one of facts alone."""
    stream = Stream()
    stream.active("healthy", PEOPLE, range(TODAY - 99, TODAY + 1))
    stream.active("new", PEOPLE, range(TODAY - 9, TODAY + 1))
    stream.active("tiny", PEOPLE[:1], range(TODAY - 90, TODAY + 1, 10))
    stream.active("quiet", PEOPLE, range(TODAY - 120, TODAY - 100), kind="feature.used")
    stream.add("account.updated", "facts", TODAY - 100, name="Facts")
    for account in ("healthy", "new"):
        stream.add("seats.changed", account, TODAY - 60, purchased=5)
        stream.add("seats.changed", account, TODAY - 40, purchased=9)
        stream.add("subscription.changed", account, TODAY - 60, mrr="120.50", renewal_date="2026-06-01")
    stream.add("seats.changed", "facts", TODAY - 60, purchased=5)
    stream.add("contact.updated", "healthy", TODAY - 90, contact_id="c1", user_id="u1", roles=["champion"])
    stream.add("champion.changed", "healthy", TODAY - 50, previous_user_id="u1", user_id="u2")
    stream.add("qbr.held", "healthy", TODAY - 20, qbr_id="q")
    stream.add(
        "account.updated",
        "healthy",
        TODAY - 90,
        size="smb",
        tier="pro",
        channel="partner",
        use_case="billing",
        touch="high",
        lifecycle="active",
        usage_cadence="daily",
        term_months=12,
        owner="ann",
    )
    return stream


def bare() -> Stream:
    """A portfolio that was only ever told of a renewal."""
    return Stream().add("account.updated", "bare", TODAY - 5, renewal_date="2026-05-01")


def test_every_metric_reaches_every_status_it_can_have_and_no_other() -> None:
    reached: dict[str, set[str]] = {name: set() for name in METRICS}
    for stream, stale in (
        (rich(), frozenset[str]()),
        (rich(), frozenset(ACTIVITY)),
        (bare(), frozenset[str]()),
    ):
        readings = readings_of(stream.lines, as_of=TODAY, stale=stale)
        recount = Recount(stream.lines)
        for index, account_id in enumerate(readings.portfolio.account_ids):
            for name in METRICS:
                said = told(readings, name, index)
                assert said == recount.metrics(account_id, TODAY, TODAY, stale)[name], (account_id, name)
                reached[name].add(said[1])
    assert reached == REACHABLE
