"""Files as sources: lines and nothing else, resumed anywhere, damaged in every way."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumers.decode import MAX_EVENT_BYTES
from consumers.errors import SourceError
from consumers.file import FileSource
from consumers.source import Chunk, Position
from tests.chunks import one

Write = Callable[[bytes], Path]


@pytest.fixture(params=["plain", "gzip", "two gzip members"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Write:
    def plain_or_packed(content: bytes) -> Path:
        path = tmp_path / "events.ndjson"
        half = len(content) // 2
        path.write_bytes(
            {
                "plain": content,
                "gzip": gzip.compress(content),
                "two gzip members": gzip.compress(content[:half])
                + bytes(5)
                + gzip.compress(content[half:])
                + bytes(9),
            }[request.param]
        )
        return path

    return plain_or_packed


def chunks(source: FileSource, limit: int = 1000) -> list[Chunk]:
    found = []
    while (chunk := one(source.poll(limit, 0))) is not None:
        found.append(chunk)
    return found


def records(path: Path, limit: int = 1000, position: int = 0) -> list[tuple[int, bytes]]:
    """(line number, line) of everything from ``position`` on."""
    with closing(FileSource(path)) as source:
        source.seek(source.partition, Position(position))
        return [
            record
            for chunk in chunks(source, limit)
            for record in zip(chunk.offsets, chunk.bodies, strict=True)
        ]


def numbered(content: bytes) -> list[tuple[int, bytes]]:
    """What must come out, by a plain reading of the rule: split at newlines, leave out the blank."""
    return [(number, line) for number, line in enumerate(content.split(b"\n")) if line.strip()]


lines = st.lists(
    st.sampled_from(
        [b"", b" ", b"\r", b"{}", b'{"a": 1}\r', b"\x0b", "a\u2028b\u0085c\fd".encode(), b"x" * 300]
    ),
    max_size=40,
)


@given(
    lines=lines,
    last=st.sampled_from([b"", b"\n", b"\n\n"]),
    limit=st.integers(1, 9),
    position=st.integers(0, 45),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_lines_are_numbered_from_any_position_and_blank_ones_counted(
    write: Write, lines: list[bytes], last: bytes, limit: int, position: int
) -> None:
    content = b"\n".join(lines) + last
    expected = [(number, line) for number, line in numbered(content) if number >= position]
    assert records(write(content), limit, position) == expected


@given(lines=lines, limit=st.integers(1, 9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_every_chunk_but_the_last_is_behind(write: Write, lines: list[bytes], limit: int) -> None:
    with closing(FileSource(write(b"\n".join(lines)))) as source:
        found = chunks(source, limit)
    assert [chunk.behind for chunk in found] == [True] * (len(found) - 1) + [False] * bool(found)
    assert [chunk.start for chunk in found[1:]] == [chunk.next for chunk in found[:-1]]
    assert all(0 < len(chunk.bodies) <= limit for chunk in found)


def test_the_end_of_a_plain_file_is_known_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"{}\n" * 10 + b"\n \n")
    with closing(FileSource(path)) as source:
        assert [(chunk.start, chunk.next, chunk.end) for chunk in chunks(source, 4)] == [
            (0, 4, 12),
            (4, 8, 12),
            (8, 12, 12),
        ]


def test_the_partition_is_the_content_whatever_the_name(tmp_path: Path) -> None:
    content = b'{"id": "evt-1"}\n'
    names = []
    for name in ("one.ndjson", "two.jsonl"):
        (tmp_path / name).write_bytes(content)
        with closing(FileSource(tmp_path / name)) as source:
            assert source.origin == name
            names.append(source.partition)
    assert names == [f"file:{hashlib.sha256(content).hexdigest()[:32]}"] * 2


def test_blocks_and_lines_meet_anywhere(write: Write) -> None:
    content = b"\n".join(b"%d:" % number + b"x" * (number * 37 % 7919) for number in range(600))
    assert len(content) > 2**20
    assert records(write(content), 37) == numbered(content)


def test_a_line_over_the_limit_is_cut_to_what_shows_that_it_is(write: Write) -> None:
    content = b"a\n" + b"y" * 3_000_000 + b"\nb\n" + b"z" * (MAX_EVENT_BYTES + 1) + b"\nc\n" + b"w" * 70_000
    assert records(write(content)) == [
        (0, b"a"),
        (1, b"y" * (MAX_EVENT_BYTES + 1)),
        (2, b"b"),
        (3, b"z" * (MAX_EVENT_BYTES + 1)),
        (4, b"c"),
        (5, b"w" * (MAX_EVENT_BYTES + 1)),
    ]


def test_progress_runs_from_nothing_to_all(write: Write) -> None:
    path = write(b'{"id": 1}\n' * 200_000)
    with closing(FileSource(path)) as source:
        seen = [source.read_bytes]
        while one(source.poll(20_000, 0)):
            seen.append(source.read_bytes)
    assert seen == sorted(seen)
    assert seen[0] <= source.total_bytes == seen[-1] == path.stat().st_size
    assert source.read_bytes == source.total_bytes


def test_an_empty_file_and_one_of_blank_lines_hold_nothing(write: Write) -> None:
    assert records(write(b"")) == []
    assert records(write(b"\n \n\r\n")) == []


def test_a_source_can_go_back(write: Write) -> None:
    with closing(FileSource(write(b"a\nb\nc\n"))) as source:
        first = chunks(source)
        source.seek(source.partition, Position(1))
        assert [chunk.bodies for chunk in chunks(source)] == [[b"b", b"c"]]
        source.seek(source.partition, Position(0))
        assert chunks(source) == first


# --- what cannot be read ---------------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        FileSource(path)
    message = str(caught.value)
    assert str(path) in message
    assert len(message.splitlines()) <= 2
    return message


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "missing.ndjson").endswith("cannot be read: no such file or directory")
    assert "is not a regular file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refusal(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "cannot be read" in refusal(tmp_path / "loop")


def damaged(path: Path, limit: int = 1000) -> tuple[list[bytes], str]:
    """The lines that were given before the error, and the error, which comes again however often one asks."""
    found: list[bytes] = []
    messages: list[str] = []
    with closing(FileSource(path)) as source:
        while len(messages) < 2:
            try:
                chunk = one(source.poll(limit, 0))
            except SourceError as error:
                messages.append(str(error))
            else:
                assert chunk is not None, "it came to an end as if nothing were wrong"
                assert chunk.behind
                assert not messages
                found += chunk.bodies
    assert messages[0] == messages[1]
    assert len(messages[0].splitlines()) <= 2
    return found, messages[0]


LINES = [b'{"id": "%d"}' % (number * number) for number in range(50_000)]
PACKED = gzip.compress(b"\n".join(LINES) + b"\n")


@pytest.mark.parametrize("limit", [7_000, 1_000_000])
def test_of_a_truncated_gzip_every_whole_line_is_read_then_it_says_so(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(PACKED[: len(PACKED) // 2])
    found, message = damaged(path, limit)
    assert 10_000 < len(found) < 40_000
    assert found == LINES[: len(found)]
    assert message.startswith(f"{path} is damaged: it ends in the middle")


def test_a_gzip_without_its_checksum_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(PACKED[:-4])
    assert damaged(path)[0] == LINES


@pytest.mark.parametrize(
    "content",
    [
        b"\x1f\x8b",
        b"\x1f\x8b\x08\x00 this is no gzip",
        PACKED[:-5] + b"\0" + PACKED[-4:],  # another checksum
        PACKED + b"and then something else",
    ],
    ids=["magic only", "no gzip", "checksum", "garbage behind"],
)
def test_a_corrupt_gzip_is_an_error_and_not_an_end(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.gz"
    path.write_bytes(content)
    found, message = damaged(path)
    assert found == LINES[: len(found)]
    assert "is damaged" in message


def test_a_file_that_changes_while_it_is_read_is_not_the_file_it_was(tmp_path: Path) -> None:
    path = tmp_path / "growing.ndjson"
    path.write_bytes(b"{}\n" * 100_000)
    with closing(FileSource(path)) as source:
        assert one(source.poll(10, 0)) is not None
        with path.open("ab") as file:
            file.write(b"{}\n")
        with pytest.raises(SourceError, match="changed while it was read"):
            chunks(source)


def test_another_content_is_another_partition(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"{}\n")
    with closing(FileSource(path)) as source, pytest.raises(SourceError, match="its content is"):
        source.seek("file:0123", Position(0))
