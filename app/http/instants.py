"""Instants and days as JSON shows them: RFC 3339 in UTC with ``Z``, and ISO dates."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from pydantic import Field

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY = date(1970, 1, 1)

Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-22T10:00:00Z"])]
Day = Annotated[str, Field(json_schema_extra={"format": "date"}, examples=["2026-11-22"])]


def instant(at: int) -> str:
    """Epoch microseconds as text; fractions only where there are any."""
    moment = _EPOCH + timedelta(microseconds=at)
    return moment.replace(tzinfo=None).isoformat() + "Z"


def instant_or_none(at: int | None) -> str | None:
    """The same, with None for None."""
    return None if at is None else instant(at)


def day_or_none(day: int | None) -> str | None:
    """A day since 1970-01-01 as an ISO date."""
    return None if day is None else (_FIRST_DAY + timedelta(days=day)).isoformat()


def microseconds(moment: datetime) -> int:
    """An aware datetime as epoch microseconds."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def money(cents: int | None) -> str | None:
    """Cents as decimal text, ``1200.00``."""
    if cents is None:
        return None
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
