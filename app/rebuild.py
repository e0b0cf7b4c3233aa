"""The windows made anew from the log: for what they cannot be corrected by, another zone, exclusions, a lost disk."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from sqlalchemy import select

from app.bootstrap import House, kafka_source, lane
from app.clock import Clock
from app.database import journal, rebuild_loss, rebuilt
from app.database.engine import Database
from app.database.journal import JournalSource
from app.database.rebuilt import Swapped
from app.database.tables import position
from app.settings import Settings
from consumers.errors import ConfigurationError, SourceError, StorageBusy
from consumers.file import FileSource
from consumers.loop import BEHIND_BATCH, Handled
from consumers.source import Source
from consumers.topics import Topics

SWAP_PATIENCE_S = 60.0  # others may hold the tables for so long before hours of work are given up
_SWAP_PAUSE_S = 0.5  # between two tries: whoever waits behind ours gets through
_STILL_S = 60.0  # a broker may give nothing for so long of what it said it has
_POLL_S = 2.0

Heard = Callable[[Source, Handled], None]


def rebuild(
    settings: Settings,
    clock: Clock,
    live: Database,
    files: Sequence[Path],
    heard: Heard,
    *,
    topics: bool = False,
    allow_loss: bool = False,
) -> Swapped:
    """Fold ``files``, the ``topics`` if wanted, and what is still in the journal, beside ``live``; then swap.

    Every source is read up to where it ended at the beginning: what comes later is read after the swap, from there.
    Until the swap nothing is changed. Raises ConfigurationError if the log lacks what the windows hold and no
    ``allow_loss`` was said, or if the topics are left out where there are some; StorageBusy if another one rebuilds;
    SourceError, StorageError.
    """
    if not topics:
        _refuse_files_alone(settings, live, allow_loss=allow_loss)
    with rebuilt.turn(live) as still_ours:
        rebuilt.refuse_another_zone_at_work(live, settings.timezone, clock.real_us())
        with rebuilt.beside(live) as building:
            families = rebuild_loss.note(live, building)
            ends = _topic_ends(settings) if topics else {}
            with live.read() as connection:
                journal_end = journal.end(connection)
            house = House.build(settings, clock, building, folds=True)
            for file in files:
                _drain(house, FileSource(file), heard)
            if topics:
                _follow(house, settings, ends, heard)
            _drain_journal(house, live, journal_end, heard)
            lost = rebuild_loss.loss(families, building)
            if lost is not None and not allow_loss:
                raise ConfigurationError(
                    f"this would be lost: {lost.describe(house.calendar)}\n"
                    "give everything there is, or say --allow-loss; nothing was changed"
                )
            still_ours()
            return _swap(live, building, settings.timezone, clock)


def _refuse_files_alone(settings: Settings, live: Database, *, allow_loss: bool) -> None:
    """Raises ConfigurationError: consumers would read the topics into the new windows once more, in other lanes."""
    known = False
    if not settings.kafka and not allow_loss:  # who left Kafka behind for good may say that
        with live.read() as connection:
            known = any(lane(each) == each for each in connection.scalars(select(position.c.partition)))
    if settings.kafka or known:
        why = "Kafka is configured" if settings.kafka else "topics were read into these windows"
        raise ConfigurationError(
            f"{why}: with files alone, events that are in the topics as well would count twice\n"
            "name both: bellwether db rebuild --from kafka FILE..."
            + ("" if settings.kafka else ", with BELLWETHER_KAFKA_BOOTSTRAP_SERVERS set")
        )


def _drain(house: House, source: Source, heard: Heard) -> None:
    with closing(source):
        house.consumer(source, lambda handled: heard(source, handled)).drain()


def _drain_journal(house: House, live: Database, end: int, heard: Heard) -> None:
    """Up to ``end``: a busy service appends faster than an end that moves could be reached."""
    reached = 0

    def told(handled: Handled) -> None:
        nonlocal reached
        reached = max(chunk.next for chunk in handled.chunks)
        heard(source, handled)

    with closing(JournalSource(live)) as source:
        loop = house.consumer(source, told)
        while reached < end and loop.step(BEHIND_BATCH, timeout_s=0.0) is not None:
            pass


def _topic_ends(settings: Settings) -> Mapping[str, int]:
    """Where every partition that holds anything ends now. Raises SourceError if a topic is missing."""
    from consumers.kafka.topics import END, OLDEST, keeping_topics  # noqa: PLC0415 - only where there is a Kafka

    names = Topics(settings.topic_prefix).events
    with keeping_topics(settings.kafka_client().arguments()) as keeper:
        found = keeper.look(names)
        if missing := [name for name in names if name not in found]:
            raise SourceError(
                f"{settings.kafka_bootstrap_servers} has no topic {', '.join(missing)}\n"
                "check BELLWETHER_TOPIC_PREFIX, or make what is missing: bellwether topics create"
            )
        partitions = [each for topic in found.values() for each in topic.partition_names]
        oldest, ends = keeper.offsets(partitions, OLDEST), keeper.offsets(partitions, END)
    return {each: end for each, end in ends.items() if oldest[each] < end}


def _follow(house: House, settings: Settings, ends: Mapping[str, int], heard: Heard) -> None:
    """The topics up to ``ends``, whatever comes meanwhile."""
    left = dict(ends)
    moved = time.monotonic()

    def told(handled: Handled) -> None:
        nonlocal moved
        for chunk in handled.chunks:
            if chunk.partition in left:
                moved = time.monotonic()
                if chunk.next >= left[chunk.partition]:
                    del left[chunk.partition]
        heard(source, handled)

    source = kafka_source(settings, group_id=f"{settings.kafka_group_id}-rebuild-{uuid.uuid4().hex[:8]}")
    loop = house.consumer(source, told)
    with closing(source):
        while left:
            loop.step(BEHIND_BATCH, timeout_s=_POLL_S)
            for partition in source.current():  # the end may lie in a transaction that is still open
                left.pop(partition, None)
            if left and time.monotonic() - moved > _STILL_S:
                why = source.trouble or f"nothing of {', '.join(sorted(left)[:3])} for a minute"
                raise SourceError(
                    f"{source.origin} gives no records: {why}\nsee: bellwether doctor; nothing was changed"
                )


def _swap(live: Database, building: Database, zone: str, clock: Clock) -> Swapped:
    """Tried again for a while: a long batch of somebody else must not cost hours of work."""
    end = time.monotonic() + SWAP_PATIENCE_S
    while True:
        try:
            return rebuilt.swap(live, building, zone, clock.real_us())
        except StorageBusy:
            if time.monotonic() >= end:
                raise
        time.sleep(_SWAP_PAUSE_S)
