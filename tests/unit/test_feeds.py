"""Who feeds activity: what a batch says of its sources, in any order, and when silence is ours."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.days import Calendar, instant
from consumers.decode import decode_batch
from consumers.feeds import (
    FILES,
    KEPT_HOURS,
    Feed,
    SourceState,
    brought,
    source_of,
    states,
    stored_feed,
    together,
    union,
)
from consumers.source import Chunk

UTC = Calendar("UTC")
HOUR = 3_600_000_000
DAY = 24 * HOUR
TODAY = 20_780
MIDNIGHT = TODAY * DAY
KINDS = ("user.login", "feature.used", "session.ended", "integration.synced", "seats.changed")
FAMILIES = dict(zip(KINDS, ("logins", "features", "sessions", "integrations"), strict=False))
DATA = {
    "feature.used": {"feature": "reports"},
    "session.ended": {"duration_s": 60},
    "integration.synced": {"integration": "crm"},
    "seats.changed": {"purchased": 3},
}


def body(at: int, kind: str = "user.login", offset_minutes: int = 0) -> bytes:
    shown = (instant(at) + timedelta(minutes=offset_minutes)).isoformat()[:-6]
    sign, size = "-" if offset_minutes < 0 else "+", abs(offset_minutes)
    event = {
        "id": f"{kind}-{at}",
        "type": kind,
        "account_id": "acme",
        "user_id": "u",
        "occurred_at": f"{shown}{sign}{size // 60:02d}:{size % 60:02d}",
        "data": DATA.get(kind, {}),
    }
    return msgspec.json.encode(event)


def fed(chunk: Chunk, calendar: Calendar = UTC) -> list[Feed]:
    events, rejections = decode_batch(chunk.bodies, MIDNIGHT + 400 * DAY)
    return together(brought(chunk, events, {index for index, _ in rejections}, calendar))


def batch(bodies: Iterable[bytes], partition: str = "journal", sender: str = "shop", **more: object) -> Chunk:
    bodies = list(bodies)
    return Chunk(partition, 0, len(bodies), bodies, range(len(bodies)), sender=sender, **more)  # type: ignore[arg-type]


def flow(hours: Iterable[int], source: str = "sender shop", family: str = "logins") -> Feed:
    """Half past each of these hours, counted from today's midnight."""
    (feed,) = fed(batch(body(MIDNIGHT + hour * HOUR + HOUR // 2) for hour in hours))
    return Feed(source, family, feed.newest_at, feed.first_day, feed.hours)


def state_of(feeds: Iterable[Feed], now: int, source: str = "sender shop", **gaps: int) -> SourceState:
    named = {name.replace("_", " "): gap for name, gap in gaps.items()}
    return next(each for each in states(feeds, now, UTC, named) if each.source == source)


# --- what a batch brings


@given(
    events=st.lists(
        st.tuples(
            st.integers(MIDNIGHT - 40 * DAY, MIDNIGHT),
            st.sampled_from(KINDS),
            st.sampled_from((0, 330, -480)),
        ),
        min_size=1,
        max_size=40,
    ),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    zone=st.sampled_from(("UTC", "Asia/Kolkata", "America/New_York")),
    seed=st.randoms(use_true_random=False),
)
def test_whatever_the_order_and_the_batches_it_is_what_a_recount_finds(events, cuts, zone, seed):
    calendar = Calendar(zone)
    expected: dict[str, list[int]] = defaultdict(list)
    for at, kind, _ in events:
        if kind in FAMILIES:
            expected[FAMILIES[kind]].append(at)
    seed.shuffle(events)
    edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    pieces = [events[low:high] for low, high in pairwise(edges)]
    found = together(feed for piece in pieces for feed in fed(batch(body(*each) for each in piece), calendar))
    assert [feed.family for feed in found] == sorted(expected)
    for feed in found:
        times = expected[feed.family]
        newest = max(times) // HOUR
        assert feed.newest_at == max(times)
        assert feed.first_day == min(map(calendar.day_of_us, times))
        assert feed.heard_hours() == sorted({at // HOUR for at in times if at // HOUR > newest - KEPT_HOURS})
        again = stored_feed(feed.source, feed.family, feed.newest_at, feed.first_day, feed.blob())
        assert again == feed
        assert union(feed, feed) == feed


@given(st.integers(0, 2**32), st.sampled_from((1, 60, 60 * 24)))
@settings(max_examples=15)
def test_a_large_batch_is_read_as_exactly_as_a_small_one(seed, spread):
    drawn = random.Random(
        seed
    )  # two thousand numbers drawn one by one would take the time of everything else
    minutes = [drawn.randrange(50 * 24 * 60) for _ in range(drawn.randrange(2_100, 2_300))]
    times = [MIDNIGHT - minute // spread * 60_000_000 for minute in minutes]
    (feed,) = fed(batch(map(body, times)))
    newest = max(times) // HOUR
    assert feed.heard_hours() == sorted({at // HOUR for at in times if at // HOUR > newest - KEPT_HOURS})


def test_records_of_several_senders_in_one_chunk_are_each_senders_own():
    bodies = [body(MIDNIGHT), b"no json", body(MIDNIGHT + HOUR), body(MIDNIGHT + 2 * HOUR)]
    chunk = batch(bodies, sender="", senders=("shop", "shop", "desk", "dead-letters"))
    assert [(each.source, each.newest_at) for each in fed(chunk)] == [
        ("sender desk", MIDNIGHT + HOUR),
        ("sender shop", MIDNIGHT),
    ]


def test_a_source_is_a_topic_a_sender_or_all_files():
    assert source_of("bellwether.logins/3") == "topic bellwether.logins"
    assert source_of("journal", "shop") == "sender shop"
    assert source_of("file:0123") == source_of("csv:0123") == FILES
    assert source_of("journal", "dead-letters") is None
    assert source_of("journal") is None


def test_state_is_no_activity():
    assert fed(batch([body(MIDNIGHT, "seats.changed")])) == []


# --- whether it flows


def test_seventy_two_hours_are_waited_for_until_four_weeks_were_seen():
    young = flow(range(-27 * 24, -72))  # its first day is the 27th before today
    assert young.first_day == TODAY - 27
    newest = young.newest_at
    assert not state_of([young], newest + 72 * HOUR).stale
    assert state_of([young], newest + 72 * HOUR + 1).stale


def test_then_it_is_a_day_or_half_as_much_again_as_the_longest_gap():
    steady = flow(range(-40 * 24, 12))
    assert state_of([steady], steady.newest_at).expected_gap == 24 * HOUR
    weekends = flow(hour for hour in range(-40 * 24, 12) if hour // 24 % 7 not in (0, 1))
    state = state_of([weekends], weekends.newest_at)
    assert state.longest_gap == 49 * HOUR
    assert state.expected_gap == 49 * HOUR * 3 // 2


def test_a_gap_that_goes_on_or_ended_today_is_not_the_longest_of_the_closed_days():
    holed = flow([*range(-40 * 24, -30), 5])
    assert state_of([holed], MIDNIGHT + 6 * HOUR).longest_gap == HOUR
    assert state_of([holed], MIDNIGHT + 30 * HOUR).longest_gap == 36 * HOUR


@given(st.sets(st.integers(-31 * 24, -1), min_size=2))
def test_the_longest_gap_is_less_than_an_hour_off(hours):
    feed = flow(hours)
    times = sorted(hours)
    gaps = [(late - early) * HOUR for early, late in pairwise(times) if late >= -28 * 24]
    assert (state_of([feed], MIDNIGHT).longest_gap or 0) == max(gaps, default=0)


def test_the_configuration_has_the_last_word_by_either_name():
    feed = flow(range(-40 * 24, -30))
    assert state_of([feed], MIDNIGHT).stale
    assert not state_of([feed], MIDNIGHT, shop=48 * HOUR).stale
    assert not state_of([feed], MIDNIGHT, sender_shop=48 * HOUR).stale


def test_a_day_that_broke_off_is_not_settled_until_it_is_heard_of_again():
    steady = range(-40 * 24, -12)
    cut = flow(steady)
    assert state_of([cut], MIDNIGHT - 1).word == "flowing"
    assert state_of([cut], MIDNIGHT).word == "unsettled"
    assert state_of([cut], MIDNIGHT + 13 * HOUR).word == "stale"
    assert state_of([union(cut, flow([-10]))], MIDNIGHT).word == "unsettled"
    assert state_of([union(cut, flow([-2]))], MIDNIGHT).word == "flowing"  # an hour tells nothing
    assert state_of([union(cut, flow([0]))], MIDNIGHT + HOUR).word == "flowing"


def test_nights_and_weekends_are_no_broken_day():
    office = [hour for hour in range(-40 * 24, 0) if hour % 24 in range(8, 18) and hour // 24 % 7 < 5]
    for day in range(7):
        until = [hour for hour in office if hour < -day * 24]
        assert state_of([flow(until)], MIDNIGHT - day * DAY).word == "flowing"
    friday = next(hour for hour in reversed(office) if hour % 24 == 17)
    cut = flow(hour for hour in office if hour <= friday - 5)
    closed = MIDNIGHT + (friday // 24 + 1) * DAY
    assert state_of([cut], closed).word == "unsettled"


@pytest.mark.parametrize(("hours", "word"), [(-12, "flowing"), (-26, "stale")])
def test_a_file_is_complete_as_far_as_it_goes(hours, word):
    feed = flow(range(-40 * 24, hours), source=FILES)
    assert state_of([feed], MIDNIGHT, FILES).word == word


# --- which sources count


def test_files_count_only_while_nobody_else_sends_newer_events():
    files = flow(range(-60 * 24, -40 * 24), source=FILES)
    sender = flow(range(-35 * 24, 0))
    assert state_of([files], MIDNIGHT, FILES).word == "stale"
    after = state_of([files, sender], MIDNIGHT, FILES)
    assert (after.word, after.because) == ("not counted", "others send newer events")
    sessions = flow(range(-60 * 24, -40 * 24), source=FILES, family="sessions")
    assert state_of([files, sessions, sender], MIDNIGHT, FILES).counts == {"sessions"}


def test_who_tried_it_out_once_does_not_count_beside_who_sends_every_day():
    once = flow([-200, -199], source="sender anna")
    assert state_of([once], MIDNIGHT, "sender anna").word == "stale"
    assert state_of([once, flow(range(-35 * 24, 0))], MIDNIGHT, "sender anna").word == "not counted"


def test_who_cannot_send_any_more_does_not_count():
    feeds = [flow(range(-35 * 24, -60)), flow(range(-35 * 24, 0), source="sender other")]
    assert [each.word for each in states(feeds, MIDNIGHT, UTC, {})] == ["flowing", "stale"]
    assert [each.word for each in states(feeds, MIDNIGHT, UTC, {}, {"shop"})] == ["flowing", "not counted"]
