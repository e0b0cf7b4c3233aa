"""Taking a body apart: every event keeps its own bytes, and what cannot be split is one record."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http.intake import MOST_EVENTS, MOST_LINES, Unzipper, split, split_json, split_lines
from app.http.problems import Code, Problem

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(st.lists(JSON, max_size=20), st.sampled_from([None, 2]), st.booleans())
def test_an_array_splits_into_its_elements(
    elements: list[object], indent: int | None, ascii_only: bool
) -> None:
    body = json.dumps(elements, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    items = split_json(body)
    if b"\xed" not in body:  # a lone surrogate is no UTF-8, and the array then one bad record
        assert [json.loads(item.body) for item in items] == elements
        assert [item.index for item in items] == list(range(len(elements)))


@pytest.mark.parametrize(
    "body", [b"", b"  ", b"{", b"[", b"[{}", b"[{},]", b"null", b"\xff", b'[{"a": 1} {}]', b"[" * 100_000]
)
def test_what_cannot_be_split_is_one_record(body: bytes) -> None:
    assert [(item.index, item.body) for item in split_json(body)] == [(0, body)]


def test_an_element_keeps_its_bytes_as_they_came() -> None:
    assert split_json(b'[ {"a" :1.0} ,\n{"b":"\\u00e9"}]')[1].body == b'{"b":"\\u00e9"}'


def test_an_array_may_have_a_thousand_events_and_no_more() -> None:
    assert len(split_json(b"[" + b",".join([b"{}"] * MOST_EVENTS) + b"]")) == MOST_EVENTS
    with pytest.raises(Problem) as caught:
        split_json(b"[" + b",".join([b"{}"] * (MOST_EVENTS + 1)) + b"]")
    assert caught.value.code is Code.TOO_MANY_EVENTS


def test_a_line_keeps_its_number_over_blank_lines() -> None:
    items = split_lines(b'{"a":1}\n\n  \r\n{"b":2}\r\n{bad')
    assert [(item.index, item.body.strip()) for item in items] == [
        (0, b'{"a":1}'),
        (3, b'{"b":2}'),
        (4, b"{bad"),
    ]


@given(
    st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=4), min_size=2, max_size=6), st.booleans()
)
def test_objects_one_a_line_are_taken_as_lines(objects: list[object], marked: bool) -> None:
    body = (b"\xef\xbb\xbf" if marked else b"") + b"\r\n".join(json.dumps(each).encode() for each in objects)
    assert split(body) == split_lines(body)


@given(JSON, st.sampled_from([None, 2]))
def test_one_document_is_never_taken_as_lines(value: object, indent: int | None) -> None:
    body = b"\n" + json.dumps(value, indent=indent).encode() + b"\n\n"
    assert split(body) == split_json(body)


@pytest.mark.parametrize(
    "body", [b"{bad\n{}", b"1\n2", b"{} {}", b"{}", b"\xff\n{}", b"{" * 100_000 + b"\n{}"]
)
def test_what_does_not_begin_with_a_whole_object_is_one_record(body: bytes) -> None:
    assert split(body) == split_json(body)


@given(st.binary(max_size=3_000), st.integers(1, 500), st.integers(1, 3))
def test_gzip_comes_out_whole_however_it_is_cut(body: bytes, step: int, members: int) -> None:
    packed = gzip.compress(body, mtime=0) * members
    unzip = Unzipper(limit=len(body) * members + 1)
    out = b"".join(unzip.more(packed[place : place + step]) for place in range(0, len(packed), step))
    unzip.finish()
    assert out == body * members


def test_a_small_body_that_unpacks_to_more_than_the_limit_is_stopped_there() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    with pytest.raises(Problem) as caught:
        Unzipper(limit=1_000_000).more(bomb)
    assert caught.value.code is Code.BODY_TOO_LARGE


@pytest.mark.parametrize(
    "body", [b"not gzip", zlib.compress(b"raw"), gzip.compress(b"cut short" * 50, mtime=0)[:-9]]
)
def test_a_body_that_is_not_the_gzip_it_says_is_refused(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        unzipped(body)
    assert caught.value.code is Code.INVALID_BODY


def unzipped(body: bytes) -> bytes:
    unzip = Unzipper(limit=1_000)
    out = unzip.more(body)
    unzip.finish()
    return out


def test_a_body_of_very_many_lines_is_refused_before_any_is_looked_at() -> None:
    with pytest.raises(Problem) as refused:
        split_lines(b"1\n" * (MOST_LINES + 1))

    assert refused.value.code is Code.TOO_MANY_EVENTS
