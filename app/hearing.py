"""Whether we hear: which families of events may be missing from the windows because a consumer is away or behind.

What looks like silence of a customer while we were deaf opens nothing (docs/decisions/0009). Consumers say of each
partition when they last had it read to its end; who did not say so today, or within the hour, makes the activity it
carries stale.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import select

from app.database.engine import Database
from app.database.journal import PARTITION as JOURNAL
from app.database.tables import position, setting
from app.database.upsert import put_setting
from consumers.days import Calendar
from consumers.topics import Topics

DEAF_US = 3_600_000_000  # lagging by more than an hour
_ACTIVITY = frozenset({"logins", "features", "sessions"})
_DEAF = (
    "deaf"  # the setting that outlives a process: something was judged, or may have been, while we were deaf
)


class Hearing:
    """Thread-safe: what it keeps is in the database. Instants are moments of judgement, in epoch microseconds."""

    def __init__(self, database: Database, calendar: Calendar, topics: Topics) -> None:
        self._database = database
        self._calendar = calendar
        self._families: Mapping[str, frozenset[str]] = {
            JOURNAL: _ACTIVITY,
            **{topic: _carried(topic.removeprefix(topics.prefix)) for topic in topics.events},
        }

    def stale(self, now: int) -> Collection[str]:
        """The families of events that may be missing at ``now``. Raises StorageError."""
        today = self._calendar.start_us(self._calendar.day_of_us(now))
        return self._unheard(max(today, now - DEAF_US))

    def complete(self, until: int) -> bool:
        """Whether every partition was read to its end at ``until`` or later. Raises StorageError."""
        return not self._unheard(until)

    def was_deaf(self) -> bool:
        """Whether :meth:`note_deaf` was said and not taken back."""
        with self._database.read() as connection:
            return connection.scalar(select(setting.c.value).where(setting.c.key == _DEAF)) == "yes"

    def note_deaf(self, deaf: bool) -> None:
        """Write down that accounts may be judged without what they did, or that they were judged anew since."""
        with self._database.write() as connection:
            put_setting(connection, _DEAF, "yes" if deaf else "no")

    def _unheard(self, since: int) -> frozenset[str]:
        with self._database.read() as connection:
            rows = connection.execute(select(position.c.partition, position.c.current_at)).all()
        families: frozenset[str] = frozenset()
        for row in rows:
            if row.current_at is None or row.current_at < since:
                families |= self._families.get(row.partition.rpartition("/")[0] or row.partition, frozenset())
        return families


def _carried(topic: str) -> frozenset[str]:
    """The activity that a topic carries; whatever else it carries does not go stale."""
    return {"logins": frozenset({"logins", "sessions"}), "features": frozenset({"features"})}.get(
        topic, frozenset()
    )
