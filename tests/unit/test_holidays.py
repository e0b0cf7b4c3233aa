"""Business days of a country, and of nowhere."""

from __future__ import annotations

from datetime import date

import pytest

from alerts.metrics.holidays import business_days, has_calendar


def day(text):
    return date.fromisoformat(text).toordinal() - date(1970, 1, 1).toordinal()


@pytest.mark.parametrize(
    ("country", "first", "last", "expected"),
    [
        (None, "2025-12-22", "2025-12-28", 5),
        ("DE", "2025-12-22", "2025-12-28", 3),  # the 25th and the 26th
        ("DE-BY", "2026-01-05", "2026-01-11", 4),  # Epiphany, in Bavaria
        ("DE", "2026-01-05", "2026-01-11", 5),
        ("US-CA", "2026-07-01", "2026-07-03", 2),  # the Fourth is a Saturday and kept on Friday
        ("us", "2026-07-01", "2026-07-03", 2),
        ("NL-NH", "2026-04-27", "2026-04-27", 0),  # no calendar of the province: the country's
        ("IL", "2026-07-03", "2026-07-05", 1),  # there Sunday is a working day, Friday is none
        ("Germany", "2025-12-22", "2025-12-28", 5),
        ("ZZ", "2025-12-22", "2025-12-28", 5),
        ("", "2025-12-22", "2025-12-28", 5),
    ],
)
def test_business_days_are_those_of_the_countrys_calendar_else_monday_to_friday(
    country, first, last, expected
):
    assert business_days(country, day(first), day(last)) == expected


@pytest.mark.parametrize(("country", "known"), [("DE", True), ("US-CA", True), ("ZZ", False), ("DEU", False)])
def test_a_country_without_a_calendar_is_known_as_such(country, known):
    assert has_calendar(country) is known
