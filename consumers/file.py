"""A file of events, one JSON object a line, plain or gzipped: known by its content, read from any line.

The partition is the hash of the file's bytes, so a file that was handled once is known again under any name, and a run
that was killed goes on at the line it had reached. Only a block and a line are held, however long the lines are.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from consumers.decode import MAX_EVENT_BYTES
from consumers.errors import SourceError
from consumers.source import Chunk, Position, SteadySource

_BLOCK = 1 << 17  # larger ones are mapped and cleared anew each time: half as fast
# One byte over the limit: enough for decoding to see that the line is too large; the rest is not worth memory.
_LINE = MAX_EVENT_BYTES + 1
_GZIP = b"\x1f\x8b"


class FileSource(SteadySource):
    """NDJSON from a regular file; implements :class:`consumers.source.Source`.

    Offsets are line numbers from 0; blank lines are skipped and counted. The end is known of a plain file; of a gzipped
    one only whether there is more, so until then ``end`` is one line ahead. Of a line over 64 KiB the first 64 KiB and
    a byte are given. Raises SourceError when the file is missing, not a regular file, or cannot be read; ``poll``
    raises it when the file turns out damaged or changes meanwhile, after all the whole lines before that were given.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._file = _open(self._path)
        try:
            status = os.fstat(self._file.fileno())
            digest, self._lines = _survey(self._file)
        except OSError as error:
            self._file.close()
            raise _unreadable(self._path, error) from None
        self.partition = f"file:{digest[:32]}"
        self.total_bytes = status.st_size
        self._version = (status.st_size, status.st_mtime_ns)
        self.seek(self.partition, None)

    @property
    def origin(self) -> str:
        """The file's name, without its folder."""
        return self._path.name

    @property
    def read_bytes(self) -> int:
        """How much of ``total_bytes`` was read so far: for a progress bar."""
        return self.total_bytes if self._file.closed else self._file.tell()

    def partitions(self) -> Sequence[str]:
        """The one partition, named after the content."""
        return (self.partition,)

    def seek(self, partition: str, position: Position | None) -> None:
        """Read on from the line of ``position``, None: the first. Raises SourceError for another file's partition."""
        if partition != self.partition:
            raise SourceError(f"{self._path} is not {partition}: its content is {self.partition}")
        line = position.next if position else 0
        self._batches = _lines(_inflated(self._file) if self._lines is None else _blocks(self._file))
        self._pending: list[bytes] = []
        self._at = 0  # in pending
        self._line = 0  # the number of the line there
        self._failure: SourceError | None = None
        while self._line + len(self._pending) <= line and self._refill():
            pass
        self._step(min(line - self._line, len(self._pending)))

    def poll(self, limit: int, timeout_s: float) -> Sequence[Chunk]:
        """The next lines, at most ``limit``; none at the end. Never waits."""
        start = self._line
        bodies: list[bytes] = []
        offsets: list[int] = []
        while len(bodies) < limit and self._more():
            piece = self._pending[self._at : self._at + limit - len(bodies)]
            numbers: Sequence[int] = range(self._line, self._line + len(piece))
            self._step(len(piece))
            if b"" in piece or any(map(bytes.isspace, piece)):
                numbers = [number for number, line in zip(numbers, piece, strict=True) if line.strip()]
                piece = [line for line in piece if line.strip()]
            bodies += piece
            offsets += numbers
        if not bodies:
            if self._failure is not None:
                raise self._failure
            return []
        # Blank lines that follow belong to this chunk, so that the last one with records reaches the end.
        while self._more() and not self._pending[self._at].strip():
            self._step(1)
        more = self._at < len(self._pending) or self._failure is not None
        end = self._line + 1 if more else self._line
        if more and self._lines is not None:
            end = max(end, self._lines)
        return [Chunk(self.partition, start, self._line, bodies, offsets, end)]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _step(self, lines: int) -> None:
        self._at += lines
        self._line += lines

    def _more(self) -> bool:
        """Whether a line is pending, read if need be."""
        return self._at < len(self._pending) or self._refill()

    def _refill(self) -> bool:
        """Replace the pending lines, all of which were taken, by those of the next block."""
        if self._failure is not None:
            return False
        self._step(len(self._pending) - self._at)
        self._pending, self._at = [], 0
        try:
            self._pending = next(self._batches, [])
            status = os.fstat(self._file.fileno())
        except OSError as error:
            self._failure = _unreadable(self._path, error)
        except (zlib.error, EOFError) as error:
            self._failure = SourceError(
                f"{self._path} is damaged: {error}\nEvery whole line before that was read."
            )
        else:
            if (status.st_size, status.st_mtime_ns) != self._version:
                self._pending = []
                self._failure = SourceError(
                    f"{self._path} changed while it was read: run it again when it is complete"
                )
        return bool(self._pending)


def _open(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceError(
                f"{path} is not a regular file: a file is read twice, so pipes and folders are not"
            )
        return path.open("rb", buffering=0)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> SourceError:
    return SourceError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}")


def _survey(file: BinaryIO) -> tuple[str, int | None]:
    """The SHA-256 of the bytes, and the number of lines; None if they are gzipped."""
    digest = hashlib.sha256()
    lines, last, gzipped = 0, b"\n", False
    while block := file.read(_BLOCK):
        if file.tell() == len(block):
            gzipped = block.startswith(_GZIP)
        digest.update(block)
        lines += int(np.count_nonzero(np.frombuffer(block, np.uint8) == ord("\n")))
        last = block[-1:]
    return digest.hexdigest(), None if gzipped else lines + (last != b"\n")


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(_BLOCK):
        yield block


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """What gzip members hold, a block at a time. Raises zlib.error, and EOFError when the last one is cut off."""
    member = None
    for block in _blocks(file):
        rest, full = block, False
        while rest or full:
            if member is None:
                rest = rest.lstrip(b"\0")  # padding between members
                if not rest:
                    break
                member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            data = member.decompress(rest, _BLOCK)
            full = len(data) == _BLOCK  # there may be more inside, even when all was fed in
            rest = member.unconsumed_tail
            if data:
                yield data
            if member.eof:
                rest, full, member = member.unused_data, False, None
    if member is not None:
        raise EOFError("it ends in the middle")


def _lines(blocks: Iterator[bytes]) -> Iterator[list[bytes]]:
    r"""Lines that end in ``\n``, by the block; the last may end without. Long ones are cut to what is worth keeping."""
    carry = b""
    for block in blocks:
        lines = (carry + block).split(b"\n")
        carry = lines.pop()[:_LINE]
        if lines:
            yield lines if max(map(len, lines)) <= _LINE else [line[:_LINE] for line in lines]
    if carry:
        yield [carry]
