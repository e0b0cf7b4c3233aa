"""Rejected events over REST: look at them, send them through again."""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from app.database import dead_letters
from app.database.dead_letters import DeadLetter, Wanted
from app.database.keys import Scope
from app.http import cursors
from app.http.gate import needs
from app.http.instants import Instant, instant, instant_or_none
from app.http.once import OnceEach
from app.http.pages import Answer, Form, Page, Paging, Using, Word, cut
from app.http.problems import IDEMPOTENT, TAKES_EVENTS, WITH_A_BODY, Code, Problem, responses

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])
_TEXT_SHOWN = 2_000  # characters; the exact bytes are beside it
_BYTES_SHOWN = 64 * 1024  # what an event may have; of larger ones only the beginning is worth a look


class Which(StrEnum):
    """Where a dead letter stands."""

    WAITING = "waiting"
    REPLAYED = "replayed"
    ANY = "any"


class DeadLetterQuery(Paging):
    """Which dead letters; the newest comes first."""

    reason: list[Word] = Field([], max_length=20)
    status: Which = Which.WAITING


class DeadLetterView(Answer):
    """One rejected record."""

    id: int
    reason: str
    detail: str
    origin: str
    partition: str
    offset: int
    received_at: Instant
    status: str
    replayed_at: Instant | None
    size: int = Field(ge=0, description="How many bytes it has")
    body: str = Field(description="Its beginning as text; what is not UTF-8 shows as �")
    body_base64: str = Field(description="Its bytes as they came, at most 64 KiB")


class DeadLetterPage(Page):
    """A page of dead letters."""

    data: list[DeadLetterView]


class ReplayDeadLetters(Form):
    """Which to send through again, oldest first; nothing given means all, a thousand at a time."""

    ids: list[Annotated[int, Field(ge=1, le=2**63 - 1)]] | None = Field(None, min_length=1, max_length=1_000)
    reason: list[Word] = Field([], max_length=20)
    cursor: str | None = Field(None, min_length=1, max_length=cursors.LONGEST)


class StillBad(Answer):
    """One that was rejected again, for this reason now."""

    id: int
    code: str
    detail: str


class ReplayedDeadLetters(Answer):
    """What became of them; with a ``next_cursor`` there may be more."""

    replayed: int
    rejected: list[StillBad]
    next_cursor: str | None


@router.get(
    "",
    response_model=DeadLetterPage,
    summary="List rejected events",
    responses=responses(Code.INVALID_CURSOR, Code.INVALID_REQUEST),
    **needs(Scope.READ),
)
async def list_dead_letters(services: Using, query: Annotated[DeadLetterQuery, Query()]) -> DeadLetterPage:
    """The newest first."""
    after: Any = query.after("dead letters", int)
    with services.database.read() as connection:
        rows = dead_letters.page(
            connection,
            reason=query.reason,
            status=None if query.status is Which.ANY else query.status.value,
            before=after[0] if after else None,
            limit=query.limit + 1,
        )
    shown, cursor = cut(rows, query.limit, "dead letters", lambda row: (row.id,))
    return DeadLetterPage(data=[_view(row) for row in shown], next_cursor=cursor)


@router.post(
    "/replay",
    response_model=ReplayedDeadLetters,
    summary="Send rejected events through again",
    responses=responses(*WITH_A_BODY, *IDEMPOTENT, *TAKES_EVENTS, Code.INVALID_CURSOR, Code.INVALID_REQUEST),
    **needs(Scope.WRITE),
)
def replay_dead_letters(services: Using, once: OnceEach, wanted: ReplayDeadLetters | None = None) -> Any:
    """What is good now is taken in; what is still bad keeps waiting, with its new reason."""
    given = wanted or ReplayDeadLetters()
    these = Wanted(given.ids, given.reason, _after(given.cursor))

    def work() -> ReplayedDeadLetters:
        done = services.intake.replay(these, services.now(), services.wall())
        return ReplayedDeadLetters(
            replayed=done.replayed,
            rejected=[StillBad(id=id_, code=why.reason, detail=why.detail) for id_, why in done.still_bad],
            next_cursor=None if done.next_after is None else cursors.encode("replay", (done.next_after,)),
        )

    return once.around(work)


def _after(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        return int(cursors.decode("replay", cursor, (int,))[0])
    except cursors.BadCursor:
        raise Problem(Code.INVALID_CURSOR, "send next_cursor of the replay before, unchanged") from None


def _view(letter: DeadLetter) -> DeadLetterView:
    return DeadLetterView(
        id=letter.id,
        reason=letter.reason,
        detail=letter.detail,
        origin=letter.origin,
        partition=letter.partition,
        offset=letter.offset,
        received_at=instant(letter.received_at),
        status=letter.status,
        replayed_at=instant_or_none(letter.replayed_at),
        size=len(letter.body),
        body=letter.body[: 4 * _TEXT_SHOWN].decode("utf-8", "replace")[:_TEXT_SHOWN],
        body_base64=base64.b64encode(letter.body[:_BYTES_SHOWN]).decode(),
    )
