"""Calendar months in the organisation's civil days, and the day twelve months before another.

Outcomes are measured at the close of a day. A month's own window runs from the close of the day before its first to the
close of its last.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date

from consumers.days import EPOCH

_TEXT = re.compile(r"([0-9]{4})-([0-9]{2})")
_FIRST_YEAR, _LAST_YEAR = 1970, 9998


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A month of the civil calendar."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Month:
        """From ``YYYY-MM``, 1970 to 9998. Raises ValueError."""
        match = _TEXT.fullmatch(text)
        if match is None or not (1 <= int(match[2]) <= 12 and _FIRST_YEAR <= int(match[1]) <= _LAST_YEAR):
            raise ValueError("not a month such as 2026-11")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, day: int) -> Month:
        """The month in which a day lies."""
        when = date.fromordinal(day + EPOCH)
        return cls(when.year, when.month)

    @property
    def first_day(self) -> int:
        """Days since 1970-01-01."""
        return date(self.year, self.number, 1).toordinal() - EPOCH

    @property
    def last_day(self) -> int:
        """Days since 1970-01-01."""
        return self.first_day + monthrange(self.year, self.number)[1] - 1

    def before(self, months: int) -> Month:
        """The month so many months earlier."""
        count = self.year * 12 + self.number - 1 - months
        return Month(count // 12, count % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"


def year_before(day: int) -> int:
    """The day twelve months before ``day``: the same date a year earlier, but the last day of a month for a last day.

    So twelve months that end with a month's last day begin at the close of one, and hold twelve whole calendar months:
    before 28 February 2025 comes 29 February 2024, before 29 February 2024 comes 28 February 2023.
    """
    month = Month.of(day)
    earlier = month.before(12)
    if day == month.last_day:
        return earlier.last_day
    return earlier.first_day + day - month.first_day


def last_complete(day: int) -> Month:
    """The newest month that is complete at the close of ``day``."""
    month = Month.of(day)
    return month if day == month.last_day else month.before(1)
