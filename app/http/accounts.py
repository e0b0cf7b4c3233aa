"""Accounts over REST: the directory, one account, its risk, its metrics, what happened to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from pydantic_core import to_json

from alerts.risk import RiskLevel
from app.database import accounts, alert_queries
from app.database.accounts import Entry, Sort
from app.database.keys import Scope
from app.http.gate import needs
from app.http.instants import Day, Instant, day_or_none, instant, instant_or_none, money
from app.http.pages import AccountId, Answer, Page, Paging, Using, Word, cut
from app.http.problems import Code, Problem, responses

router = APIRouter(prefix="/v1/accounts", tags=["accounts"])
_LIST_ERRORS = responses(Code.INVALID_CURSOR, Code.INVALID_REQUEST)
_ONE_ERRORS = responses(Code.ACCOUNT_NOT_FOUND, Code.INVALID_REQUEST)


class Band(StrEnum):
    """The band of the health score; ``unknown`` while too little feeds it."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"
    UNKNOWN = "unknown"


class AccountQuery(Paging):
    """Which accounts, in which order."""

    owner: Word | None = Field(None, description="Name or e-mail address of the owner, exactly")
    risk_level: list[RiskLevel] = Field([], max_length=10, description="Any of these levels")
    band: list[Band] = Field(
        [],
        max_length=10,
        description="Any of these bands, in which the last day closed; `unknown` is also who was never closed",
    )
    renewing_within: int | None = Field(
        None, ge=0, le=3_650, description="Renewal in at most so many days from today"
    )
    q: Word | None = Field(None, description="Part of the id or the name, in any case")
    sort: Sort = Field(
        Sort.ACCOUNT_ID, description="`-` turns the order round; `-risk_level` puts the worst first"
    )


class AccountView(Answer):
    """One account as the directory knows it."""

    account_id: str
    name: str | None
    owner: str | None
    owner_email: str | None
    size: str | None
    channel: str | None
    tier: str | None
    use_case: str | None
    touch: str | None
    lifecycle: str | None
    usage_cadence: str | None
    country: str | None
    term_months: int | None
    renewal_date: Day | None
    mrr: str | None = Field(examples=["1200.00"], description="A month's recurring revenue, decimal as text")
    currency: str | None
    first_activity_on: Day | None
    last_activity_on: Day | None
    risk_level: RiskLevel
    band: Band = Field(description="The health band in which the last day closed")
    open_alerts: int = Field(ge=0, description="How many alerts fire")
    evaluated_at: Instant | None


# What an answer spells otherwise than the directory keeps it: under which name there, and how.
_SPELT: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "renewal_date": ("renewal_day", day_or_none),
    "mrr": ("mrr_cents", money),
    "first_activity_on": ("first_day", day_or_none),
    "last_activity_on": ("last_day", day_or_none),
    "evaluated_at": ("evaluated_at", instant_or_none),
}
_AS_THEY_ARE = tuple(name for name in AccountView.model_fields if name not in _SPELT)


class AccountPage(Page):
    """A page of the directory."""

    data: list[AccountView]


class HealthComponent(Answer):
    """One input of the health score."""

    value: float | None = Field(ge=0, le=100, description="As it counts now; null where it does not")
    status: str = Field(
        examples=["ok"],
        description="The status of its metric; `held`: it has no value now, and the last one counts on;"
        " `disappeared`: it had one once, and no longer counts",
    )
    weight: float = Field(ge=0, le=1, description="Its share of all weights")
    kept_closes: int = Field(ge=0, description="For how many day closes it has had no value of its own")


class Health(Answer):
    """The health score of now, null while too little feeds it, and the band in which the last day closed."""

    score: float | None = Field(ge=0, le=100)
    band: Band
    coverage: float = Field(ge=0, le=1, description="How much of the weight is present")
    components: dict[str, HealthComponent]


class Signal(Answer):
    """One leading indicator, and whether a rule's condition on it holds."""

    metric: str
    value: float | int | bool | str | None
    status: str
    rules: list[str]
    breached: bool
    threshold: float | int | bool | str | None
    gap: float | int | str | None
    clears: dict[str, Any] | None = Field(
        default=None, description="The smallest change after which no rule breaches: text, by, unit"
    )
    test: dict[str, Any] | None = Field(
        default=None, description="Of a rule that asks for significance: p_value, level, counts"
    )
    evidence: dict[str, Any]


class Risk(Answer):
    """How the account stands and why."""

    account_id: str
    as_of: str = Field(description="The last complete day")
    evaluated_at: str | None
    risk_level: RiskLevel
    health: Health
    signals: list[Signal]
    open_alerts: list[dict[str, Any]]
    renewal_date: Day | None
    mrr: str | None


class MetricView(Answer):
    """One metric's value, null unless its status is ``ok``."""

    value: float | int | bool | str | None
    status: str
    evidence: dict[str, Any]


class Metrics(Answer):
    """Every metric of an account under its name."""

    account_id: str
    as_of: str
    metrics: dict[str, MetricView]


class TimelineEntry(Answer):
    """One thing that happened."""

    at: Instant
    kind: str = Field(examples=["alert.firing"])
    alert_id: str
    rule: str
    label: str
    severity: str
    title: str
    reason: str
    actor: str
    baseline: bool


class TimelinePage(Page):
    """A page of what happened, newest first."""

    data: list[TimelineEntry]


@router.get(
    "", response_model=AccountPage, summary="List accounts", responses=_LIST_ERRORS, **needs(Scope.READ)
)
async def list_accounts(services: Using, query: Annotated[AccountQuery, Query()]) -> AccountPage:
    """The directory, filtered and sorted."""
    kind = f"accounts {query.sort}"
    value_type = str if query.sort.field in {"account_id", "name"} else int
    today = services.today()
    days = None if query.renewing_within is None else (today, today + query.renewing_within)
    wanted = accounts.Filter(
        owner=query.owner,
        risk_levels=[level.value for level in query.risk_level],
        bands=[band.value for band in query.band],
        renewal_days=days,
        text=query.q,
    )
    after: Any = query.after(kind, value_type, str)
    with services.database.read() as connection:
        rows = accounts.page(connection, wanted, sort=query.sort, after=after, limit=query.limit + 1)
    shown, cursor = cut(rows, query.limit, kind, lambda row: (row.sort_value, row.account_id))
    return AccountPage(data=[_view(row) for row in shown], next_cursor=cursor)


# An account id may hold a slash, so ids match as paths: what follows an id comes before the bare id.
@router.get(
    "/{account_id:path}/risk",
    response_model=Risk,
    summary="Why is it at risk?",
    responses=_ONE_ERRORS,
    **needs(Scope.READ),
)
async def account_risk(request: Request, account_id: AccountId) -> Response:
    """Risk level, every signal with its evidence, and the open alerts."""
    found = await request.app.state.risks.get(account_id)
    if found is None:
        raise unknown_account(account_id)
    # Our own and as described: checking it and copying it into models takes longer than to write it down.
    return Response(to_json(found), media_type="application/json")


@router.get(
    "/{account_id:path}/metrics",
    response_model=Metrics,
    summary="Every metric of an account",
    responses=_ONE_ERRORS,
    **needs(Scope.READ),
)
async def account_metrics(services: Using, account_id: AccountId) -> Metrics:
    """Each with its status and the counts it was made of."""
    found = services.risk.metrics(account_id)
    if found is None:
        raise unknown_account(account_id)
    return Metrics.model_validate(found)


@router.get(
    "/{account_id:path}/timeline",
    response_model=TimelinePage,
    summary="What happened to an account",
    responses=responses(Code.ACCOUNT_NOT_FOUND, Code.INVALID_CURSOR, Code.INVALID_REQUEST),
    **needs(Scope.READ),
)
async def account_timeline(
    services: Using, account_id: AccountId, query: Annotated[Paging, Query()]
) -> TimelinePage:
    """Its alerts as they moved, newest first."""
    after: Any = query.after("timeline", int, str, int)
    with services.database.read() as connection:
        entry = accounts.find(connection, account_id)
        if entry is None:
            raise unknown_account(account_id)
        rows = alert_queries.timeline(connection, entry.no, after=after, limit=query.limit + 1)
    shown, cursor = cut(rows, query.limit, "timeline", lambda row: (row["at"], row["alert_id"], row["seq"]))
    return TimelinePage(data=[_event(row) for row in shown], next_cursor=cursor)


@router.get(
    "/{account_id:path}",
    response_model=AccountView,
    summary="One account",
    responses=_ONE_ERRORS,
    **needs(Scope.READ),
)
async def get_account(services: Using, account_id: AccountId) -> AccountView:
    """What the directory knows of it."""
    with services.database.read() as connection:
        entry = accounts.find(connection, account_id)
    if entry is None:
        raise unknown_account(account_id)
    return _view(entry)


def unknown_account(account_id: str) -> Problem:
    """What a request for an account that nobody has heard of gets."""
    return Problem(Code.ACCOUNT_NOT_FOUND, f"there is no account {account_id!r}")


def _view(entry: Entry) -> AccountView:
    told = {name: getattr(entry, name) for name in _AS_THEY_ARE}
    told |= {name: spelt(getattr(entry, kept)) for name, (kept, spelt) in _SPELT.items()}
    return AccountView(**told)


def _event(row: alert_queries.Row) -> TimelineEntry:
    return TimelineEntry(
        at=instant(row["at"]),
        kind=f"alert.{row['kind']}",
        **{
            name: row[name]
            for name in ("alert_id", "rule", "label", "severity", "title", "reason", "actor", "baseline")
        },
    )
