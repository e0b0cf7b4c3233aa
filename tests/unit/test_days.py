"""Civil days of a zone, against zoneinfo's own conversion and across the days on which clocks are moved."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumers.days import DAY_US, EPOCH, Calendar, instant, micros, parse_instant, parse_moment
from consumers.errors import ConfigurationError

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",  # half an hour off; until 2011 its clocks went back at 00:01, into the day before
    "America/Sao_Paulo",  # until 2018 midnight itself was skipped
    "America/Havana",  # midnight is skipped in spring
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Gaza",
    "Africa/Casablanca",
    "Africa/Monrovia",  # 44 minutes and a half, until 1972
    "Australia/Lord_Howe",  # moves by half an hour
    "Pacific/Apia",  # had no 2011-12-30
    "Pacific/Kwajalein",  # had no 1993-08-21
    "Pacific/Kiritimati",
    "Antarctica/Troll",
]
CALENDARS = {zone: Calendar(zone) for zone in ZONES}
FIRST, LAST = datetime(1970, 1, 2), datetime(2100, 1, 1)

zones = st.sampled_from(ZONES)
instants = st.datetimes(min_value=FIRST, max_value=LAST, timezones=st.just(UTC))
days = st.integers(1, (LAST - datetime(1970, 1, 1)).days)


def civil(when: datetime, zone: str) -> date:
    """The civil date by conversion: what everything here must agree with."""
    return when.astimezone(zoneinfo.ZoneInfo(zone)).date()


def local(zone: str, us: int) -> str:
    return instant(us).astimezone(zoneinfo.ZoneInfo(zone)).isoformat()


@given(zones, instants)
@example(
    "America/St_Johns", datetime(2010, 11, 7, 2, 30, 30, tzinfo=UTC)
)  # 00:00:30 on the 7th, for a minute
@example("America/St_Johns", datetime(2010, 11, 7, 2, 31, tzinfo=UTC))  # 23:01 on the 6th again
@example("Pacific/Apia", datetime(2011, 12, 30, 9, 59, 59, tzinfo=UTC))
@example("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC))
def test_a_day_is_the_civil_date_in_the_zone(zone: str, when: datetime) -> None:
    calendar = CALENDARS[zone]
    day = calendar.day(when)
    assert calendar.date(day) == civil(when, zone)
    assert calendar.day_of_us(micros(when)) == day


@given(zones, instants, st.integers(-14 * 60, 14 * 60))
def test_the_offset_in_which_an_instant_is_written_does_not_matter(
    zone: str, when: datetime, minutes: int
) -> None:
    elsewhere = when.astimezone(timezone(timedelta(minutes=minutes)))
    assert CALENDARS[zone].day(elsewhere) == CALENDARS[zone].day(when)


@given(zones, days)
def test_a_day_starts_when_the_one_before_is_over_for_good(zone: str, day: int) -> None:
    calendar = CALENDARS[zone]
    start = calendar.start_us(day)
    assert calendar.day_of_us(start) >= day
    assert calendar.day_of_us(start - 1) < day
    assert calendar.close_us(day) == calendar.start_us(day + 1) >= start
    assert (
        0 <= calendar.close_us(day) - start <= 49 * DAY_US // 24 + DAY_US
    )  # at the date line one may last two


@given(zones, instants)
def test_every_instant_of_a_day_lies_before_its_close(zone: str, when: datetime) -> None:
    calendar = CALENDARS[zone]
    assert micros(when) < calendar.close_us(calendar.day(when))


@given(zones, days)
def test_a_day_on_which_no_clock_moves_lasts_from_midnight_to_midnight(zone: str, day: int) -> None:
    calendar = CALENDARS[zone]
    midnight = datetime.combine(calendar.date(day), datetime.min.time(), zoneinfo.ZoneInfo(zone))
    if (
        midnight.utcoffset()
        == (midnight + timedelta(hours=2)).utcoffset()
        == (midnight - timedelta(hours=2)).utcoffset()
    ):
        assert calendar.start_us(day) == micros(midnight)


@pytest.mark.parametrize(
    ("zone", "text", "starts", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", "2026-03-29T00:00:00+01:00", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-25T00:00:00+02:00", 25),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-05T00:00:00+11:00", 24.5),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T01:00:00-02:00", 23),  # 00:00 never was
        ("America/Sao_Paulo", "2018-02-17", "2018-02-17T00:00:00-02:00", 25),  # 23:00 came twice
        # ── 6th ──┤00:00 │00:01 → 23:01 ── 6th ──┤00:00 ── 7th ── : the day begins at the second midnight
        ("America/St_Johns", "2010-11-07", "2010-11-07T00:00:00-03:30", 24),
        ("America/St_Johns", "2010-11-06", "2010-11-06T00:00:00-02:30", 25),
        ("Pacific/Apia", "2011-12-29", "2011-12-29T00:00:00-10:00", 24),
        ("Pacific/Apia", "2011-12-30", "2011-12-31T00:00:00+14:00", 0),  # there was no such day
        ("Pacific/Apia", "2011-12-31", "2011-12-31T00:00:00+14:00", 24),
    ],
)
def test_days_on_which_clocks_move_have_the_hours_they_had(
    zone: str, text: str, starts: str, hours: float
) -> None:
    calendar = Calendar(zone)
    day = calendar.parse_day(text)
    assert local(zone, calendar.start_us(day)) == starts
    assert calendar.close_us(day) - calendar.start_us(day) == hours * 3_600_000_000


@given(st.integers(-(10**15), 4 * 10**15))
def test_microseconds_are_exact_both_ways(us: int) -> None:
    assert micros(instant(us)) == us
    assert micros(instant(us).astimezone(timezone(timedelta(hours=5, minutes=45)))) == us


def test_day_numbers_count_from_1970_and_read_back() -> None:
    calendar = Calendar()
    assert calendar.day(datetime(1970, 1, 1, 23, 59, tzinfo=UTC)) == 0
    assert calendar.parse_day("2026-11-22") == date(2026, 11, 22).toordinal() - EPOCH == 20_779
    assert calendar.date(20_779) == date(2026, 11, 22)


@pytest.mark.parametrize(
    ("zone", "day"), [("UTC", 20_779), ("Asia/Tokyo", 20_780), ("America/New_York", 20_779)]
)
def test_an_instant_becomes_the_day_it_is_in_the_zone_and_a_date_stays_itself(zone: str, day: int) -> None:
    calendar = Calendar(zone)
    assert (
        calendar.parse_day("2026-11-22T23:30:00Z") == calendar.parse_day("2026-11-22T23:30:00+00:00") == day
    )
    assert calendar.parse_day("2026-11-22") == 20_779


@pytest.mark.parametrize(
    "text", ["", "2026-2-3", "2026-02-30", "tomorrow", "2026-02-03T10:00:00", "2026-W06-2", "\ud800"]
)
def test_what_is_neither_a_date_nor_an_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a date YYYY-MM-DD nor an RFC 3339 instant"):
        parse_moment(text)


@pytest.mark.parametrize(
    "text", ["1969-12-31", "0001-01-01", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"]
)
def test_moments_that_no_day_number_can_hold_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not between the years 1970 and 9998"):
        parse_moment(text)


@pytest.mark.parametrize("zone", ZONES)
def test_the_ends_of_what_is_accepted_have_days_in_every_zone(zone: str) -> None:
    calendar = Calendar(zone)
    assert calendar.parse_day("1970-01-01T12:00:00Z") >= 0
    assert calendar.close_us(calendar.parse_day("9998-12-31")) > calendar.start_us(
        calendar.parse_day("9998-12-30")
    )


def test_a_leap_second_is_only_one_at_the_end_of_a_utc_day() -> None:
    assert parse_instant("2016-12-31T23:59:60.9Z") == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)
    with pytest.raises(ValueError, match="not an RFC 3339 instant"):
        parse_instant("2016-12-31T23:59:60+01:00")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "did you mean 'Europe/Berlin'?"),
        ("europe/berlin!", "did you mean 'Europe/Berlin'?"),
        ("America", "did you mean 'America/"),
        ("../../etc/passwd", "such as 'UTC'"),
        ("", "such as 'UTC'"),
        ("\0", "such as 'UTC'"),
    ],
)
def test_a_name_that_is_no_zone_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Calendar(name)
    assert "is not an IANA name" in str(caught.value)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("offset", ["+0000", "-0000", "+0530", "-0500"])
def test_an_offset_has_a_colon(offset: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_instant(f"2026-11-22T10:00:00{offset}")
