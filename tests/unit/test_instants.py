"""Instants, days and money as JSON shows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http.instants import day_or_none, instant, instant_or_none, money
from consumers.days import micros, parse_instant


@given(st.integers(86_400_000_000, 250_000_000_000_000_000))
def test_an_instant_reads_back_as_itself(at: int) -> None:
    assert micros(parse_instant(instant(at))) == at


def test_an_instant_is_utc_and_has_fractions_only_where_there_are_any() -> None:
    assert instant(0) == "1970-01-01T00:00:00Z"
    assert instant(1_500_000) == "1970-01-01T00:00:01.500000Z"
    assert instant_or_none(None) is None


def test_a_day_is_an_iso_date() -> None:
    assert [day_or_none(day) for day in (None, 0, 20_779)] == [None, "1970-01-01", "2026-11-22"]


@pytest.mark.parametrize(
    ("cents", "text"), [(None, None), (0, "0.00"), (5, "0.05"), (123_456, "1234.56"), (-5, "-0.05")]
)
def test_money_is_exact_text(cents: int | None, text: str | None) -> None:
    assert money(cents) == text
