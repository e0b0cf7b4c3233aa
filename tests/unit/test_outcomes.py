"""Retention over a portfolio: exact to the cent, and equal to a recount of the raw events."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.outcomes.benchmarks import BANDS, TARGETS, Level, Stage
from alerts.outcomes.books import Books
from alerts.outcomes.freemium import FreemiumDays, freemium_retention
from alerts.outcomes.months import Month, last_complete, year_before
from alerts.outcomes.movement import Movement, Waterfall, movement, movements
from alerts.outcomes.outcomes import CHURN_MONTHS, Outcome, Outcomes
from alerts.outcomes.surveys import Answered, Survey
from alerts.values import Status
from alerts.wilson import wilson_interval
from consumers.active_days import RING_BYTES, enter
from consumers.days import Calendar
from consumers.decode import decode_batch, identity
from consumers.fold import fold
from consumers.ledger import SEGMENTS, Ledger, ledger_of, store
from consumers.pipeline import merged
from consumers.state import AccountState
from consumers.windows import NEVER
from tests.recount_outcomes import DIMENSIONS, OutcomeRecount, Sums, twelve_months_before
from tests.unit.metric_streams import FAR, ZONES, Stream

ZERO = date(1970, 1, 1)
NONE: str | None = None


def on(text: str) -> int:
    return (date.fromisoformat(text) - ZERO).days


def as_date(day: int) -> date:
    return ZERO + timedelta(days=day)


def outcomes_of(
    lines: Sequence[bytes],
    at: str,
    months: int = 1,
    *,
    as_of: int,
    zone: str = "UTC",
    currency: str | None = None,
    shuffle: random.Random | None = None,
) -> tuple[Outcomes, list[str]]:
    """What the package makes of raw events, folded at once or in random batches and order; and the accounts' ids."""
    calendar = Calendar(zone)
    events, rejections = decode_batch(lines, FAR)
    assert not rejections
    fresh = list({identity(event): event for event in events}.values())
    if shuffle is not None:
        shuffle.shuffle(fresh)
    states: dict[str, AccountState] = {}
    first_days: list[int] = []
    while fresh:
        count = len(fresh) if shuffle is None else shuffle.randint(1, len(fresh))
        folded = fold(fresh[:count], calendar)
        states.update((state.account_id, state) for state in merged(folded, states, calendar))
        first_days += [day for family, day in folded.first_days.items() if family == "subscriptions"]
        fresh = fresh[count:]
    books = Books([ledger_of(state.facts(), calendar) for state in states.values()], currency)
    subscribed = min(first_days, default=None)
    return Outcomes(books, Month.parse(at), months, as_of=as_of, subscribed=subscribed), list(states)


def paying(stream: Stream, account: str, *told: tuple[str, str], **data: Any) -> None:
    """``account`` pays so much a month from each day on."""
    for day, mrr in told:
        stream.add("subscription.changed", account, on(day), mrr=mrr, **{"currency": "USD", **data})


# --- by hand ----------------------------------------------------------------------------------------------------


def portfolio() -> Stream:
    """Five accounts in October 2025 and what became of them by the end of October 2026."""
    stream = Stream()
    paying(stream, "grew", ("2025-01-10", "1000"), ("2026-03-01", "1500"))
    paying(stream, "shrank", ("2025-01-10", "800"), ("2026-05-05", "600.50"))
    paying(stream, "left", ("2025-01-10", "500"), ("2026-10-12", "0"))
    paying(stream, "came back", ("2025-01-10", "100"), ("2026-01-01", "0"), ("2026-04-01", "100"))
    paying(stream, "new", ("2026-02-01", "9000"))
    stream.add("account.updated", "grew", on("2025-02-01"), size="enterprise")
    stream.add("account.updated", "shrank", on("2025-02-01"), size="smb")
    stream.add("account.updated", "left", on("2025-02-01"), size="smb")
    stream.add("account.updated", "left", on("2026-02-01"), size="enterprise")
    return stream


def test_a_year_of_five_accounts_by_hand() -> None:
    outcomes, _ = outcomes_of(portfolio().lines, "2026-10", as_of=on("2026-11-21"))
    (year,) = outcomes.months
    assert (year.span.start, year.span.end) == (on("2025-10-31"), on("2026-10-31"))
    assert year.status is Status.OK
    assert year.movement == Movement(
        accounts=4,
        retained=3,
        start=240_000,
        expansion=50_000,
        contraction=19_950,
        churn=50_000,
        new_accounts=1,
        new=900_000,
    )
    assert year.movement.nrr == Fraction(220_050, 240_000)
    assert year.movement.grr == Fraction(170_050, 240_000)
    assert year.movement.churned_mrr_rate == Fraction(500, 2_400)
    assert year.movement.logo_retention == Fraction(3, 4)


def test_a_segment_is_the_one_at_the_start_and_the_untold_is_its_own() -> None:
    outcomes, _ = outcomes_of(portfolio().lines, "2026-10", as_of=on("2026-11-21"))
    sizes = outcomes.segments("size")
    assert list(sizes) == ["enterprise", "smb", NONE]
    assert (sizes["smb"].movement.accounts, sizes["smb"].movement.churn) == (2, 50_000)
    assert sizes["enterprise"].movement.nrr == Fraction(3, 2)
    assert (sizes[None].movement.accounts, sizes[None].movement.new) == (1, 900_000)
    assert list(outcomes.segments("tier")) == [None]


def test_monthly_churn_counts_who_was_there_at_the_start_of_the_month_and_not_at_its_end() -> None:
    outcomes, _ = outcomes_of(portfolio().lines, "2026-10", as_of=on("2026-11-21"))
    assert len(outcomes.churn) == CHURN_MONTHS
    lost = {str(each.span.month): (each.movement.lost, each.movement.churn) for each in outcomes.churn}
    assert {month: what for month, what in lost.items() if what != (0, 0)} == {
        "2026-01": (1, 10_000),
        "2026-10": (1, 50_000),
    }
    assert outcomes.churn[0].span.start == on("2025-09-30")


def test_the_month_that_still_runs_ends_with_the_last_complete_day() -> None:
    outcomes, _ = outcomes_of(portfolio().lines, "2026-11", 2, as_of=on("2026-11-21"))
    before, now = outcomes.months
    assert (before.span.complete, now.span.complete) == (True, False)
    assert (now.span.start, now.span.end) == (on("2025-11-21"), on("2026-11-21"))
    with pytest.raises(ValueError, match="2026-12 has no complete day"):
        outcomes_of(portfolio().lines, "2026-12", as_of=on("2026-11-21"))


def test_before_the_first_subscription_was_heard_of_nothing_is_known() -> None:
    def statuses(lines: list[bytes], at: str) -> Status:
        return outcomes_of(lines, at, as_of=on("2026-11-21"))[0].months[0].status

    quiet = Stream().add("account.updated", "a", on("2020-01-01"), size="smb")
    assert statuses(quiet.lines, "2026-10") is Status.UNKNOWN
    assert statuses(portfolio().lines, "2025-12") is Status.INSUFFICIENT_HISTORY
    assert statuses(portfolio().lines, "2026-01") is Status.OK
    paying(ended := Stream(), "a", ("2020-01-01", "5"), ("2020-02-01", "0"))
    assert statuses(ended.lines, "2026-10") is Status.NOT_APPLICABLE


def test_other_currencies_are_left_out_and_counted() -> None:
    stream = portfolio()
    paying(stream, "abroad", ("2025-01-10", "70"), currency="EUR")
    paying(stream, "grew", ("2025-01-10", "30"), currency="EUR", subscription_id="branch")
    paying(stream, "gone", ("2025-01-10", "30"), ("2025-02-01", "0"), currency="EUR")
    outcomes, _ = outcomes_of(stream.lines, "2026-10", as_of=on("2026-11-21"))
    assert outcomes.books.currency == "USD"
    assert outcomes.months[0].movement.start == 140_000  # "grew" pays in both
    assert outcomes.left_out() == {"EUR": 2}
    euros, _ = outcomes_of(stream.lines, "2026-10", as_of=on("2026-11-21"), currency="EUR")
    assert euros.months[0].movement.start == 7_000
    assert euros.left_out() == {"USD": 5}


def test_an_account_that_changes_its_currency_neither_left_nor_came() -> None:
    stream = portfolio()
    for account, before, after in (("moved", "USD", "EUR"), ("joined", "EUR", "USD")):
        paying(stream, account, ("2025-01-10", "300"), currency=before)
        paying(stream, account, ("2026-10-12", "310"), currency=after)
    outcomes, ids = outcomes_of(stream.lines, "2026-10", as_of=on("2026-11-21"))
    without, _ = outcomes_of(portfolio().lines, "2026-10", as_of=on("2026-11-21"))
    assert outcomes.months[0].movement == without.months[0].movement
    assert outcomes.churn[-1].movement == without.churn[-1].movement
    assert outcomes.segments("size") == without.segments("size")
    assert outcomes.waterfall.churn[ids.index("moved")] == outcomes.waterfall.new[ids.index("joined")] == 0
    # A month before, they still paid as they always had: the one counts, the other does not.
    assert outcomes.churn[-2].movement.start == without.churn[-2].movement.start + 30_000
    assert outcomes.left_out() == {"EUR": 2}


def test_who_is_left_out_of_any_month_that_is_shown_is_counted() -> None:
    stream = portfolio()
    paying(stream, "once", ("2025-02-01", "70"), ("2025-08-01", "0"), currency="EUR")

    def left_out(months: int) -> dict[str, int]:
        return outcomes_of(stream.lines, "2026-10", months, as_of=on("2026-11-21"))[0].left_out()

    assert (
        left_out(3) == {}
    )  # they begin with August, September and October of 2025, and churn with September
    assert left_out(4) == {"EUR": 1}


def test_an_amount_without_a_currency_is_in_the_reporting_one() -> None:
    stream = portfolio()
    paying(stream, "bare", ("2025-01-10", "50"), currency=None)
    outcomes, _ = outcomes_of(stream.lines, "2026-10", as_of=on("2026-11-21"))
    assert outcomes.months[0].movement.start == 245_000
    paying(alone := Stream(), "bare", ("2025-01-10", "50"), currency=None)
    outcomes, _ = outcomes_of(alone.lines, "2026-10", as_of=on("2026-11-21"))
    assert outcomes.books.currency is None
    assert outcomes.months[0].movement.start == 5_000


def test_a_churned_account_that_pays_on_is_counted_as_a_contradiction() -> None:
    stream = portfolio()
    stream.add("account.updated", "grew", on("2026-06-01"), lifecycle="churned")
    stream.add("account.updated", "left", on("2026-06-01"), lifecycle="churned")
    stream.add("account.updated", "shrank", on("2026-06-01"), lifecycle="churned")
    stream.add("account.updated", "shrank", on("2026-06-02"), lifecycle="active")
    outcomes, _ = outcomes_of(stream.lines, "2026-10", as_of=on("2026-11-21"))
    assert outcomes.churned_with_mrr() == 1


def test_nobody_is_no_portfolio() -> None:
    outcomes = Outcomes(Books([]), Month(2026, 10), 24, as_of=on("2026-11-21"), subscribed=None)
    assert len(outcomes.months) == 24
    assert {each.status for each in outcomes.months} == {Status.UNKNOWN}
    assert outcomes.segments("size") == {}
    assert outcomes.left_out() == {}


# --- twelve months ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "before"),
    [
        ("2026-11-21", "2025-11-21"),
        ("2026-10-31", "2025-10-31"),
        ("2024-02-29", "2023-02-28"),
        ("2025-02-28", "2024-02-29"),  # a month's last day: twelve whole months
        ("2024-02-28", "2023-02-28"),
        ("2025-02-27", "2024-02-27"),
    ],
)
def test_twelve_months_before(day: str, before: str) -> None:
    assert as_date(year_before(on(day))).isoformat() == before


@given(st.integers(0, 40_000))
def test_twelve_months_before_every_day(day: int) -> None:
    assert as_date(year_before(day)) == twelve_months_before(as_date(day))
    month = Month.of(day)
    assert month.first_day <= day <= month.last_day
    assert last_complete(day) == (month if day == month.last_day else month.before(1))
    assert Month.parse(str(month)) == month


@pytest.mark.parametrize(
    "text", ["2026", "2026-13", "2026-00", "1969-12", "9999-01", "2026-1", "26-01-01", ""]
)
def test_what_is_no_month(text: str) -> None:
    with pytest.raises(ValueError, match="not a month"):
        Month.parse(text)


# --- properties -------------------------------------------------------------------------------------------------

_cents = st.integers(0, 10**15 - 1) | st.integers(0, 3) | st.just(0)


@given(st.lists(st.tuples(_cents, _cents, st.integers(0, 4)), max_size=40))
def test_the_parts_make_the_whole_to_the_cent(accounts: list[tuple[int, int, int]]) -> None:
    start, end, groups = (np.array([each[part] for each in accounts], dtype=np.int64) for part in range(3))
    waterfall = Waterfall.between(start, end)
    whole = movement(start, end)
    cohort = [(before, after) for before, after, _ in accounts if before]
    assert whole.start == sum(before for before, _ in cohort)
    assert whole.end == sum(after for _, after in cohort)
    assert whole.end + whole.new == sum(after for _, after, _ in accounts)
    if whole.start:
        assert whole.nrr is not None
        assert whole.grr is not None
        assert whole.grr == Fraction(sum(map(min, cohort)), whole.start)
        assert whole.grr <= 1
        assert whole.grr <= whole.nrr
    parts = movements(start, end, groups, 5)
    for name in Movement.__slots__:
        assert sum(getattr(part, name) for part in parts) == getattr(whole, name), name
    for name in ("expansion", "contraction", "churn", "new"):
        assert sum(getattr(waterfall, name).tolist()) == getattr(whole, name), name
    each = waterfall.start + waterfall.expansion - waterfall.contraction - waterfall.churn + waterfall.new
    assert (each == end).all()


_histories = st.lists(
    st.tuples(st.integers(0, 60), _cents), max_size=5, unique_by=lambda entry: entry[0]
).map(sorted)
_named = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(("a", "b", "ü"))),
    max_size=4,
    unique_by=lambda entry: entry[0],
).map(sorted)
_ledgers = st.builds(
    Ledger,
    mrr=st.dictionaries(st.sampled_from(("", "EUR", "USD")), _histories.filter(bool)),
    segments=st.dictionaries(st.sampled_from(SEGMENTS), _named.filter(bool)),
)


@given(st.lists(_ledgers, max_size=6), st.sets(st.integers(-5, 65), min_size=1, max_size=6))
def test_books_say_of_each_account_what_its_ledger_says(ledgers: list[Ledger], days: set[int]) -> None:
    books = Books([store(ledger) for ledger in ledgers], "EUR")
    for day, cents in books.mrr(days).items():
        assert list(cents) == [ledger.mrr_at(day, "EUR") + ledger.mrr_at(day, "") for ledger in ledgers]
    for day, foreign in books.foreign(days).items():
        assert list(foreign) == [ledger.mrr_at(day, "USD") > 0 for ledger in ledgers]
    for day in days:
        paying = [any(ledger.mrr_at(day, code) > 0 for code in ledger.mrr) for ledger in ledgers]
        assert list(books.paying(day)) == paying
        for name in SEGMENTS:
            places, names = books.segments(name, day)
            assert [names[place] for place in places] == [ledger.segment_at(day, name) for ledger in ledgers]


TODAY = on("2024-04-17")  # a leap year, both of its changes of the clock, and thirty months before
_EDGES = [
    (end - ZERO).days + near
    for year in (2021, 2022, 2023, 2024)
    for month in range(1, 13)
    for end in [date(year, month, 1) - timedelta(days=1)]
    for near in (-1, 0, 1)
    if (end - ZERO).days + near <= TODAY + 2
]
_days = st.sampled_from(_EDGES) | st.integers(TODAY - 900, TODAY)
_seconds = st.sampled_from((0, 1, 5_400, 43_200, 79_200, 86_399))
_amounts = st.sampled_from((0, 0, "0.004", "0.005", "19.99", 250, "1234567.89", "9999999999999.99"))


@st.composite
def _streams(draw: st.DrawFn) -> Stream:
    """Subscriptions and segments of a few accounts, in any order, some events told twice."""
    stream = Stream()
    accounts = st.sampled_from(("a", "b", "c", "d"))
    for _ in range(draw(st.integers(0, 16))):
        data: dict[str, Any] = {
            "mrr": draw(_amounts),
            "subscription_id": draw(st.sampled_from(("default", "extra"))),
        }
        data["currency"] = draw(st.sampled_from(("USD", "USD", "EUR", None)))
        stream.add("subscription.changed", draw(accounts), draw(_days), second=draw(_seconds), **data)
    for _ in range(draw(st.integers(0, 8))):
        data = draw(
            st.dictionaries(st.sampled_from(DIMENSIONS), st.sampled_from(("x", "y")), min_size=1, max_size=2)
        )
        stream.add("account.updated", draw(accounts), draw(_days), second=draw(_seconds), **data)
    stream.lines += stream.lines[: len(stream.lines) // 3]
    return stream


@settings(max_examples=200, deadline=None)
@given(
    stream=_streams(),
    zone=st.sampled_from(ZONES),
    month=st.integers(0, 20),
    currency=st.sampled_from((None, "EUR")),
    shuffle=st.randoms(use_true_random=False),
)
def test_outcomes_equal_the_recount_of_raw_events(
    stream: Stream, zone: str, month: int, currency: str | None, shuffle: random.Random
) -> None:
    at = Month.of(TODAY).before(month)
    outcomes, ids = outcomes_of(
        stream.lines, str(at), 3, as_of=TODAY, zone=zone, currency=currency, shuffle=shuffle
    )
    recount = OutcomeRecount(stream.lines, zone, currency)
    assert outcomes.books.currency == recount.currency
    for year in outcomes.months:
        end = as_date(year.span.end)
        assert as_date(year.span.start) == twelve_months_before(end)
        same(year, recount, recount.sums(as_date(year.span.start), end)[None])
    for churn in outcomes.churn:
        end = min(as_date(churn.span.month.last_day), as_date(TODAY))
        start = date(end.year, end.month, 1) - timedelta(days=1)
        same(churn, recount, recount.sums(start, end)[None])
    spans = (*outcomes.spans, *outcomes.churn_spans)
    assert outcomes.left_out() == recount.foreign(
        as_date(day) for span in spans for day in (span.start, span.end)
    )
    start, end = as_date(outcomes.span.start), as_date(outcomes.span.end)
    for name in DIMENSIONS:
        expected = recount.sums(start, end, name)
        found = outcomes.segments(name)
        assert found.keys() == expected.keys()
        for segment, outcome in found.items():
            same(outcome, recount, expected[segment])
    for place, account in enumerate(ids):
        waterfall = outcomes.waterfall
        out = recount.others(account, start) or recount.others(account, end)
        assert int(waterfall.start[place]) == (0 if out else cents(recount.mrr(account, start)))
        assert int(waterfall.end[place]) == (0 if out else cents(recount.mrr(account, end)))


def cents(money: Decimal) -> int:
    return int(money * 100)


def same(outcome: Outcome, recount: OutcomeRecount, sums: Sums) -> None:
    movement = outcome.movement
    assert outcome.status.word == recount.status(as_date(outcome.span.start), sums)
    assert (movement.accounts, movement.retained, movement.new_accounts) == (
        sums.accounts,
        sums.kept,
        sums.new_accounts,
    )
    assert (movement.start, movement.expansion, movement.contraction, movement.churn, movement.new) == tuple(
        map(cents, (sums.start, sums.up, sums.down, sums.gone, sums.new))
    )
    assert movement.nrr == sums.rate(sums.start + sums.up - sums.down - sums.gone)
    assert movement.grr == sums.rate(sums.smaller)


# --- intervals, benchmarks, surveys, freemium -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_intervals_as_published(hits: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(hits, count) == pytest.approx((low, high), abs=5e-5)


def test_nobody_has_no_interval() -> None:
    assert wilson_interval(0, 0) is None


@given(st.integers(1, 10**6).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_an_interval_holds_its_share(counts: tuple[int, int]) -> None:
    hits, count = counts
    interval = wilson_interval(hits, count)
    assert interval is not None
    assert 0 <= interval[0] <= hits / count <= interval[1] <= 1


def test_bands_are_exact_at_their_edges() -> None:
    levels = {
        percent: BANDS[Stage.A].level(Fraction(percent) / 100)
        for percent in (Fraction("105.01"), 105, 95, Fraction("94.99"), 90, Fraction("89.99"))
    }
    assert list(levels.values()) == [
        Level.STRONG,
        Level.AVERAGE,
        Level.AVERAGE,
        Level.BELOW_AVERAGE,
        Level.BELOW_AVERAGE,
        Level.WARNING,
    ]
    assert BANDS[Stage.C].level(Fraction(110, 100)) is Level.AVERAGE
    assert BANDS[Stage.B].level(Fraction(94, 100)) is Level.WARNING


def test_a_target_is_not_met_by_being_exactly_there() -> None:
    expansion, contraction = TARGETS[:2]
    assert (expansion.met(Fraction(15, 100)), expansion.met(Fraction(16, 100))) == (False, True)
    assert (contraction.met(Fraction(3, 100)), contraction.met(Fraction(2, 100))) == (False, True)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10)), max_size=30),
    st.integers(0, 9),
    st.integers(0, 9),
)
def test_nps_is_promoters_less_detractors(told: list[tuple[int, int]], first: int, last: int) -> None:
    days, scores = (np.array([each[part] for each in told], dtype=np.int64) for part in range(2))
    found = Answered(Survey.NPS, days, scores).within(first, last)
    within = [score for day, score in told if first <= day <= last]
    assert found.count == len(within)
    points = sum(1 if score >= 9 else -1 if score <= 6 else 0 for score in within)
    assert found.score == (Fraction(100 * points, len(within)) if within else None)


def test_csat_is_the_share_of_the_satisfied() -> None:
    days, scores = np.zeros(5, dtype=np.int64), np.array([1, 3, 4, 5, 5])
    found = Answered(Survey.CSAT, days, scores).within(0, 0)
    assert found.score == Fraction(60)
    assert (found.negative, found.enough) == (1, True)


def test_freemium_logos_come_back_or_not_and_those_who_paid_are_none() -> None:
    days = FreemiumDays.ending(on("2026-11-21"))
    assert days == FreemiumDays((on("2025-10-23"), on("2025-11-21")), (on("2026-10-23"), on("2026-11-21")))
    told = [
        ["2025-10-23", "2026-11-21"],  # the first day of the one window, the last of the other
        ["2025-11-21"],
        ["2025-10-22", "2026-11-01"],  # a day early
        ["2025-11-22", "2026-11-01"],  # a day late
        ["2025-11-01", "2026-10-22"],  # not again in time
        ["2025-11-01", "2026-10-23", "2026-11-22"],  # today is no complete day
        [],
    ]
    rings, last_days = zip(*map(ring_of, told), strict=True)
    found = freemium_retention(rings, np.array(last_days), days)
    assert (found.accounts, found.retained, found.share) == (4, 2, Fraction(1, 2))
    nobody = freemium_retention([], np.empty(0, dtype=np.int64), days)
    assert (nobody.accounts, nobody.share) == (0, None)


def ring_of(days: list[str]) -> tuple[bytes, int]:
    ring = bytearray(RING_BYTES if days else 0)
    enter(ring, NEVER, map(on, days))
    return bytes(ring), max(map(on, days), default=NEVER)
