"""What every list shares: a limit, a cursor, and the envelope ``{"data", "next_cursor"}``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.http import cursors
from app.http.problems import Code, Problem
from app.http.services import Services

T = TypeVar("T")
R = TypeVar("R")

# PostgreSQL's text cannot hold a NUL, and no name that we know of has one.
Word = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
AccountId = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[^\x00]+$", examples=["acme"])]


class Answer(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(frozen=True)


class Form(BaseModel):
    """Base of what is sent to manage: a field nobody knows is refused, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Paging(Form):
    """The part of a query that every list understands."""

    limit: int = Field(50, ge=1, le=200, description="How many at most")
    cursor: str | None = Field(
        None,
        min_length=1,
        max_length=cursors.LONGEST,
        description="Where to go on: `next_cursor` of the page before",
    )

    def after(self, kind: str, *types: type) -> tuple[str | int, ...] | None:
        """The values that the cursor holds, None for the first page. Raises Problem for a cursor of another list."""
        if self.cursor is None:
            return None
        try:
            return cursors.decode(kind, self.cursor, types)
        except cursors.BadCursor:
            raise Problem(
                Code.INVALID_CURSOR, "send next_cursor of this same list and order, unchanged"
            ) from None


class Page(Answer):
    """The envelope of a list; ``next_cursor`` is null on the last page."""

    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last one")


def cut(
    rows: Sequence[R], limit: int, kind: str, place: Callable[[R], Sequence[str | int]]
) -> tuple[Sequence[R], str | None]:
    """Of ``limit + 1`` rows those to show, and the cursor if there are more. ``place`` gives a row's sort values."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], cursors.encode(kind, place(rows[limit - 1]))


def part(
    items: Sequence[R], query: Paging, kind: str, name: Callable[[R], str]
) -> tuple[Sequence[R], str | None]:
    """One page of a list that is held whole, in its own order, and the cursor if there is more.

    A page goes on behind the item that the one before ended with, or at its place if it is gone. Raises Problem.
    """
    after: Any = query.after(kind, int, str)
    first = 0
    if after is not None:
        place, last = after
        first = next((at + 1 for at, item in enumerate(items) if name(item) == last), max(0, place))
    rows = items[first : first + query.limit + 1]
    return cut(rows, query.limit, kind, lambda row: (first + query.limit - 1, name(row)))


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Using = Annotated[Services, Depends(_services)]
