"""The intervention queue over REST: who needs somebody now and why, as JSON and CSV, and how one is closed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection

from alerts.alert import Outcome, Severity
from alerts.queue import RENEWING_DAYS, Cause, Intervention, earliest, listed, queue
from app.database import accounts, alert_queries, portfolio
from app.database.keys import Scope
from app.database.portfolio import OpenAlert, SaidOutcome
from app.http.accounts import Band, unknown_account
from app.http.alerts import Note
from app.http.gate import Asking, needs
from app.http.instants import Day, Instant, day_or_none, instant, instant_or_none, money
from app.http.once import OnceEach
from app.http.pages import AccountId, Answer, Page, Paging, Using, Word, part
from app.http.problems import IDEMPOTENT, WITH_A_BODY, Code, Problem, responses
from app.http.services import Services
from app.http.spreadsheet import CONTENT, Format, comes_whole, csv_answer

router = APIRouter(prefix="/v1/interventions", tags=["interventions"])
_DESCRIBED: dict[int | str, dict[str, Any]] = {200: {"content": dict(CONTENT)}}
_AT_ONCE = 5_000  # of a queue that is written out whole


class QueueQuery(Paging):
    """Whose customers."""

    owner: Word | None = Field(None, description="Name or e-mail address of the owner, exactly")
    format: Format = Field(Format.JSON, description="As CSV the whole queue comes at once")


class OpenAlertView(Answer):
    """An alert that fires."""

    id: str
    rule: str
    severity: Severity
    title: str
    fired_at: Instant
    due_at: Instant | None
    acknowledged_by: str | None


class OutcomeView(Answer):
    """What somebody said came of it."""

    outcome: Outcome
    at: Instant
    by: str
    note: str | None


class InterventionView(Answer):
    """One customer who needs somebody, with all the reasons."""

    account_id: str
    name: str | None
    owner: str | None
    owner_email: str | None
    mrr: str | None = Field(examples=["1200.00"], description="A month's recurring revenue, decimal as text")
    currency: str | None
    renewal_date: Day | None
    days_to_renewal: int | None = Field(
        description="Null where it is not known or past, or the term is under six months"
    )
    band: Band = Field(description="In which the last day closed")
    days_in_band: int = Field(ge=0)
    score: float | None = Field(ge=0, le=100, description="At that close")
    reasons: list[Cause]
    due_at: Instant | None = Field(description="The earliest of its alerts, `info` aside")
    open_alerts: list[OpenAlertView] = Field(description="Those that fire, the worst first")
    last_outcome: OutcomeView | None = Field(description="What a person last said came of one of its alerts")


class InterventionPage(Page):
    """A page of the queue, in its order."""

    as_of: Day
    data: list[InterventionView]


class Close(Note):
    """What came of it."""

    outcome: Outcome


class ClosedView(Answer):
    """What was closed."""

    account_id: str
    outcome: Outcome
    alerts: list[str] = Field(description="The ids of the alerts that fired, and are resolved now")
    closed_before: str | None = Field(
        description="Where none fired: the id of the newest closed alert, which has the outcome now"
    )


@router.get(
    "",
    response_model=InterventionPage,
    summary="The intervention queue",
    responses={**_DESCRIBED, **responses(Code.INVALID_CURSOR, Code.INVALID_REQUEST)},
    **needs(Scope.READ),
)
def interventions(services: Using, query: Annotated[QueueQuery, Query()]) -> Any:
    """Red; yellow for 28 days; or renewing within 90 days and not green.

    Renewing within 90 days first, then red before yellow, then days to renewal, MRR (largest first), account id.
    """
    if query.format is Format.CSV:
        comes_whole(query, "limit", "cursor")
    as_of = services.today() - 1
    with services.database.read() as connection:
        found = _queue(connection, services, query.owner)
        if query.format is Format.CSV:
            starts = range(0, len(found), _AT_ONCE)
            views = [each for at in starts for each in _views(connection, found[at : at + _AT_ONCE])]
            return csv_answer(f"interventions-{day_or_none(as_of)}.csv", CSV_COLUMNS, map(csv_row, views))
        shown, cursor = part(found, query, "interventions", lambda each: each.customer.account_id)
        data = _views(connection, shown)
    return InterventionPage(as_of=day_or_none(as_of) or "", data=data, next_cursor=cursor)


@router.post(
    "/{account_id:path}/resolve",
    response_model=ClosedView,
    summary="Close an intervention",
    responses=responses(
        *WITH_A_BODY, *IDEMPOTENT, Code.ACCOUNT_NOT_FOUND, Code.NOTHING_TO_CLOSE, Code.INVALID_REQUEST
    ),
    **needs(Scope.WRITE),
)
def close_intervention(
    services: Using, caller: Asking, once: OnceEach, account_id: AccountId, given: Close
) -> Any:
    """Resolves all alerts of the account that fire, `info` aside, with one outcome.

    Where none fires the newest alert that was closed before gets the outcome. The account stays in the queue for as
    long as its reasons hold.
    """

    def work(connection: Connection) -> ClosedView:
        entry = accounts.find(connection, account_id)
        if entry is None:
            raise unknown_account(account_id)
        desk, by = services.desk(connection), given.by or caller.name

        def close(alert_id: str, seq: int | None = None) -> str:
            moved = desk.resolve(alert_id, by, services.now(), given.outcome, given.note)
            if given.note and moved.seq != seq:  # said twice it is written once
                alert_queries.annotate(connection, moved.id, moved.seq, {"note": given.note})
            return moved.id

        firing = portfolio.firing(connection, nos=[entry.no])
        alerts = [close(each.id) for each in firing if each.severity != Severity.INFO]
        before = None
        if not alerts:
            newest = portfolio.newest_closed(connection, entry.no)
            if newest is None:
                raise _nothing_to_close(account_id)
            before = close(*newest)
        return ClosedView(account_id=account_id, outcome=given.outcome, alerts=alerts, closed_before=before)

    return once.within(work)


def _nothing_to_close(account_id: str) -> Problem:
    return Problem(
        Code.NOTHING_TO_CLOSE,
        f"no alert of {account_id!r} fires, and none was closed before: an outcome is kept with an alert; "
        "say it as a rating (bellwether rate) or as a touchpoint",
    )


def _queue(connection: Connection, services: Services, owner: str | None) -> list[Intervention]:
    """Only those are looked up who are in the queue, or would be with a renewal near."""
    today = services.today()
    nos, records = portfolio.closed_health(connection)
    surely, if_renewing = listed(records, today - 1)
    known = portfolio.customers(connection, nos[surely].tolist(), owner=owner)
    near = (today, today + RENEWING_DAYS)
    known += portfolio.customers(connection, nos[if_renewing].tolist(), owner=owner, renewing=near)
    places = nos.searchsorted([each.account_no for each in known])
    return queue(known, records[places], as_of=today - 1, today=today)


def _views(connection: Connection, found: Sequence[Intervention]) -> list[InterventionView]:
    nos = sorted(each.customer.account_no for each in found)
    alerts: dict[int, list[OpenAlert]] = {}
    for alert in portfolio.firing(connection, nos=nos):
        alerts.setdefault(alert.account_no, []).append(alert)
    said = portfolio.last_said(connection, nos)
    return [_view(each, alerts, said) for each in found]


def _view(
    each: Intervention, alerts: Mapping[int, Sequence[OpenAlert]], said: Mapping[int, SaidOutcome]
) -> InterventionView:
    customer = each.customer
    mine, outcome = alerts.get(customer.account_no, ()), said.get(customer.account_no)
    return InterventionView(
        account_id=customer.account_id,
        name=customer.name,
        owner=customer.owner,
        owner_email=customer.owner_email,
        mrr=money(customer.mrr_cents),
        currency=customer.currency,
        renewal_date=day_or_none(customer.renewal_day),
        days_to_renewal=each.days_to_renewal,
        band=Band(each.band_word),
        days_in_band=each.days_in_band,
        score=None if each.score is None else each.score / 100,
        reasons=list(each.causes),
        due_at=instant_or_none(due_at(mine)),
        open_alerts=[open_alert(alert) for alert in mine],
        last_outcome=None
        if outcome is None
        else OutcomeView(
            outcome=Outcome(outcome.outcome), at=instant(outcome.at), by=outcome.by, note=outcome.note
        ),
    )


def due_at(alerts: Iterable[OpenAlert]) -> int | None:
    """When the first of them is due. Nobody waits for what is information, and closing leaves it open."""
    return earliest(each.due_at for each in alerts if each.severity != Severity.INFO)


def open_alert(alert: OpenAlert) -> OpenAlertView:
    """As much of an alert as a list of accounts shows."""
    return OpenAlertView(
        id=alert.id,
        rule=alert.rule,
        severity=Severity(alert.severity),
        title=alert.title,
        fired_at=instant(alert.fired_at),
        due_at=instant_or_none(alert.due_at),
        acknowledged_by=alert.acknowledged_by,
    )


CSV_COLUMNS = (
    "account_id", "name", "owner", "owner_email", "mrr", "currency", "renewal_date", "days_to_renewal", "band",
    "days_in_band", "score", "reasons", "due_at", "open_alerts", "severities", "alert_ids", "due_dates",
    "last_outcome", "last_outcome_at", "last_outcome_by", "last_outcome_note",
)  # fmt: skip


def csv_row(each: InterventionView) -> list[Any]:
    """One line of the CSV; several reasons in one cell are parted by blanks, and so are several alerts."""
    said = each.last_outcome
    return [
        *(getattr(each, name) for name in CSV_COLUMNS[:8]),
        each.band.value,
        each.days_in_band,
        each.score,
        " ".join(each.reasons),
        each.due_at,
        *alert_cells(each.open_alerts),
        *((said.outcome.value, said.at, said.by, said.note) if said else (None, None, None, None)),
    ]


def alert_cells(alerts: Sequence[OpenAlertView]) -> list[str]:
    """Rules, severities, ids and due dates (`none` where there is none), each in the order of the alerts."""
    told = [(each.rule, each.severity.value, each.id, each.due_at or "none") for each in alerts]
    return [" ".join(cells) for cells in zip(*told, strict=True)] or [""] * 4
