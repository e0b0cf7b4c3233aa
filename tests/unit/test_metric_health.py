"""Health against a second opinion, and the readings that one can look up: what counts, what is left out, what is 0."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.health.state import STALE
from alerts.metrics import health as metrics
from alerts.metrics.readings import Readings, evidence
from alerts.model import Bands, HealthModel, HealthTerms, Model, Segment
from alerts.values import Status
from tests.recount_health import HealthRecount
from tests.unit.metric_streams import NOON, TODAY, ZONES, Stream, readings_of

D = TODAY - 1
CORE = ("reports", "exports", "boards")
MODEL = Model(core_features=CORE)
COMPONENTS = {
    "product": metrics.product,
    "support": metrics.support,
    "relationship": metrics.relationship,
    "satisfaction": metrics.satisfaction,
}


def day_text(day):
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def scored(values, index=0):
    """(points or None, status), exactly."""
    status = Status(int(values.status[index]))
    if status is not Status.OK:
        return None, status.word
    return Decimal(int(values.numerator[index])) / int(values.denominator[index]), status.word


def said(metric, portfolio, account="a"):
    return scored(metric(portfolio, None), list(portfolio.account_ids).index(account))


def read(stream, *, model=MODEL, as_of=D, today=TODAY, stale=frozenset()):
    return readings_of(stream.lines, as_of=as_of, today=today, model=model, stale=stale).portfolio


# --- random streams ---------------------------------------------------------------------------------------------

_accounts = st.sampled_from(("a", "b"))
_users = st.sampled_from(("u1", "u2", "u3", "u4"))
_EDGES = (27, 28, 29, 55, 56, 59, 60, 89, 90, 111, 112, 139, 140, 179, 180, 359, 360)
_ago = st.one_of(
    st.sampled_from([max(0, 1 + edge + near) for edge in _EDGES for near in (-1, 0, 1)]),
    st.integers(0, 40),
    st.integers(0, 380),
)
_second = st.sampled_from((0, 5_400, NOON, 82_800))


@st.composite
def _burst(draw, stream):
    first = TODAY - draw(_ago)
    count, every = draw(st.integers(1, 30)), draw(st.sampled_from((1, 1, 2, 7)))
    users = draw(st.sets(_users, min_size=1, max_size=3))
    kind = draw(st.sampled_from(("user.login", "user.login", "feature.used", "session.ended")))
    account, second, times = draw(_accounts), draw(_second), draw(st.integers(1, 3))
    data = {}
    if kind == "feature.used":
        data = {"feature": draw(st.sampled_from((*CORE, "own", "other")))}
    elif kind == "session.ended":
        data = {"duration_s": draw(st.sampled_from((0, 1, 59, 60, 599, 600.5, 1_200, 90_000)))}
    for day in range(first, min(TODAY - 1, first + count * every) + 1, every):
        for user in users:
            for _ in range(times):
                stream.add(kind, account, day, user, second=second, **data)


@st.composite
def _fact(draw, stream):
    account, day = draw(_accounts), TODAY - 1 - draw(_ago)
    ahead = TODAY + draw(st.sampled_from((-40, -1, 0, 1, 88, 89, 90, 91, 200)))
    user, data = None, {}
    kind = draw(
        st.sampled_from(
            (
                *(
                    "seats.changed",
                    "contact.updated",
                    "contact.updated",
                    "champion.changed",
                    "account.updated",
                ),
                *("qbr.scheduled", "qbr.held", "qbr.cancelled", "escalation.opened", "escalation.resolved"),
                *("ticket.opened", "ticket.opened", "ticket.closed", "survey.answered", "survey.answered"),
                *("survey.answered", "sentiment.rated", "user.updated"),
            )
        )
    )
    match kind:
        case "seats.changed":
            data = {"purchased": draw(st.sampled_from((0, 2, 3, 5, 10)))}
        case "contact.updated":
            number = draw(st.integers(1, 4))
            data = {"contact_id": f"c{number}"}
            if draw(st.booleans()):
                data["user_id"] = f"u{number}"
            if draw(st.booleans()):
                data["roles"] = draw(
                    st.sampled_from((["champion"], ["economic_buyer"], ["champion", "economic_buyer"], []))
                )
            if draw(st.integers(0, 3)) == 0:
                data["active"] = draw(st.booleans())
        case "champion.changed":
            data = draw(st.fixed_dictionaries({}, optional={"previous_user_id": _users, "user_id": _users}))
        case "account.updated":
            data = {"core_features": draw(st.sampled_from((["own"], ["own", "reports", "own"], [])))}
        case "user.updated":
            user, data = draw(_users), {"deactivated": draw(st.booleans())}
        case "qbr.scheduled":
            data = {"qbr_id": draw(st.sampled_from(("q1", "q2"))), "scheduled_for": day_text(ahead)}
        case "qbr.held" | "qbr.cancelled":
            data = {"qbr_id": draw(st.sampled_from(("q1", "q2")))}
        case "survey.answered":
            data = draw(
                st.one_of(
                    st.fixed_dictionaries({"kind": st.just("nps"), "score": st.integers(0, 10)}),
                    st.fixed_dictionaries({"kind": st.just("csat"), "score": st.integers(1, 5)}),
                )
            )
        case "sentiment.rated":
            data = {"rating": draw(st.sampled_from(("red", "red", "yellow", "green")))}
        case _:
            what = kind.partition(".")[0]
            data = {f"{what}_id": draw(st.sampled_from(("1", "2", "3", "4", "5", "6")))}
    for _ in range(draw(st.sampled_from((1, 1, 1, 4))) if kind == "survey.answered" else 1):
        stream.add(kind, account, day, user, second=draw(_second), **data)


@st.composite
def streams(draw):
    stream = Stream()
    for _ in range(draw(st.integers(0, 6))):
        draw(_burst(stream))
    for _ in range(draw(st.integers(0, 24))):
        draw(_fact(stream))
    shuffle = random.Random(draw(st.integers(0, 2**32)))
    stream.lines += shuffle.sample(stream.lines, k=len(stream.lines) // 4)
    shuffle.shuffle(stream.lines)
    return stream


@given(
    stream=streams(),
    zone=st.sampled_from(ZONES),
    live=st.booleans(),
    deaf=st.sets(st.sampled_from(("logins", "features", "sessions", "tickets")), max_size=1),
    seed=st.integers(0, 2**32),
)
def test_whatever_happens_two_opinions_agree(stream, zone, live, deaf, seed):
    as_of, today = (TODAY - 1, TODAY) if live else (TODAY, TODAY)
    stale = frozenset(deaf)
    recount = HealthRecount(stream.lines, zone, CORE)
    readings = readings_of(
        list(stream.lines),
        as_of=as_of,
        today=today,
        zone=zone,
        stale=stale,
        shuffle=random.Random(seed),
        model=MODEL,
    )
    portfolio = readings.portfolio
    for index, account_id in enumerate(portfolio.account_ids):
        expected = recount.account(account_id, as_of, today, stale)
        engaged = metrics.engagement_score(portfolio, None)
        assert scored(engaged, index) == expected.engagement(), expected.parts()
        for name, component in expected.components().items():
            assert scored(COMPONENTS[name](portfolio, None), index) == component, name
        assert scored(metrics.health_score(portfolio, None), index) == expected.first_score()


# --- engagement -------------------------------------------------------------------------------------------------


def busy(stream=None, account="a", *, users=("u1", "u2", "u3", "u4"), since=200, until=1):
    """Everybody logs in each day, and the portfolio hears of it for long."""
    stream = Stream() if stream is None else stream
    return stream.active(account, users, range(TODAY - since, TODAY - until + 1))


def engagement_points(portfolio, account="a"):
    parts = metrics.current(portfolio).engagement.parts[list(portfolio.account_ids).index(account)]
    named = zip(("logins", "breadth", "depth", "seats"), parts.tolist(), strict=True)
    return {name: points / 100 if points >= 0 else None for name, points in named}


def test_four_parts_of_equal_weight():
    stream = busy()  # 7 logins per user and week
    stream.add("seats.changed", "a", TODAY - 100, purchased=10)  # 4 of 10
    for day in (TODAY - 40, TODAY - 5, TODAY - 4):
        stream.add("feature.used", "a", day, "u1", feature="reports")  # 1 of 3
    for day in range(TODAY - 40, TODAY):
        stream.add("session.ended", "a", day, "u1", duration_s=1_200)  # 20 minutes of one in four user-days
    portfolio = read(stream)
    assert engagement_points(portfolio) == {"logins": 100, "breadth": 41.67, "depth": 25, "seats": 50}
    assert said(metrics.engagement_score, portfolio) == (Decimal("54.17"), "ok")
    assert metrics.engagement_band(portfolio, None).text[0] == "yellow"


def test_missing_parts_are_left_out_and_the_rest_weighs_more():
    portfolio = read(busy())
    assert engagement_points(portfolio) == {"logins": 100, "breadth": None, "depth": None, "seats": None}
    assert said(metrics.engagement_score, portfolio) == (100, "ok")


def test_an_account_of_which_nobody_is_active_any_more_scores_nothing():
    portfolio = read(busy(busy(until=60), "b"))
    assert said(metrics.engagement_score, portfolio) == (0, "ok")
    assert said(metrics.engagement_score, portfolio, "b") == (100, "ok")


def test_a_new_account_has_no_score_yet_and_one_never_active_never():
    portfolio = read(busy(since=27).add("account.updated", "b", TODAY - 5, name="B"))
    assert said(metrics.engagement_score, portfolio) == (None, "insufficient_history")
    assert said(metrics.engagement_score, portfolio, "b") == (None, "unknown")
    assert said(metrics.engagement_score, read(busy(since=28))) == (100, "ok")


def test_a_silent_source_is_no_low_engagement():
    portfolio = read(busy(until=10), stale=frozenset({"logins"}))
    for metric in (metrics.engagement_score, metrics.engagement_band, metrics.product, metrics.health_score):
        assert Status(int(metric(portfolio, None).status[0])) is Status.STALE_SOURCE
    assert Status(int(metrics.coverage(portfolio, None).status[0])) is Status.STALE_SOURCE


def test_sessions_that_were_first_received_last_week_say_nothing_yet():
    stream = busy()
    stream.add("session.ended", "a", TODAY - 7, "u1", duration_s=60)
    assert engagement_points(read(stream))["depth"] is None
    stream.add("session.ended", "b", TODAY - 28, "u1", duration_s=60)
    assert engagement_points(read(stream))["depth"] == 0.04


def test_only_core_features_of_the_accounts_own_list_count_where_it_has_one():
    stream = busy().add("account.updated", "a", TODAY - 90, core_features=["own", "reports"])
    for day in (TODAY - 60, TODAY - 2, TODAY):
        stream.add("feature.used", "a", day, "u1", feature="own")
        stream.add("feature.used", "a", day, "u1", feature="boards")
    assert engagement_points(read(stream))["breadth"] == 62.5
    assert engagement_points(read(stream, as_of=D, today=D))["breadth"] == 0  # today was the second day


# --- what the health score is made of ---------------------------------------------------------------------------


def test_product_engagement_falls_with_logins_at_risk_and_seats_under_forty_percent():
    stream = busy(until=29).add("seats.changed", "a", TODAY - 100, purchased=11)
    stream.active("a", ("u1", "u2", "u3", "u4"), range(TODAY - 20, TODAY))
    portfolio = read(stream)
    engaged = metrics.engagement_score(portfolio, None)
    assert scored(engaged) == (Decimal("72.73"), "ok")  # 100 and 45.45
    assert said(metrics.product, portfolio) == (Decimal("22.73"), "ok")


@pytest.mark.parametrize(
    ("escalations", "recent", "points"), [(0, 0, 100), (1, 0, 75), (3, 0, 50), (0, 5, 70), (2, 20, 0)]
)
def test_support_falls_with_open_escalations_and_tickets_above_the_usual(escalations, recent, points):
    stream = busy()
    for number in range(escalations):
        stream.add("escalation.opened", "a", TODAY - 3, escalation_id=f"{number}")
    stream.add("escalation.opened", "b", TODAY - 3, escalation_id="far")
    tickets = iter(range(1_000))
    for month in range(5):
        for _ in range(2):
            day = TODAY - 2 - 28 * month if month else TODAY - 140
            stream.add("ticket.opened", "a", day, ticket_id=f"{next(tickets)}")
    for _ in range(recent):
        stream.add("ticket.opened", "a", TODAY - 2, ticket_id=f"{next(tickets)}")
    assert said(metrics.support, read(stream)) == (points, "ok")


def test_support_says_nothing_while_neither_tickets_nor_escalations_were_received():
    assert said(metrics.support, read(busy())) == (None, "unknown")
    tickets = busy().add("ticket.opened", "a", TODAY - 100, ticket_id="1")
    assert said(metrics.support, read(tickets)) == (None, "insufficient_history")
    both = tickets.add("escalation.opened", "b", TODAY - 100, escalation_id="1")
    assert said(metrics.support, read(both)) == (100, "ok")


def test_a_whole_relationship_and_a_red_rating():
    stream = busy()
    for number in range(1, 4):
        roles = {1: ["champion"], 2: ["economic_buyer"]}.get(number, [])
        stream.add(
            "contact.updated", "a", TODAY - 100, contact_id=f"c{number}", user_id=f"u{number}", roles=roles
        )
    stream.add("qbr.scheduled", "a", TODAY - 100, qbr_id="q", scheduled_for=day_text(D + 90))
    assert said(metrics.relationship, read(stream)) == (100, "ok")
    red = stream.add("sentiment.rated", "a", D - 30, rating="red")
    assert said(metrics.relationship, read(red)) == (40, "ok")
    assert said(metrics.relationship, read(red, as_of=TODAY, today=TODAY)) == (100, "ok")


def test_of_a_relationship_only_what_can_be_known_counts():
    assert said(metrics.relationship, read(busy())) == (None, "unknown")
    stream = busy().add("contact.updated", "a", TODAY - 9, contact_id="c", user_id="u1", roles=["champion"])
    assert said(metrics.relationship, read(stream)) == (40, "ok")  # 30 of 75
    stream.add(
        "qbr.held", "b", TODAY - 5, qbr_id="q"
    )  # QBRs came last week: none of this account is no absence
    assert said(metrics.relationship, read(stream)) == (40, "ok")
    stream.add("qbr.held", "b", TODAY - 100, qbr_id="q2")
    assert said(metrics.relationship, read(stream)) == (30, "ok")
    assert said(metrics.relationship, read(stream, stale=frozenset({"logins"}))) == (
        None,
        "stale_source",
    )


def answers(*scores, ago, kind="nps", stream=None):
    stream = busy() if stream is None else stream
    for score in scores:
        stream.add("survey.answered", "a", D - ago, kind=kind, score=score)
    return stream


def test_satisfaction_is_the_change_between_half_years_or_one_of_them():
    assert said(metrics.satisfaction, read(busy())) == (None, "unknown")
    assert said(metrics.satisfaction, read(answers(8, 8, ago=3))) == (None, "low_volume")
    now = answers(8, 8, 9, ago=179)
    assert said(metrics.satisfaction, read(now)) == (Decimal("83.33"), "ok")
    both = answers(3, 4, 5, ago=180, kind="csat", stream=now)  # 50, 75, 100
    assert said(metrics.satisfaction, read(both)) == (Decimal("58.33"), "ok")
    before = answers(2, 2, 2, ago=359)
    assert said(metrics.satisfaction, read(before)) == (20, "ok")
    assert said(metrics.satisfaction, read(answers(0, 0, 0, ago=1, stream=both)))[0] < 50
    fallen = answers(0, 0, 0, ago=0, stream=answers(10, 10, 10, ago=200))
    assert said(metrics.satisfaction, read(fallen)) == (0, "ok")


# --- segments ---------------------------------------------------------------------------------------------------


def test_each_account_is_scored_by_the_first_segment_it_is_in():
    large = HealthTerms(targets=(14_000, 800, 20_000, 800), bands=Bands(7_000, 5_001))
    small = replace(large, targets=(28_000, 800, 20_000, 800))
    model = replace(
        MODEL,
        health=HealthModel(
            segments=(
                Segment({"size": frozenset({"large", "huge"}), "tier": frozenset({"gold"})}, large),
                Segment({"size": frozenset({"large"})}, small),
            )
        ),
    )
    stream = Stream()
    for account, size, tier in (("a", "large", "gold"), ("b", "large", "tin"), ("c", "tiny", "gold")):
        busy(stream, account).add("account.updated", account, TODAY - 99, size=size, tier=tier)
    portfolio = read(busy(stream, "d"), model=model)
    points = [said(metrics.engagement_score, portfolio, account)[0] for account in "abcd"]
    assert points == [50, 25, 100, 100]
    bands = dict(zip(portfolio.account_ids, metrics.engagement_band(portfolio, None).text, strict=True))
    assert bands == {"a": "red", "b": "red", "c": "green", "d": "green"}


def test_evidence_has_the_terms_of_the_segment_and_who_is_in_it():
    small = HealthTerms(
        engagement=(2_000, 1_000, 0, 0), targets=(3_500, 800, 20_000, 800), bands=Bands(6_550)
    )
    segment = Segment({"size": frozenset({"tiny", "small"})}, small)
    model = replace(MODEL, health=HealthModel(segments=(segment,)))
    readings = Readings(
        read(busy(busy(), "b").add("account.updated", "b", TODAY - 99, size="tiny"), model=model)
    )
    terms = {
        account: evidence(readings, "health.band", place)["terms"]
        for place, account in enumerate(readings.portfolio.account_ids)
    }
    assert terms["b"] == {
        "segment": {"size": ["small", "tiny"]},
        "engagement": {
            "weights": {"logins": 2.0, "breadth": 1.0, "depth": 0.0, "seats": 0.0},
            "targets": {"logins": 3.5, "breadth": 0.8, "depth": 20.0, "seats": 0.8},
        },
        "weights": {"product": 0.4, "support": 0.2, "relationship": 0.25, "satisfaction": 0.15},
        "bands": {"green_above": 65.5, "red_below": 40.0},
    }
    assert (terms["a"]["segment"], terms["a"]["bands"]["green_above"]) == (None, 70.0)
    for name in ("engagement.score", "engagement.band", "health.score", "health.coverage", "health.product"):
        assert evidence(readings, name, 0)["terms"] == terms[readings.portfolio.account_ids[0]]


def test_evidence_of_an_input_has_its_windows_and_the_sums_of_the_answers():
    stream = answers(3, 4, 5, ago=180, kind="csat", stream=answers(8, 8, 9, ago=3))
    readings = Readings(read(stream))
    proof = evidence(readings, "health.satisfaction", 0)
    assert proof["parts"] == {
        "answers_180d": 3,
        "answers_180d_before": 3,
        "answers_sum_180d": 250,
        "answers_sum_180d_before": 225,
    }
    assert proof["windows"] == {
        "answers_180d": [day_text(D - 179), day_text(D)],
        "answers_180d_before": [day_text(D - 359), day_text(D - 180)],
    }
    assert evidence(readings, "health.support", 0)["windows"] == {
        "tickets_28d": [day_text(D - 27), day_text(D)],
        "tickets_usual": [day_text(D - 139), day_text(D - 28)],
    }
    assert evidence(readings, "health.relationship", 0)["windows"] == {
        "sponsor": [day_text(D - 59), day_text(TODAY)],
        "qbrs_held_90d": [day_text(D - 89), day_text(TODAY)],
        "qbrs_booked_90d": [day_text(TODAY), day_text(D + 90)],
        "contacts_active_90d": [day_text(D - 89), day_text(TODAY)],
        "sentiment_red": [day_text(D - 30), day_text(TODAY)],
    }


# --- the close --------------------------------------------------------------------------------------------------


def whole_account():
    stream = busy(since=400)
    stream.add("escalation.opened", "z", TODAY - 300, escalation_id="1")
    return answers(9, 9, 9, ago=2, stream=stream)


def test_the_band_is_of_the_close_and_leaves_out_today_so_far():
    stream = busy(since=400, users=("u1",)).add("seats.changed", "a", TODAY - 99, purchased=4)
    stream.add("escalation.opened", "z", TODAY - 300, escalation_id="1")
    live = busy(Stream(), since=0, until=0)
    stream.lines += [line.replace(b'"e', b'"t') for line in live.lines]  # everybody is back today
    portfolio = read(stream)
    assert metrics.health_band(portfolio, None).text[0] == "unknown"
    records = metrics.close_health(portfolio).records
    at_close = read(stream, today=D)
    assert records["score"][0] == metrics.health_score(at_close, None).numerator[0]
    assert records["score"][0] < metrics.health_score(read(stream), None).numerator[0]
    assert metrics.health_band(portfolio, None).text[0] == "yellow"
    assert metrics.days_in_band(portfolio, None).numerator[0] == 0
    assert (
        metrics.health_score(portfolio, None).numerator[0] == records["score"][0]
    )  # judged on what a replay has


def test_what_was_closed_deaf_is_closed_again_once_all_is_heard():
    stream = whole_account()
    deaf = read(stream, stale=frozenset({"logins"}))
    records = metrics.close_health(deaf).records
    assert Status(int(metrics.health_band(deaf, None).status[0])) is Status.STALE_SOURCE

    def remembered(portfolio):
        metrics.remember(portfolio, records)
        return portfolio

    still = remembered(read(stream, stale=frozenset({"logins"})))
    assert (metrics.close_again(still).records["flags"] == STALE).all()
    heard = remembered(read(stream))
    again = metrics.close_again(heard)
    assert [heard.account_ids[place] for place in again.places] == ["a"]
    assert "green" in metrics.health_band(heard, None).text
    assert np.array_equal(again.records, metrics.close_health(read(stream)).first(99).records[again.places])
    assert not len(metrics.close_again(heard).places)


def test_health_is_worked_out_once_for_many_metrics():
    portfolio = read(whole_account())
    assert metrics.current(portfolio) is metrics.current(portfolio)
    assert metrics.scored(portfolio) is metrics.scored(portfolio)
