"""Between kafka-python's fetcher and us: the reader of fetched batches, without its trap, and a faster one.

The library parses what it fetched in ``Fetcher.PartitionRecords``. After an error in a batch that object stays in
place, dead but not empty, and the next poll but one turns round it for ever. Ours is done with when it has raised, and
the error says where that was. The fast one makes one :class:`Run` of a batch instead of two objects of each record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, cast

import kafka
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from consumers.cloudevents import structured

_KNOWN = "3.0."
_PARAMETERS = (
    "self,fetch_offset,tp,records,key_deserializer,value_deserializer,check_crcs,isolation_level,"
    "aborted_transactions,metric_aggregator,on_drain"
)
# What the library alone decides of: was it aborted, is it a marker.
_INTRICATE = DefaultRecordBatch.TRANSACTIONAL_MASK | DefaultRecordBatch.CONTROL_MASK


@dataclass(frozen=True, slots=True)
class Damage:
    """A batch that could not be read: where it begins, and where it claims to end if that is known."""

    partition: TopicPartition
    offset: int
    hint: int | None = None


def damage_of(error: Exception) -> Damage | None:
    """Where an error of a poll happened, if it happened in a batch."""
    found = getattr(error, "damage", None)
    return found if isinstance(found, Damage) else None


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one batch as what the consumer handles of them; ``next`` is the offset after them."""

    bodies: Sequence[bytes]
    offsets: Sequence[int]
    next: int

    @property
    def offset(self) -> int:
        """That of the first record: what the library compares with where it fetched."""
        return self.offsets[0]

    def cut(self, count: int) -> tuple[Run, Run]:
        """The first ``count`` records, and the others."""
        after = self.offsets[count]
        return (
            Run(self.bodies[:count], self.offsets[:count], after),
            Run(self.bodies[count:], self.offsets[count:], self.next),
        )


class Runs(list[Run]):
    """Counts records, as the library does when it has given enough."""

    def __len__(self) -> int:
        return sum(len(run.bodies) for run in self)

    def __bool__(self) -> bool:
        return list.__len__(self) > 0


class SoundRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # the library has no types
    """The library's reader; an error ends it, and carries its :class:`Damage`."""

    def __init__(
        self, fetch_offset: int, tp: TopicPartition, records: Any, *args: Any, **kwargs: Any
    ) -> None:
        """As the library makes it."""
        self._noting = _Noting(records)
        super().__init__(fetch_offset, tp, self._noting, *args, **kwargs)

    def take(self, n: int | None = None) -> list[Any]:
        """The next ``n`` records. Raises whatever is wrong with a batch."""
        try:
            return self._take(n)
        except Exception as error:
            self.drain()
            error.damage = Damage(  # type: ignore[attr-defined]
                self.topic_partition, self.next_fetch_offset, self._noting.claimed_end()
            )
            raise

    def _take(self, n: int | None) -> list[Any]:
        return cast("list[Any]", super().take(n))


class FastRecords(SoundRecords):
    """Gives a :class:`Run` for each batch; what is not plain in every respect goes through the library's own reader."""

    def __init__(
        self, fetch_offset: int, tp: TopicPartition, records: Any, *args: Any, **kwargs: Any
    ) -> None:
        """As the library makes it."""
        self._rest: Run | None = None
        self._delegates = False
        super().__init__(fetch_offset, tp, records, *args, **kwargs)

    def drain(self) -> None:
        """Let go of everything; not when the library has read to the end of but one batch."""
        if not self._delegates:
            self._rest = None
            super().drain()

    def _take(self, n: int | None) -> list[Any]:
        self._maybe_raise_next_inline_exception()
        runs = Runs()
        left = n if n is not None else 1 << 62
        try:
            while left > 0 and (run := self._following()) is not None:
                if len(run.bodies) > left:
                    run, self._rest = run.cut(left)
                runs.append(run)
                left -= len(run.bodies)
                self.next_fetch_offset = run.next
        except Exception as error:
            if not runs:
                raise
            self._next_inline_exception = error  # as the library does: first what came before it
        return runs

    def _following(self) -> Run | None:
        run, self._rest = self._rest, None
        if run is None and self.record_iterator is not None:
            run = next(self.record_iterator, None)
        return run

    def _unpack_records(
        self, tp: TopicPartition, records: Any, key_deserializer: Any, value_deserializer: Any
    ) -> Iterator[Run]:
        while (batch := records.next_batch()) is not None:
            run = (
                self._read(batch)
                if _is_plain(batch) and (not self.check_crcs or batch.validate_crc())
                else None
            )
            if run is None:
                run = self._delegated(tp, batch)
            if run.bodies:
                self.records_read += len(run.bodies)
                yield run
            else:
                self.next_fetch_offset = run.next
        self.drain()

    def _read(self, batch: Any) -> Run | None:
        """A plain batch, None if it turns out that it is not one."""
        try:
            batch._maybe_uncompress()
        except Exception:  # the library meets it again, and says it in its own words
            return None
        values = values_of(bytes(batch._buffer), batch._pos, batch.records_count)
        if values is None:
            return None
        self.leader_epoch = batch.leader_epoch
        self.bytes_read += batch.size_in_bytes
        first = batch.base_offset
        passed = max(0, self.fetch_offset - first)
        offsets = range(first + passed, first + len(values)) if passed < len(values) else range(0)
        return Run(values[passed:] if passed else values, offsets, batch.next_offset)

    def _delegated(self, tp: TopicPartition, batch: Any) -> Run:
        """One batch through the library."""
        before, checks = self.next_fetch_offset, self.check_crcs  # type: ignore[has-type]
        self.check_crcs = checks and not batch._decompressed  # then it was checked, and could not be again
        count: int = self.records_read  # type: ignore[has-type]
        self._delegates = True
        try:
            found = list(super()._unpack_records(tp, _One(batch), None, None))
        except Exception:
            self.next_fetch_offset = before
            raise
        finally:
            self._delegates = False
            self.check_crcs = checks
        self.records_read = count
        after, self.next_fetch_offset = self.next_fetch_offset, before
        kept = [record for record in found if record.offset >= self.fetch_offset]
        return Run([body_of(record) for record in kept], [record.offset for record in kept], after)


def values_of(data: bytes, at: int, count: int) -> list[bytes] | None:  # noqa: PLR0911, PLR0912, PLR0915 - calls cost
    """The values of ``count`` records that begin at ``at`` and fill ``data``; an absent value is empty.

    None if any record has headers, an offset that does not follow the one before, or is not as records are.
    """
    values: list[bytes] = []
    append = values.append
    try:
        for number in range(count):
            # Record: length, attributes, timestamp, offset, key, value, headers; numbers are zigzag varints.
            byte = data[at]
            if byte < 128:
                length = byte
                at += 1
            elif (high := data[at + 1]) < 128:
                length = (byte & 127) | (high << 7)
                at += 2
            else:
                length, at = _varint(data, at)
            end = at + (length >> 1)
            if length & 1 or data[at] > 127:
                return None
            at += 1
            while data[at] > 127:
                at += 1
            at += 1
            byte = data[at]
            if byte < 128:
                delta = byte
                at += 1
            elif (high := data[at + 1]) < 128:
                delta = (byte & 127) | (high << 7)
                at += 2
            else:
                delta, at = _varint(data, at)
            if delta != number + number:
                return None
            byte = data[at]
            if byte < 128:
                at += 1
            else:
                byte, at = _varint(data, at)
            if not byte & 1:
                at += byte >> 1
            elif byte != 1:  # -1 is an absent key, and nothing else is less than nothing
                return None
            byte = data[at]
            if byte < 128:
                at += 1
            elif (high := data[at + 1]) < 128:
                byte = (byte & 127) | (high << 7)
                at += 2
            else:
                byte, at = _varint(data, at)
            if byte & 1:
                if byte != 1:
                    return None
                byte = 0
            stop = at + (byte >> 1)
            if stop + 1 != end or data[stop]:
                return None
            append(data[at:stop])
            at = end
    except IndexError:
        return None
    return values if at == len(data) else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned varint of any length, and where it ends. Raises IndexError if it does not."""
    value = shift = 0
    while (byte := data[at]) > 127:
        value |= (byte & 127) << shift
        shift += 7
        at += 1
    return value | (byte << shift), at + 1


def _is_plain(batch: Any) -> bool:
    return batch.magic == 2 and not batch.attributes & _INTRICATE


class _One:
    """One batch as the library takes several."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def next_batch(self) -> Any:
        batch, self._batch = self._batch, None
        return batch


class _Noting:
    """The batches of a fetch, remembering the one that was read last."""

    def __init__(self, records: Any) -> None:
        self._records = records
        self._last: Any = None

    def next_batch(self) -> Any:
        self._last = self._records.next_batch()
        return self._last

    def claimed_end(self) -> int | None:
        """Where the last batch says that it ends, which may be wrong."""
        return int(self._last.next_offset) if self._last is not None and self._last.magic == 2 else None


def install(fetcher: Any, fast: bool) -> str | None:
    """Have ``fetcher`` read with ours. Returns why it does not, or not as fast as it could, None if all is well."""
    if not kafka.__version__.startswith(_KNOWN):
        return f"kafka-python {kafka.__version__} is not {_KNOWN}x"
    if ",".join(signature(Fetcher.PartitionRecords.__init__).parameters) != _PARAMETERS:
        return f"kafka-python {kafka.__version__} makes its PartitionRecords of other parts"
    fetcher.PartitionRecords = SoundRecords
    if fast:
        if not _reads_right():
            return f"kafka-python {kafka.__version__} keeps its batches in another form: they are read the slower way"
        fetcher.PartitionRecords = FastRecords
    return None


def _reads_right() -> bool:
    """Whether the fast reader finds in a batch of the library's making what the library's own finds."""
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 16)
    values = [b"one", b"", b"three" * 100]
    for number, value in enumerate(values):
        builder.append(number, 1_000 + number, b"key", value, [])
    data = bytes(builder.build())
    where = TopicPartition("trial", 0)
    try:
        runs = FastRecords(0, where, MemoryRecords(data)).take(10)
        plain = SoundRecords(0, where, MemoryRecords(data)).take(10)
    except Exception:
        return False
    found = [(offset, body) for run in runs for offset, body in zip(run.offsets, run.bodies, strict=True)]
    return found == [(record.offset, record.value) for record in plain] == list(enumerate(values))


def body_of(record: Any) -> bytes:
    """What the consumer handles of a record of the library's: the CloudEvent its headers make of it, or its value."""
    value: bytes = record.value or b""
    if record.headers:
        return structured(record.headers, value) or value
    return value


def collect(records: Sequence[Any], bodies: list[bytes], offsets: list[int]) -> int:
    """Add what a poll gave of one partition, by whichever reader. Returns how many records that were."""
    before = len(bodies)
    if records and isinstance(records[0], Run):
        for run in records:
            bodies += run.bodies
            offsets += run.offsets
    else:
        bodies += map(body_of, records)
        offsets += [record.offset for record in records]
    return len(bodies) - before
