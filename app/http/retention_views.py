"""What REST says of outcomes: the shapes of the answers, and how they are filled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any

from pydantic import Field

from alerts.outcomes.benchmarks import BANDS, TARGETS, Level, Stage, Target, movement_of
from alerts.outcomes.movement import Movement
from alerts.outcomes.outcomes import Outcome, Outcomes
from alerts.outcomes.surveys import Survey
from alerts.values import Status
from alerts.wilson import wilson_interval
from app.http.instants import Day, day_or_none, money
from app.http.pages import Answer, Page
from app.retention import Freemium, Retention, SurveyTrend, SurveyWindow
from consumers.ledger import SEGMENTS

StatusWord = Annotated[
    str, Field(examples=["ok"], description="ok, insufficient_history, not_applicable, unknown")
]
Money = Annotated[str, Field(examples=["1200.00"], description="Decimal as text, exact to the cent")]
Rate = Annotated[
    float | None, Field(examples=[1.0425], description="A fraction, 1.0 is 100 %; null unless ok")
]
MonthText = Annotated[str, Field(examples=["2026-10"], pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]


class Dimension(StrEnum):
    """By what accounts are split, as they were at the start."""

    SIZE, CHANNEL, TIER, USE_CASE = SEGMENTS


class Table(StrEnum):
    """Which part of the answer a CSV holds."""

    MONTHS = "months"
    SEGMENTS = "segments"
    CHURN = "churn"
    FREEMIUM = "freemium"
    SURVEYS = "surveys"
    BENCHMARK = "benchmark"


class MovementView(Answer):
    """Twelve months of a cohort: `mrr_start + expansion - contraction - churn = mrr_end`.

    `new_mrr` is the MRR at the end of those who had none at the start; it is in no rate.
    """

    status: StatusWord
    accounts: int = Field(description="With MRR above 0 at the start")
    retained: int = Field(description="Of them with MRR above 0 at the end")
    mrr_start: Money
    expansion: Money
    contraction: Money
    churn: Money
    mrr_end: Money
    new_accounts: int
    new_mrr: Money
    nrr: Rate
    grr: Rate
    expansion_rate: Rate
    contraction_rate: Rate
    churned_mrr_rate: Rate
    logo_retention: Rate
    logo_retention_low: Rate
    logo_retention_high: Rate


class MonthView(MovementView):
    """The twelve months from the close of `start` to that of `end`."""

    month: MonthText
    start: Day
    end: Day
    complete: bool = Field(description="Whether the month is over")


class SegmentView(MovementView):
    """The same of one segment; null: it was not told by then."""

    segment: str | None


class ChurnView(Answer):
    """One calendar month: there at the close of `start`, gone at that of `end`."""

    status: StatusWord
    month: MonthText
    start: Day
    end: Day
    complete: bool
    accounts: int
    accounts_lost: int
    logo_churn: Rate
    mrr_start: Money
    mrr_lost: Money
    mrr_churn: Rate


class FreemiumView(Answer):
    """Accounts without MRR, active in the 30 days to twelve months ago; retained: in the last 30 days too."""

    status: StatusWord
    start_first: Day
    start_last: Day
    end_first: Day
    end_last: Day
    accounts: int
    retained: int
    logo_retention: Rate
    logo_retention_low: Rate
    logo_retention_high: Rate


class SurveyWindowView(Answer):
    """The answers of the days from `first` to `last`."""

    status: str = Field(examples=["low_volume"])
    month: MonthText | None
    first: Day
    last: Day
    answers: int
    positive: int
    negative: int
    score: float | None = Field(description="NPS -100 to 100, CSAT 0 to 100; null unless ok")


class SurveyView(Answer):
    """The last 180 days, the 180 before, the change from these to those, and month by month."""

    level: SurveyWindowView
    previous: SurveyWindowView
    change: float | None
    months: list[SurveyWindowView]


class TargetView(Answer):
    """A yearly target: the rate is to be above or below it. `size` says of which accounts."""

    rate: str
    size: str | None
    above: float | None
    below: float | None
    value: Rate
    met: bool | None


class BenchmarkView(Answer):
    """NRR against companies of the same stage: strong above, average from, warning below."""

    stage: Stage
    level: Level | None
    strong_above: float
    average_from: float
    warning_below: float
    targets: list[TargetView]


class RetentionView(Answer):
    """What became of the customers."""

    as_of: Day = Field(description="The last complete day")
    month: MonthText
    currency: str | None = Field(description="The reporting currency; null if none was ever told")
    left_out: dict[str, int] = Field(
        description="Accounts left out of a span for MRR in another currency at either end"
    )
    accounts: int = Field(description="All that are known, paying or not")
    churned_with_mrr: int = Field(description="Whose lifecycle is churned, and who have MRR all the same")
    months: list[MonthView]
    segments: dict[Dimension, list[SegmentView]]
    churn: list[ChurnView]
    freemium: FreemiumView | None = Field(
        description="Up to `as_of`; null for an `at` before the last complete month"
    )
    surveys: dict[Survey, SurveyView]
    benchmark: BenchmarkView | None


class WaterfallRow(Answer):
    """Twelve months of one account: `mrr_start + expansion - contraction - churn + new = mrr_end`."""

    account_id: str
    name: str | None
    size: str | None
    channel: str | None
    tier: str | None
    use_case: str | None
    mrr_start: Money
    expansion: Money
    contraction: Money
    churn: Money
    new: Money
    mrr_end: Money


class WaterfallPage(Page):
    """A page of accounts with MRR at either end, segments as at the start."""

    month: MonthText
    start: Day
    end: Day
    status: StatusWord
    currency: str | None
    data: list[WaterfallRow]


def view_of(
    found: Retention, as_of: int, dimensions: Iterable[Dimension], stage: Stage | None
) -> RetentionView:
    """As REST answers it."""
    outcomes = found.outcomes
    return RetentionView(
        as_of=day_text(as_of),
        month=str(outcomes.span.month),
        currency=outcomes.books.currency,
        left_out=outcomes.left_out(),
        accounts=found.accounts,
        churned_with_mrr=outcomes.churned_with_mrr(),
        months=[
            MonthView(**_span(each), complete=each.span.complete, **_movement(each))
            for each in outcomes.months
        ],
        segments={
            dimension: [
                SegmentView(segment=segment, **_movement(each))
                for segment, each in outcomes.segments(dimension.value).items()
            ]
            for dimension in dict.fromkeys(dimensions)
        },
        churn=[_churn(each) for each in outcomes.churn],
        freemium=_freemium(found.freemium) if found.freemium else None,
        surveys={survey: _survey(trend) for survey, trend in found.surveys.items()},
        benchmark=_benchmark(stage, outcomes) if stage else None,
    )


def _span(outcome: Outcome) -> dict[str, str]:
    span = outcome.span
    return {"month": str(span.month), "start": day_text(span.start), "end": day_text(span.end)}


def _movement(outcome: Outcome) -> dict[str, Any]:
    movement, stands = outcome.movement, outcome.status is Status.OK
    rates = ("nrr", "grr", "expansion_rate", "contraction_rate", "churned_mrr_rate")
    return {
        "status": outcome.status.word,
        "accounts": movement.accounts,
        "retained": movement.retained,
        "mrr_start": money(movement.start),
        "expansion": money(movement.expansion),
        "contraction": money(movement.contraction),
        "churn": money(movement.churn),
        "mrr_end": money(movement.end),
        "new_accounts": movement.new_accounts,
        "new_mrr": money(movement.new),
        **{name: float(getattr(movement, name)) if stands else None for name in rates},
        **_logos(movement.retained, movement.accounts, stands),
    }


def _logos(retained: int, accounts: int, stands: bool) -> dict[str, float | None]:
    interval = wilson_interval(retained, accounts) if stands else None
    return {
        "logo_retention": retained / accounts if interval else None,
        "logo_retention_low": interval[0] if interval else None,
        "logo_retention_high": interval[1] if interval else None,
    }


def _churn(outcome: Outcome) -> ChurnView:
    movement, stands = outcome.movement, outcome.status is Status.OK
    return ChurnView(
        **_span(outcome),
        status=outcome.status.word,
        complete=outcome.span.complete,
        accounts=movement.accounts,
        accounts_lost=movement.lost,
        logo_churn=movement.lost / movement.accounts if stands else None,
        mrr_start=money(movement.start),
        mrr_lost=money(movement.churn),
        mrr_churn=float(movement.churned_mrr_rate or 0) if stands else None,
    )


def _freemium(freemium: Freemium) -> FreemiumView:
    (start_first, start_last), (end_first, end_last) = freemium.days.first, freemium.days.last
    retained, accounts = freemium.retention.retained, freemium.retention.accounts
    return FreemiumView(
        status=freemium.status.word,
        start_first=day_text(start_first),
        start_last=day_text(start_last),
        end_first=day_text(end_first),
        end_last=day_text(end_last),
        accounts=accounts,
        retained=retained,
        **_logos(retained, accounts, freemium.status is Status.OK),
    )


def _survey(trend: SurveyTrend) -> SurveyView:
    return SurveyView(
        level=_window(trend.level),
        previous=_window(trend.previous),
        change=None if trend.change is None else float(trend.change),
        months=[_window(each) for each in trend.months],
    )


def _window(window: SurveyWindow) -> SurveyWindowView:
    told = window.answers
    return SurveyWindowView(
        status=window.status.word,
        month=None if window.month is None else str(window.month),
        first=day_text(window.first),
        last=day_text(window.last),
        answers=told.count,
        positive=told.positive,
        negative=told.negative,
        score=None if told.score is None or window.status is not Status.OK else float(told.score),
    )


def _benchmark(stage: Stage, outcomes: Outcomes) -> BenchmarkView:
    """Of the twelve months up to the last month."""
    year, bands = outcomes.months[-1], BANDS[stage]
    nrr = year.movement.nrr if year.status is Status.OK else None
    sizes = {name: each.movement for name, each in outcomes.segments("size").items()}
    return BenchmarkView(
        stage=stage,
        level=None if nrr is None else bands.level(nrr),
        strong_above=bands.strong / 100,
        average_from=bands.average / 100,
        warning_below=bands.warning / 100,
        targets=[_target(target, year, sizes) for target in TARGETS],
    )


def _target(target: Target, year: Outcome, sizes: Mapping[str | None, Movement]) -> TargetView:
    movement = movement_of(target.size, year.movement, sizes)
    stands = year.status is Status.OK and movement.start > 0
    rate: Fraction = getattr(movement, target.rate) if stands else Fraction(0)
    percent = target.percent / 100
    return TargetView(
        rate=target.rate,
        size=target.size,
        above=percent if target.above else None,
        below=None if target.above else percent,
        value=float(rate) if stands else None,
        met=target.met(rate) if stands else None,
    )


def day_text(day: int) -> str:
    """A day since 1970-01-01 as an ISO date."""
    return day_or_none(day) or ""


def table_of(view: RetentionView, table: Table) -> tuple[Sequence[str], list[list[Any]]]:
    """One part of the answer as columns and rows."""
    match table:
        case Table.MONTHS:
            return _flat(MonthView, [((), each) for each in view.months], currency=view.currency)
        case Table.SEGMENTS:
            parts = [
                ((dimension.value,), each) for dimension, parts in view.segments.items() for each in parts
            ]
            year = view.months[-1]
            span = {"month": year.month, "start": year.start, "end": year.end}
            return _flat(SegmentView, parts, "dimension", **span, currency=view.currency)
        case Table.CHURN:
            return _flat(ChurnView, [((), each) for each in view.churn], currency=view.currency)
        case Table.FREEMIUM:
            return _flat(FreemiumView, [((), view.freemium)] if view.freemium else [])
        case Table.SURVEYS:
            windows: list[tuple[tuple[Any, ...], Answer]] = []
            for survey, told in view.surveys.items():
                windows.append(((survey.value, "level", told.change), told.level))
                windows.append(((survey.value, "previous", None), told.previous))
                windows += [((survey.value, "month", None), each) for each in told.months]
            return _flat(SurveyWindowView, windows, "survey", "window", "change")
        case Table.BENCHMARK:
            bands = [name for name in BenchmarkView.model_fields if name != "targets"]
            targets = view.benchmark.targets if view.benchmark else []
            of_all = tuple(getattr(view.benchmark, name) for name in bands) if targets else ()
            return _flat(TargetView, [(of_all, each) for each in targets], *bands)


def _flat(
    kind: type[Answer], rows: Sequence[tuple[tuple[Any, ...], Answer]], *before: str, **behind: Any
) -> tuple[Sequence[str], list[list[Any]]]:
    """Each row's own values ``before`` its fields, and what is the same in every row ``behind`` them."""
    names = sorted(kind.model_fields, key=lambda name: name not in {"month", "segment"})
    return (*before, *names, *behind), [
        [*first, *(getattr(row, name) for name in names), *behind.values()] for first, row in rows
    ]
