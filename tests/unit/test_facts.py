"""Facts: state goes by when things happened, never by when we heard of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.days import Calendar
from consumers.facts import Fact, Profile, derive, merge_facts
from consumers.moments import INTEGRATION_LOST
from consumers.windows import NEVER

UTC = Calendar("UTC")
DAY = 86_400_000_000


def fact(day, number, kind, **data):
    return Fact(day * DAY, f"e{number}", kind, data.pop("user", ""), data)


facts = st.lists(
    st.builds(
        fact,
        st.integers(20_000, 20_030),
        st.integers(0, 40),
        st.just("account.updated"),
        owner=st.sampled_from(["north", "south"]),
        size=st.sampled_from(["smb", "enterprise"]),
    )
    | st.builds(
        fact,
        st.integers(20_000, 20_030),
        st.integers(0, 40),
        st.just("seats.changed"),
        purchased=st.integers(0, 99),
    ),
    max_size=25,
    unique_by=lambda each: (each.at, each.id, each.kind),
)


@given(facts, st.randoms(), st.integers(1, 5))
def test_any_order_and_any_batches_give_the_same_state(all_facts, random, batches):
    in_order = derive(merge_facts([], all_facts), UTC)
    shuffled = list(all_facts)
    random.shuffle(shuffled)
    known: list[Fact] = []
    for number in range(batches):
        known = merge_facts(known, [*shuffled[number::batches], *shuffled[:3]])

    state = derive(known, UTC)

    assert (state.profile, state.attributes) == (in_order.profile, in_order.attributes)


@given(facts)
def test_of_each_attribute_the_newest_word_stands(all_facts):
    told = [each for each in all_facts if each.kind == "account.updated"]

    state = derive(merge_facts([], all_facts), UTC)

    newest = max(told, key=lambda each: (each.at, each.id), default=None)
    assert state.attributes == (newest.data if newest else {})


def test_what_only_passes_is_forgotten_after_the_kept_days_in_any_order():
    tickets = [fact(day, day, "ticket.opened", ticket_id=f"t{day}") for day in (20_000, 20_300, 20_500)]
    seats = fact(19_000, 1, "seats.changed", purchased=5)

    kept = merge_facts(merge_facts([tickets[2]], [tickets[0], seats]), [tickets[1]])

    assert kept == merge_facts([], [*tickets, seats]) == [seats, tickets[1], tickets[2]]


def test_two_senders_who_use_one_id_are_told_apart_whoever_comes_first():
    crm, billing = (
        Fact(20_000 * DAY, "e1", "seats.changed", "", {"purchased": seats}, source)
        for source, seats in (("crm", 5), ("billing", 7))
    )

    assert merge_facts([crm], [billing]) == merge_facts([billing], [crm]) == [billing, crm]


def test_fields_of_different_ages_live_side_by_side():
    kept = merge_facts(
        [fact(1, 1, "account.updated", owner="north", touch="low")],
        [
            fact(3, 3, "account.updated", touch="high"),
            fact(2, 2, "account.updated", owner="south", touch="tech"),
        ],
    )

    assert [each.data for each in kept] == [{"owner": "south"}, {"touch": "high"}]


def test_what_segment_an_account_was_in_when_is_history():
    kept = merge_facts(
        [fact(3, 3, "account.updated", size="enterprise", lifecycle="active")],
        [
            fact(1, 1, "account.updated", owner="north", size="smb"),
            fact(2, 2, "account.updated", owner="south"),
        ],
    )

    assert [each.data for each in kept] == [
        {"size": "smb"},
        {"owner": "south"},
        {"size": "enterprise", "lifecycle": "active"},
    ]


def test_of_syncs_the_first_and_the_newest_of_each_integration_stay_for_ever_whoever_tells_them():
    told = [
        Fact(day * DAY, f"e{day}", "integration.synced", "", {"integration": name}, source)
        for day, name, source in (
            *((150, "a", "x"), (100, "a", "x"), (200, "a", "y")),
            *((50, "b", "x"), (20_000, "c", "x"), (180, "a", "x")),
        )
    ]

    for first in (told, told[::-1]):
        assert merge_facts(merge_facts([], first[:3]), first[3:]) == [told[3], told[1], told[2], told[4]]


def test_the_newest_touchpoint_stays_for_ever():
    touchpoints = [fact(day, day, "touchpoint.logged") for day in (100, 200)]
    later = fact(20_000, 1, "seats.changed", purchased=5)

    assert merge_facts([later], touchpoints) == merge_facts(touchpoints, [later]) == [touchpoints[1], later]


def test_an_update_that_says_nothing_leaves_nothing():
    ticket = fact(100, 1, "ticket.opened", ticket_id="t")

    assert merge_facts([], [fact(20_000, 2, "account.updated"), ticket]) == [ticket]


def test_seats_are_summed_over_subscriptions_and_remember_when_they_rose():
    state = derive(
        [
            fact(10, 1, "seats.changed", purchased=0),
            fact(20, 2, "seats.changed", purchased=5),
            fact(30, 3, "seats.changed", purchased=3, subscription_id="more"),
            fact(40, 4, "seats.changed", purchased=4),
        ],
        UTC,
    )

    assert (state.profile.seats, state.profile.seats_first_day, state.profile.seats_increase_day) == (
        7,
        20,
        30,
    )


def seats_of(*story, calendar=UTC):
    profile = derive(story, calendar).profile
    return profile.seats, profile.seats_first_day, profile.seats_increase_day


def test_seats_of_a_subscription_that_ended_are_not_in_effect_until_it_is_paid_again():
    story = [
        fact(10, 1, "subscription.changed", subscription_id="s1", mrr="100.00"),
        fact(10, 2, "seats.changed", subscription_id="s1", purchased=5),
        fact(10, 3, "seats.changed", subscription_id="s2", purchased=3),
        fact(20, 4, "subscription.changed", subscription_id="s1", mrr="0.00"),
    ]
    back = fact(30, 5, "subscription.changed", subscription_id="s1", mrr="90.00")

    assert seats_of(*story) == (3, 10, NEVER)
    assert derive(story, UTC).details["seats"] == {"s2": 3}
    assert seats_of(*story, back) == (8, 10, 30)


@pytest.mark.parametrize("first_away", [True, False])
def test_seats_that_move_from_one_subscription_to_another_within_a_day_did_not_rise(first_away):
    away = {"subscription_id": "s1", "purchased": 0}
    there = {"subscription_id": "s2", "purchased": 5}
    moved = [away, there] if first_away else [there, away]
    story = [
        fact(10, 1, "seats.changed", subscription_id="s1", purchased=5),
        *(fact(20, number, "seats.changed", **data) for number, data in enumerate(moved, 2)),
    ]

    assert seats_of(*story) == (5, 10, NEVER)


def test_a_day_of_seats_closes_at_midnight_where_the_organisation_is():
    half_an_hour = DAY // 48
    evening, night = 20 * DAY - half_an_hour, 20 * DAY + half_an_hour
    story = [
        fact(10, 1, "seats.changed", purchased=5),
        Fact(evening, "e2", "seats.changed", "", {"purchased": 2}),
        Fact(night, "e3", "seats.changed", "", {"purchased": 5}),
    ]

    assert seats_of(*story) == (5, 10, 20)
    assert seats_of(*story, calendar=Calendar("America/New_York")) == (5, 9, NEVER)


def test_an_amount_without_a_currency_counts_with_those_that_have_one():
    story = [
        fact(1, 1, "subscription.changed", subscription_id="a", mrr="500.00", currency="USD"),
        fact(1, 2, "subscription.changed", subscription_id="b", mrr="600.00"),
        fact(1, 3, "subscription.changed", subscription_id="c", mrr="400.00", currency="EUR"),
    ]

    state = derive(story, UTC)

    assert (state.profile.mrr_cents, state.currency) == (110_000, "USD")
    assert derive(story[1:2], UTC).profile.mrr_cents == 60_000


def lost(*story):
    records = derive(merge_facts([], story), UTC).moments
    return [day for kind, day, _ in records if kind == INTEGRATION_LOST]


def test_an_integration_first_heard_of_by_a_sync_replaces_a_lost_one():
    story = [
        fact(10, 1, "integration.connected", integration="old"),
        fact(20, 2, "integration.disconnected", integration="old"),
        fact(21, 3, "integration.synced", integration="new"),
        fact(60, 4, "integration.synced", integration="new"),
    ]

    assert lost(*story[:2]) == [20]
    assert lost(*story) == []


def test_an_integration_that_synced_before_the_loss_replaces_nothing_however_long_it_goes_on():
    syncs = [fact(day, day, "integration.synced", integration="other") for day in range(5, 60)]
    assert lost(fact(20, 1, "integration.disconnected", integration="old"), *syncs) == [20]


def test_the_first_purchase_is_no_increase():
    assert derive([fact(10, 1, "seats.changed", purchased=5)], UTC).profile.seats_increase_day == NEVER


def test_the_renewal_is_the_earliest_of_subscriptions_in_effect():
    state = derive(
        [
            fact(1, 1, "subscription.changed", subscription_id="a", mrr="100.00", renewal_date="2027-03-01"),
            fact(1, 2, "subscription.changed", subscription_id="b", mrr="50.00", renewal_date="2027-01-01"),
            fact(2, 3, "subscription.changed", subscription_id="b", mrr="0.00"),
            fact(3, 4, "account.updated", renewal_date="2026-12-01"),
        ],
        UTC,
    )

    assert UTC.date(state.profile.renewal_day).isoformat() == "2027-03-01"
    assert state.profile.mrr_cents == 10_000
    assert state.profile.churned == 0


def test_money_that_fell_to_nothing_is_churn_and_coming_back_ends_it():
    story = [fact(1, 1, "subscription.changed", mrr="99.99"), fact(2, 2, "subscription.changed", mrr="0.00")]

    assert derive(story, UTC).profile.churned == 1
    assert derive([*story, fact(3, 3, "subscription.changed", mrr="10.00")], UTC).profile.churned == 0


def test_a_free_account_never_churned():
    assert derive([fact(1, 1, "subscription.changed", mrr="0.00")], UTC).profile.churned == 0


def test_a_cancelled_qbr_is_off_the_calendar_and_a_held_one_is_remembered():
    state = derive(
        [
            fact(1, 1, "account.updated", renewal_date="2026-12-31"),
            fact(2, 2, "qbr.scheduled", qbr_id="q1", scheduled_for="2026-12-01"),
            fact(3, 3, "qbr.scheduled", qbr_id="q2", scheduled_for="2027-02-01"),
            fact(4, 4, "qbr.scheduled", qbr_id="q3", scheduled_for="2026-11-01"),
            fact(5, 5, "qbr.cancelled", qbr_id="q1"),
            fact(6, 6, "qbr.held", qbr_id="q0"),
        ],
        UTC,
    )

    assert UTC.date(state.profile.qbr_booked_day).isoformat() == "2026-11-01"
    assert state.profile.qbr_held_day == 6


def test_a_profile_comes_back_from_its_blob():
    profile = Profile(seats=3, mrr_cents=99, first_day=7, churned=1, told=3)
    assert Profile.load(profile.blob()) == profile
