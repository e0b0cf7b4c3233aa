"""A CSM's rating of one account, said now: unlike a row of a file it counts also where it says what is known."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from app.bootstrap import Opened
from app.bulk.importing import Import
from app.bulk.rows import SOURCE, build
from app.bulk.standing import GROUPS
from app.bulk.stored import standings
from consumers.errors import BellwetherError
from consumers.rejection import Rejection

RATINGS = ("red", "yellow", "green")


@dataclass(frozen=True, slots=True)
class Rated:
    """What was said, and the rating before it."""

    account_id: str
    rating: str
    previous: str | None
    event_id: str
    judged: int | None


def rate(opened: Opened, account_id: str, rating: str, *, by: str, note: str) -> Rated:
    """Take in a ``sentiment.rated`` of this moment. Raises BellwetherError for an account nobody has heard of."""
    standing = standings(opened.database, [account_id])[account_id]
    if not standing.known:
        raise BellwetherError(f"there is no account {account_id[:60]!r}\nsee: bellwether accounts")
    standing.advance(None)
    before = standing.thing(GROUPS["sentiment.rated"], ())
    now = opened.clock.now_us()
    newest = before.last or (0, "")
    # Behind the newest, also where that sender's clock is ahead of ours, or ours stands still.
    at = now if newest[0] < now else newest[0] + 1
    said = {"rating": rating, "by": by, "note": note}
    data = {name: value for name, value in said.items() if value}
    event_id = f"{SOURCE}-{secrets.token_hex(16)}"
    built = build("sentiment.rated", account_id, "", at=at, event_id=event_id, data=data, now=now)
    if isinstance(built, Rejection):
        raise BellwetherError(f"{built.detail}\nnothing was rated")
    work = Import(opened)
    try:
        work.send([built])
        judged = work.judge()
    finally:
        work.close()
    return Rated(account_id, rating, before.fields.get("rating"), event_id, judged)
