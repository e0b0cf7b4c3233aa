"""Batches read fast and by the library: the same records, whatever is in them; and places decided from values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecordsBuilder

from consumers.errors import PartitionStopped
from consumers.kafka.batches import FastRecords, SoundRecords, body_of, damage_of, install, values_of
from consumers.kafka.places import LogState, Place, first_readable, place
from consumers.source import Position

WHERE = TopicPartition("topic", 3)

keys = st.none() | st.binary(max_size=20) | st.binary(min_size=60, max_size=90) | st.just(b"k" * 9000)
values = st.none() | st.binary(max_size=300) | st.just(b"") | st.just(b"v" * 70_000) | st.just(b"\0" * 10)
headers: Any = st.just([]) | st.lists(
    st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3
)
plain_records: Any = st.tuples(keys, values, st.just([]), st.just(0))
any_records = st.tuples(keys, values, headers, st.sampled_from([0, 0, 0, 1, 70, 10_000]))
batches = st.lists(
    st.lists(plain_records, min_size=1, max_size=30) | st.lists(any_records, min_size=1, max_size=12),
    min_size=1,
    max_size=4,
)


def built(
    records, base: int, codec: int, *, producer: int = -1, transactional: bool = False
) -> tuple[bytes, int]:
    """A batch, and the offset after it; the last part of a record is how many offsets are missing before it."""
    builder = DefaultRecordBatchBuilder(
        2, codec, transactional, producer, 0 if producer >= 0 else -1, 0 if producer >= 0 else -1, 1 << 30
    )
    delta = -1
    for key, value, extra, hole in records:
        delta += 1 + hole
        assert builder.append(delta, 1_700_000_000_000 + delta * 37, key, value, extra) is not None
    data = bytearray(builder.build())
    data[0:8] = base.to_bytes(8, "big")  # outside the checksum
    return bytes(data), base + delta + 1


def log(contents, codec: int) -> tuple[bytes, int]:
    data, offset = b"", 100
    for records in contents:
        batch, offset = built(records, offset, codec)
        data += batch
    return data, offset


def reader(kind, data: bytes, fetch: int, **more):
    return kind(fetch, WHERE, MemoryRecords(data), isolation_level=IsolationLevel.READ_COMMITTED, **more)


def taken(part, step: int = 1 << 30) -> list[tuple[int, bytes]]:
    """Everything it gives, ``step`` records at a time."""
    found: list[tuple[int, bytes]] = []
    while part:
        came = part.take(step)
        before = len(found)
        for each in came:
            if hasattr(each, "bodies"):
                found += zip(each.offsets, each.bodies, strict=True)
            else:
                found.append((each.offset, body_of(each)))
        assert len(found) - before == len(came) <= step
        if came:
            assert part.next_fetch_offset >= found[-1][0] + 1
    return found


@given(batches, st.sampled_from([0, 1, 3]), st.integers(0, 40), st.sampled_from([1, 2, 7, 1 << 30]))
def test_both_readers_find_the_same_records(contents, codec: int, ahead: int, step: int) -> None:
    data, _ = log(contents, codec)
    plain = reader(SoundRecords, data, 100 + ahead)
    fast = reader(FastRecords, data, 100 + ahead)
    assert taken(fast, step) == taken(plain, step)
    assert fast.next_fetch_offset == plain.next_fetch_offset
    assert fast.leader_epoch == plain.leader_epoch


@pytest.mark.parametrize("codec", range(5))
def test_every_codec_is_read_fast(codec: int) -> None:
    records: list[Any] = [(b"k", b'{"id": "evt-%d"}' % number, [], 0) for number in range(200)]
    data, after = built(records, 7, codec)
    fast = reader(FastRecords, data, 7)
    runs = fast.take(1 << 30)
    assert list.__len__(runs) == 1  # a batch at once: nothing fell back
    assert runs[0].bodies == [record[1] for record in records]
    assert runs[0].offsets == range(7, after)


@given(st.lists(plain_records, min_size=1, max_size=20), st.data())
def test_a_flipped_bit_is_found_by_both_and_the_error_says_where(contents, data) -> None:
    batch, after = built(contents, 50, 0)
    spoilt = bytearray(built([(None, b"good", [], 0)], 49, 0)[0] + batch)
    at = len(spoilt) - len(batch) + data.draw(st.integers(21, len(batch) - 1))  # what the checksum covers
    spoilt[at] ^= 1 << data.draw(st.integers(0, 7))
    for kind in (SoundRecords, FastRecords):
        part = reader(kind, bytes(spoilt), 49)
        assert len(part.take(10)) == 1
        with pytest.raises(CorruptRecordError) as raised:
            part.take(10)
        damage = damage_of(raised.value)
        assert damage is not None
        assert (damage.partition, damage.offset) == (WHERE, 50)
        if at >= len(spoilt) - len(batch) + 27:
            assert damage.hint == after
        assert not part, "done with: the library would turn round it for ever"


@given(st.lists(plain_records, min_size=1, max_size=20), st.integers(0, 200), st.integers(0, 255))
def test_whatever_the_bytes_are_the_fast_loop_gives_the_same_or_nothing(contents, at: int, byte: int) -> None:
    data = bytearray(built(contents, 0, 0)[0])
    body = data[61:]
    body[at % len(body)] = byte
    data[61:] = body
    found = values_of(bytes(data), 61, len(contents))
    if found is not None:
        plain = SoundRecords(0, WHERE, MemoryRecords(bytes(data)), check_crcs=False)
        assert found == [record.value or b"" for record in plain.take(1000)]


def test_a_truncated_last_batch_is_left_for_the_next_fetch() -> None:
    first, after = built([(None, b"a", [], 0)], 0, 0)
    second, _ = built([(None, b"b" * 100, [], 0)], after, 0)
    for kind in (SoundRecords, FastRecords):
        part = reader(kind, first + second[:-10], 0)
        assert taken(part) == [(0, b"a")]
        assert part.next_fetch_offset == 1


def test_what_was_aborted_is_left_out_by_both() -> None:
    kept, after = built([(None, b"kept", [], 0)], 0, 0, producer=9)
    lost, after = built([(None, b"lost", [], 0)] * 3, after, 0, producer=7, transactional=True)
    more, after = built([(None, b"more", [], 0)], after, 0, producer=9)
    aborted = [SimpleNamespace(first_offset=1, producer_id=7)]
    for kind in (SoundRecords, FastRecords):
        part = reader(kind, kept + lost + more, 0, aborted_transactions=aborted)
        assert taken(part) == [(0, b"kept"), (4, b"more")]


def test_batches_of_older_formats_go_through_the_library() -> None:
    builder = MemoryRecordsBuilder(1, 0, 1 << 16)
    for number in range(3):
        builder.append(1, b"k", b"%d" % number)
    builder.close()
    data = bytes(builder.buffer())
    assert (
        taken(reader(FastRecords, data, 0))
        == taken(reader(SoundRecords, data, 0))
        == [(0, b"0"), (1, b"1"), (2, b"2")]
    )


def test_the_installed_library_is_one_that_is_known() -> None:
    fetcher = SimpleNamespace()
    assert install(fetcher, fast=True) is None
    assert fetcher.PartitionRecords is FastRecords
    assert install(fetcher, fast=False) is None
    assert fetcher.PartitionRecords is SoundRecords


# --- places --------------------------------------------------------------------------------------------------------

HERE = LogState("cluster/topic", 10, 20)


@pytest.mark.parametrize(
    ("position", "state", "expected"),
    [
        (None, HERE, Place(10)),
        (Position(15, "cluster/topic"), HERE, Place(15)),
        (Position(15), HERE, Place(15)),
        (Position(15, "cluster/topic"), LogState("", 10, 20), Place(15)),
        (Position(20, "cluster/topic"), HERE, Place(20)),
        (Position(10, "cluster/topic"), HERE, Place(10)),
        (Position(4, "cluster/topic"), HERE, Place(4, lost=6)),
        (Position(4, "cluster/topic"), LogState("cluster/topic", 20, 20), Place(4, lost=16)),
        (Position(21, "cluster/topic"), HERE, "truncated"),
        (Position(15, "cluster/other"), HERE, "recreated"),
        (Position(99, "cluster/other"), HERE, "recreated"),
        (Position(15, "cluster/topic"), LogState("cluster/topic", 10, 20, diverges_at=12), "truncated"),
        (Position(12, "cluster/topic"), LogState("cluster/topic", 10, 20, diverges_at=12), Place(12)),
    ],
)
def test_where_to_read_on(position: Position | None, state: LogState, expected: Place | str) -> None:
    found = place("topic/0", position, state)
    if isinstance(expected, Place):
        assert found == expected
    else:
        assert isinstance(found, PartitionStopped)
        assert (found.kind, found.partition) == (expected, "topic/0")
        assert len(str(found).splitlines()) == 2


@given(st.integers(0, 500), st.integers(1, 500), st.integers(0, 300), st.none() | st.integers(0, 1500))
def test_the_end_of_a_damaged_stretch_is_found_whatever_it_claims(
    start: int, length: int, more: int, hint: int | None
) -> None:
    after, asked = start + length, []

    def readable(offset: int) -> bool:
        asked.append(offset)
        return offset >= after

    assert first_readable(start, after + more, readable, hint) == after
    assert len(asked) <= 24
