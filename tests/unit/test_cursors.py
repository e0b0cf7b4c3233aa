"""Cursors: whatever a list's last row holds comes back, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http.cursors import LONGEST, BadCursor, decode, encode

KINDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=80)
VALUES = st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), TEXTS), max_size=4)


@given(KINDS, VALUES)
def test_what_goes_in_comes_out(kind: str, values: list[str | int]) -> None:
    cursor = encode(kind, values)
    assert decode(kind, cursor, [type(value) for value in values]) == tuple(values)


@given(VALUES)
def test_a_cursor_needs_no_escaping_in_an_address(values: list[str | int]) -> None:
    assert set(encode("list", values)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


@given(VALUES, st.data())
def test_a_cursor_changed_in_one_place_is_refused(values: list[str | int], data: st.DataObject) -> None:
    cursor = encode("list", values)
    place = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda letter: letter != cursor[place]))
    with pytest.raises(BadCursor):
        decode("list", cursor[:place] + other + cursor[place + 1 :], [type(value) for value in values])


@given(st.text(max_size=60))
def test_text_that_was_never_a_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        decode("list", text, [int])


@given(KINDS, KINDS, st.integers(0, 10))
def test_a_cursor_of_another_list_is_refused(kind: str, other: str, value: int) -> None:
    if kind != other:
        with pytest.raises(BadCursor):
            decode(other, encode(kind, [value]), [int])


@pytest.mark.parametrize(
    ("values", "types"),
    [
        ([1], [str]),
        (["a"], [int]),
        ([1, 2], [int]),
        ([], [int]),
        ([True], [int]),
        ([2**63], [int]),
        (["a\x00"], [str]),
    ],
)
def test_values_that_a_query_could_not_take_are_refused(values: list[str | int], types: list[type]) -> None:
    with pytest.raises(BadCursor):
        decode("list", encode("list", values), types)


def test_the_largest_sort_values_fit_into_an_address() -> None:
    assert len(encode("accounts -renewal_date", ["\U0001f600" * 64, "\U0001f600" * 128])) <= LONGEST
