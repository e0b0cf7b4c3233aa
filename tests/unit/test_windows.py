"""Windows: what is folded in any order, in any batches, is what a plain list of days says."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from consumers.windows import CELL, KEPT_DAYS, MAP_DAYS, Activity, DayCounts, Users, merge_users, union

days = st.integers(20_000, 20_000 + 3 * KEPT_DAYS)
near_days = st.integers(20_000, 20_000 + 2 * MAP_DAYS)


def bits(last: int, active: list[int]) -> int:
    """The map that the docstring promises: bit i says whether ``last - i`` is among the days."""
    return sum(1 << (last - day) for day in set(active) if last - MAP_DAYS < day <= last)


@given(st.lists(near_days, min_size=1), st.lists(near_days, min_size=1))
def test_the_union_of_two_maps_has_the_days_of_both(a, b):
    last_a, last_b = max(a), max(b)

    merged = union(last_a, bits(last_a, a), last_b, bits(last_b, b))

    last = max(last_a, last_b)
    kept_a = [day for day in a if day > last_a - MAP_DAYS]
    kept_b = [day for day in b if day > last_b - MAP_DAYS]
    assert merged == bits(last, kept_a + kept_b)


@given(st.lists(st.tuples(days, st.integers(1, 70_000)), min_size=1, max_size=60), st.randoms())
def test_daily_counts_are_the_same_in_any_order_and_drop_only_what_is_too_old(counts, random):
    ring = DayCounts()
    random.shuffle(counts)
    for day, count in counts:
        ring.add(day, count)

    newest = max(day for day, _ in counts)
    expected: Counter[int] = Counter()
    for day, count in counts:
        if day > newest - KEPT_DAYS:
            expected[day] += count
    assert ring.newest == newest
    assert {day: ring[day] for day in range(newest - KEPT_DAYS - 5, newest + 5) if ring[day]} == dict(
        expected
    )


@given(st.lists(st.tuples(days, st.integers(1, 70_000)), min_size=1, max_size=40))
def test_daily_counts_come_back_from_their_blob(counts):
    ring = DayCounts()
    for day, count in counts:
        ring.add(day, count)

    again = DayCounts(ring.newest, ring.blob())

    assert [again[day] for day, _ in counts] == [ring[day] for day, _ in counts]


user_events = st.lists(
    st.tuples(st.sampled_from(["ann", "bob", "cy"]), near_days, st.integers(0, 1)), min_size=1, max_size=60
)


@given(user_events, st.randoms(), st.integers(1, 8))
def test_users_days_are_the_same_in_any_order_and_any_batches(events, random, batches):
    shuffled = list(events)
    random.shuffle(shuffled)
    users = Users()
    for number in range(batches):
        activity = Activity()
        for user, day, login in shuffled[number::batches]:
            activity.saw(user, day, login)
        merge_users([(users, activity.users)])

    for user in {user for user, _, _ in events}:
        slot = users.known.slots[user]
        last, flags, active = CELL.unpack_from(users.cells, slot * CELL.size)
        mine = [(day, login) for name, day, login in events if name == user]
        assert last == max(day for day, _ in mine)
        assert flags == 0
        assert active == bits(last, [day for day, _ in mine])
        assert users.login_maps[slot] == bits(last, [day for day, login in mine if login])


def test_merging_the_same_days_twice_changes_nothing():
    activity = Activity()
    for day in (20_000, 20_003, 20_010):
        activity.saw("ann", day, 1)
    users = Users()
    merge_users([(users, activity.users)])
    once = bytes(users.cells), users.login_maps.tobytes()

    merge_users([(users, activity.users)])

    assert (bytes(users.cells), users.login_maps.tobytes()) == once


def test_a_login_years_after_the_last_one_leaves_only_itself_on_the_map():
    users = Users()
    for day in (10_000, 20_000):
        activity = Activity()
        activity.saw("ann", day, 1)
        merge_users([(users, activity.users)])

    assert CELL.unpack_from(users.cells, 0) == (20_000, 0, 1)


def test_a_count_past_sixteen_bits_widens_the_ring_and_loses_nothing():
    ring = DayCounts()
    ring.add(20_000, 65_535)
    ring.add(20_000, 1)

    assert ring[20_000] == 65_536
    assert len(ring.blob()) == 4 * KEPT_DAYS
    assert DayCounts(ring.newest, ring.blob())[20_000] == 65_536
