"""Civil days: instants turned into days since 1970-01-01 in the organisation's zone, and back.

An event belongs to the civil day of its ``occurred_at`` (METRICS section 1). A civil day may last 23, 24 or
25 hours, 24 h 30 m, or, where a country changed sides of the date line, no time at all; everything here is exact over
all of that, and fast because an offset is looked up once per UTC day and zone, not once per event.
"""

from __future__ import annotations

import difflib
import itertools
import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import msgspec

from consumers.errors import ConfigurationError

EPOCH = date(1970, 1, 1).toordinal()
"""What to take from ``toordinal()`` to get days since 1970-01-01."""
MICROSECOND = timedelta(microseconds=1)
DAY_US = 86_400_000_000
_DAY_S = 86_400

# Noon: from here on it is 1970 in every zone, so a day is never negative. It also refuses the instant zero, which is
# a clock or a column that nobody set.
EARLIEST = datetime(1970, 1, 1, 12, tzinfo=UTC)
# A year of room below what datetime can hold, for offsets to be added.
LATEST = datetime(9998, 12, 31, tzinfo=UTC)

_ZERO = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_OFFSET_S = int((LATEST - _ZERO).total_seconds())
# Zones change at most twice a year; the closest changes on record lie weeks apart, so three hours miss none.
_PROBES_S = (*range(0, _DAY_S, 3 * 3600), _DAY_S - 1)
# Far more days than windows hold, and a bound on what a hostile sender can make us remember.
_REMEMBERED = 40_000
_UTC_NAMES = frozenset(("UTC", "UCT", "Zulu", "Universal", "Etc/UTC", "Etc/UCT", "Etc/Zulu", "Etc/Universal"))
_LEAP_SECOND = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:59):60(?:\.\d+)?([Zz]|[+-]\d\d:\d\d)")

Pieces = tuple[tuple[int, int], ...]
"""(first second since the epoch, offset in seconds) for each piece of a UTC day that has one offset."""


def micros(when: datetime) -> int:
    """Microseconds since the epoch, exact, of an instant with any offset."""
    return (when - _ZERO) // MICROSECOND


def instant(us: int) -> datetime:
    """The instant ``us`` microseconds after the epoch, in UTC."""
    return _ZERO + timedelta(microseconds=us)


def parse_instant(text: str) -> datetime:
    """An RFC 3339 instant with an offset; a leap second counts as the second before it. Raises ValueError."""
    leap = _LEAP_SECOND.fullmatch(text)
    try:
        when = msgspec.convert(f"{leap[1]}:59{leap[2]}" if leap else text, datetime)
    except (msgspec.ValidationError, UnicodeError):
        raise ValueError("not an RFC 3339 instant with an offset") from None
    colonless = text[-1] not in "Zz" and text[-3] != ":"  # +0000, which msgspec takes
    if when.tzinfo is None or colonless or (leap and micros(when) % DAY_US != DAY_US - 1_000_000):
        raise ValueError("not an RFC 3339 instant with an offset")
    return when


def parse_moment(text: str) -> date | datetime:
    """A civil date ``YYYY-MM-DD`` or an instant as in :func:`parse_instant`, from 1970 to 9998. Raises ValueError."""
    moment: date | datetime
    try:
        moment = msgspec.convert(text, date) if len(text) == len("2026-11-22") else parse_instant(text)
    except (msgspec.ValidationError, ValueError):
        raise ValueError("neither a date YYYY-MM-DD nor an RFC 3339 instant with an offset") from None
    if isinstance(moment, datetime):
        if not EARLIEST <= moment <= LATEST:
            raise ValueError("not between the years 1970 and 9998")
    elif not EARLIEST.date() <= moment <= LATEST.date():
        raise ValueError("not between the years 1970 and 9998")
    return moment


class Calendar:
    """The civil days of one IANA zone.

    >>> Calendar("Europe/Berlin").day(datetime(2026, 11, 22, 23, 30, tzinfo=UTC))  # already the 23rd there
    20780

    Raises ConfigurationError for a name that is no zone. Not thread-safe while it learns a new day.
    """

    __slots__ = ("_info", "_offsets", "_utc", "zone")

    def __init__(self, zone: str = "UTC") -> None:
        self.zone = zone
        self._info = _zone(zone)
        self._utc = zone in _UTC_NAMES
        self._offsets: dict[int, int | Pieces] = {}

    def __repr__(self) -> str:
        return f"Calendar({self.zone!r})"

    def day(self, when: datetime) -> int:
        """The civil day on which the instant ``when`` lies."""
        if self._utc and when.tzinfo is UTC:
            return when.toordinal() - EPOCH
        elapsed = when - _ZERO
        offset = self._offsets.get(elapsed.days)
        if type(offset) is int:  # as good as always: settled without a call
            return elapsed.days + (elapsed.seconds + offset) // _DAY_S
        return self._day_of_second(elapsed.days * _DAY_S + elapsed.seconds)

    def day_of_us(self, us: int) -> int:
        """The civil day of an instant given in microseconds since the epoch."""
        return us // DAY_US if self._utc else self._day_of_second(us // 1_000_000)

    def start_us(self, day: int) -> int:
        """The instant from which on it is ``day`` or later for good.

        Where midnight comes twice that is the second one, so that nothing of the day before can follow; where it is
        skipped, the end of the gap; a day that was skipped whole begins when the next one does.
        """
        midnight = day * _DAY_S
        if not self._utc:
            # The end of the last piece of time in which clocks still show the day before; offsets are under 24 hours.
            midnight = next(
                min(end, midnight - offset)
                for first, end, offset in self._pieces_back(day)
                if min(end, midnight - offset) > first
            )
        return midnight * 1_000_000

    def close_us(self, day: int) -> int:
        """The instant at which ``day`` is complete: the start of the next one."""
        return self.start_us(day + 1)

    def date(self, day: int) -> date:
        """The calendar date of a day number."""
        return date.fromordinal(day + EPOCH)

    def parse_day(self, text: str) -> int:
        """The day of a date ``YYYY-MM-DD``, or of an RFC 3339 instant in this zone. Raises ValueError."""
        moment = parse_moment(text)
        if isinstance(moment, datetime):
            return self.day(moment)
        return moment.toordinal() - EPOCH

    def _day_of_second(self, second: int) -> int:
        offset = next(offset for first, offset in reversed(self._pieces(second // _DAY_S)) if first <= second)
        return (second + offset) // _DAY_S

    def _pieces_back(self, day: int) -> Iterator[tuple[int, int, int]]:
        """(first, end, offset) of pieces of time, from the end of UTC day ``day`` back over two days."""
        end = (day + 1) * _DAY_S
        for utc_day in (day, day - 1):
            for first, offset in reversed(self._pieces(utc_day)):
                yield first, end, offset
                end = first

    def _pieces(self, utc_day: int) -> Pieces:
        known = self._offsets.get(utc_day)
        if known is None:
            known = self._learn(utc_day)
        return ((utc_day * _DAY_S, known),) if isinstance(known, int) else known

    def _learn(self, utc_day: int) -> int | Pieces:
        """Look up the offset of one UTC day, or the pieces of a day on which the clocks change."""
        if len(self._offsets) >= _REMEMBERED:
            self._offsets.clear()
        midnight = utc_day * _DAY_S
        pieces = [(midnight, self._offset(midnight))]
        for early, late in itertools.pairwise(_PROBES_S):
            offset = self._offset(midnight + late)
            if offset != pieces[-1][1]:
                pieces.append((self._change(midnight + early, midnight + late), offset))
        learnt = pieces[0][1] if len(pieces) == 1 else tuple(pieces)
        self._offsets[utc_day] = learnt
        return learnt

    def _change(self, before: int, after: int) -> int:
        """The second at which the offset changes, somewhere in (before, after]."""
        old = self._offset(before)
        while after - before > 1:
            middle = (before + after) // 2
            if self._offset(middle) == old:
                before = middle
            else:
                after = middle
        return after

    def _offset(self, second: int) -> int:
        offset = datetime.fromtimestamp(min(second, _LAST_OFFSET_S), self._info).utcoffset()
        assert offset is not None
        return offset.days * _DAY_S + offset.seconds


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found, not a relative name, a folder such as "America"
        known = {zone.lower(): zone for zone in zoneinfo.available_timezones()}
        near = difflib.get_close_matches(name[:64].lower(), known, n=1, cutoff=0.5)
        hint = f"; did you mean {known[near[0]]!r}?" if near else ", such as 'UTC' or 'Europe/Berlin'"
        raise ConfigurationError(f"time zone {name[:64]!r} is not an IANA name{hint}") from None
