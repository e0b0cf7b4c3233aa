"""An account's health over REST, day by day, as JSON or CSV."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from alerts.health.history import HealthDay
from app.database import accounts
from app.database.health import health_days
from app.database.keys import Scope
from app.http.accounts import Band, unknown_account
from app.http.gate import needs
from app.http.instants import Day, day_or_none
from app.http.pages import AccountId, Answer, Form, Using
from app.http.problems import Code, refused, responses
from app.http.spreadsheet import CONTENT, Format, csv_answer

router = APIRouter(prefix="/v1/accounts", tags=["accounts"])

_FIRST_DAY = date(1970, 1, 1)
_SHOWN_DAYS = 90
_MOST_DAYS = 1_000
_DESCRIBED: dict[int | str, dict[str, Any]] = {200: {"content": dict(CONTENT)}}


class HealthQuery(Form):
    """Which days."""

    since: date | None = Field(
        None, description=f"The first day; by default {_SHOWN_DAYS} days before `until`"
    )
    until: date | None = Field(None, description="The last day; by default yesterday")
    format: Format = Format.JSON


class ClosedDay(Answer):
    """What one day's close said."""

    day: Day
    score: float | None = Field(
        ge=0, le=100, description="Null where too little was known, or not all was heard"
    )
    band: Band
    coverage: float = Field(ge=0, le=1, description="How much of the score's weight was present")


class HealthHistory(Answer):
    """An account's health day by day; days that were not closed are left out."""

    account_id: str
    since: Day
    until: Day
    days: list[ClosedDay]


@router.get(
    "/{account_id:path}/health",
    response_model=HealthHistory,
    summary="Health of an account, day by day",
    responses={**_DESCRIBED, **responses(Code.ACCOUNT_NOT_FOUND, Code.INVALID_REQUEST)},
    **needs(Scope.READ),
)
async def account_health(
    services: Using, account_id: AccountId, query: Annotated[HealthQuery, Query()]
) -> Any:
    """The score and the band in which each day closed."""
    last = services.today() - 1 if query.until is None else (query.until - _FIRST_DAY).days
    first = last - _SHOWN_DAYS + 1 if query.since is None else (query.since - _FIRST_DAY).days
    if not 0 <= last - first < _MOST_DAYS or first < 0:
        raise refused("query.since", f"from 1970 on, not after `until`, and at most {_MOST_DAYS} days in all")
    with services.database.read() as connection:
        entry = accounts.find(connection, account_id)
        if entry is None:
            raise unknown_account(account_id)
        days = [_closed(each) for each in health_days(connection, entry.no, first, last)]
    if query.format is Format.CSV:
        columns = tuple(ClosedDay.model_fields)
        rows = [[account_id, *(getattr(each, name) for name in columns)] for each in days]
        return csv_answer(f"health-{_day(last)}.csv", ("account_id", *columns), rows)
    return HealthHistory(account_id=account_id, since=_day(first), until=_day(last), days=days)


def _closed(each: HealthDay) -> ClosedDay:
    return ClosedDay(day=_day(each.day), score=each.score, band=Band(each.band), coverage=each.coverage)


def _day(day: int) -> str:
    shown = day_or_none(day)
    assert shown is not None
    return shown
