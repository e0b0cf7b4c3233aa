"""Single metrics at the edges that docs/metrics.md draws, each story told in a line or two."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pytest

from alerts.metrics.catalogue import CATALOGUE
from alerts.metrics.readings import Readings, evidence, snapshot
from alerts.values import Kind
from tests.unit.metric_streams import TODAY, Stream, readings_of, told

TEN = [f"u{number}" for number in range(10)]


def read(
    stream: Stream, name: str, *, as_of: int = TODAY, floor: int | None = None, **moment: Any
) -> tuple[Any, str]:
    """The metric of the account ``a``."""
    readings = readings_of(stream.lines, as_of=as_of, **moment)
    return told(readings, name, list(readings.portfolio.account_ids).index("a"), floor)


def iso(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def two_windows(previous: int, current: int, *, users: int = 1) -> Stream:
    """So many logins in [D-55..D-28] and in [D-27..D]; the first activity, and anybody's first login, is old enough."""
    stream = Stream().active("a", ["old"], [TODAY - 55], kind="feature.used").active("b", ["u"], [TODAY - 55])
    for number in range(previous):
        stream.active("a", [f"u{number % users}"], [TODAY - 28 - number % 28])
    for number in range(current):
        stream.active("a", [f"u{number % users}"], [TODAY - number % 28])
    return stream


# --- METRICS section 2.1: logins


def test_a_decline_of_a_fifth_is_exactly_minus_one_fifth() -> None:
    assert read(two_windows(25, 20), "logins.change_28d") == (Fraction(-1, 5), "ok")


def test_silence_after_logins_is_a_decline_of_all_of_them() -> None:
    assert read(two_windows(20, 0), "logins.change_28d") == (-1, "ok")


def test_a_baseline_under_the_floor_is_low_volume_unless_the_rule_sets_its_own() -> None:
    assert read(two_windows(19, 0), "logins.change_28d") == (None, "low_volume")
    assert read(two_windows(19, 0), "logins.change_28d", floor=5) == (-1, "ok")


def test_no_baseline_at_all_never_gives_a_change_whatever_the_floor() -> None:
    assert read(two_windows(0, 30), "logins.change_28d", floor=0) == (None, "low_volume")


def test_half_the_users_gone_is_seen_though_the_others_are_as_busy_as_before() -> None:
    stream = (
        Stream()
        .active("a", TEN, range(TODAY - 55, TODAY - 27))
        .active("a", TEN[:5], range(TODAY - 27, TODAY + 1))
    )
    assert read(stream, "logins.change_28d") == (Fraction(-1, 2), "ok")
    assert read(stream, "logins.per_active_user_change_28d") == (0, "ok")
    assert read(stream, "logins.per_user_previous") == (28, "ok")
    assert read(stream, "logins.per_user_current") == (14, "ok")
    assert read(stream, "activity.user_days_change_28d") == (Fraction(-1, 2), "ok")


def test_history_is_long_enough_from_the_day_on_which_the_windows_begin() -> None:
    begun = Stream().active("a", TEN, range(TODAY - 55, TODAY + 1))
    assert read(begun, "logins.change_28d")[1] == "ok"
    assert read(begun, "logins.change_28d", as_of=TODAY - 1)[1] == "insufficient_history"


def test_history_counts_from_any_activity_not_from_logins_alone() -> None:
    assert read(two_windows(25, 20), "logins.change_28d")[1] == "ok"


def test_days_before_logins_were_first_received_are_not_days_without_logins() -> None:
    active = Stream().active("a", TEN, range(TODAY - 99, TODAY + 1), kind="feature.used")
    stream = active.active("a", TEN, range(TODAY - 50, TODAY + 1))
    fed_55, fed_27 = TODAY - 50 + 55, TODAY - 50 + 27
    for name, first in (("logins.change_28d", fed_55), ("logins.current_28d", fed_27)):
        assert read(stream, name, as_of=first - 1) == (None, "insufficient_history")
        assert read(stream, name, as_of=first)[1] == "ok"


def test_half_of_today_is_no_decline() -> None:
    stream = Stream().active("a", ["u"], range(TODAY - 56, TODAY))  # a login a day, none yet today
    assert read(stream, "logins.change_28d", as_of=TODAY - 1, today=TODAY) == (0, "ok")


def test_a_fade_that_never_loses_a_fifth_in_a_step_is_a_drawdown() -> None:
    stream = Stream()
    for month, logins in enumerate((100, 85, 73, 62, 53)):  # four weeks each, the oldest first
        for number in range(logins):
            stream.active("a", ["u"], [TODAY - 28 * (4 - month) - number % 28])
    assert read(stream, "logins.change_28d") == (Fraction(53 - 62, 62), "ok")
    assert read(stream, "logins.drawdown_180d") == (Fraction(53 - 100, 100), "ok")


def test_a_peak_counts_while_it_ends_within_half_a_year() -> None:
    stream = Stream().active("a", TEN, [TODAY - 179], times=4).active("a", ["u"], [TODAY])
    assert read(stream, "logins.drawdown_180d") == (Fraction(1 - 40, 40), "ok")
    # Its four weeks end 27 days later at the latest, so that it leaves the half year 206 days after.
    assert read(stream, "logins.drawdown_180d", as_of=TODAY + 27) == (Fraction(1 - 40, 40), "ok")
    assert read(stream, "logins.drawdown_180d", as_of=TODAY + 28) == (None, "low_volume")


# --- METRICS section 2.2: activity


def test_dormancy_counts_from_activity_of_any_kind_and_today_ends_it() -> None:
    stream = Stream().active("a", ["u"], [TODAY - 90]).active("a", ["u"], [TODAY - 14], kind="session.ended")
    assert read(stream, "activity.dormant_days") == (14, "ok")
    assert read(
        stream.active("a", ["u"], [TODAY]), "activity.dormant_days", as_of=TODAY - 1, today=TODAY
    ) == (0, "ok")


def test_the_users_before_the_dark_are_those_of_the_56_days_that_end_with_the_last_activity() -> None:
    stream = Stream().active("a", ["first"], [TODAY - 155]).active("a", ["last"], [TODAY - 100])
    assert read(stream, "activity.users_before") == (2, "ok")
    assert read(stream.active("a", ["earlier"], [TODAY - 156]), "activity.users_before") == (2, "ok")


# --- METRICS section 2.3: seats


def seated(purchased: int = 10, bought: int = 60) -> Stream:
    return Stream().add("seats.changed", "a", TODAY - bought, purchased=purchased)


def test_utilization_is_the_raw_ratio_and_may_pass_one() -> None:
    stream = seated(8).active("a", TEN, range(TODAY - 40, TODAY + 1))
    assert read(stream, "seats.utilization") == (Fraction(10, 8), "ok")
    assert read(stream, "seats.unused") == (0, "ok")


def test_seats_are_summed_over_subscriptions() -> None:
    stream = seated(8).add("seats.changed", "a", TODAY - 50, purchased=12, subscription_id="more")
    assert read(stream, "seats.purchased") == (20, "ok")
    assert read(stream, "seats.days_since_increase") == (50, "ok")


def test_activity_of_today_counts_for_a_seat_before_the_day_is_complete() -> None:
    stream = seated().active("a", TEN[:2], range(TODAY - 60, TODAY - 50)).active("a", TEN[2:4], [TODAY])
    assert read(stream, "seats.active", as_of=TODAY - 1, today=TODAY) == (2, "ok")
    assert read(stream, "seats.utilization_change_28d", as_of=TODAY - 1, today=TODAY) == (
        Fraction(-2, 10),
        "ok",
    )


def test_the_30_days_of_a_seat_begin_29_days_before_the_last_complete_day() -> None:
    stream = seated().active("a", ["u"], [TODAY - 29])
    assert read(stream, "seats.active") == (1, "ok")
    assert read(stream, "seats.active", as_of=TODAY + 1) == (0, "ok")


def test_a_deactivated_user_holds_no_seat_and_his_going_is_a_decline() -> None:
    stream = seated().active("a", TEN, range(TODAY - 70, TODAY + 1))
    stream.add("user.updated", "a", TODAY - 3, "u1", deactivated=True)
    assert read(stream, "seats.active") == (9, "ok")
    assert read(stream, "seats.utilization_change_28d") == (Fraction(-1, 10), "ok")


def test_a_late_seat_change_does_not_override_a_newer_one() -> None:
    stream = seated(10, bought=20).add("seats.changed", "a", TODAY - 60, purchased=99)
    assert read(stream, "seats.purchased") == (10, "ok")


def test_no_seats_in_effect_is_not_applicable_but_seats_never_fed_are_unknown() -> None:
    nobody = Stream().active("a", TEN, range(TODAY - 60, TODAY + 1))
    assert read(nobody, "seats.utilization") == (None, "unknown")
    assert read(nobody, "seats.purchased") == (None, "unknown")
    elsewhere = nobody.add("seats.changed", "b", TODAY - 5, purchased=3)
    assert read(elsewhere, "seats.utilization") == (None, "not_applicable")
    assert read(elsewhere.add("seats.changed", "a", TODAY - 5, purchased=0), "seats.purchased") == (
        None,
        "not_applicable",
    )


def test_seats_without_any_activity_ever_are_unknown_not_empty() -> None:
    stream = seated().active("b", TEN, range(TODAY - 60, TODAY + 1))
    assert read(stream, "seats.utilization") == (None, "unknown")
    assert read(stream, "seats.purchased") == (10, "ok")


def test_utilization_waits_until_activity_and_purchase_are_30_days_old() -> None:
    assert read(seated(bought=29).active("a", TEN, [TODAY - 29]), "seats.utilization")[1] == "ok"
    assert (
        read(seated(bought=28).active("a", TEN, [TODAY - 90]), "seats.utilization")[1]
        == "insufficient_history"
    )
    assert (
        read(seated(bought=90).active("a", TEN, [TODAY - 28]), "seats.utilization")[1]
        == "insufficient_history"
    )


# --- METRICS section 2.4: stickiness


def test_stickiness_is_the_mean_daily_share_of_the_monthly_users() -> None:
    stream = Stream().active("a", TEN[:3], range(TODAY - 29, TODAY + 1, 10))
    assert read(stream, "engagement.dau_mau") == (Fraction(1, 10), "ok")


def test_stickiness_of_two_people_is_low_volume_and_of_a_weekly_product_not_asked() -> None:
    stream = Stream().active("a", TEN[:2], range(TODAY - 40, TODAY + 1))
    assert read(stream, "engagement.dau_mau") == (None, "low_volume")
    assert read(stream, "engagement.dau_mau", floor=2) == (1, "ok")
    weekly = stream.add("account.updated", "a", TODAY, usage_cadence="weekly")
    assert read(weekly, "engagement.dau_mau") == (None, "not_applicable")


# --- METRICS section 2.7: champion


def championed(*days: int) -> Stream:
    """A champion who was active on these days ago."""
    stream = Stream().add(
        "contact.updated", "a", TODAY - 90, contact_id="c", user_id="u1", roles=["champion"]
    )
    return stream.active("a", ["u1"], [TODAY - ago for ago in days])


def test_a_champion_who_was_a_regular_and_stays_away_30_days_is_silent() -> None:
    assert read(championed(30, 31, 40, 57), "champion.status") == ("silent", "ok")
    assert read(championed(29, 30, 31, 40), "champion.status") == ("active", "ok")  # not away long enough
    assert read(championed(30, 31, 40), "champion.status") == ("active", "ok")  # never a regular
    assert read(championed(30, 31, 40, 58), "champion.status") == ("active", "ok")  # nor within four weeks


def test_a_champion_without_a_user_id_is_active_until_somebody_says_otherwise() -> None:
    stream = Stream().add("contact.updated", "a", TODAY - 200, contact_id="c", roles=["champion"])
    assert read(stream, "champion.status") == ("active", "ok")
    stream.add("contact.updated", "a", TODAY - 7, contact_id="c", active=False)
    assert read(stream, "champion.status") == ("departed", "ok")
    assert read(stream, "champion.days_since_change") == (7, "ok")


def test_a_champion_who_is_deactivated_has_departed_on_the_day_it_was_first_told() -> None:
    stream = championed(40).add("user.updated", "a", TODAY - 10, "u1", deactivated=True)
    for night in range(9):
        stream.add("user.updated", "a", TODAY - night, "u1", deactivated=True)
    assert read(stream, "champion.departed") == (True, "ok")
    assert read(stream, "champion.days_since_change") == (10, "ok")


def test_a_departure_told_by_two_providers_is_one_and_a_successor_ends_it() -> None:
    stream = championed(1).add(
        "champion.changed", "a", TODAY - 20, previous_user_id="u1", kind="left_company"
    )
    stream.add("contact.updated", "a", TODAY - 5, contact_id="c", active=False)
    assert read(stream, "champion.departed") == (True, "ok")
    assert read(stream, "champion.days_since_change") == (20, "ok")
    stream.add("contact.updated", "a", TODAY - 2, contact_id="d", roles=["champion"])
    assert read(stream, "champion.departed") == (False, "ok")
    assert read(stream, "champion.days_since_change") == (20, "ok")


def test_the_first_naming_of_a_champion_is_no_change() -> None:
    assert read(championed(1), "champion.days_since_change") == (None, "not_applicable")


def test_nobody_named_is_unmapped_where_contacts_are_told_and_unknown_where_they_never_were() -> None:
    stream = Stream().active("a", TEN, [TODAY])
    assert read(stream, "champion.status") == (None, "unknown")
    stream.add("contact.updated", "b", TODAY, contact_id="c")
    assert read(stream, "champion.status") == ("unmapped", "ok")
    assert read(stream, "champion.departed") == (False, "ok")


# --- METRICS section 2.8, 2.9: renewal and review


def renewing(ahead: int, **fields: Any) -> Stream:
    return Stream().add("account.updated", "a", TODAY - 100, renewal_date=iso(TODAY + ahead), **fields)


def test_days_to_the_renewal_count_from_today_not_from_the_last_complete_day() -> None:
    assert read(renewing(30), "renewal.days_to", as_of=TODAY - 1, today=TODAY) == (30, "ok")
    assert read(renewing(0), "renewal.days_to") == (0, "ok")
    assert read(renewing(0), "renewal.overdue_days") == (0, "ok")
    assert read(renewing(-1), "renewal.days_to") == (None, "not_applicable")
    assert read(renewing(-1), "renewal.overdue_days") == (1, "ok")


def test_the_decision_is_due_before_the_renewal_by_the_notice() -> None:
    assert read(renewing(30, notice_days=45), "renewal.decision_days_to") == (-15, "ok")
    assert read(renewing(30), "renewal.decision_days_to") == (30, "ok")


def test_contracts_under_six_months_have_no_renewal_here() -> None:
    for name in ("renewal.days_to", "renewal.overdue_days", "renewal.decision_days_to", "qbr.missing"):
        assert read(renewing(30, term_months=5), name) == (None, "not_applicable")
    assert read(renewing(30, term_months=6), "renewal.days_to") == (30, "ok")


def test_the_earliest_subscription_in_effect_decides_the_renewal() -> None:
    stream = renewing(5)
    stream.add(
        "subscription.changed", "a", TODAY - 9, mrr=10, subscription_id="x", renewal_date=iso(TODAY + 70)
    )
    stream.add(
        "subscription.changed", "a", TODAY - 9, mrr=10, subscription_id="y", renewal_date=iso(TODAY + 60)
    )
    stream.add(
        "subscription.changed", "a", TODAY - 9, mrr=0, subscription_id="z", renewal_date=iso(TODAY + 50)
    )
    assert read(stream, "renewal.days_to") == (60, "ok")


@pytest.mark.parametrize(
    ("ahead", "booked", "held", "missing"),
    [
        (90, None, None, True),
        (91, None, None, None),  # too early to ask
        (60, 0, None, False),  # today
        (60, 60, None, False),  # on the day of the renewal itself
        (60, 61, None, True),  # after it
        (60, -1, None, True),  # was planned, and nobody said that it took place
        (60, None, 60, False),  # held 120 days before the renewal
        (60, None, 61, True),
    ],
)
def test_a_review_stands_before_a_renewal(
    ahead: int, booked: int | None, held: int | None, missing: bool | None
) -> None:
    stream = renewing(ahead).add("qbr.cancelled", "b", TODAY, qbr_id="elsewhere")
    if booked is not None:
        stream.add("qbr.scheduled", "a", TODAY - 5, qbr_id="q", scheduled_for=iso(TODAY + booked))
    if held is not None:
        stream.add("qbr.held", "a", TODAY - held, qbr_id="r")
    assert read(stream, "qbr.missing") == (missing, "not_applicable" if missing is None else "ok")


def test_cancelling_a_review_opens_the_gap_again_and_tech_touch_has_none() -> None:
    stream = renewing(60).add("qbr.scheduled", "a", TODAY - 5, qbr_id="q", scheduled_for=iso(TODAY + 9))
    stream.add("qbr.cancelled", "a", TODAY - 1, qbr_id="q")
    assert read(stream, "qbr.missing") == (True, "ok")
    stream.add("account.updated", "a", TODAY, touch="tech")
    assert read(stream, "qbr.missing") == (None, "not_applicable")


def test_reviews_that_nobody_ever_told_of_are_unknown_not_missing() -> None:
    assert read(renewing(60), "qbr.missing") == (None, "unknown")


# --- attributes (2.12) and silence that is ours (7)


def test_attributes_that_nobody_told_are_unknown_and_money_is_exact_to_the_cent() -> None:
    stream = Stream().add("subscription.changed", "a", TODAY, mrr="1999.995")
    stream.add("account.updated", "a", TODAY, owner="", size="smb")
    readings = readings_of(stream.lines, as_of=TODAY)
    assert told(readings, "account.mrr", 0) == (2000, "ok")
    assert readings.plain("account.mrr", 0) == "2000.00"
    assert told(readings, "account.size", 0) == ("smb", "ok")
    assert told(readings, "account.owner", 0) == (None, "unknown")
    assert told(readings, "account.term_months", 0) == (None, "unknown")


def test_while_a_source_is_stale_only_what_silence_would_worsen_is_refused() -> None:
    stream = seated().active("a", TEN, range(TODAY - 99, TODAY - 20))
    stream.add("champion.changed", "a", TODAY - 50, "u1", user_id="u1")
    stale = frozenset(("logins",))
    for name in ("logins.change_28d", "activity.dormant_days", "seats.utilization", "champion.status"):
        assert read(stream, name, stale=stale) == (None, "stale_source")
    for name in ("activity.users_before", "seats.purchased", "champion.departed"):
        assert read(stream, name, stale=stale)[1] == "ok"


def test_a_family_that_was_never_received_cannot_be_stale() -> None:
    stream = Stream().active("a", TEN, range(TODAY - 99, TODAY + 1))
    assert read(stream, "activity.dormant_days", stale=frozenset(("sessions",))) == (0, "ok")


# --- evidence


def test_evidence_lets_a_stranger_count_again() -> None:
    readings = readings_of(two_windows(25, 20).lines, as_of=TODAY, zone="Europe/Berlin")
    proof = evidence(readings, "logins.change_28d", 0, floor=5)
    assert proof == {
        "value": -0.2,
        "status": "ok",
        "section": "2.1",
        "as_of": iso(TODAY),
        "today": iso(TODAY),
        "zone": "Europe/Berlin",
        "numerator": -5,
        "denominator": 25,
        "parts": {"current": 20, "previous": 25},
        "windows": {
            "current": [iso(TODAY - 27), iso(TODAY)],
            "previous": [iso(TODAY - 55), iso(TODAY - 28)],
        },
        "floor": 5,
        "inputs": {"logins": {"status": "received", "since": iso(TODAY - 55)}},
        "seen": {"first_activity": iso(TODAY - 55), "last_activity": iso(TODAY)},
    }


def test_evidence_says_which_inputs_never_came_and_which_stopped() -> None:
    stream = Stream().active("a", TEN, [TODAY - 3])
    proof = evidence(
        readings_of(stream.lines, as_of=TODAY, stale=frozenset(("logins",))), "seats.utilization", 0
    )
    assert proof["inputs"]["seats"] == {"status": "never_received", "since": None}
    assert proof["inputs"]["logins"] == {"status": "stale", "since": iso(TODAY - 3)}


def test_evidence_says_when_the_newest_event_of_each_activity_was() -> None:
    portfolio = readings_of(Stream().active("a", TEN, [TODAY]).lines, as_of=TODAY).portfolio
    portfolio.moment = replace(portfolio.moment, newest=lambda: {"logins": 1_776_384_000_500_000})
    proof = evidence(Readings(portfolio), "sponsor.days_since_login", 0)
    assert proof["inputs"]["logins"]["newest_at"] == "2026-04-17T00:00:00.500000Z"
    assert "newest_at" not in proof["inputs"]["contacts"], "a state does not go stale by age"


def test_a_snapshot_has_every_metric_in_json() -> None:
    readings = readings_of(seated().active("a", TEN, [TODAY]).lines, as_of=TODAY)
    told_of = json.loads(json.dumps(snapshot(readings, 0), allow_nan=False))
    assert list(told_of) == list(CATALOGUE)
    assert told_of["seats.purchased"]["value"] == 10
    assert told_of["renewal.days_to"]["evidence"]["parts"] == {"renewal_day": None}
    assert told_of["seats.purchased"]["evidence"]["rules"] == {}


def test_evidence_has_the_details_of_its_subject_and_of_no_other() -> None:
    readings = readings_of(seated().active("a", TEN, [TODAY]).lines, as_of=TODAY)
    told_of = snapshot(readings, 0, details={"seats": {"purchased": {"default": 10}}})
    assert told_of["seats.utilization"]["evidence"]["details"] == {"purchased": {"default": 10}}
    assert "details" not in told_of["champion.status"]["evidence"]


def test_a_metric_is_computed_once_whether_its_own_floor_is_named_or_not() -> None:
    readings = readings_of(two_windows(25, 20).lines, as_of=TODAY)
    assert readings.values("logins.change_28d") is readings.values("logins.change_28d", 20)
    assert readings.values("seats.active", 7) is readings.values("seats.active")


def test_denominators_are_above_zero_wherever_a_value_stands_or_not() -> None:
    readings = readings_of(Stream().add("account.updated", "a", TODAY, name="A").lines, as_of=TODAY)
    for name, metric in CATALOGUE.items():
        assert metric.summary
        assert (readings.values(name).denominator > 0).all()
        assert (metric.kind is Kind.TEXT) == (readings.values(name).text is not None)
