"""Destinations and deliveries over REST: what was sent where, what waits, and sending it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field, model_validator

from alerts.delivery import UNSETTLED, DeliveryStatus, DestinationStatus
from app.database import delivery_queries
from app.database.delivery_queries import Row
from app.database.keys import Scope
from app.http.gate import needs
from app.http.instants import Instant, instant, instant_or_none, microseconds
from app.http.once import OnceEach
from app.http.pages import Answer, Form, Page, Paging, Using, Word, cut, part
from app.http.problems import IDEMPOTENT, WITH_A_BODY, Code, responses
from app.http.services import Services

MOST_REPLAYED = 10_000
router = APIRouter(prefix="/v1", tags=["deliveries"])


class DestinationView(Answer):
    """A destination without its address and secret, which are never shown."""

    name: str
    kind: str
    status: DestinationStatus
    reason: str = Field(description="Why it is disabled")
    deliveries: dict[str, int] = Field(description="How many deliveries stand where")
    updated_at: Instant | None


class DestinationPage(Page):
    """A page of destinations."""

    data: list[DestinationView]


class DeliveryQuery(Paging):
    """Which deliveries; the newest comes first."""

    destination: Word | None = None
    status: list[DeliveryStatus] = Field([], max_length=10)
    alert_id: Word | None = None
    account_id: Word | None = None


class DeliveryView(Answer):
    """One transition on its way to one destination."""

    id: int
    destination: str
    kind: str = Field(examples=["alert.firing"])
    alert_id: str
    account_id: str
    seq: int
    webhook_id: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: Instant | None
    created_at: Instant
    settled_at: Instant | None
    detail: str = Field(description="What the last attempt said")


class DeliveryPage(Page):
    """A page of deliveries."""

    data: list[DeliveryView]


class ReplayDeliveries(Form):
    """Which deliveries to send again: some by id, or the parked ones of a destination and time."""

    ids: list[Annotated[int, Field(ge=1, le=2**63 - 1)]] | None = Field(None, min_length=1, max_length=1_000)
    destination: Word | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one_way(self) -> ReplayDeliveries:
        if self.ids is not None and (self.destination or self.since or self.until):
            raise ValueError("give ids, or a destination and time, not both")
        return self


class ReplayedDeliveries(Answer):
    """How many were queued again; they keep their ids, so a receiver knows them."""

    replayed: int


@router.get(
    "/destinations",
    response_model=DestinationPage,
    summary="List destinations",
    responses=responses(Code.INVALID_CURSOR, Code.INVALID_REQUEST),
    **needs(Scope.READ),
)
async def list_destinations(services: Using, query: Annotated[Paging, Query()]) -> DestinationPage:
    """Those of the configuration in force."""
    configured = {each.name: each.type.value for each in services.configuration().destinations}
    known = {state.name: state for state in services.outbox.destinations()}
    # Beside the file's there may be one that a variable of the environment made.
    running = {
        name: state.kind for name, state in known.items() if state.status is not DestinationStatus.REMOVED
    }
    counts = services.outbox.counts()
    shown, cursor = part(
        list({**running, **configured}.items()), query, "destinations", lambda named: named[0]
    )
    data = []
    for name, kind in shown:
        state = known.get(name)
        data.append(
            DestinationView(
                name=name,
                kind=kind,
                status=state.status if state else DestinationStatus.ENABLED,
                reason=state.reason if state else "",
                deliveries={status: count for (to, status), count in counts.items() if to == name},
                updated_at=instant(state.updated_at) if state else None,
            )
        )
    return DestinationPage(data=data, next_cursor=cursor)


@router.get(
    "/deliveries",
    response_model=DeliveryPage,
    summary="List deliveries",
    responses=responses(Code.INVALID_CURSOR, Code.INVALID_REQUEST),
    **needs(Scope.READ),
)
async def list_deliveries(services: Using, query: Annotated[DeliveryQuery, Query()]) -> DeliveryPage:
    """The newest first."""
    after: Any = query.after("deliveries", int)
    wanted = delivery_queries.Filter(
        query.destination, [status.value for status in query.status], query.alert_id, query.account_id
    )
    with services.database.read() as connection:
        rows = delivery_queries.page(
            connection, wanted, before=after[0] if after else None, limit=query.limit + 1
        )
    shown, cursor = cut(rows, query.limit, "deliveries", lambda row: (row["id"],))
    return DeliveryPage(data=[delivery_view(row) for row in shown], next_cursor=cursor)


@router.post(
    "/deliveries/replay",
    response_model=ReplayedDeliveries,
    summary="Send deliveries again",
    responses=responses(*WITH_A_BODY, *IDEMPOTENT, Code.INVALID_REQUEST),
    **needs(Scope.WRITE),
)
def replay_deliveries(services: Using, once: OnceEach, wanted: ReplayDeliveries | None = None) -> Any:
    """Without a body: every parked one, the oldest first, at most 10,000 at a time."""
    given = wanted or ReplayDeliveries()

    def work() -> ReplayedDeliveries:
        return ReplayedDeliveries(
            replayed=services.outbox.replay(services.wall(), ids=_chosen(services, given))
        )

    return once.around(work)


def _chosen(services: Services, given: ReplayDeliveries) -> Sequence[int]:
    if given.ids is not None:
        return given.ids
    since, until = (None if moment is None else microseconds(moment) for moment in (given.since, given.until))
    with services.database.read() as connection:
        return delivery_queries.parked(
            connection, destination=given.destination, since=since, until=until, limit=MOST_REPLAYED
        )


def delivery_view(row: Row) -> DeliveryView:
    """A delivery's row as REST shows it."""
    waits = row["status"] in UNSETTLED
    return DeliveryView(
        next_attempt_at=instant(row["next_at"]) if waits else None,
        created_at=instant(row["created_at"]),
        settled_at=instant_or_none(row["settled_at"]),
        **{name: row[name] for name in _AS_THEY_ARE},
    )


_AS_THEY_ARE = (
    "id", "destination", "kind", "alert_id", "account_id", "seq", "webhook_id", "status", "attempts", "detail"
)  # fmt: skip
