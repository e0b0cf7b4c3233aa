"""Which copies are one event, and which of those contradict each other (METRICS section 1, duplicates)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.days import micros
from consumers.decode import Rejection, decode, fingerprint, hash_batch, identity
from consumers.events import Event

NOW = micros(datetime(2026, 11, 22, 12, tzinfo=UTC))
SEATS = {
    "id": "evt-1",
    "type": "seats.changed",
    "account_id": "acme",
    "user_id": "u1",
    "occurred_at": "2026-11-22T10:00:00Z",
    "data": {"purchased": 25},
}


def event(**changes: Any) -> Event:
    verdict = decode(json.dumps({**SEATS, **changes}).encode(), NOW)
    assert not isinstance(verdict, Rejection), verdict
    return verdict


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "user.login"},
        {"account_id": "other"},
        {"user_id": "u2"},
        {"user_id": None},
        {"occurred_at": "2026-11-22T10:00:00.000001Z"},
        {"data": {"purchased": 26}},
        {"data": {"purchased": 25, "subscription_id": "s2"}},
    ],
)
def test_other_content_is_a_conflict_of_the_same_event(changes: dict[str, Any]) -> None:
    assert identity(event(**changes)) == identity(event())
    assert fingerprint(event(**changes)) != fingerprint(event())


@pytest.mark.parametrize(
    "changes",
    [
        {"received_at": "2026-11-22T10:00:05Z"},
        {"occurred_at": "2026-11-22T11:00:00+01:00"},
        {"data": {"colour": "blue", "purchased": 25.0, "subscription_id": "default"}},
        {"source": None},
        {"unknown": 1},
    ],
)
def test_what_says_the_same_is_the_same(changes: dict[str, Any]) -> None:
    assert identity(event(**changes)) == identity(event())
    assert fingerprint(event(**changes)) == fingerprint(event())


def test_the_order_of_fields_and_white_space_say_nothing() -> None:
    backwards = dict(reversed(SEATS.items()))
    other = decode(json.dumps(backwards, indent=2).encode(), NOW)
    assert not isinstance(other, Rejection)
    assert fingerprint(other) == fingerprint(event())
    first, second = (
        {"type": "account.updated", "data": {"external_ids": ids}}
        for ids in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"})
    )
    assert fingerprint(event(**first)) == fingerprint(event(**second))


def test_a_default_says_the_same_told_or_not() -> None:
    for kind, needed, default in (
        ("champion.changed", {}, {"kind": "replaced"}),
        ("subscription.changed", {"mrr": "5"}, {"subscription_id": "default"}),
    ):
        told = event(type=kind, data={**needed, **default})
        assert fingerprint(told) == fingerprint(event(type=kind, data=needed))


def test_the_source_is_part_of_the_identity() -> None:
    assert identity(event(source="crm")) != identity(event())
    assert identity(event(source="a", id="bc")) != identity(event(source="ab", id="c"))


def test_the_hashes_are_the_same_on_every_machine() -> None:
    assert identity(event()) == 0x2107C1233E44FB12
    assert fingerprint(event()) == 0x32530E9F
    assert fingerprint(event(type="user.login")) == 0xA27AA730


@given(
    st.lists(
        st.tuples(st.text("abc", min_size=1, max_size=4), st.sampled_from(["user.login", "seats.changed"]))
    )
)
def test_a_batch_is_hashed_as_its_events_are(batch: list[tuple[str, str]]) -> None:
    events = [event(id=id_, type=kind) for id_, kind in batch]
    ids, prints = hash_batch(events)
    assert (ids.typecode, ids.itemsize, prints.typecode, prints.itemsize) == ("Q", 8, "I", 4)
    assert ids.tolist() == [identity(each) for each in events]
    assert prints.tolist() == [fingerprint(each) for each in events]
