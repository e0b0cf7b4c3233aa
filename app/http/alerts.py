"""Alerts over REST: lists, one with all that is known of it, and what people do with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, Field, StrictBool, StringConstraints, model_validator
from sqlalchemy import Connection

from alerts.alert import Alert, AlertStatus, Outcome, Severity
from alerts.desk import AlertOpen
from app.database import alert_queries
from app.database.keys import Caller, Scope
from app.http import alert_outcomes
from app.http.deliveries import DeliveryView, delivery_view
from app.http.gate import Asking, needs
from app.http.instants import Instant, instant, instant_or_none, microseconds
from app.http.once import Once, OnceEach
from app.http.pages import Answer, Form, Page, Paging, Using, Word, cut
from app.http.problems import IDEMPOTENT, WITH_A_BODY, Code, Problem, refused, responses
from app.http.services import Desk, Services

router = APIRouter(prefix="/v1/alerts", tags=["alerts"])
AlertId = Annotated[
    str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$", examples=["al_0a1b2c"])
]
Text = Annotated[str, StringConstraints(max_length=4_000, pattern=r"^[^\x00]*$")]
Remark = Annotated[str, StringConstraints(min_length=1, max_length=2_000, pattern=r"^[^\x00]+$")]
_SNOOZE = timedelta(days=7)
_LONGEST_SNOOZE = timedelta(days=366)
_WRITE_ERRORS = responses(
    *WITH_A_BODY, *IDEMPOTENT, Code.ALERT_NOT_FOUND, Code.ALERT_NOT_OPEN, Code.INVALID_REQUEST
)
_REMARK_ERRORS = responses(*WITH_A_BODY, *IDEMPOTENT, Code.ALERT_NOT_FOUND, Code.INVALID_REQUEST)


class Standing(StrEnum):
    """``open`` is pending or firing."""

    OPEN = "open"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class AlertQuery(Paging):
    """Which alerts; the newest episode comes first."""

    status: list[Standing] = Field([], max_length=10)
    account_id: (
        Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00]+$")] | None
    ) = None
    rule: list[Word] = Field([], max_length=50)
    severity: list[Severity] = Field([], max_length=10)
    owner: Word | None = Field(None, description="Name or e-mail address of the account's owner, exactly")
    outcome: list[Outcome] = Field([], max_length=10, description="What came of it")


class AlertView(Answer):
    """One episode of one condition of one account, as it stands."""

    id: str
    rule: str
    account_id: str
    account_name: str | None
    owner: str | None
    label: str
    episode: int
    status: AlertStatus
    severity: Severity
    title: str
    reason: str | None
    baseline: bool = Field(description="It was already true when the account was first looked at")
    dismissed: bool = Field(description="Resolved by hand while the condition was true")
    seq: int
    opened_at: Instant
    pending_since: Instant | None
    fired_at: Instant | None
    resolved_at: Instant | None
    due_at: Instant | None
    acknowledged_at: Instant | None
    acknowledged_by: str | None
    snoozed_until: Instant | None
    outcome: Outcome | None = Field(
        description="What came of it; null until it is closed and somebody says so"
    )
    outcome_at: Instant | None
    outcome_by: str | None = Field(description="Null where it went by itself: the account churned")
    outcome_note: str | None
    rule_version: str
    updated_at: Instant


class AlertPage(Page):
    """A page of alerts."""

    data: list[AlertView]


class HistoryEntry(Answer):
    """One move of an alert."""

    seq: int
    at: Instant
    kind: str
    reason: str
    actor: str
    detail: dict[str, Any]


class AlertDetail(AlertView):
    """An alert with its evidence as it was, how it moved, and what was sent."""

    evidence: dict[str, Any]
    history: list[HistoryEntry]
    deliveries: list[DeliveryView]


class Note(Form):
    """Who did it and why; ``by`` is the API key's name if it is not given."""

    by: Word | None = None
    note: Text = ""


class Snooze(Note):
    """Until when it is marked as snoozed, unless it gets worse; a week if not given."""

    until: AwareDatetime | None = Field(None, description="An instant within the next 366 days")


class Closing(Note):
    """Who closed it, and what came of it."""

    outcome: Outcome | None = Field(None, description="Of one that is closed already, only this is written")


class Comment(Form):
    """What somebody has to say; ``by`` is the API key's name if it is not given."""

    by: Word | None = None
    note: Remark


class Feedback(Form):
    """Whether the alert was worth having, or what came of it; ``by`` is the API key's name if it is not given."""

    by: Word | None = None
    useful: StrictBool | None = None
    outcome: Outcome | None = Field(None, description="Of a closed alert")
    note: Remark | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.useful is None and self.outcome is None:
            raise ValueError("say whether it was useful, or what came of it")
        return self


@dataclass(frozen=True, slots=True)
class Hand:
    """One move by hand, of whoever asks: in one transaction with its note, done once."""

    services: Services
    caller: Caller
    once: Once

    def moves(
        self,
        alert_id: str,
        by: str | None,
        act: Callable[[Desk, str, int], Alert],
        note: str = "",
        said: Mapping[str, Any] | None = None,
    ) -> Any:
        """What ``act`` makes of an alert at the desk, for an actor and now; the note is added to its history, as a
        comment where nothing moved."""

        def work(connection: Connection) -> AlertDetail:
            desk, actor, now = self.services.desk(connection), by or self.caller.name, self.services.now()
            before = desk.find(alert_id)
            alert = act(desk, actor, now)
            told = {**(said or {}), **({"note": note} if note else {})}
            if told:
                if alert.seq == before.seq:
                    alert = desk.comment(alert_id, actor, now)
                alert_queries.annotate(connection, alert_id, alert.seq, told)
            return _detail(connection, alert_id)

        return self.once.within(work)


def _hand(services: Using, caller: Asking, once: OnceEach) -> Hand:
    return Hand(services, caller, once)


ByHand = Annotated[Hand, Depends(_hand)]


@router.get(
    "",
    response_model=AlertPage,
    summary="List alerts",
    responses=responses(Code.INVALID_CURSOR, Code.INVALID_REQUEST),
    **needs(Scope.READ),
)
async def list_alerts(services: Using, query: Annotated[AlertQuery, Query()]) -> AlertPage:
    """The newest first."""
    after: Any = query.after("alerts", int, str)
    with services.database.read() as connection:
        rows = alert_queries.page(connection, _filter(query), after=after, limit=query.limit + 1)
    shown, cursor = cut(rows, query.limit, "alerts", lambda row: (row["opened_at"], row["id"]))
    return AlertPage(data=[AlertView(**_fields(row)) for row in shown], next_cursor=cursor)


router.include_router(alert_outcomes.router)  # its name is no alert's id


@router.get(
    "/{alert_id}",
    response_model=AlertDetail,
    summary="One alert",
    responses=responses(Code.ALERT_NOT_FOUND, Code.INVALID_REQUEST),
    **needs(Scope.READ),
)
async def get_alert(services: Using, alert_id: AlertId) -> AlertDetail:
    """With its evidence, its history and its deliveries."""
    with services.database.read() as connection:
        return _detail(connection, alert_id)


@router.post(
    "/{alert_id}/acknowledge",
    response_model=AlertDetail,
    summary="Take an alert on",
    responses=_WRITE_ERRORS,
    **needs(Scope.WRITE),
)
def acknowledge_alert(hand: ByHand, alert_id: AlertId, note: Note | None = None) -> Any:
    """Somebody has it: until it resolves or gets worse. Doing it twice changes nothing."""
    given = note or Note()
    return hand.moves(
        alert_id, given.by, lambda desk, by, now: desk.acknowledge(alert_id, by, now), given.note
    )


@router.post(
    "/{alert_id}/resolve",
    response_model=AlertDetail,
    summary="Close an alert",
    responses=_WRITE_ERRORS,
    **needs(Scope.WRITE),
)
def resolve_alert(hand: ByHand, alert_id: AlertId, note: Closing | None = None) -> Any:
    """It stays closed until its condition was false once; then it may open again."""
    given = note or Closing()
    return hand.moves(
        alert_id,
        given.by,
        lambda desk, by, now: desk.resolve(alert_id, by, now, given.outcome, given.note),
        given.note,
    )


@router.post(
    "/{alert_id}/snooze",
    response_model=AlertDetail,
    summary="Snooze an alert",
    responses=_WRITE_ERRORS,
    **needs(Scope.WRITE),
)
def snooze_alert(hand: ByHand, alert_id: AlertId, note: Snooze | None = None) -> Any:
    """A mark until an instant, or until it gets worse. It still fires, and counts for the risk level of its account."""
    given = note or Snooze()
    until = _until(given, hand.services.now())
    return hand.moves(
        alert_id, given.by, lambda desk, by, now: desk.snooze(alert_id, until, by, now), given.note
    )


@router.post(
    "/{alert_id}/comment",
    response_model=AlertDetail,
    summary="Say something about an alert",
    responses=_REMARK_ERRORS,
    **needs(Scope.WRITE),
)
def comment_alert(hand: ByHand, alert_id: AlertId, comment: Comment) -> Any:
    """Written into its history, whether it is open or not; nothing else moves."""
    return hand.moves(
        alert_id, comment.by, lambda desk, by, now: desk.comment(alert_id, by, now), comment.note
    )


@router.post(
    "/{alert_id}/feedback",
    response_model=AlertDetail,
    summary="Say whether an alert was useful, or what came of it",
    responses=_REMARK_ERRORS,
    **needs(Scope.WRITE),
)
def rate_alert(hand: ByHand, alert_id: AlertId, feedback: Feedback) -> Any:
    """Written into its history, whether it is open or not; an outcome, of a closed one, into the alert too."""
    note = feedback.note or ""
    said = {} if feedback.useful is None else {"useful": feedback.useful}
    try:
        return hand.moves(
            alert_id,
            feedback.by,
            lambda desk, by, now: desk.feedback(alert_id, by, now, feedback.outcome, note),
            note,
            said,
        )
    except AlertOpen as error:
        raise refused("body.outcome", str(error)) from None


def _until(given: Snooze, now: int) -> int:
    if given.until is None:
        return now + _SNOOZE // timedelta(microseconds=1)
    until = microseconds(given.until)
    if not now < until <= now + _LONGEST_SNOOZE // timedelta(microseconds=1):
        message = f"not within {_LONGEST_SNOOZE.days} days from {instant(now)}"
        raise refused("body.until", message)
    return until


def _detail(connection: Connection, alert_id: str) -> AlertDetail:
    row = alert_queries.find(connection, alert_id)
    if row is None:
        raise Problem(Code.ALERT_NOT_FOUND, f"there is no alert {alert_id!r}")
    history = alert_queries.history(connection, alert_id)
    sent = alert_queries.deliveries(connection, alert_id)
    return AlertDetail(
        **_fields(row),
        evidence=json.loads(row["evidence"]),
        history=[
            HistoryEntry(
                seq=move["seq"],
                at=instant(move["at"]),
                kind=move["kind"],
                reason=move["reason"],
                actor=move["actor"],
                detail=json.loads(move["detail"]),
            )
            for move in history
        ],
        deliveries=[delivery_view(each) for each in sent],
    )


_AS_THEY_ARE = (
    "id", "rule", "account_id", "account_name", "owner", "label", "episode", "status", "severity", "title", "reason",
    "baseline", "dismissed", "seq", "acknowledged_by", "outcome", "outcome_by",
    "outcome_note", "rule_version",
)  # fmt: skip
_INSTANTS = (
    "opened_at", "pending_since", "fired_at", "resolved_at", "due_at", "acknowledged_at", "snoozed_until", "outcome_at",
    "updated_at",
)  # fmt: skip


def _fields(row: alert_queries.Row) -> dict[str, Any]:
    return {name: row[name] for name in _AS_THEY_ARE} | {
        name: instant_or_none(row[name]) for name in _INSTANTS
    }


def _filter(query: AlertQuery) -> alert_queries.Filter:
    status: list[str] = []
    for standing in query.status:
        status += ["pending", "firing"] if standing is Standing.OPEN else [standing.value]
    return alert_queries.Filter(
        status=sorted(set(status)),
        account_id=query.account_id,
        rule=query.rule,
        severity=[severity.value for severity in query.severity],
        owner=query.owner,
        outcome=[outcome.value for outcome in query.outcome],
    )
