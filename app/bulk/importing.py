"""The use case: a file is read, compared with what is stored, and what it changes is taken in as events.

They go where all events go: to Kafka where there is one, else to the journal, which is then read to its end here,
beside a running service or without one. So when an import has ended, what it said is stored; one that was killed is run
again.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.bootstrap import House, Opened, judge, organisation_calendar
from app.bulk.plan import Plan, plan_sheet
from app.bulk.rows import SOURCE
from app.bulk.sheet import Sheet
from app.bulk.stored import Known
from app.database import journal
from app.database.idempotency import Answer
from app.database.journal import JournalSource
from app.intake import Good, Taken

_TAKEN_AT_ONCE = 1_000  # events that become durable together


class DryRun:
    """What files would change now, one after another, each as if those before it had been taken in; nothing is written.

    ``unread`` events wait to be stored: an import reads them first, this compares with what is stored without them.
    """

    def __init__(self, opened: Opened) -> None:
        """Raises ConfigurationError, StorageError."""
        self._calendar = organisation_calendar(opened.settings, opened.database, fix=False)
        self._clock = opened.clock
        self._known = Known(opened.database)
        with opened.database.read() as connection:
            self.unread = journal.unread(connection)

    def take(self, sheet: Sheet) -> Plan:
        """One file. Raises StorageError."""
        made = plan_sheet(sheet, self._calendar, self._known, self._clock.now_us())
        self._known.say(made)
        return made


class Import:
    """Takes in files, one after another, each complete before the next; then judges once."""

    def __init__(self, opened: Opened) -> None:
        """Raises ConfigurationError, StorageError."""
        self._opened = opened
        self._house = House.build(opened.settings, opened.clock, opened.database, folds=True)
        self._intake = self._house.intake()
        self._known = Known(opened.database)
        self.events = 0
        self._settle()  # what was taken in before, perhaps by a run that was killed, is compared with

    def take(self, sheet: Sheet) -> Plan:
        """One file. Raises StorageError, and LogUnavailable where there is a Kafka."""
        made = plan_sheet(sheet, self._house.calendar, self._known, self._opened.clock.now_us())
        self.send(made.events)
        if self.in_kafka:  # the consumers store it in their own time
            self._known.say(made)
        return made

    def send(self, events: Sequence[Good]) -> None:
        """Make events durable, and stored where there is no Kafka."""
        for first in range(0, len(events), _TAKEN_AT_ONCE):
            some = events[first : first + _TAKEN_AT_ONCE]
            self._intake.take(
                Taken(
                    good=some,
                    refused=(),
                    sender=SOURCE,
                    received_at=self._opened.clock.real_us(),
                    answer=Answer(202, "{}"),
                )
            )
            self.events += len(some)
        if events:
            self._settle()

    def judge(self) -> int | None:
        """Judge what was changed: how many accounts, None where a running service does it."""
        if self.in_kafka:
            return None
        return judge(self._opened.settings, self._opened.clock, self._opened.database, ())

    @property
    def in_kafka(self) -> bool:
        """Whether the running consumers will store what was taken in."""
        return self._house.log is not None

    def close(self) -> None:
        """Let go of Kafka."""
        if self._house.log is not None:
            self._house.log.close()

    def _settle(self) -> None:
        """Read the journal to its end."""
        if self.in_kafka:
            return
        source = JournalSource(self._opened.database)
        self._house.consumer(source).drain()
