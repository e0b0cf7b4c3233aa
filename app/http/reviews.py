"""The portfolio over REST, for the week: how healthy the customers are, and what a review goes through."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from app.database.keys import Scope
from app.http.accounts import Band
from app.http.alert_outcomes import RuleOutcomes, rule_outcomes
from app.http.gate import needs
from app.http.instants import Day, Instant, day_or_none, instant_or_none, money
from app.http.interventions import OpenAlertView, alert_cells, due_at, open_alert
from app.http.pages import Answer, Form, Using
from app.http.problems import Code, responses
from app.http.retention_views import Dimension, day_text
from app.http.spreadsheet import CONTENT, Format, comes_whole, csv_answer
from app.overview import HealthOverview, Line, Operations, Tally, read_health_overview, read_operations

router = APIRouter(prefix="/v1/portfolio", tags=["portfolio"])
_DESCRIBED: dict[int | str, dict[str, Any]] = {200: {"content": dict(CONTENT)}}
_OUTCOME_DAYS = 90
_DAY_US = 86_400_000_000
_DAY_0 = date(1970, 1, 1)


class HealthTable(StrEnum):
    """Which part of the health view a CSV holds."""

    SEGMENTS = "segments"
    TREND = "trend"
    DISTRIBUTION = "distribution"
    COVERAGE = "coverage"
    DISAPPEARED = "disappeared"
    NOTICES = "notices"


class OperationsTable(StrEnum):
    """Which part of the week's review a CSV holds."""

    REVIEW = "review"
    NEWLY_RED = "newly_red"
    RATINGS_RED = "ratings_red"
    RATINGS_OVERDUE = "ratings_overdue"
    UTILIZATION = "utilization"
    LOGINS = "logins"
    OUTCOMES = "outcomes"


class HealthQuery(Form):
    """How to look at health."""

    days: int = Field(90, ge=1, le=400, description="How many days of trend, up to yesterday")
    segment: list[Dimension] = Field([], max_length=4, description="By which segments; by default all four")
    notices: int = Field(
        50, ge=0, le=1_000, description="How many notices of inputs that disappeared, at most; not with CSV"
    )
    format: Format = Format.JSON
    table: HealthTable = Field(HealthTable.SEGMENTS, description="Which part, of a CSV, which has all of it")


class OperationsQuery(Form):
    """How to look at the week."""

    limit: int = Field(50, ge=1, le=200, description="How many accounts of each list, at most; not with CSV")
    format: Format = Format.JSON
    table: OperationsTable = Field(
        OperationsTable.REVIEW, description="Which part, of a CSV, which has all of it"
    )


class BandsView(Answer):
    """How many accounts closed in each band."""

    accounts: int = Field(ge=0)
    red: int = Field(ge=0)
    yellow: int = Field(ge=0)
    green: int = Field(ge=0)
    unknown: int = Field(ge=0, description="Too little is known of them, or no day was closed yet")
    mean_score: float | None = Field(ge=0, le=100, description="Of those that have a score")


class SegmentBands(BandsView):
    """The same of the accounts of one segment; null where it was never told."""

    segment: str | None


class DayBands(BandsView):
    """The same as one day closed; who was not closed on that day is not counted."""

    day: Day


class ScoreStep(Answer):
    """How many accounts score from `over` up to, but not at, `under`; 100 is in the last step."""

    over: int
    under: int
    accounts: int = Field(ge=0)


class CoverageView(Answer):
    """How much of the score's weight was present at the last close."""

    mean: float | None = Field(ge=0, le=1)
    whole: int = Field(ge=0, description="Accounts with every input")
    enough: int = Field(ge=0, description="Accounts with 0.60 of the weight or more, and not all")
    too_little: int = Field(ge=0, description="Accounts with less: their band is unknown")
    never_closed: int = Field(ge=0)


class Notice(Answer):
    """An input that an account's health had once and no longer counts: a look at the data is due."""

    account_id: str
    name: str | None
    component: str = Field(examples=["support"])
    closes: int = Field(ge=0, description="For how many day closes it has had no value; 255 at most")


class HealthView(Answer):
    """How healthy the customers are, by the bands in which the last day closed; who churned is not counted."""

    as_of: Day
    churned: int = Field(ge=0, description="Accounts that are left out because they churned")
    bands: BandsView
    segments: dict[Dimension, list[SegmentBands]]
    distribution: list[ScoreStep]
    coverage: CoverageView
    disappeared: dict[str, int] = Field(description="Accounts by the input that disappeared")
    notices: list[Notice]
    trend: list[DayBands]


class AccountLine(Answer):
    """One account in a list of the week's review."""

    account_id: str
    name: str | None
    owner: str | None
    mrr: str | None
    currency: str | None
    renewal_date: Day | None
    days_to_renewal: int | None
    band: Band
    since: Day | None = Field(description="Since when it is red, or when it was rated")
    rating: str | None = Field(description="The newest rating, in the lists of ratings")
    due_at: Instant | None = Field(description="The earliest of these alerts, `info` aside")
    alerts: list[OpenAlertView] = Field(description="Those that the list is about, the worst first")


class AccountList(Answer):
    """How many accounts there are, and the first of them."""

    accounts: int = Field(ge=0)
    alerts: int = Field(ge=0)
    data: list[AccountLine]


class OperationsView(Answer):
    """What a week's review goes through. Each list is in the order in which to work on it."""

    as_of: Day
    week: str = Field(examples=["2026-W47"], description="The ISO week of `as_of`")
    monday: Day
    bands: BandsView
    newly_red: AccountList = Field(description="Red, and since a day of this week")
    ratings_red: AccountList = Field(description="Rated red by their CSM")
    ratings_overdue: AccountList = Field(
        description="Not rated for over 7 days, or since the last touchpoint"
    )
    utilization: AccountList = Field(description="Alerts of rules that read seat utilization, `info` aside")
    logins: AccountList = Field(description="Alerts of rules that read logins, `info` aside")
    review: AccountList = Field(
        description="Every account with an alert of a rule that reads a leading indicator:"
        " renewals in 91 to 180 days first, then the worst alert, days to renewal, MRR, account id"
    )
    outcomes: list[RuleOutcomes] = Field(
        description="What came of the alerts closed in the last 90 days, by rule"
    )


_LISTS = tuple(table.value for table in OperationsTable if table is not OperationsTable.OUTCOMES)


@router.get(
    "/health",
    response_model=HealthView,
    summary="Health of the portfolio",
    responses={**_DESCRIBED, **responses(Code.INVALID_REQUEST)},
    **needs(Scope.READ),
)
def portfolio_health(services: Using, query: Annotated[HealthQuery, Query()]) -> Any:
    """Accounts per band, by segment and by day, how scores are spread, and inputs that disappeared."""
    if query.format is Format.CSV:
        comes_whole(query, "notices")
    as_of = services.today() - 1
    dimensions = [each.value for each in query.segment or Dimension]
    found = read_health_overview(services.database, as_of=as_of, days=query.days, dimensions=dimensions)
    if query.format is Format.CSV:
        view = _health(found, as_of, len(found.notices))
        return csv_answer(
            f"health-{query.table.value}-{day_text(as_of)}.csv", *health_table(view, query.table)
        )
    return _health(found, as_of, query.notices)


@router.get(
    "/operations",
    response_model=OperationsView,
    summary="The week's review",
    responses={**_DESCRIBED, **responses(Code.INVALID_REQUEST)},
    **needs(Scope.READ),
)
def portfolio_operations(services: Using, query: Annotated[OperationsQuery, Query()]) -> Any:
    """Accounts per band, newly red, ratings, utilization and logins, and the tier-1 review."""
    whole = query.format is Format.CSV
    if whole:
        comes_whole(query, "limit")
    today = services.today()
    rules = services.configuration().rules
    found = read_operations(services.database, rules, as_of=today - 1, today=today)
    with services.database.read() as connection:
        outcomes = rule_outcomes(connection, max(0, services.now() - _OUTCOME_DAYS * _DAY_US))
    view = _operations(found, list(outcomes), today - 1, None if whole else query.limit)
    if whole:
        name = f"{query.table.value}-{view.week}.csv"
        return csv_answer(name, *operations_table(view, query.table))
    return view


def _health(found: HealthOverview, as_of: int, notices: int) -> HealthView:
    step = 100 // len(found.distribution)
    return HealthView(
        as_of=day_text(as_of),
        churned=found.churned,
        bands=BandsView(**_bands(found.whole)),
        segments={
            Dimension(name): [SegmentBands(segment=segment, **_bands(tally)) for segment, tally in parts]
            for name, parts in found.segments.items()
        },
        distribution=[
            ScoreStep(over=place * step, under=(place + 1) * step, accounts=accounts)
            for place, accounts in enumerate(found.distribution)
        ],
        coverage=CoverageView.model_validate(found.coverage),
        disappeared=dict(found.disappeared),
        notices=[
            Notice(account_id=each.account_id, name=each.name, component=each.component, closes=each.closes)
            for each in found.notices[:notices]
        ],
        trend=[DayBands(day=day_text(day), **_bands(tally)) for day, tally in found.trend],
    )


def _bands(tally: Tally) -> dict[str, Any]:
    return {**tally.bands, "accounts": tally.accounts, "mean_score": tally.mean_score}


def _operations(
    found: Operations, outcomes: list[RuleOutcomes], as_of: int, limit: int | None
) -> OperationsView:
    week = (_DAY_0 + timedelta(days=as_of)).isocalendar()
    return OperationsView(
        as_of=day_text(as_of),
        week=f"{week.year}-W{week.week:02}",
        monday=day_text(found.monday),
        bands=BandsView(**_bands(found.whole)),
        **{name: _list(found.lists[name], limit) for name in _LISTS},
        outcomes=outcomes,
    )


def _list(lines: Sequence[Line], limit: int | None) -> AccountList:
    return AccountList(
        accounts=len(lines),
        alerts=sum(len(each.alerts) for each in lines),
        data=[_line(each) for each in lines[:limit]],
    )


def _line(each: Line) -> AccountLine:
    customer = each.customer
    return AccountLine(
        account_id=customer.account_id,
        name=customer.name,
        owner=customer.owner,
        mrr=money(customer.mrr_cents),
        currency=customer.currency,
        renewal_date=day_or_none(customer.renewal_day),
        days_to_renewal=each.days_to_renewal,
        band=Band(each.band),
        since=day_or_none(each.since),
        rating=each.rating,
        due_at=instant_or_none(due_at(each.alerts)),
        alerts=[open_alert(alert) for alert in each.alerts],
    )


def health_table(view: HealthView, table: HealthTable) -> tuple[Sequence[str], list[list[Any]]]:
    """One part of the health view as columns and rows; of segments the whole portfolio first."""
    counts = tuple(BandsView.model_fields)
    match table:
        case HealthTable.SEGMENTS:
            parts: list[tuple[str, str | None, BandsView]] = [("", None, view.bands)]
            parts += [
                (name.value, each.segment, each) for name, found in view.segments.items() for each in found
            ]
            return ("dimension", "segment", *counts), [
                [name, segment, *_cells(each, counts)] for name, segment, each in parts
            ]
        case HealthTable.TREND:
            return ("day", *counts), [[each.day, *_cells(each, counts)] for each in view.trend]
        case HealthTable.DISTRIBUTION:
            columns = tuple(ScoreStep.model_fields)
            return columns, [_cells(each, columns) for each in view.distribution]
        case HealthTable.COVERAGE:
            columns = tuple(CoverageView.model_fields)
            return ("churned", *columns), [[view.churned, *_cells(view.coverage, columns)]]
        case HealthTable.DISAPPEARED:
            return ("component", "accounts"), [list(each) for each in view.disappeared.items()]
        case HealthTable.NOTICES:
            columns = tuple(Notice.model_fields)
            return columns, [_cells(each, columns) for each in view.notices]


def operations_table(view: OperationsView, table: OperationsTable) -> tuple[Sequence[str], list[list[Any]]]:
    """One part of the week's review as columns and rows; several alerts in one cell are parted by blanks."""
    if table is OperationsTable.OUTCOMES:
        columns = tuple(RuleOutcomes.model_fields)
        return columns, [_cells(each, columns) for each in view.outcomes]
    columns = tuple(name for name in AccountLine.model_fields if name != "alerts")
    lines: AccountList = getattr(view, table.value)
    rows = [
        [
            *_cells(each, columns),
            each.alerts[0].severity.value if each.alerts else None,
            *alert_cells(each.alerts),
        ]
        for each in lines.data
    ]
    return (*columns, "severity", "rules", "severities", "alert_ids", "due_dates"), rows


def _cells(view: Answer, columns: Sequence[str]) -> list[Any]:
    return [getattr(view, name) for name in columns]
