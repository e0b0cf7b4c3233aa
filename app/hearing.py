"""Whether we hear: which families of events may be missing from the windows because a consumer, or a sender, is away.

What looks like silence of a customer while we were deaf opens nothing (docs/decisions/0009). Consumers say of each
partition when they last had it read to its end; who did not say so today, or within the hour, makes the activity it
carries stale. So does a source that has sent nothing for longer than it ever does (consumers.feeds).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from app.database import feeds
from app.database.engine import Database
from app.database.journal import PARTITION as JOURNAL
from app.database.tables import position, setting
from app.database.upsert import put_setting
from consumers.days import Calendar
from consumers.feeds import HOUR_US, SENDER, TOPIC, SourceState, states
from consumers.topics import Topics

DEAF_US = HOUR_US  # lagging by more than an hour
FRESH_US = 2_000_000  # what was read is gone by for so long
_ACTIVITY = frozenset({"logins", "features", "sessions", "integrations"})
_DEAF = "deaf"  # the setting that outlives a process: of what something was judged while we were deaf
_EVERYTHING, _NOTHING = "yes", "no"  # as releases before wrote it
_CARRIED = {"logins": frozenset({"logins", "sessions"}), "features": frozenset({"features", "integrations"})}


@dataclass(frozen=True, slots=True)
class Silent:
    """A source that is stale. ``state`` is None where only its reader is known to lag; ``lags`` if it does.

    ``heard_at`` is when it last brought anything, by the real clock.
    """

    source: str
    families: frozenset[str]
    lags: bool
    state: SourceState | None = None
    heard_at: int | None = None


@dataclass(frozen=True, slots=True)
class _Heard:
    """What was read at one moment."""

    now: int
    day: int
    read_at: float
    stale: frozenset[str]
    doubtful: frozenset[str]
    sources: Sequence[SourceState]
    silent: Mapping[str, Silent] = field(default_factory=dict)


class Hearing:
    """Thread-safe: what it keeps is in the database. Instants are moments of judgement, in epoch microseconds."""

    def __init__(
        self,
        database: Database,
        calendar: Calendar,
        topics: Topics,
        gaps: Callable[[], Mapping[str, int]] = dict,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``gaps`` are the expected ones, in microseconds, that the configuration in force says by a source's name."""
        self._database = database
        self._calendar = calendar
        self._gaps = gaps
        self._monotonic = monotonic
        self._last: _Heard | None = None
        self._families: Mapping[str, frozenset[str]] = {
            JOURNAL: _ACTIVITY,
            **{topic: _carried(topic.removeprefix(topics.prefix)) for topic in topics.events},
        }

    def stale(self, now: int) -> Collection[str]:
        """The families whose silence is ours at ``now`` (METRICS section 7). Raises StorageError."""
        return self._heard(now).stale

    def doubtful(self, now: int) -> Collection[str]:
        """Those, and the families of which yesterday may not be complete: nothing is to be decided by them."""
        return self._heard(now).doubtful

    def silent(self, now: int) -> Mapping[str, Silent]:
        """The sources that are stale at ``now``, by name. Raises StorageError."""
        return self._heard(now).silent

    def sources(self, now: int) -> Sequence[SourceState]:
        """Every source that ever fed any activity, as it stands at ``now``. Raises StorageError."""
        with self._database.read() as connection:
            return self._states(connection, now)

    def complete(self, until: int) -> bool:
        """Whether every partition was read to its end at ``until`` or later. Raises StorageError."""
        with self._database.read() as connection:
            return not self._unread(connection, until)

    def deaf(self) -> frozenset[str]:
        """The families that :meth:`note_deaf` said last."""
        with self._database.read() as connection:
            said = connection.scalar(select(setting.c.value).where(setting.c.key == _DEAF))
        return _ACTIVITY if said == _EVERYTHING else frozenset((said or _NOTHING).split()) - {_NOTHING}

    def note_deaf(self, families: Collection[str]) -> None:
        """Write down of which families accounts may be judged without what they did; none: all were judged since."""
        with self._database.write() as connection:
            put_setting(connection, _DEAF, " ".join(sorted(families)) or _NOTHING)

    def _heard(self, now: int) -> _Heard:
        """What is there; or, if all was well then, what was there up to two seconds ago and on the same day.

        Whoever hears again is never told that he does not: what he judged meanwhile would not be judged once more.
        """
        day, read_at = self._calendar.day_of_us(now), self._monotonic()
        last = self._last
        if (
            last is None
            or last.doubtful
            or last.day != day
            or not 0 <= now - last.now < FRESH_US
            or not 0 <= read_at - last.read_at < FRESH_US / 1e6
        ):
            last = self._last = self._look(now, day, read_at)
        return last

    def _look(self, now: int, day: int, read_at: float) -> _Heard:
        with self._database.read() as connection:
            unread = self._unread(connection, max(self._calendar.start_us(day), now - DEAF_US))
            lagging = self._unread(connection, now - DEAF_US) if unread else {}
            sources = self._states(connection, now)
            heard_at = feeds.heard_at(connection) if any(each.stale for each in sources) else {}
        stale = frozenset[str]().union(*unread.values(), *(each.counts for each in sources if each.stale))
        unsettled = frozenset[str]().union(*(each.counts for each in sources if each.unsettled))
        return _Heard(
            now, day, read_at, stale, stale | unsettled, sources, _silent(sources, lagging, heard_at)
        )

    def _states(self, connection: Connection, now: int) -> Sequence[SourceState]:
        known = feeds.everything(connection)
        gone = feeds.gone(connection) if any(each.source.startswith(SENDER) for each in known) else ()
        return states(known, now, self._calendar, self._gaps(), gone)

    def _unread(self, connection: Connection, since: int) -> dict[str, frozenset[str]]:
        """The families of each topic, and of the journal, that has a partition not read to its end since then."""
        unread = {}
        for row in connection.execute(select(position.c.partition, position.c.current_at)):
            if row.current_at is None or row.current_at < since:
                log = row.partition.rpartition("/")[0] or row.partition
                if families := self._families.get(log):
                    unread[log] = families
        return unread


def _silent(
    sources: Sequence[SourceState], lagging: Mapping[str, frozenset[str]], heard_at: Mapping[str, int]
) -> dict[str, Silent]:
    found = {_source(log): Silent(_source(log), families, lags=True) for log, families in lagging.items()}
    for each in sources:
        if each.stale:
            lags = each.source in found or (each.source.startswith(SENDER) and JOURNAL in found)
            found[each.source] = Silent(each.source, each.counts, lags, each, heard_at.get(each.source))
    return found


def _source(log: str) -> str:
    return log if log == JOURNAL else f"{TOPIC}{log}"


def _carried(topic: str) -> frozenset[str]:
    """The activity that a topic carries; whatever else it carries does not go stale."""
    return _CARRIED.get(topic, frozenset())
