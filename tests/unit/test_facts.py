"""Facts: state goes by when things happened, never by when we heard of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumers.days import Calendar
from consumers.facts import Fact, Profile, derive, merge_facts
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


def test_of_syncs_the_newest_of_each_integration_stays_for_ever_whoever_tells_it():
    told = [
        Fact(day * DAY, f"e{day}", "integration.synced", "", {"integration": name}, source)
        for day, name, source in ((100, "a", "x"), (200, "a", "y"), (50, "b", "x"), (20_000, "c", "x"))
    ]

    for first in (told, told[::-1]):
        assert merge_facts(merge_facts([], first[:2]), first[2:]) == [told[2], told[1], told[3]]


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
