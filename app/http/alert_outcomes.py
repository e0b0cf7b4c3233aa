"""What came of alerts, over REST: by rule, how many were closed with which outcome, as JSON and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection

from alerts.alert import Outcome
from app.database import alert_queries
from app.database.keys import Scope
from app.http.gate import needs
from app.http.instants import Instant, instant
from app.http.pages import Answer, Form, Using
from app.http.problems import Code, responses
from app.http.spreadsheet import CONTENT, Format, csv_answer

router = APIRouter()
_DAY_US = 86_400_000_000
_WORTH = (Outcome.SAVED, Outcome.CHURNED)


class RuleOutcomes(Answer):
    """What came of one rule's alerts that fired and were closed."""

    rule: str
    closed: int = Field(ge=0)
    saved: int = Field(ge=0)
    churned: int = Field(ge=0)
    false_alarm: int = Field(ge=0)
    no_action: int = Field(ge=0)
    untold: int = Field(ge=0, description="Closed without a word on what came of them")
    worth: float | None = Field(
        ge=0, le=1, description="`saved` and `churned` of all that have an outcome; null where none has"
    )


class AlertOutcomes(Answer):
    """What came of alerts, by rule, in the order of their names."""

    since: Instant
    data: list[RuleOutcomes]


class OutcomesQuery(Form):
    """Of which alerts."""

    days: int = Field(90, ge=1, le=3_650, description="Of those closed in so many days up to now")
    format: Format = Format.JSON


@router.get(
    "/outcomes",
    response_model=AlertOutcomes,
    summary="What came of alerts, by rule",
    responses={200: {"content": dict(CONTENT)}, **responses(Code.INVALID_REQUEST)},
    **needs(Scope.READ),
)
async def alert_outcomes(services: Using, query: Annotated[OutcomesQuery, Query()]) -> Any:
    """How many alerts of each rule were closed with which outcome, and what share was worth having."""
    since = max(0, services.now() - query.days * _DAY_US)
    with services.database.read() as connection:
        found = rule_outcomes(connection, since)
    if query.format is Format.CSV:
        columns = tuple(RuleOutcomes.model_fields)
        rows = [[getattr(each, name) for name in columns] for each in found]
        return csv_answer("alert-outcomes.csv", columns, rows)
    return AlertOutcomes(since=instant(since), data=list(found))


def rule_outcomes(connection: Connection, since: int) -> Sequence[RuleOutcomes]:
    """What came of the alerts that fired and were closed since that instant, epoch microseconds."""
    by_rule: dict[str, dict[str | None, int]] = {}
    for rule, outcome, count in alert_queries.outcome_counts(connection, since):
        by_rule.setdefault(rule, {})[outcome] = count
    return [_of_rule(rule, counts) for rule, counts in sorted(by_rule.items())]


def _of_rule(rule: str, counts: dict[str | None, int]) -> RuleOutcomes:
    told = {outcome: counts.get(outcome.value, 0) for outcome in Outcome}
    total = sum(told.values())
    return RuleOutcomes(
        rule=rule,
        closed=sum(counts.values()),
        saved=told[Outcome.SAVED],
        churned=told[Outcome.CHURNED],
        false_alarm=told[Outcome.FALSE_ALARM],
        no_action=told[Outcome.NO_ACTION],
        untold=counts.get(None, 0),
        worth=sum(told[outcome] for outcome in _WORTH) / total if total else None,
    )
