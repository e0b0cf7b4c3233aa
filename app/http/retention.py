"""The portfolio over REST, for leadership: what became of the customers, by month, by segment and by account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from pydantic import Field

from alerts.outcomes.benchmarks import Stage
from alerts.outcomes.months import Month, last_complete
from alerts.outcomes.outcomes import Outcomes
from app.database.keys import Scope
from app.http.gate import needs
from app.http.instants import money
from app.http.pages import Form, Paging, Using, part
from app.http.problems import Code, refused, responses
from app.http.retention_views import (
    Dimension,
    MonthText,
    RetentionView,
    Table,
    WaterfallPage,
    WaterfallRow,
    day_text,
    table_of,
    view_of,
)
from app.http.services import Services
from app.http.spreadsheet import CONTENT, Format, comes_whole, csv_answer
from app.retention import Question, read_retention, read_waterfall

router = APIRouter(prefix="/v1/portfolio", tags=["portfolio"])
_DESCRIBED: dict[int | str, dict[str, Any]] = {200: {"content": dict(CONTENT)}}


class _Asked(Form):
    at: MonthText | None = Field(
        None,
        description="The last month; by default the last complete one. The running one ends with yesterday",
    )
    currency: str | None = Field(
        None,
        pattern="^[A-Z]{3}$",
        description="The reporting currency; by default the configuration's, else that of most accounts",
    )
    format: Format = Format.JSON


class RetentionQuery(_Asked):
    """Which months, and how to look at them."""

    months: int = Field(
        12, ge=1, le=60, description="How many months, each with the twelve months that end with it"
    )
    segment: list[Dimension] = Field([], max_length=4, description="By which segments; by default all four")
    stage: Stage | None = Field(None, description="Compare with companies of this stage")
    table: Table = Field(Table.MONTHS, description="Which part, of a CSV; `benchmark` needs a stage")


class WaterfallQuery(Paging, _Asked):
    """Which twelve months."""


@router.get(
    "/retention",
    response_model=RetentionView,
    summary="Retention of revenue and of customers",
    responses={**_DESCRIBED, **responses(Code.INVALID_REQUEST)},
    **needs(Scope.READ),
)
def retention(services: Using, query: Annotated[RetentionQuery, Query()]) -> Any:
    """Over the whole portfolio, the trailing twelve months at the end of each month."""
    if query.format is Format.CSV and query.table is Table.BENCHMARK and query.stage is None:
        raise refused("query.stage", "say with companies of which stage to compare")
    question = _question(services, query, query.months)
    found = read_retention(services.database, question)
    view = view_of(found, question.as_of, query.segment or Dimension, query.stage)
    if query.format is Format.CSV:
        return csv_answer(f"retention-{query.table.value}-{view.month}.csv", *table_of(view, query.table))
    return view


@router.get(
    "/retention/accounts",
    response_model=WaterfallPage,
    summary="Twelve months of every account",
    responses={**_DESCRIBED, **responses(Code.INVALID_CURSOR, Code.INVALID_REQUEST)},
    **needs(Scope.READ),
)
def waterfall(services: Using, query: Annotated[WaterfallQuery, Query()]) -> Any:
    """What each brought then and brings now, in the order of the ids; as CSV all of them at once."""
    if query.format is Format.CSV:
        comes_whole(query, "limit", "cursor")
    outcomes, found = read_waterfall(services.database, _question(services, query, 1))
    rows = _rows(outcomes, found.account_ids, found.names)
    (year,) = outcomes.months
    span: dict[str, Any] = {
        "month": str(year.span.month),
        "start": day_text(year.span.start),
        "end": day_text(year.span.end),
        "status": year.status.word,
        "currency": outcomes.books.currency,
    }
    fields = tuple(WaterfallRow.model_fields)
    if query.format is Format.CSV:
        told = ((*row, *span.values()) for row in rows)
        return csv_answer(f"waterfall-{span['month']}.csv", (*fields, *span), told)
    shown, cursor = part(rows, query, "waterfall", lambda row: row[0])
    return WaterfallPage(
        **span,
        data=[WaterfallRow(**dict(zip(fields, row, strict=True))) for row in shown],
        next_cursor=cursor,
    )


def _question(services: Services, query: _Asked, months: int) -> Question:
    """Raises Problem for a month that is none, or has no complete day yet."""
    as_of = services.today() - 1
    try:
        at = last_complete(as_of) if query.at is None else Month.parse(query.at)
    except ValueError as error:
        raise refused("query.at", str(error)) from None
    if at.first_day > as_of:
        raise refused("query.at", f"{at} has no complete day yet")
    currency = query.currency or services.configuration().model.currency
    return Question(at=at, months=months, currency=currency, as_of=as_of)


def _rows(
    outcomes: Outcomes, account_ids: Sequence[str], names: Sequence[str | None]
) -> list[tuple[Any, ...]]:
    """In the order of WaterfallRow's fields, of accounts with MRR at either end."""
    flow = outcomes.waterfall
    places = np.flatnonzero((flow.start > 0) | (flow.end > 0)).tolist()
    segments = [outcomes.books.segments(dimension.value, outcomes.span.start) for dimension in Dimension]
    amounts = (flow.start, flow.expansion, flow.contraction, flow.churn, flow.new, flow.end)
    columns = (
        [account_ids[place] for place in places],
        [names[place] for place in places],
        *([called[code] for code in codes[places].tolist()] for codes, called in segments),
        *(list(map(money, cents[places].tolist())) for cents in amounts),
    )
    return list(zip(*columns, strict=True))
