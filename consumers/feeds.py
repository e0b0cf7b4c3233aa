"""Who feeds activity, and whether it still flows: silence that is ours told from silence of customers (METRICS 7).

A source is a topic, the holder of an API key, or all files together. What it brought of each family of activity is
kept as its newest instant, its first day and a map of the UTC hours with events in them. Nothing here depends on the
order in which events come. State never goes stale by age, so what is no activity is not looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import reduce
from itertools import groupby, pairwise
from operator import attrgetter

from consumers.days import EPOCH, Calendar, micros
from consumers.events import FAMILY, Event, FeatureUsed, IntegrationSynced, SessionEnded, UserLogin
from consumers.source import Chunk

HOUR_US = 3_600_000_000
KEPT_HOURS = 32 * 24
FILES = "files"
TOPIC, SENDER = "topic ", "sender "
LOCAL = "local"
"""The name of whoever sends from this machine while there is no key."""

_KEPT = (1 << KEPT_HOURS) - 1
_FAMILIES: Mapping[type, str] = {
    kind: FAMILY[kind] or "" for kind in (UserLogin, FeatureUsed, SessionEnded, IntegrationSynced)
}
_FILES = ("file:", "csv:")
_NO_SENDERS = frozenset({"", "dead-letters"})  # who sends again what others sent is no source
_SAMPLE = 1_000
_when = attrgetter("occurred_at")
_zone = attrgetter("tzinfo")
_hour = attrgetter("hour")

FIRST_GAP_US = 72 * HOUR_US  # until four weeks were seen
LEAST_GAP_US = 24 * HOUR_US
SEEN_DAYS = 28
_WEEKS = 4
_WEEK_HOURS = 7 * 24
_MISSED_HOURS = 2  # one quiet hour tells nothing
_FEW_DAYS = 3


@dataclass(frozen=True, slots=True)
class Feed:
    """What ``source`` brought of ``family``. ``newest_at`` in epoch microseconds, ``first_day`` a civil day.

    ``hours`` has bit i set if there was an event in the UTC hour that is i before the one of ``newest_at``.
    """

    source: str
    family: str
    newest_at: int
    first_day: int
    hours: int

    @property
    def newest_hour(self) -> int:
        """Hours since 1970."""
        return self.newest_at // HOUR_US

    def had(self, hour: int) -> bool:
        """Whether there was an event in that hour since 1970, of the last 32 days before the newest."""
        back = self.newest_hour - hour
        return 0 <= back < KEPT_HOURS and bool(self.hours >> back & 1)

    def heard_hours(self) -> list[int]:
        """The hours with events in them, in order."""
        newest = self.newest_hour
        return [newest - back for back in range(KEPT_HOURS - 1, -1, -1) if self.hours >> back & 1]

    def blob(self) -> bytes:
        """``hours`` as stored: 96 bytes."""
        return self.hours.to_bytes(KEPT_HOURS // 8, "little")


def stored_feed(source: str, family: str, newest_at: int, first_day: int, hours: bytes) -> Feed:
    """A row of the table ``feed``."""
    return Feed(source, family, newest_at, first_day, int.from_bytes(hours, "little") & _KEPT)


def union(one: Feed, other: Feed) -> Feed:
    """Both together, under the names of ``one``; in whatever order any number of them come, the same."""
    newest_at = max(one.newest_at, other.newest_at)
    newest = newest_at // HOUR_US
    hours = _moved(one, newest) | _moved(other, newest)
    return replace(
        one, newest_at=newest_at, first_day=min(one.first_day, other.first_day), hours=hours & _KEPT
    )


def _moved(feed: Feed, newest_hour: int) -> int:
    return feed.hours << min(newest_hour - feed.newest_hour, KEPT_HOURS)


# --- what a batch brings


def brought(chunk: Chunk, events: Sequence[Event], bad: Collection[int], calendar: Calendar) -> list[Feed]:
    """What a chunk says of its sources: of all its ``events``, also those that were known or are to be left out.

    ``bad`` are the places in the chunk of what is no event.
    """
    if not events:
        return []
    if not chunk.senders:
        source = source_of(chunk.partition, chunk.sender)
        return [] if source is None else _observed(source, events, calendar)
    senders = [sender for place, sender in enumerate(chunk.senders) if place not in bad]
    theirs: dict[str, list[Event]] = {}
    for sender, event in zip(senders, events, strict=True):
        theirs.setdefault(sender, []).append(event)
    return [
        feed
        for sender in theirs.keys() - _NO_SENDERS
        for feed in _observed(SENDER + sender, theirs[sender], calendar)
    ]


def source_of(partition: str, sender: str = "") -> str | None:
    """The source that a partition's records come from; None where nobody knows."""
    if partition.startswith(_FILES):
        return FILES
    if sender:
        return None if sender in _NO_SENDERS else SENDER + sender
    topic, _, number = partition.rpartition("/")
    return TOPIC + topic if topic and number.isdecimal() else None


def together(feeds: Iterable[Feed]) -> list[Feed]:
    """Those of the same source and family in one, in order."""
    named = sorted(feeds, key=_names)
    return [reduce(union, same) for _, same in groupby(named, _names)]


def _names(feed: Feed) -> tuple[str, str]:
    return feed.source, feed.family


def _observed(source: str, events: Sequence[Event], calendar: Calendar) -> list[Feed]:
    kinds: set[type] = set(map(type, events))
    found = []
    for kind in kinds & _FAMILIES.keys():
        those = events if len(kinds) == 1 else [event for event in events if type(event) is kind]
        times = [*map(_when, those)]
        first, newest = min(times), max(times)
        newest_at = micros(newest)
        top = newest_at // HOUR_US
        hours = sum(1 << top - hour for hour in _hours(times, micros(first) // HOUR_US, top))
        found.append(Feed(source, _FAMILIES[kind], newest_at, calendar.day(first), hours & _KEPT))
    return found


def _hours(times: Sequence[datetime], first: int, last: int) -> Collection[int]:
    """The UTC hours of ``times``, of which only the kept ones matter.

    A sample that finds every hour between the first and the last leaves nothing to be looked for in the others: that
    is as good as always so, live and in a backlog alike.
    """
    if first == last:
        return (first,)
    if len(times) > 2 * _SAMPLE:
        seen = _exact(times[:: len(times) // _SAMPLE]) | {first, last}
        if len(seen) == last - first + 1:
            return seen
    return {hour for hour in _exact(times) if hour > last - KEPT_HOURS}


def _exact(times: Sequence[datetime]) -> set[int]:
    if [*map(_zone, times)].count(UTC) < len(times):
        return {micros(when) // HOUR_US for when in times}
    days = map(datetime.toordinal, times)
    return {(day - EPOCH) * 24 + hour for day, hour in set(zip(days, map(_hour, times), strict=True))}


# --- whether it flows


@dataclass(frozen=True, slots=True)
class SourceState:
    """How one source stands at a moment. Lengths of time are in microseconds.

    ``newest`` has the newest instant of each family that it ever fed; ``counts`` are those of them that go stale with
    it, and ``because`` says why others do not. ``longest_gap`` is that between two events of the last 28 closed days,
    read from whole hours: less than an hour off; None if there are no two. ``stale``: nothing was heard for longer
    than ``expected_gap``. ``unsettled``: it fell silent so long before the last midnight, at hours at which it had
    always sent, that the day it broke off cannot be called complete yet.
    """

    source: str
    newest: Mapping[str, int]
    counts: frozenset[str]
    because: str
    newest_at: int
    first_day: int
    longest_gap: int | None
    expected_gap: int
    stale: bool
    unsettled: bool

    @property
    def word(self) -> str:
        """How it stands, in a word."""
        if not self.counts:
            return "not counted"
        return "stale" if self.stale else "unsettled" if self.unsettled else "flowing"


def states(
    feeds: Iterable[Feed],
    now: int,
    calendar: Calendar,
    gaps: Mapping[str, int],
    gone: Collection[str] = (),
) -> list[SourceState]:
    """Every source, by name. ``gaps`` are the expected ones that the configuration says, by the name of the source
    with or without its kind; ``gone`` are senders who cannot send any more."""
    known = sorted(feeds, key=_names)
    sources = {source: list(theirs) for source, theirs in groupby(known, attrgetter("source"))}
    return [
        _state(theirs, _counting(theirs, sources, gone), now, calendar, _said(source, gaps))
        for source, theirs in sources.items()
    ]


def _said(source: str, gaps: Mapping[str, int]) -> int | None:
    plain = source.removeprefix(TOPIC).removeprefix(SENDER)
    return gaps.get(source, gaps.get(plain))


def _counting(
    theirs: Sequence[Feed], sources: Mapping[str, Sequence[Feed]], gone: Collection[str]
) -> tuple[frozenset[str], str]:
    """The families that are heard of by this source, and why not of the others.

    A backfill that is over must not block for ever: files, and who has sent on a day or two, count only while nobody
    who sends steadily has brought newer events of the family.
    """
    source = theirs[0].source
    if source.startswith(SENDER) and source.removeprefix(SENDER) in gone:
        return frozenset(), "its key was revoked"
    if _steady(theirs):
        return frozenset(feed.family for feed in theirs), ""
    steady = [
        feed
        for other, others in sources.items()
        if other != source and other.removeprefix(SENDER) not in gone and _steady(others)
        for feed in others
    ]
    counts = frozenset(
        feed.family
        for feed in theirs
        if not any(other.family == feed.family and other.newest_at > feed.newest_at for other in steady)
    )
    return counts, "" if len(counts) == len(theirs) else "others send newer events"


def _steady(theirs: Sequence[Feed]) -> bool:
    if theirs[0].source == FILES:
        return False
    days = {hour // 24 for feed in theirs for hour in feed.heard_hours()}
    return theirs[0].source.startswith(TOPIC) or len(days) >= _FEW_DAYS


def _state(
    theirs: Sequence[Feed],
    counting: tuple[frozenset[str], str],
    now: int,
    calendar: Calendar,
    said: int | None,
) -> SourceState:
    flow = reduce(union, theirs)
    today = calendar.day_of_us(now)
    longest = longest_gap(flow, calendar.start_us(today - SEEN_DAYS), calendar.start_us(today))
    expected = expected_gap(flow, today, longest) if said is None else said
    silent = now - flow.newest_at
    counts, because = counting
    # Within what a person said of the source, the hours at which it sends are no promise for longer than any new one's.
    bound = expected if said is None else min(said, FIRST_GAP_US)
    return SourceState(
        source=flow.source,
        newest={feed.family: feed.newest_at for feed in theirs},
        counts=counts,
        because=because,
        newest_at=flow.newest_at,
        first_day=flow.first_day,
        longest_gap=longest,
        expected_gap=expected,
        stale=bool(counts) and silent > expected,
        unsettled=bool(counts) and silent <= bound and _unsettled(flow, today, calendar),
    )


def _unsettled(flow: Feed, today: int, calendar: Calendar) -> bool:
    """A file is complete as far as it goes: of those only a whole day can be missing."""
    if flow.source == FILES and flow.newest_at >= calendar.start_us(today - 1):
        return False
    return broke_off(flow, calendar.start_us(today))


def expected_gap(flow: Feed, today: int, longest: int | None) -> int:
    """How long a source may be silent (METRICS 7): 72 h until four weeks were seen, then the larger of 24 h and 1.5
    times the longest gap of the last 28 closed days."""
    if flow.first_day > today - SEEN_DAYS:
        return FIRST_GAP_US
    return max(LEAST_GAP_US, (longest or 0) * 3 // 2)


def longest_gap(flow: Feed, start: int, end: int) -> int | None:
    """The longest time between two events of which the later is at ``start`` or after and before ``end``.

    Read from hours, so less than one hour off. The silence that goes on is none of them.
    """
    ends = range(start // HOUR_US, end // HOUR_US)
    return (
        max((later - hour for hour, later in pairwise(flow.heard_hours()) if later in ends), default=0)
        * HOUR_US
        or None
    )


def broke_off(flow: Feed, closed: int) -> bool:
    """Whether a source fell silent before ``closed``, the end of a day, for no reason that its habits give.

    Two hours or more lie between its newest event and the end in which it sent at the same time in each of the last
    four weeks. What it did not send then would look like customers who stayed away.
    """
    missed = 0
    # Beyond four days of silence there is nothing four weeks back to compare with.
    for hour in range(flow.newest_hour + 1, min(closed // HOUR_US, flow.newest_hour + KEPT_HOURS // 8 + 1)):
        missed += all(flow.had(hour - week * _WEEK_HOURS) for week in range(1, _WEEKS + 1))
        if missed >= _MISSED_HOURS:
            return True
    return False
