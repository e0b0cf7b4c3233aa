"""A stretch of a partition that cannot be read: found to its end by looking behind it, and told in one dead letter."""

from __future__ import annotations

from collections.abc import Callable

from kafka import TopicPartition
from kafka.errors import OffsetOutOfRangeError

from consumers.kafka.batches import Damage, damage_of
from consumers.kafka.connection import Connection
from consumers.kafka.places import first_readable
from consumers.source import Chunk

_EDGES_S = 3.0
_PROBE_S = 5.0  # for one look
_SLICE_S = 0.1


class Interrupted(Exception):
    """The look did not come to an end; it can be had again."""


def behind(connection: Connection, damage: Damage, start: int, clock: Callable[[], float]) -> tuple[int, int]:
    """The first offset from ``start`` on that can be fetched, and the log's end. It is ``start`` if all is well now.

    Fetches from no other partition meanwhile, and leaves this one somewhere. Raises Interrupted, KafkaError.
    """
    which = damage.partition
    epoch = connection.membership.epoch
    connection.only([which])
    end = connection.edges([which], _EDGES_S)[which][1]

    def readable(offset: int) -> bool:
        return _readable(connection, which, offset, epoch, clock)

    if start >= end or readable(start):
        return start, end
    return first_readable(start, end, readable, damage.hint), end


def told(partition: str, log: str, start: int, after: int, end: int) -> Chunk:
    """The stretch as one record that is no UTF-8, so it can be no event, and a person who finds it can read it."""
    what = f"offsets {start} to {after - 1} of {partition} fail their checksum"
    body = b"\xff " + what.encode()
    return Chunk(partition, start, after, [body], [start], max(end, after), log=log, damaged=what)


def _readable(
    connection: Connection, which: TopicPartition, offset: int, epoch: int, clock: Callable[[], float]
) -> bool:
    connection.seek(which, offset)
    end = clock() + _PROBE_S
    while clock() < end:
        try:
            if connection.poll(1, _SLICE_S):
                return True
        except OffsetOutOfRangeError:
            return False
        except Exception as error:
            if (damage := damage_of(error)) is not None and damage.partition == which:
                return False
            raise Interrupted(str(error)) from error
        if connection.membership.epoch != epoch:
            raise Interrupted("the group shares its partitions out anew")
        if (connection.position(which) or 0) > offset:
            return True
    raise Interrupted("no answer in time")
