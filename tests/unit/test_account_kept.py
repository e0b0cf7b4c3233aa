"""What is kept of an account beside logins, against a second opinion: any order, any batches, any zone, any day."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.columns import FEATURE_DTYPE, active_on
from alerts.model import Model
from alerts.past import Past
from alerts.portfolio import Portfolio
from consumers import moments
from consumers.active_days import RING_BYTES, enter
from consumers.days import Calendar
from consumers.decode import decode_batch
from consumers.facts import RATINGS
from consumers.fold import fold
from consumers.history import read_history
from consumers.state import AccountState
from consumers.usage import USE, Usage, Using, feature_hash, merge_uses
from consumers.windows import KEPT_DAYS, NEVER
from tests.recount_kept import Kept
from tests.unit.metric_streams import FAR, NOON, TODAY, ZONES, Stream, readings_of

USERS = ("u1", "u2", "u3", "u4")
COMMON = {"reports", "exports", "search"}
MODEL = Model(core_features=tuple(sorted(COMMON)))
EDGES = (0, 1, 2, 26, 27, 28, 29, 30, 54, 55, 56, 57, 60, 89, 90, 91)

_account = st.sampled_from(("a", "b"))
_ago = st.one_of(st.sampled_from(EDGES), st.integers(-1, 130))
_second = st.sampled_from((0, 1, 5_400, 7_200, NOON, 79_200, 82_800, 86_399))
_user = st.sampled_from(USERS)


def _iso(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


@st.composite
def _uses(draw: st.DrawFn, stream: Stream) -> None:
    first, count, every = TODAY - draw(_ago), draw(st.integers(1, 12)), draw(st.sampled_from((1, 2, 7, 28)))
    account, people = draw(_account), draw(st.sets(_user, min_size=1, max_size=3))
    feature = draw(st.sampled_from(("reports", "exports", "odd")))
    for day in range(first, first + count * every, every):
        for user in people:
            stream.add("feature.used", account, day, user, second=draw(_second), feature=feature)


@st.composite
def _activity(draw: st.DrawFn, stream: Stream) -> None:
    account, day, user, second = (
        draw(_account),
        TODAY - draw(_ago | st.integers(300, 500)),
        draw(_user),
        draw(_second),
    )
    if draw(st.booleans()):
        stream.add("user.login", account, day, user, second=second)
    else:
        stream.add("session.ended", account, day, user, second=second, duration_s=draw(st.integers(0, 9_000)))


_FACTS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "account.updated": st.fixed_dictionaries(
        {},
        optional={
            "core_features": st.sampled_from((["odd"], ["odd", "reports", "odd"], [])),
            "success_milestone": st.sampled_from(("first_value", "live")),
            "onboarding_completed_on": st.sampled_from([_iso(TODAY - 100), _iso(TODAY - 10)]),
            "contract_start": st.sampled_from([_iso(TODAY - 200), f"{_iso(TODAY - 150)}T23:30:00+00:00"]),
        },
    ),
    "contact.updated": st.fixed_dictionaries(
        {"contact_id": st.sampled_from(("c1", "c2", "c3"))},
        optional={
            "user_id": st.sampled_from(("u1", "u2", "ghost")),
            "roles": st.sampled_from((["economic_buyer"], ["champion", "economic_buyer"], ["member"], [])),
            "active": st.booleans(),
        },
    ),
    "ticket.opened": st.fixed_dictionaries({"ticket_id": st.sampled_from(("t1", "t2", "t3"))}),
    "ticket.closed": st.fixed_dictionaries({"ticket_id": st.sampled_from(("t1", "t2"))}),
    "escalation.opened": st.fixed_dictionaries({"escalation_id": st.sampled_from(("x1", "x2"))}),
    "escalation.resolved": st.fixed_dictionaries({"escalation_id": st.sampled_from(("x1", "x2"))}),
    "survey.answered": st.one_of(
        st.fixed_dictionaries({"kind": st.just("nps"), "score": st.integers(0, 10)}),
        st.fixed_dictionaries({"kind": st.just("csat"), "score": st.integers(1, 5)}),
    ),
    "sentiment.rated": st.fixed_dictionaries({"rating": st.sampled_from(("red", "yellow", "green"))}),
    "qbr.scheduled": st.fixed_dictionaries(
        {
            "qbr_id": st.sampled_from(("q1", "q2")),
            "scheduled_for": st.integers(-30, 90).map(lambda d: _iso(TODAY + d)),
        }
    ),
    "qbr.held": st.fixed_dictionaries({"qbr_id": st.sampled_from(("q1", "q2"))}),
    "qbr.cancelled": st.fixed_dictionaries({"qbr_id": st.sampled_from(("q1", "q2"))}),
    "integration.connected": st.fixed_dictionaries({"integration": st.sampled_from(("i1", "i2", "i3"))}),
    "integration.synced": st.fixed_dictionaries({"integration": st.sampled_from(("i1", "i2", "i3"))}),
    "integration.disconnected": st.fixed_dictionaries({"integration": st.sampled_from(("i1", "i2", "i3"))}),
    "milestone.reached": st.fixed_dictionaries({"milestone": st.sampled_from(("first_value", "live"))}),
    "touchpoint.logged": st.just({}),
}


@st.composite
def _fact(draw: st.DrawFn, stream: Stream) -> None:
    kind = draw(st.sampled_from(sorted(_FACTS)))
    stream.add(kind, draw(_account), TODAY - draw(_ago), second=draw(_second), **draw(_FACTS[kind]))


@st.composite
def kept_streams(draw: st.DrawFn) -> Stream:
    """Two accounts' features, sessions and facts over some months, in any order, some told twice."""
    stream = Stream()
    for _ in range(draw(st.integers(0, 5))):
        draw(_uses(stream))
    for _ in range(draw(st.integers(0, 6))):
        draw(_activity(stream))
    for _ in range(draw(st.integers(0, 16))):
        draw(_fact(stream))
    shuffle = random.Random(draw(st.integers(0, 2**32)))
    stream.lines += shuffle.sample(stream.lines, k=len(stream.lines) // 4)
    shuffle.shuffle(stream.lines)
    return stream


def agrees(portfolio: Portfolio, index: int, kept: Kept, as_of: int, today: int) -> None:
    """Every accessor and field of one account against the recount; a moved row's days were moved on by ``moved``."""
    moved = portfolio.as_of - as_of
    account = kept.accounts[portfolio.account_ids[index]]

    def at(value: Any) -> int:
        return int(value[index])

    def day(value: Any) -> int | None:
        found = at(value)
        return None if found == NEVER else found - moved

    def count(days: list[int], first: int, last: int) -> int:
        return sum(1 for each in days if first <= each <= last)

    windows = [(today - far, today - near) for far, near in ((29, 0), (27, 1), (55, 28), (89, 0), (400, -1))]
    tickets, (escalations, still_open) = account.tickets(), account.escalations()
    nps, csat = account.answers("nps"), account.answers("csat")
    booked, held = account.qbrs_booked(), account.qbrs_held()
    syncs, losses = account.integrations()
    for first, last in windows:
        span = first + moved, last + moved
        assert at(portfolio.moment_sum(moments.TICKET_OPENED, *span)) == count(tickets, first, last)
        assert at(portfolio.moment_sum(moments.ESCALATION_OPENED, *span)) == count(escalations, first, last)
        for kind, answers in ((moments.NPS, nps), (moments.CSAT, csat)):
            inside = [score for each, score in answers if first <= each <= last]
            assert at(portfolio.moment_count(kind, *span)) == len(inside)
            assert at(portfolio.moment_sum(kind, *span)) == sum(inside)
        assert at(portfolio.moment_count(moments.QBR_HELD, *span)) == count(held, first, last)
        assert at(portfolio.moment_count(moments.INTEGRATION_SYNC, *span)) == count(syncs, first, last)
        assert at(portfolio.moment_count(moments.INTEGRATION_LOST, *span)) == count(losses, first, last)
        assert at(portfolio.contacts_active(*span)) == account.contacts_active(first, last)
        if today - first < 63:
            spent = sum(ms for each, ms in account.milliseconds.items() if first <= each <= last)
            assert at(portfolio.session_ms(*span)) == spent
            for days in (1, 2, 3):
                used = at(portfolio.core_in_use(*span, days=days))
                assert used == account.in_use(COMMON, first, last, days)
    ahead = today + moved, today + 90 + moved
    assert at(portfolio.moment_count(moments.QBR_BOOKED, *ahead)) == count(booked, today, today + 90)
    assert day(portfolio.newest_moment(moments.QBR_HELD)) == max(held, default=None)
    assert day(portfolio.newest_moment(moments.INTEGRATION_SYNC)) == max(syncs, default=None)
    early = max((each for each in losses if each <= today - 10), default=None)
    assert day(portfolio.newest_moment(moments.INTEGRATION_LOST, upto=today - 10 + moved)) == early
    assert day(portfolio.newest_moment(moments.TOUCHPOINT)) == account.touchpoint()
    assert day(portfolio.sponsor_day()) == account.sponsor_day(kept.heard_since)
    assert at(portfolio.core_count()) == len(account.core(COMMON))
    abandoned = account.abandoned(COMMON, as_of)
    assert at(portfolio.core_abandoned()) == len(abandoned)
    assert set(portfolio.abandoned_features(index)) == {feature_hash(name) for name in abandoned}

    number = portfolio.number
    assert at(number("escalations_open")) == len(still_open)
    assert day(number("escalation_oldest_day")) == min(still_open.values(), default=None)
    ratings = account.ratings()
    assert RATINGS[at(number("sentiment"))] == (ratings[-1][0] if ratings else "")
    assert RATINGS[at(number("sentiment_previous"))] == (ratings[-2][0] if len(ratings) > 1 else "")
    assert day(number("sentiment_day")) == (ratings[-1][1] if ratings else None)
    assert day(number("first_value_day")) == account.first_value()
    assert day(number("value_start_day")) == account.start()
    own = account.own_core()
    assert at(number("core_own")) == (-1 if own is None else len(own))
    assert at(number("sponsors")) == len(account.sponsors())
    assert at(number("sponsors_mapped")) == sum(1 for each in account.sponsors() if each["user"] is not None)


@settings(max_examples=150)
@given(
    stream=kept_streams(),
    zone=st.sampled_from(ZONES),
    live=st.booleans(),
    second=st.sampled_from((0, 1, 7_200, 43_200, 86_399)),
    ahead=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_everything_kept_equals_the_recount_in_any_order_and_batches(
    stream: Stream, zone: str, live: bool, second: int, ahead: bool, seed: int
) -> None:
    """Live, a sender's clock may be five minutes ahead of ours: what it sends then may be of tomorrow."""
    now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=TODAY, seconds=second)
    today = _civil(now, zone)
    until = now + timedelta(minutes=5 if ahead else 0)
    as_of = today - 1 if live else today
    known = [
        line
        for line in stream.lines
        for at in [datetime.fromisoformat(json.loads(line)["occurred_at"])]
        if (at <= until if live else _civil(at, zone) <= today)
    ]
    readings = readings_of(
        known, as_of=as_of, today=today, zone=zone, shuffle=random.Random(seed), model=MODEL
    )
    kept = Kept(known, zone, until=today + 1)
    for index in range(readings.portfolio.size):
        agrees(readings.portfolio, index, kept, as_of, today)


@settings(max_examples=25)
@given(stream=kept_streams(), zone=st.sampled_from(ZONES))
def test_everything_kept_equals_the_recount_at_the_close_of_every_day_of_a_replay(
    stream: Stream, zone: str
) -> None:
    calendar = Calendar(zone)
    for stretch in Past(read_history(stream.lines, calendar), calendar, MODEL).stretches(
        TODAY - 70, TODAY + 30
    ):
        for day, rows in stretch.closes:
            kept = Kept(stream.lines, zone, until=day)
            assert set(stretch.portfolio.account_ids[rows]) == set(kept.accounts)
            for index in range(rows.start, rows.stop):
                agrees(stretch.portfolio, index, kept, day, day)


# --- what chance finds too seldom


def test_a_sponsor_who_was_never_seen_counts_by_his_first_day_as_soon_as_he_comes() -> None:
    calendar, state = Calendar("UTC"), AccountState("acme")
    buyer = Stream().add(
        "contact.updated", "acme", 20_000, contact_id="c", user_id="boss", roles=["economic_buyer"]
    )
    login = Stream().add("user.login", "acme", 20_010, "boss", id="x")
    slots = []
    for stream in (buyer, login):
        [(_, delta)] = fold(decode_batch(stream.lines, FAR)[0], calendar).deltas.items()
        state.merge(*delta, calendar)
        slots.append([(kind, day, value) for day, kind, value in moments.MOMENT.iter_unpack(state.moments)])

    assert slots == [
        [(moments.SPONSOR, 20_000, -1), (moments.CONTACT, 20_000, -1)],
        [(moments.SPONSOR, 20_000, 0), (moments.CONTACT, 20_000, 0)],
    ]


def test_a_replay_counts_the_first_day_of_a_family_from_each_day_s_own_close() -> None:
    stream = Stream().add(
        "contact.updated", "acme", 20_000, contact_id="c", user_id="u", roles=["economic_buyer"]
    )
    stream.add("user.login", "other", 20_005, "somebody").add("seats.changed", "acme", 20_009, purchased=1)
    calendar = Calendar("UTC")
    for stretch in Past(read_history(stream.lines, calendar), calendar).stretches(20_000, 20_030):
        for day, rows in stretch.closes:
            moved = stretch.portfolio.as_of - day
            row = list(stretch.portfolio.account_ids).index("acme", rows.start)
            first = 20_005 if day >= 20_005 else 20_000
            assert stretch.portfolio.sponsor_day()[row] - moved == first


def test_days_without_activity_do_not_keep_what_the_ring_held_of_a_year_before() -> None:
    ring = bytearray(RING_BYTES)
    enter(ring, NEVER, [20_000, 20_001, 20_002])
    enter(ring, 20_002, [20_002 + KEPT_DAYS - 1])

    newest = 20_002 + KEPT_DAYS - 1
    assert [day for day in range(newest - KEPT_DAYS + 1, newest + 1) if active_on([ring], day, day)[0]] == [
        20_002,
        newest,
    ]


@given(st.lists(st.lists(st.integers(19_000, 20_300), max_size=8), max_size=6))
def test_the_ring_of_active_days_is_the_same_in_any_order_and_batches(batches: list[list[int]]) -> None:
    ring, newest = bytearray(RING_BYTES), NEVER
    for days in batches:
        enter(ring, newest, days)
        newest = max([newest, *days])
    known = {day for days in batches for day in days}
    for day in range(max(newest - KEPT_DAYS + 1, 18_000), newest + 1):
        assert active_on([ring], day, day)[0] == (day in known)


def test_a_feature_that_nobody_used_within_the_kept_days_is_forgotten_and_the_others_keep_their_users() -> (
    None
):
    usage, slots = Usage(), {"ann": 0, "bob": 1}
    old, new = 20_000, 20_000 + KEPT_DAYS
    merge_uses([Using(usage, slots, {("ann", "old"): [old, 1], ("bob", "kept"): [old + 1, 1]}, old + 1)])
    merge_uses([Using(usage, slots, {("ann", "kept"): [new, 1]}, new)])

    again = Usage(usage.blob(), bytes(usage.features), bytes(usage.sessions))
    assert list(again.numbers) == ["kept"]
    record = np.frombuffer(bytes(again.features), dtype=FEATURE_DTYPE)[0]
    assert (record["feature"], record["last_day"], record["days"]) == (feature_hash("kept"), new, 1)
    assert [row[:3] for row in USE.iter_unpack(again.uses)] == [(0, 0, new), (0, 1, old + 1)]


def test_sessions_keep_the_newest_sixty_four_days_in_order() -> None:
    usage = Usage()
    for day in (20_070, 20_000, 20_006, 20_007, 20_070):
        usage.spent(day, 1_000)

    assert list(moments.MOMENT.iter_unpack(usage.sessions)) == [(20_007, 0, 1_000), (20_070, 0, 2_000)]


def test_windows_that_reach_back_too_far_are_refused() -> None:
    portfolio = readings_of(Stream().add("user.login", "a", TODAY, "u").lines, as_of=TODAY).portfolio
    with pytest.raises(ValueError, match="the maps hold 64"):
        portfolio.core_in_use(TODAY - 64, TODAY)


def _civil(at: datetime, zone: str) -> int:
    return at.astimezone(ZoneInfo(zone)).date().toordinal() - date(1970, 1, 1).toordinal()
