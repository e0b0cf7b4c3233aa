"""Closing one day after another: bands that do not flap, inputs that go missing, nights on which we were deaf.

What is computed for many accounts at once is held against one account at a time, by a reference that shares no code.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.health.closing import Components, advance, band_of, score
from alerts.health.points import mean, ramp, rounded
from alerts.health.state import BANDS, HEALTH_DTYPE, blank, disappeared
from alerts.values import Status

DAY = 20_000
WEIGHTS = (400, 200, 250, 150)
FULL_HOUSE = ("product", "support", "relationship", "satisfaction")


def components(*accounts, weights=WEIGHTS, green=70, red=40):
    """Each account as four points, or a Status where there is no value."""
    status = [[each if isinstance(each, Status) else Status.OK for each in account] for account in accounts]
    values = [
        [0 if isinstance(each, Status) else round(each * 100) for each in account] for account in accounts
    ]
    n = len(accounts)
    return Components(
        np.array(values, dtype=np.int64).reshape(n, 4),
        np.array(status, dtype=np.uint8).reshape(n, 4),
        np.tile(np.array(weights, dtype=np.int64), (n, 1)),
        np.full(n, green * 100, dtype=np.int64),
        np.full(n, red * 100, dtype=np.int64),
    )


def close(*nights, record=None, day=DAY):
    """One account closed night after night: four inputs each, or one number for all of them."""
    record = blank(1) if record is None else record
    for offset, night in enumerate(nights):
        four = night if isinstance(night, tuple) else (night,) * 4
        record = advance(record, components(four), day + offset)
    return record


def band(record):
    return BANDS[int(record["band"][0])]


GONE, DEAF = Status.LOW_VOLUME, Status.STALE_SOURCE

# --- the band ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "expected"), [(70.01, "green"), (70, "yellow"), (40, "yellow"), (39.99, "red"), (0, "red")]
)
def test_the_first_close_takes_the_band_of_the_score_and_an_edge_is_yellow(points, expected):
    record = close(points)
    assert band(record) == expected
    assert record["since_day"][0] == DAY


@pytest.mark.parametrize(
    ("start", "then", "bands"),
    [
        (80, (69, 75), ["green", "green", "green"]),  # one night below the edge moves nothing
        (80, (69, 69.5), ["green", "green", "yellow"]),  # the second in a row does
        (80, (68,), ["green", "yellow"]),  # two points past at once
        (80, (68.01,), ["green", "green"]),
        (80, (38,), ["green", "red"]),
        (80, (38.01,), ["green", "yellow"]),  # well past one edge, not yet past the other
        (80, (39, 39), ["green", "yellow", "red"]),
        (50, (39.99,), ["yellow", "yellow"]),
        (50, (39, 41, 39), ["yellow", "yellow", "yellow", "yellow"]),  # not in a row
        (50, (72,), ["yellow", "green"]),
        (50, (71.99, 70.01), ["yellow", "yellow", "green"]),
        (20, (41, 40), ["red", "red", "yellow"]),
        (20, (42,), ["red", "yellow"]),
        (20, (72,), ["red", "green"]),
        (20, (71, 71), ["red", "yellow", "green"]),
        (20, (41, 71), ["red", "red", "yellow"]),  # both nights agree on no red
    ],
)
def test_a_band_changes_two_points_past_the_edge_or_at_the_second_close_in_a_row(start, then, bands):
    record, seen = blank(1), []
    for offset, points in enumerate((start, *then)):
        record = close(points, record=record, day=DAY + offset)
        seen.append(band(record))
    assert seen == bands


def test_days_in_a_band_count_from_the_close_that_changed_it():
    record = close(80, 80, 60, 60, 60)
    assert (band(record), record["since_day"][0]) == ("yellow", DAY + 2)


def test_without_product_engagement_or_with_too_little_weight_the_band_is_unknown_at_once():
    assert band(close((GONE, 90, 90, 90))) == "unknown"
    assert band(close((90, GONE, GONE, 90))) == "unknown"  # 0.55 of the weight
    assert band(close((90, 90, GONE, GONE))) == "green"  # 0.60 of it
    record = close((90, 90, GONE, GONE))
    assert record["coverage"][0] == 6_000
    assert close((GONE, 90, 90, 90))["score"][0] == -1


def test_out_of_unknown_the_first_score_decides():
    record = close((GONE, 90, 90, 90), 69)
    assert (band(record), record["since_day"][0]) == ("yellow", DAY + 1)


# --- inputs that disappear --------------------------------------------------------------------------------------


def test_an_input_that_disappears_counts_for_fourteen_closes_and_then_no_more():
    bad = (80, 0, 80, 80)
    without = (80, GONE, 80, 80)
    record = close(bad, *[without] * 14)
    assert record["score"][0] == 6_400
    assert band(record) == "yellow"
    assert not disappeared(record).any()
    record = close(without, record=record, day=DAY + 15)
    assert record["score"][0] == 8_000
    assert record["coverage"][0] == 8_000
    assert disappeared(record).tolist() == [[False, True, False, False]]


def test_an_input_that_comes_back_starts_its_closes_anew():
    bad, without = (80, 0, 80, 80), (80, GONE, 80, 80)
    record = close(bad, *[without] * 10, bad, *[without] * 14)
    assert record["score"][0] == 6_400
    record = close(bad, *[without] * 30, bad)
    assert record["score"][0] == 6_400
    assert not disappeared(record).any()


def test_an_input_that_never_was_is_missing_from_the_start():
    record = close((80, GONE, 80, 80))
    assert record["score"][0] == 8_000
    assert not disappeared(record).any()


def test_closes_are_counted_and_not_the_days_on_which_no_service_ran():
    bad, without = (80, 0, 80, 80), (80, GONE, 80, 80)
    record = close(bad)
    record = close(without, record=record, day=DAY + 300)
    assert record["score"][0] == 6_400
    assert record["missing"][0].tolist() == [0, 1, 0, 0]
    record = close(69, record=close(80), day=DAY + 1)
    assert band(close(69, record=record, day=DAY + 30)) == "yellow"  # the second close in a row


# --- nights on which we were deaf -------------------------------------------------------------------------------


def test_a_deaf_close_holds_everything_and_no_input_ages():
    before = close((80, 0, 80, 80), (80, GONE, 80, 80))
    after = close((DEAF, GONE, 10, 10), record=before, day=DAY + 2)
    for name in ("band", "since_day", "score", "coverage", "candidate"):
        assert after[name] == before[name]
    assert after["kept"].tolist() == before["kept"].tolist()
    assert after["missing"].tolist() == before["missing"].tolist()
    assert after["day"][0] == DAY + 2


def test_a_deaf_close_is_done_again_once_everything_was_heard_and_gives_what_it_would_have_given():
    before = close(80)
    deaf = close((DEAF, 30, 30, 30), record=before, day=DAY + 1)
    assert band(deaf) == "green"
    again = close(30, record=deaf, day=DAY + 1)
    assert np.array_equal(again, close(30, record=before, day=DAY + 1))


def test_a_first_close_that_is_deaf_knows_nothing():
    record = close((DEAF, 90, 90, 90))
    assert (band(record), record["score"][0], record["since_day"][0]) == ("unknown", -1, DAY)
    assert band(close(90, record=record, day=DAY + 1)) == "green"


def test_a_deaf_input_without_weight_holds_nothing_up():
    one = components((80, 80, 80, DEAF), weights=(1, 1, 1, 0))
    assert advance(blank(1), one, DAY)["score"][0] == 8_000


def test_a_day_is_closed_once_and_an_older_one_no_more():
    record = close(80)
    assert np.array_equal(advance(record, components((10,) * 4), DAY), record)
    assert np.array_equal(advance(record, components((10,) * 4), DAY - 1), record)
    assert np.array_equal(advance(record, components((DEAF,) * 4), DAY), record)


def test_what_was_never_closed_is_zeros():
    assert blank(3).tobytes() == bytes(3 * HEALTH_DTYPE.itemsize)
    assert HEALTH_DTYPE.itemsize == 40
    nothing = advance(blank(0), components(), DAY)
    assert len(nothing) == 0


# --- against one account at a time ------------------------------------------------------------------------------


class OneAccount:
    """An account's health by hand: exact fractions, words for bands, and lists for what happened."""

    def __init__(self) -> None:
        self.day: int | None = None
        self.deaf = False
        self.band = "unknown"
        self.since: int | None = None
        self.raw = "unknown"
        self.points: Decimal | None = None
        self.coverage = Fraction(0)
        self.last: dict[str, Decimal] = {}
        self.absent: dict[str, int] = {}

    def close(self, day: int, inputs: dict[str, Any], weights: dict[str, int], green: int, red: int) -> None:
        if self.day is not None and (day < self.day or (day == self.day and not self.deaf)):
            return
        first = self.day is None
        self.day = day
        if any(inputs[name] is DEAF and weights[name] for name in FULL_HOUSE):
            self.deaf = True
            if first:
                self.since = day
            return
        self.deaf = False
        counted: dict[str, Decimal] = {}
        for name in FULL_HOUSE:
            if isinstance(inputs[name], Status):
                if name in self.last:
                    self.absent[name] += 1
                    if self.absent[name] <= 14:
                        counted[name] = self.last[name]
            else:
                counted[name] = self.last[name] = inputs[name]
                self.absent[name] = 0
        weight = sum(weights[name] for name in counted)
        self.coverage = Fraction(weight, sum(weights.values()))
        if self.coverage < Fraction(3, 5) or "product" not in counted:
            self.points, bare = None, "unknown"
        else:
            exact = sum(Fraction(counted[name]) * weights[name] for name in counted) / weight
            self.points = half_up(exact)
            bare = "green" if self.points > green else "red" if self.points < red else "yellow"
        to = bare if first or "unknown" in (bare, self.band) else self.step(bare, green, red)
        if first or to != self.band:
            self.since = day
        self.band, self.raw = to, bare

    def step(self, bare: str, green: int, red: int) -> str:
        """One rung after another towards the band of the score, while the way to each is free."""
        ladder = ["red", "yellow", "green"]
        at, goal = ladder.index(self.band), ladder.index(bare)
        before = ladder.index(self.raw) if self.raw in ladder else at
        assert self.points is not None
        while at < goal:
            edge = (red, green)[at]
            if not (self.points >= edge + 2 or before > at):
                break
            at += 1
        while at > goal:
            edge = (red, green)[at - 1]
            if not (self.points <= edge - 2 or before < at):
                break
            at -= 1
        return ladder[at]


def half_up(exact: Fraction) -> Decimal:
    cents = exact * 100
    whole = cents.numerator // cents.denominator
    rest = cents - whole
    return Decimal(whole + (1 if rest >= Fraction(1, 2) else 0)) / 100


_points = st.one_of(
    st.sampled_from([Decimal(each) / 100 for each in (0, 3_799, 3_800, 3_801, 3_999, 4_000, 4_199, 4_200)]),
    st.sampled_from([Decimal(each) / 100 for each in (6_799, 6_800, 6_801, 7_000, 7_001, 7_199, 7_200)]),
    st.integers(0, 10_000).map(lambda cents: Decimal(cents) / 100),
)
_input = st.one_of(_points, _points, _points, st.sampled_from([GONE, Status.UNKNOWN]))
_night = st.one_of(
    _points.map(lambda all_alike: (all_alike,) * 4),
    st.tuples(_input, _input, _input, _input),
    st.tuples(_points, *[st.sampled_from([GONE, Decimal(50)])] * 3),
    st.sampled_from([(DEAF, GONE, Decimal(1), Decimal(99)), (Decimal(50),) * 3 + (DEAF,)]),
)
_night_after = st.tuples(st.sampled_from((0, 1, 1, 1, 1, 1, 2, 9)), st.integers(1, 16), _night)


@given(
    accounts=st.lists(
        st.tuples(
            st.lists(_night_after, min_size=1, max_size=12),
            st.sampled_from([WEIGHTS, (1, 1, 1, 1), (500, 0, 250, 250), (3, 2, 2, 0), (1, 0, 0, 0)]),
            st.sampled_from([(70, 40), (50, 50), (51, 50), (90, 10), (100, 0)]),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_many_accounts_close_as_one_does(accounts):
    for nights, weights, (green, red) in accounts:
        by_hand, record, day = OneAccount(), blank(1), DAY
        named = dict(zip(FULL_HOUSE, weights, strict=True))
        for gap, times, night in nights:
            for _ in range(times):
                day += gap
                by_hand.close(day, dict(zip(FULL_HOUSE, night, strict=True)), named, green, red)
                four = components(night, weights=weights, green=green, red=red)
                record = advance(record, four, day)
                assert band(record) == by_hand.band
                assert record["since_day"][0] == by_hand.since
                assert record["day"][0] == by_hand.day
                assert record["coverage"][0] == half_up(by_hand.coverage * 100) * 100
                expected = -1 if by_hand.points is None else by_hand.points * 100
                assert record["score"][0] == expected


def test_between_closes_the_score_is_what_the_next_close_would_make_it():
    record = close((80, 0, 80, 80), *[(80, GONE, 80, 80)] * 13)
    without = components((80, GONE, 80, 80))
    assert score(record, without, DAY + 13).points[0] == 6_400  # the day is closed: nothing ages
    assert score(record, without, DAY + 14).points[0] == 6_400
    record = close((80, GONE, 80, 80), record=record, day=DAY + 14)
    assert score(record, without, DAY + 14).held.tolist() == [[False, True, False, False]]
    assert score(record, without, DAY + 15).points[0] == 8_000
    assert score(record, components((20, 20, 20, 20)), DAY + 14).points[0] == 2_000


@given(st.lists(st.tuples(_night, _night, _night), min_size=1, max_size=40))
def test_accounts_side_by_side_do_not_touch_each_other(accounts):
    together = blank(len(accounts))
    alone = [blank(1) for _ in accounts]
    for night in range(3):
        day = DAY + night
        together = advance(together, components(*[nights[night] for nights in accounts]), day)
        alone = [
            advance(one, components(nights[night]), day) for one, nights in zip(alone, accounts, strict=True)
        ]
    assert together.tobytes() == b"".join(one.tobytes() for one in alone)


# --- points -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**9), st.integers(1, 10**6))
def test_halves_go_up(numerator, denominator):
    exact = Decimal(numerator) / Decimal(denominator)
    expected = Fraction(numerator, denominator)
    if expected.denominator == 2:
        assert rounded(np.array([numerator]), np.array([denominator]))[0] == expected + Fraction(1, 2)
    else:
        nearest = int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))
        assert rounded(np.array([numerator]), np.array([denominator]))[0] == nearest


@pytest.mark.parametrize(
    ("ratio", "target", "points"),
    [
        ((0, 1), 5_000, 0),
        ((5, 1), 5_000, 100),
        ((5, 2), 5_000, 50),
        ((99, 1), 5_000, 100),
        ((1, 3), 800, 41.67),
        ((4, 5), 800, 100),
    ],
)
def test_a_ramp_climbs_from_nothing_to_its_target(ratio, target, points):
    numerator, denominator = (np.array([each], dtype=np.int64) for each in ratio)
    assert ramp(numerator, denominator, np.array([target], dtype=np.int64))[0] == round(points * 100)


def test_a_mean_of_nothing_is_none():
    assert mean(np.zeros((1, 2), dtype=np.int64), np.zeros((1, 2), dtype=np.int64)).tolist() == [-1]


def test_bands_of_scores_alone():
    points = np.array([-1, 0, 3_999, 4_000, 7_000, 7_001])
    green, red = np.full(6, 7_000), np.full(6, 4_000)
    assert band_of(points, green, red).tolist() == [0, 1, 1, 2, 2, 3]
