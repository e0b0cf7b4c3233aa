"""The windows made anew from the log: for what they cannot be corrected by, another zone, exclusions, a lost disk."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from app.bootstrap import House, kafka_source
from app.clock import Clock
from app.database import rebuilt
from app.database.engine import Database
from app.database.journal import JournalSource
from app.database.rebuilt import Swapped
from app.settings import Settings
from consumers.errors import ConfigurationError, SourceError
from consumers.file import FileSource
from consumers.loop import BEHIND_BATCH, Handled
from consumers.source import Source

if TYPE_CHECKING:
    from consumers.kafka import KafkaSource

_PATIENCE = 30  # turns that a broker may take until it gives something: a minute
_QUIET_S = 2.0  # nothing for so long: all that there was is read; what comes later is read after the swap

Heard = Callable[[Source, Handled], None]


def rebuild(
    settings: Settings,
    clock: Clock,
    live: Database,
    files: Sequence[Path],
    heard: Heard,
    *,
    allow_loss: bool = False,
) -> Swapped:
    """Fold ``files``, or without any the topics, and what is still in the journal, beside ``live``; then swap.

    Until the swap nothing is changed. Raises ConfigurationError if the log is shorter than the windows and no
    ``allow_loss`` was said, SourceError, StorageError.
    """
    rebuilt.refuse_another_zone_at_work(live, settings.timezone, clock.real_us())
    with rebuilt.beside(live) as building:
        house = House.build(settings, clock, building, folds=True)
        for file in files:
            _drain(house, FileSource(file), heard)
        if not files:
            group = f"{settings.kafka_group_id}-rebuild-{uuid.uuid4().hex[:8]}"
            _follow(house, kafka_source(settings, group_id=group), heard)
        _drain(house, JournalSource(live), heard)
        lost = rebuilt.shorter(live, building)
        if lost is not None and not allow_loss:
            began = house.calendar.date(lost[0]).isoformat()
            begins = "holds nothing" if lost[1] is None else f"begins on {house.calendar.date(lost[1])}"
            raise ConfigurationError(
                f"the windows begin on {began} and the log {begins}: what lies between would be lost\n"
                "give everything there is, or say --allow-loss; nothing was changed"
            )
        return rebuilt.swap(live, building, settings.timezone, clock.real_us())


def _drain(house: House, source: Source, heard: Heard) -> None:
    with closing(source):
        house.consumer(source, lambda handled: heard(source, handled)).drain()


def _follow(house: House, source: KafkaSource, heard: Heard) -> None:
    """Everything that the topics hold now. Whatever is missed is read after the swap, from the positions reached."""
    loop = house.consumer(source, lambda handled: heard(source, handled))
    with closing(source):
        for _ in range(_PATIENCE):
            while loop.step(BEHIND_BATCH, timeout_s=_QUIET_S) is not None:
                pass
            if source.partitions() and not source.waiting() and source.trouble is None:
                return
        raise SourceError(
            f"{source.origin} gives no records: {source.trouble or 'it has handed out no partition'}\n"
            "see: bellwether doctor; nothing was changed"
        )
