"""What every Source promises, whatever it reads from: one suite for all of them.

An implementation joins by one entry in SOURCES: a function that makes a source holding the given bodies, in their
order, in one partition, and that gives the same records when it is called again with the same folder.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from consumers.errors import SourceError
from consumers.file import FileSource
from consumers.memory import MemorySource
from consumers.source import Chunk, Position, Source
from tests.chunks import one

Make = Callable[[Path, Sequence[bytes]], Source]


def in_memory(_: Path, bodies: Sequence[bytes]) -> Source:
    source = MemorySource()
    source.append("memory:0", *bodies)
    return source


def plain_file(folder: Path, bodies: Sequence[bytes]) -> Source:
    path = folder / "events.ndjson"
    path.write_bytes(b"".join(body + b"\n" for body in bodies))
    return FileSource(path)


def gzipped_file(folder: Path, bodies: Sequence[bytes]) -> Source:
    path = folder / "events.ndjson.gz"
    path.write_bytes(gzip.compress(b"".join(body + b"\n" for body in bodies), mtime=0))
    return FileSource(path)


SOURCES: dict[str, Make] = {"memory": in_memory, "file": plain_file, "gzipped file": gzipped_file}

BODIES = [b'{"id": "evt-%d"}' % number for number in range(25)]


@pytest.fixture(params=SOURCES.values(), ids=list(SOURCES))
def make(request: pytest.FixtureRequest) -> Make:
    chosen: Make = request.param
    return chosen


@pytest.fixture
def source(make: Make, tmp_path: Path) -> Iterator[Source]:
    with closing(make(tmp_path, BODIES)) as made:
        made.seek(made.partitions()[0], 0)
        yield made


def drained(source: Source, limit: int = 10) -> list[Chunk]:
    found = []
    while (chunk := one(source.poll(limit, 0.0))) is not None:
        found.append(chunk)
    return found


def test_everything_comes_once_and_in_order(source: Source) -> None:
    assert [body for chunk in drained(source) for body in chunk.bodies] == BODIES


def test_a_chunk_holds_no_more_than_was_asked_for_and_never_nothing(source: Source) -> None:
    assert [len(chunk.bodies) for chunk in drained(source, 10)] == [10, 10, 5]


def test_every_record_has_an_offset_and_offsets_rise(source: Source) -> None:
    found = drained(source)
    assert all(len(chunk.offsets) == len(chunk.bodies) for chunk in found)
    offsets = [offset for chunk in found for offset in chunk.offsets]
    assert offsets == sorted(set(offsets))


def test_a_chunk_starts_where_the_one_before_ended_and_holds_its_offsets(source: Source) -> None:
    found = drained(source)
    assert [chunk.start for chunk in found[1:]] == [chunk.next for chunk in found[:-1]]
    assert all(chunk.start <= chunk.offsets[0] and chunk.offsets[-1] < chunk.next for chunk in found)


def test_all_but_the_last_chunk_are_behind(source: Source) -> None:
    assert [chunk.behind for chunk in drained(source)] == [True, True, False]


def test_a_new_reader_goes_on_from_any_stored_position(make: Make, source: Source, tmp_path: Path) -> None:
    found = drained(source, 7)
    for chunk in found:
        with closing(make(tmp_path, BODIES)) as later:
            assert later.partitions() == source.partitions() == (chunk.partition,)
            later.seek(chunk.partition, Position(chunk.next))
            rest = [body for after in drained(later) for body in after.bodies]
            assert rest == BODIES[BODIES.index(chunk.bodies[-1]) + 1 :]


def test_a_reader_can_go_back_and_gets_the_same_again(source: Source) -> None:
    first = drained(source)
    source.seek(first[0].partition, Position(first[1].start))
    assert drained(source) == first[1:]


def test_at_the_end_there_is_nothing_however_often_one_asks(source: Source) -> None:
    drained(source)
    assert [one(source.poll(10, 0.0)) for _ in range(3)] == [None, None, None]


def test_a_position_in_a_partition_that_it_does_not_own_is_refused(source: Source) -> None:
    with pytest.raises(SourceError):
        source.seek("no such partition", Position(0))


def test_it_has_a_name_that_a_person_would_know(source: Source) -> None:
    assert source.origin


def test_it_can_be_closed_twice(source: Source) -> None:
    source.close()
    source.close()
