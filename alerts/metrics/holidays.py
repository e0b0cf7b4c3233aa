"""Business days: those of a country's holiday calendar, or Monday to Friday where nobody named a country.

Calendars are those of the library ``holidays``, public holidays as they are observed, with the weekends of the country.
It takes long to load, so it is loaded when the first country is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from threading import Lock

from consumers.days import EPOCH

_CODE = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
_MONDAY = 4  # 1970-01-05
# A calendar works a year out when it is first asked for one of its days, and says nothing of it until it is done.
_one_at_a_time = Lock()

_IsBusinessDay = Callable[[date], bool]


@lru_cache(maxsize=65_536)
def business_days(country: str | None, first: int, last: int) -> int:
    """How many of the days [first..last], since 1970-01-01, are business days in ``country`` (``DE``, ``US-CA``).

    Of a subdivision that has no calendar of its own, the country's; where no calendar is known, Monday to Friday.
    """
    works = None if country is None else _calendar(country)
    if works is None:
        return sum(1 for day in range(first, last + 1) if (day - _MONDAY) % 7 < 5)
    with _one_at_a_time:
        return sum(map(works, (date.fromordinal(day + EPOCH) for day in range(first, last + 1))))


def has_calendar(country: str) -> bool:
    """Whether there is a holiday calendar of that name."""
    return _calendar(country) is not None


@lru_cache(maxsize=4_096)
def _calendar(country: str) -> _IsBusinessDay | None:
    code = country.strip().upper()
    if not _CODE.fullmatch(code):
        return None
    from holidays import country_holidays  # noqa: PLC0415 - takes seconds, and most organisations never need it

    name, _, subdivision = code.partition("-")
    for part in (subdivision or None, None):
        try:
            works: _IsBusinessDay = country_holidays(name, subdiv=part).is_working_day
        except NotImplementedError:
            continue
        return works
    return None
