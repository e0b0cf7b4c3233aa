"""Adoption, sponsors, escalations, ratings and the rest, against a second opinion from raw events."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.metrics.health import close_health
from alerts.metrics.logins import comparable
from alerts.metrics.per_business_day import median_of
from alerts.metrics.readings import Readings
from alerts.model import Model
from alerts.past import Past
from consumers.days import Calendar
from consumers.history import read_history
from tests.recount import ACTIVITY
from tests.recount_framework import HEALTH, METRICS, FrameworkRecount, first_health, number
from tests.recount_health import HealthRecount
from tests.unit.metric_streams import NOON, TODAY, ZONES, Stream, readings_of, told
from tests.unit.test_metric_health import streams as health_streams

CORE = ("reports", "exports", "boards")
COUNTRIES = (None, "DE", "DE-BY", "NL-NH", "GB-ENG", "Atlantis", "ZZ")
STALE_SETS = (frozenset[str](), frozenset({"features"}), frozenset({"integrations"}), frozenset(ACTIVITY))


# --- random streams ---------------------------------------------------------------------------------------------

_accounts = st.sampled_from(("a", "b"))
_users = st.sampled_from(("u1", "u2", "u3"))
_EDGES = [edge + near for edge in (1, 8, 28, 30, 56, 90, 140) for near in (-2, -1, 0, 1)]
_ago = st.one_of(
    st.sampled_from([edge for edge in _EDGES if edge >= 0]), st.integers(0, 30), st.integers(0, 230)
)
_second = st.sampled_from((0, 1, 5_400, 7_200, NOON, 79_200, 82_800, 86_399))
_KINDS = (
    *("account.updated", "account.updated", "contact.updated", "contact.updated", "contact.updated"),
    *("escalation.opened", "escalation.opened", "escalation.resolved"),
    *("ticket.opened", "ticket.opened", "ticket.opened", "ticket.closed"),
    *("sentiment.rated", "sentiment.rated", "touchpoint.logged", "milestone.reached"),
    *("integration.connected", "integration.synced", "integration.synced", "integration.disconnected"),
)


def text(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


@st.composite
def _burst(draw, stream):
    """Some users, active every so many days over some time."""
    first = TODAY - draw(_ago)
    count, every = draw(st.integers(1, 4) | st.integers(1, 30)), draw(st.sampled_from((1, 1, 2, 7)))
    kind = draw(
        st.sampled_from(("feature.used", "feature.used", "user.login", "user.login", "session.ended"))
    )
    account, second = draw(_accounts), draw(_second)
    data = {}
    if kind == "feature.used":
        data = {"feature": draw(st.sampled_from((*CORE, "own", "other")))}
    elif kind == "session.ended":
        data = {"duration_s": 60}
    for day in range(first, min(first + count * every, TODAY + 2), every):
        for user in draw(st.sets(_users, min_size=1, max_size=3)):
            stream.add(kind, account, day, user, second=second, **data)


def _data_of(draw, kind):
    """What an event of that kind says."""
    one_of_two = draw(st.sampled_from(("1", "2")))
    start = text(TODAY - draw(_ago))
    match kind:
        case "account.updated":
            return draw(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "core_features": st.sampled_from((["own"], ["own", "reports", "own"], [])),
                        "size": st.sampled_from(("enterprise", "smb")),
                        "country": st.sampled_from(COUNTRIES),
                        "contract_start": st.just(start),
                        "onboarding_completed_on": st.sampled_from((start, f"{start}T23:30:00Z")),
                        "success_milestone": st.sampled_from(("first_value", "first_report")),
                    },
                )
            )
        case "contact.updated":
            roles = st.sampled_from((["economic_buyer"], ["economic_buyer", "member"], ["champion"], []))
            optional = {
                "user_id": st.sampled_from((f"u{one_of_two}", "u9", None)),
                "roles": roles,
                "active": st.booleans(),
            }
            return {"contact_id": f"c{one_of_two}", **draw(st.fixed_dictionaries({}, optional=optional))}
        case "sentiment.rated":
            return {"rating": draw(st.sampled_from(("red", "yellow", "green")))}
        case "milestone.reached":
            return {"milestone": draw(st.sampled_from(("first_value", "first_report")))}
        case "touchpoint.logged":
            return {"channel": "call"}
    subject = kind.partition(".")[0]
    return {subject if subject == "integration" else f"{subject}_id": one_of_two}


@st.composite
def streams(draw):
    """Two accounts' events over nine months, in any order, some told twice."""
    stream = Stream()
    for _ in range(draw(st.integers(0, 6))):
        draw(_burst(stream))
    for _ in range(draw(st.integers(0, 20))):
        kind = draw(st.sampled_from(_KINDS))
        data = _data_of(draw, kind)
        account, day = draw(_accounts), TODAY + 1 - draw(_ago)
        stream.add(kind, account, day, second=draw(_second), **data)
        if kind == "sentiment.rated" and draw(st.booleans()):  # and a touchpoint about then
            stream.add("touchpoint.logged", account, day + draw(st.integers(-1, 1)), second=draw(_second))
    shuffle = random.Random(draw(st.integers(0, 2**32)))
    stream.lines += shuffle.sample(stream.lines, k=len(stream.lines) // 4)
    shuffle.shuffle(stream.lines)
    return stream


_models = st.builds(
    Model,
    core_features=st.sampled_from(((), CORE, ("own",))),
    country=st.sampled_from((None, "DE", "NL", "XX")),
)


@settings(max_examples=150)
@given(
    stream=streams(),
    zone=st.sampled_from(ZONES),
    model=_models,
    live=st.booleans(),
    second=st.sampled_from((0, 7_200, NOON, 86_399)),
    stale=st.sampled_from(STALE_SETS),
    seed=st.integers(0, 2**32),
)
def test_every_metric_and_status_equals_the_recount_in_any_order_and_batches(
    stream, zone, model, live, second, stale, seed
):
    now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=TODAY, seconds=second)
    today = number(now.astimezone(ZoneInfo(zone)).date())
    as_of = today - 1 if live else today
    known = [line for line in stream.lines if _known(line, now, zone, today, live)]
    readings = readings_of(
        known, as_of=as_of, today=today, zone=zone, stale=stale, shuffle=random.Random(seed), model=model
    )
    second_opinion = FrameworkRecount(known, zone, model.core_features, model.country)
    for index, account in enumerate(readings.portfolio.account_ids):
        view = second_opinion.view(account, as_of, today, stale)
        for name in METRICS:
            assert told(readings, name, index) == view[name], (account, name)


@settings(max_examples=60)
@given(stream=streams(), zone=st.sampled_from(ZONES), model=_models)
def test_every_metric_equals_the_recount_as_its_windows_slide_over_every_day(stream, zone, model):
    calendar = Calendar(zone)
    second_opinion = FrameworkRecount(stream.lines, zone, model.core_features, model.country)
    history = read_history(stream.lines, calendar)
    for stretch in Past(history, calendar, model).stretches(TODAY - 70, TODAY + 30):
        readings = Readings(stretch.portfolio)
        for day, rows in stretch.closes:
            for index in range(rows.start, rows.stop):
                view = second_opinion.view(readings.portfolio.account_ids[index], day, day)
                for name in METRICS:
                    assert told(readings, name, index) == view[name], (day - TODAY, name)


@settings(max_examples=60)
@given(
    stream=health_streams(),
    zone=st.sampled_from(ZONES),
    stale=st.sampled_from((frozenset[str](), frozenset[str](), frozenset({"logins"}))),
)
def test_health_under_its_names_equals_its_own_recount_as_a_first_day_closes(stream, zone, stale):
    readings = readings_of(stream.lines, as_of=TODAY, zone=zone, stale=stale, model=Model(core_features=CORE))
    close_health(readings.portfolio)
    second_opinion = HealthRecount(stream.lines, zone, CORE)
    for index, account in enumerate(readings.portfolio.account_ids):
        expected = first_health(second_opinion.account(account, TODAY, TODAY, stale))
        assert expected.keys() == set(HEALTH)
        for name, reading in expected.items():
            assert told(readings, name, index) == reading, (account, name)


@pytest.mark.parametrize(
    ("size", "rated", "touched", "overdue"),
    [
        ("smb", 7, 0, False),
        ("smb", 8, 9, True),
        ("enterprise", 7, 8, False),
        ("enterprise", 3, 3, False),  # days are what counts, whichever came first on it
        ("enterprise", 3, 2, True),
        (None, 3, 2, False),
    ],
)
def test_a_rating_is_overdue_after_a_week_and_of_an_enterprise_after_a_touchpoint(
    size, rated, touched, overdue
):
    stream = Stream().add("account.updated", "a", TODAY - 90, size=size)
    stream.add("sentiment.rated", "a", TODAY - rated, rating="green", second=1)
    stream.add("touchpoint.logged", "a", TODAY - touched, second=2)
    readings = readings_of(stream.lines, as_of=TODAY)
    assert told(readings, "sentiment.overdue", 0) == (overdue, "ok")


def test_the_usual_number_of_tickets_is_the_mean_of_the_middle_two_windows():
    stream = (
        Stream().active("a", ("u1",), (TODAY - 150,)).add("ticket.opened", "a", TODAY - 150, ticket_id="0")
    )
    for window, count in ((1, 5), (2, 1), (3, 0), (4, 2)):
        for ticket in range(count):
            stream.add("ticket.opened", "a", TODAY - 28 * window, ticket_id=f"{window}-{ticket}")
    readings = readings_of(stream.lines, as_of=TODAY)
    assert told(readings, "tickets.median_28d", 0) == (Fraction(3, 2), "ok")


def sponsors(*days):
    """Economic buyers u0, u1, … who got the role so many days ago."""
    stream = Stream()
    for place, ago in enumerate(days):
        who = f"u{place}"
        stream.add("contact.updated", "a", TODAY - ago, contact_id=who, user_id=who, roles=["economic_buyer"])
    return stream


def test_a_new_sponsor_who_was_never_seen_does_not_hide_that_another_has_long_been_away():
    stream = sponsors(200, 10).active("a", ["u0"], [TODAY - 70]).active("a", ["somebody"], [TODAY - 100])
    assert told(readings_of(stream.lines, as_of=TODAY), "sponsor.days_since_login", 0) == (70, "ok")


def test_of_sponsors_never_seen_the_one_who_got_the_role_last_counts():
    stream = sponsors(200, 40).active("a", ["somebody"], [TODAY - 100])
    assert told(readings_of(stream.lines, as_of=TODAY), "sponsor.days_since_login", 0) == (40, "ok")


@pytest.mark.parametrize(
    ("fed", "expected"),
    [
        ({}, (None, "unknown")),
        ({"feature.used": 30, "session.ended": 20}, (30, "ok")),
        ({"feature.used": 30, "user.login": 20}, (20, "ok")),
    ],
)
def test_a_sponsor_never_seen_counts_from_the_day_on_which_he_could_have_been_seen(fed, expected):
    stream = sponsors(200)
    for kind, ago in fed.items():
        stream.active("b", ["somebody"], [TODAY - ago], kind=kind)
    readings = readings_of(stream.lines, as_of=TODAY)
    index = list(readings.portfolio.account_ids).index("a")
    assert told(readings, "sponsor.days_since_login", index) == expected


# --- the change per business day --------------------------------------------------------------------------------


@st.composite
def portfolios(draw):
    """Some twenty accounts, of which most have logins enough to be compared, in some countries."""
    stream = Stream()
    chance = random.Random(draw(st.integers(0, 2**32)))  # thousands of choices are too many to draw each
    for place in range(draw(st.integers(19, 24))):
        account = f"a{place}"
        country = chance.choice(COUNTRIES)
        if country is not None:
            stream.add("account.updated", account, TODAY - 60, country=country)
        stream.active(account, ("u",), (TODAY - 110,))
        for first, last in ((84, 57), (56, 29), (28, 1), (0, -10)):
            for ago in range(first, last, -chance.choice((1, 1, 2))):
                stream.active(account, ("u",), (TODAY - ago,), times=chance.randint(1, 3))
    return stream


@settings(max_examples=15)
@given(stream=portfolios(), country=st.sampled_from((None, "DE", "XX")))
def test_from_twenty_accounts_on_their_own_median_is_taken_off_on_every_day_of_the_past(stream, country):
    calendar, model = Calendar("UTC"), Model(country=country)
    second_opinion = FrameworkRecount(stream.lines, country=country)
    name = "logins.change_28d_adjusted"
    for stretch in Past(read_history(stream.lines, calendar), calendar, model).stretches(
        TODAY - 3, TODAY + 2
    ):
        readings = Readings(stretch.portfolio)
        for day, rows in stretch.closes:
            usual = second_opinion.usual(day, day)
            for index in range(rows.start, rows.stop):
                view = second_opinion.view(readings.portfolio.account_ids[index], day, day)
                change, status = view.per_business_day()
                expected = (None if change is None else change - usual, status)
                assert told(readings, name, index) == expected, day - TODAY


@settings(max_examples=15)
@given(stream=portfolios(), pages=st.integers(1, 30))
def test_the_median_of_a_close_does_not_depend_on_its_pages_and_serves_one_account_alone(stream, pages):
    name = "logins.change_28d_adjusted"
    second_opinion = FrameworkRecount(stream.lines)
    whole = readings_of(stream.lines, as_of=TODAY - 1, today=TODAY).portfolio
    tops, bottoms = comparable(whole)
    cut = [(tops[at : at + pages], bottoms[at : at + pages]) for at in range(0, len(tops), pages)]
    median = median_of(cut, TODAY - 1)
    alone = readings_of(stream.lines, as_of=TODAY - 1, today=TODAY, median_change=median)
    usual = second_opinion.usual(TODAY - 1, TODAY)
    for index, account in enumerate(alone.portfolio.account_ids):
        change, status = second_opinion.view(account, TODAY - 1, TODAY).per_business_day()
        assert told(alone, name, index) == (None if change is None else change - usual, status)


def _known(line, now, zone, today, live):
    """Live, what happened until now; at the close of a day, all of that day."""
    at = datetime.fromisoformat(json.loads(line)["occurred_at"])
    return at <= now if live else number(at.astimezone(ZoneInfo(zone)).date()) <= today
