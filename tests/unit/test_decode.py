"""What events are accepted, as what, and which reason and words the others get."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.days import micros
from consumers.decode import Rejection, RejectionReason, decode, decode_batch
from consumers.events import (
    ACTIVITY,
    FAMILY,
    TYPES,
    AccountUpdated,
    ChampionChanged,
    ContactUpdated,
    Event,
    FeatureUsed,
    QbrScheduled,
    SeatsChanged,
    SubscriptionChanged,
    UserLogin,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW = micros(NOON)

LOGIN = {
    "id": "evt-1",
    "type": "user.login",
    "account_id": "acme",
    "user_id": "u42",
    "occurred_at": "2026-11-22T10:00:00Z",
    "data": {},
}

# One event of each type with the least that it needs: docs/events.md, row by row.
LEAST: dict[str, dict[str, Any]] = {
    "user.login": {},
    "feature.used": {"feature": "reports"},
    "session.ended": {"duration_s": 90.5},
    "user.updated": {},
    "seats.changed": {"purchased": 25},
    "account.updated": {},
    "contact.updated": {"contact_id": "c1"},
    "champion.changed": {},
    "qbr.scheduled": {"qbr_id": "q1", "scheduled_for": "2026-12-01"},
    "qbr.held": {"qbr_id": "q1"},
    "qbr.cancelled": {"qbr_id": "q1"},
    "escalation.opened": {"escalation_id": "e1"},
    "escalation.resolved": {"escalation_id": "e1"},
    "ticket.opened": {"ticket_id": "t1"},
    "ticket.closed": {"ticket_id": "t1"},
    "survey.answered": {"kind": "nps", "score": 9},
    "sentiment.rated": {"rating": "green"},
    "integration.connected": {"integration": "crm"},
    "integration.synced": {"integration": "crm"},
    "integration.disconnected": {"integration": "crm"},
    "milestone.reached": {"milestone": "first_value"},
    "touchpoint.logged": {},
    "subscription.changed": {"mrr": "1200.50"},
}
NEEDED = [(kind, name) for kind, data in LEAST.items() for name in data]


def body(**changes: Any) -> bytes:
    return json.dumps({**LOGIN, **changes}).encode()


def accepted(**changes: Any) -> Any:
    event = decode(body(**changes), NOW)
    assert not isinstance(event, Rejection), event
    return event


def refused(**changes: Any) -> tuple[str, str]:
    verdict = decode(body(**changes), NOW)
    assert isinstance(verdict, Rejection), verdict
    return verdict.reason.value, verdict.detail


def test_a_login_is_five_fields_whatever_its_data_says() -> None:
    event = accepted(data=["anything", {"goes": None}], received_at="never", colour="blue")
    assert event == UserLogin(
        id="evt-1", account_id="acme", user_id="u42", occurred_at=datetime(2026, 11, 22, 10, tzinfo=UTC)
    )


def test_every_type_of_the_contract_is_known_and_has_a_place_among_the_families() -> None:
    assert set(TYPES) == set(LEAST)
    assert set(FAMILY) == set(TYPES.values())
    assert {family for family in FAMILY.values() if family} == {
        "logins", "features", "sessions", "seats", "contacts", "qbrs",
        "escalations", "tickets", "surveys", "integrations", "subscriptions", "milestones",
    }  # fmt: skip
    assert {TYPES[name] for name in ("user.login", "feature.used", "session.ended")} == ACTIVITY


@pytest.mark.parametrize("kind", LEAST)
def test_every_type_is_accepted_with_the_least_it_needs(kind: str) -> None:
    assert type(accepted(type=kind, data=LEAST[kind])) is TYPES[kind]


@pytest.mark.parametrize(("kind", "name"), NEEDED)
@pytest.mark.parametrize("null", [True, False], ids=["null", "absent"])
def test_what_a_type_needs_is_missed_by_name(kind: str, name: str, null: bool) -> None:
    data = {key: value for key, value in LEAST[kind].items() if key != name} | ({name: None} if null else {})
    assert refused(type=kind, data=data) == ("missing_field", f"data.{name} is missing")


@pytest.mark.parametrize("kind", LEAST)
def test_every_type_of_a_user_needs_one_and_no_other_does(kind: str) -> None:
    verdict = decode(body(type=kind, data=LEAST[kind], user_id=None), NOW)
    if kind in ("user.login", "feature.used", "session.ended", "user.updated"):
        assert verdict == Rejection(RejectionReason.MISSING_FIELD, "user_id is missing")
    else:
        assert not isinstance(verdict, Rejection)
        assert verdict.user_id is None


@pytest.mark.parametrize("name", ["id", "type", "account_id", "user_id", "occurred_at"])
def test_a_null_field_is_an_absent_one(name: str) -> None:
    without = json.dumps({key: value for key, value in LOGIN.items() if key != name}).encode()
    expected = Rejection(RejectionReason.MISSING_FIELD, f"{name} is missing")
    assert decode(without, NOW) == decode(body(**{name: None}), NOW) == expected


def test_nulls_where_nothing_is_needed_change_nothing() -> None:
    assert accepted(source=None, data=None, received_at=None) == accepted()
    updated: AccountUpdated = accepted(
        type="account.updated",
        source=None,
        data={"owner": "kim", "tier": None, "external_ids": {"crm": "7", "erp": None}},
    )
    assert (updated.data.owner, updated.data.tier, updated.data.external_ids) == ("kim", None, {"crm": "7"})


@pytest.mark.parametrize("name", ["id", "account_id", "user_id"])
def test_ids_have_1_to_128_characters_not_bytes(name: str) -> None:
    assert getattr(accepted(**{name: "é" * 128}), name) == "é" * 128
    for wrong in ("", "é" * 129, 7, True, ["a"], {"a": "b"}):
        assert refused(**{name: wrong})[0] == "bad_value"


def test_a_bad_value_is_named_with_its_field_and_what_was_expected() -> None:
    assert refused(type="seats.changed", data={"purchased": "5"}) == (
        "bad_value",
        "data.purchased: '5' (expected `int`, got `str`)",
    )
    assert refused(type="account.updated", data={"touch": "hihg"}) == (
        "bad_value",
        "data.touch: 'hihg' (expected one of high, low, tech)",
    )
    assert refused(type="seats.changed", data=[25]) == ("bad_value", "data: an array (expected `object`)")


def test_an_unknown_type_is_told_the_nearest_one() -> None:
    assert refused(type="user.logn") == (
        "unknown_type",
        "type: 'user.logn' is no event type; did you mean 'user.login'?",
    )
    assert refused(type="User.Login")[1].endswith("did you mean 'user.login'?")
    assert refused(type="žluťoučký kůň")[0] == "unknown_type"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("seats.changed", {"purchased": -1}),
        ("seats.changed", {"purchased": 2**31}),
        ("seats.changed", {"purchased": 1.5}),
        ("seats.changed", {"purchased": True}),
        ("session.ended", {"duration_s": -0.1}),
        ("user.updated", {"deactivated": "yes"}),
        ("account.updated", {"touch": "medium"}),
        ("account.updated", {"lifecycle": "dead"}),
        ("account.updated", {"usage_cadence": "yearly"}),
        ("account.updated", {"term_months": -1}),
        ("account.updated", {"notice_days": "thirty"}),
        ("account.updated", {"core_features": "reports"}),
        ("account.updated", {"core_features": ["reports", None]}),
        ("account.updated", {"external_ids": ["crm"]}),
        ("account.updated", {"external_ids": {"crm": 2**63}}),
        ("account.updated", {"external_ids": {"crm": -(2**63) - 1}}),
        ("contact.updated", {"contact_id": "c1", "roles": ["champion", "king"]}),
        ("champion.changed", {"kind": "promoted"}),
        ("survey.answered", {"kind": "nps", "score": 11}),
        ("survey.answered", {"kind": "csat", "score": 0}),
        ("survey.answered", {"kind": "csat", "score": 6}),
        ("survey.answered", {"kind": "ces", "score": 3}),
        ("sentiment.rated", {"rating": "blue"}),
        ("subscription.changed", {"mrr": -1}),
        ("subscription.changed", {"mrr": "-0.01"}),
        ("subscription.changed", {"mrr": "much"}),
        ("subscription.changed", {"mrr": "NaN"}),
        ("subscription.changed", {"mrr": "Infinity"}),
        ("subscription.changed", {"mrr": "1e400"}),
        ("subscription.changed", {"mrr": "1e9999999999999999999"}),
        ("subscription.changed", {"mrr": "1", "currency": "euro"}),
    ],
)
def test_values_out_of_range_are_refused(kind: str, data: dict[str, Any]) -> None:
    assert refused(type=kind, data=data)[0] == "bad_value"


@pytest.mark.parametrize("score", [0, 10])
def test_the_ends_of_the_nps_scale_count(score: int) -> None:
    assert accepted(type="survey.answered", data={"kind": "nps", "score": score}).data.score == score


def test_a_whole_number_may_be_written_with_a_point() -> None:
    event: SeatsChanged = accepted(type="seats.changed", data={"purchased": 25.0})
    assert event.data.purchased == 25
    assert isinstance(event.data.purchased, int)


@pytest.mark.parametrize(
    ("written", "cents"),
    [
        ("0", "0.00"),
        (0, "0.00"),
        ("-0", "0.00"),
        (99.99, "99.99"),
        ("99.994", "99.99"),
        ("99.995", "100.00"),
        (1.005, "1.01"),
        ("1e3", "1000.00"),
        ("9999999999999.99", "9999999999999.99"),
    ],
)
@pytest.mark.parametrize("source", ["", None], ids=["fast", "slow"])
def test_amounts_are_exact_and_rounded_half_up_to_cents(
    written: object, cents: str, source: str | None
) -> None:
    event: SubscriptionChanged = accepted(
        type="subscription.changed", source=source, data={"mrr": written, "currency": "eur"}
    )
    assert str(event.data.mrr) == cents
    assert isinstance(event.data.mrr, Decimal)
    assert (event.data.currency, event.data.subscription_id) == ("EUR", "default")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2026-12-01", "2026-12-01"),
        ("2026-12-01T09:30:00z", "2026-12-01T09:30:00+00:00"),
        ("2026-12-01T09:30:00.5+05:30", "2026-12-01T09:30:00.500000+05:30"),
    ],
)
def test_dates_may_be_days_or_instants_and_are_kept_in_one_form(written: str, kept: str) -> None:
    event: QbrScheduled = accepted(type="qbr.scheduled", data={"qbr_id": "q1", "scheduled_for": written})
    assert event.data.scheduled_for == kept


@pytest.mark.parametrize(
    "written",
    ["2026-02-30", "20261201", "1 Dec", "2026-W49-2", "2026-12-01T09:30:00", "0001-01-01", "1969-12-31", ""],
)
@pytest.mark.parametrize("name", ["contract_start", "renewal_date", "onboarding_completed_on"])
def test_what_is_no_date_is_refused(name: str, written: str) -> None:
    reason, detail = refused(type="account.updated", data={name: written})
    assert reason == "bad_value"
    assert detail.startswith(f"data.{name}: '{written}' is ")


def test_a_champion_change_names_the_successor_in_its_data() -> None:
    event: ChampionChanged = accepted(
        type="champion.changed",
        data={"previous_user_id": "u1", "user_id": "u2", "effective_at": "2026-12-31"},
    )
    assert (event.user_id, event.data.user_id, event.data.kind) == ("u42", "u2", "replaced")


def test_a_contact_keeps_its_roles() -> None:
    event: ContactUpdated = accepted(
        type="contact.updated", data={"contact_id": "c1", "roles": ["champion", "member"]}
    )
    assert event.data.roles == ("champion", "member")


# --- time ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-11-22",
        "2026-11-22T10:00:00",
        "2026-11-22T24:00:00Z",
        "2026-13-01T00:00:00Z",
        "9999999-01-01T00:00:00Z",
        "2026-11-22T22:59:60Z",
        "2026-11-22T10:00:00+0000",
        "2026-11-22T10:00:00.5+0530",
        "2026-11-22T10:00:00-0500",
        1_795_000_000,
        True,
        [],
    ],
)
def test_what_is_no_instant_with_an_offset_is_a_bad_timestamp(text: object) -> None:
    reason, detail = refused(occurred_at=text)
    assert reason == "bad_timestamp"
    assert detail.endswith("is not an RFC 3339 instant with an offset")


@pytest.mark.parametrize("offset", ["+0000", "+0130", "-0500"])
def test_an_offset_without_its_colon_stops_no_other_event(offset: str) -> None:
    west = body(occurred_at="2026-11-22T05:00:00-05:00", user_id="u-1234", data={"note": ":30-0500"})
    east = body(occurred_at="2026-11-22T11:00:00+01:00", user_id="u+1234", data={"note": ":30+0000"})
    wrong = body(occurred_at=f"2026-11-22T10:00:00{offset}")
    events, rejections = decode_batch([body(), west, wrong, east, body()], NOW)
    assert [event.occurred_at for event in events] == [accepted().occurred_at] * 4
    assert [(index, why.reason) for index, why in rejections] == [(2, RejectionReason.BAD_TIMESTAMP)]


def test_a_bad_timestamp_says_what_it_saw() -> None:
    assert refused(occurred_at="yesterday") == (
        "bad_timestamp",
        "occurred_at: 'yesterday' is not an RFC 3339 instant with an offset",
    )


@pytest.mark.parametrize(
    "text", ["1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00+23:00"]
)
def test_a_clock_that_nobody_set_is_a_bad_timestamp(text: str) -> None:
    assert refused(occurred_at=text)[0] == "bad_timestamp"


def test_any_spelling_of_an_instant_is_the_same_instant() -> None:
    expected = accepted().occurred_at
    for text in ("2026-11-22t10:00:00z", "2026-11-22T11:00:00+01:00", "2026-11-22T10:00:00.000-00:00"):
        assert accepted(occurred_at=text).occurred_at == expected


def test_a_leap_second_counts_as_the_second_before_it() -> None:
    expected = datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert accepted(occurred_at="2016-12-31T23:59:60Z").occurred_at == expected
    assert accepted(occurred_at="2017-01-01T00:59:60.25+01:00").occurred_at == expected


def test_five_minutes_ahead_is_accepted_and_a_microsecond_more_is_the_future() -> None:
    edge = NOON + timedelta(minutes=5)
    assert accepted(occurred_at=edge.isoformat()).occurred_at == edge
    assert refused(occurred_at=(edge + timedelta(microseconds=1)).isoformat())[0] == "in_the_future"
    far = "9999-12-31T23:59:59-23:00"
    assert refused(occurred_at=far) == (
        "in_the_future",
        f"occurred_at: {far} is more than five minutes ahead",
    )


# --- batches ---------------------------------------------------------------------------------------------------

BAD: list[tuple[bytes, str]] = [
    (b"{", "not_json"),
    (b"[]", "not_an_object"),
    (body(id=None), "missing_field"),
    (body(id=5), "bad_value"),
    (body(type="user.logout"), "unknown_type"),
    (body(occurred_at="noon"), "bad_timestamp"),
    (body(occurred_at="2027-11-22T10:00:00Z"), "in_the_future"),
    (body(occurred_at="1969-07-20T20:17:40Z"), "bad_timestamp"),
    (body(padding="x" * 65_536), "too_large"),
    (body().decode().encode("utf-16"), "unsupported_encoding"),
]


@given(st.lists(st.one_of(st.integers(0, 999), st.sampled_from(BAD)), max_size=600))
def test_a_batch_keeps_the_order_of_the_good_and_the_index_of_the_bad(
    batch: list[int | tuple[bytes, str]],
) -> None:
    bodies = [body(id=f"evt-{entry}") if isinstance(entry, int) else entry[0] for entry in batch]
    events, rejections = decode_batch(bodies, NOW)
    assert [event.id for event in events] == [f"evt-{entry}" for entry in batch if isinstance(entry, int)]
    assert [(index, rejection.reason.value) for index, rejection in rejections] == [
        (index, entry[1]) for index, entry in enumerate(batch) if not isinstance(entry, int)
    ]


def test_an_empty_batch_is_no_events() -> None:
    assert decode_batch([], NOW) == ([], [])


def test_every_reason_of_the_closed_list_is_reached() -> None:
    assert {reason for _, reason in BAD} == {reason.value for reason in RejectionReason}


offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2026, 11, 21), timezones=offsets)
ids = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=128)


@given(when=instants, kind=st.sampled_from(list(LEAST)), id_=ids)
def test_the_slow_path_builds_the_same_event_as_the_fast_one(when: datetime, kind: str, id_: str) -> None:
    one: Event = accepted(type=kind, id=id_, occurred_at=when.isoformat(), data=LEAST[kind])
    assert accepted(type=kind, id=id_, occurred_at=when.isoformat(), data=LEAST[kind], source=None) == one
    assert (one.id, one.occurred_at) == (id_, when)


def test_a_feature_keeps_its_name() -> None:
    event: FeatureUsed = accepted(type="feature.used", data={"feature": "reports", "plan": None})
    assert event.data.feature == "reports"
