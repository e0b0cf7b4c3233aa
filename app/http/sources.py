"""Who feeds activity, over REST: what flows, and whose silence is ours."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from app.database.keys import Scope
from app.http.gate import needs
from app.http.instants import Day, Instant, day_or_none, instant
from app.http.pages import Answer, Page, Paging, Using, part
from app.http.problems import Code, responses
from consumers.feeds import SourceState

router = APIRouter(prefix="/v1/sources", tags=["operations"])


class Standing(StrEnum):
    """How a source stands."""

    FLOWING = "flowing"
    UNSETTLED = "unsettled"
    STALE = "stale"
    NOT_COUNTED = "not counted"


class SourceView(Answer):
    """One source of activity."""

    source: str = Field(examples=["topic bellwether.logins", "sender product backend", "files"])
    state: Standing = Field(
        description="`unsettled`: it broke off before the last midnight, and no alert opens by that day yet"
    )
    because: str | None = Field(description="Why it is not counted, or not for every family")
    families: dict[str, Instant] = Field(description="The newest event of each family of activity")
    counted: list[str] = Field(description="The families that are stale while it is")
    newest_event_at: Instant
    first_day: Day
    longest_gap_s: int | None = Field(description="In the last 28 closed days, read from whole hours")
    expected_gap_s: int = Field(ge=0, description="It is stale when it is silent for longer")


class SourcePage(Page):
    """A page of sources."""

    data: list[SourceView]


@router.get(
    "",
    response_model=SourcePage,
    summary="List sources of activity",
    responses=responses(Code.INVALID_CURSOR, Code.INVALID_REQUEST),
    **needs(Scope.READ),
)
def list_sources(services: Using, query: Annotated[Paging, Query()]) -> SourcePage:
    """By name, with what each brought last and how long it may be silent."""
    shown, cursor = part(services.sources(), query, "sources", lambda each: each.source)
    return SourcePage(data=[view(each) for each in shown], next_cursor=cursor)


def view(state: SourceState) -> SourceView:
    """As REST and the command line show it."""
    return SourceView(
        source=state.source,
        state=Standing(state.word),
        because=state.because or None,
        families={family: instant(at) for family, at in sorted(state.newest.items())},
        counted=sorted(state.counts),
        newest_event_at=instant(state.newest_at),
        first_day=day_or_none(state.first_day) or "",
        longest_gap_s=None if state.longest_gap is None else state.longest_gap // 1_000_000,
        expected_gap_s=state.expected_gap // 1_000_000,
    )
