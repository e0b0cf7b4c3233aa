"""What the database keeps of accounts, as their facts say: for comparing rows with it, and for writing it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, select

from app.bulk.plan import AT_ONCE, Plan
from app.bulk.rows import kept_of
from app.bulk.standing import Standing
from app.database.engine import Database
from app.database.tables import account, account_detail
from consumers.facts import Fact, merge_facts
from consumers.state import AccountState


class Known:
    """How accounts stand by what is stored and by what files before said that is not, or not yet, stored."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._said: dict[str, list[Fact]] = {}

    def __call__(self, account_ids: Sequence[str]) -> dict[str, Standing]:
        """Each of these accounts. Raises StorageError."""
        return standings(self._database, account_ids, self._said)

    def say(self, plan: Plan) -> None:
        """From now on all that a file would change is so."""
        for event, _ in plan.events:
            self._said.setdefault(event.account_id, []).append(kept_of(event))


_NOTHING: Mapping[str, Sequence[Fact]] = {}


def standings(
    database: Database, account_ids: Sequence[str], said: Mapping[str, Sequence[Fact]] = _NOTHING
) -> dict[str, Standing]:
    """How each of these accounts stands, by what is stored and what was ``said`` besides.

    Nobody has heard of those that are in neither. Raises StorageError.
    """
    wanted = (
        select(account.c.account_id, account_detail.c.facts)
        .outerjoin(account_detail, account_detail.c.account_no == account.c.no)
        .where(account.c.account_id.in_(account_ids))
    )
    with database.read() as connection:
        found = {row.account_id: row.facts for row in connection.execute(wanted)}
    return {
        each: _standing(each, found.get(each), said.get(each, ()))
        if each in found or each in said
        else Standing(known=False)
        for each in account_ids
    }


def all_standings(connection: Connection) -> Iterator[tuple[str, Standing]]:
    """Every account by its id, a page at a time, with all of its facts folded."""
    wanted = (
        select(account.c.account_id, account_detail.c.facts)
        .outerjoin(account_detail, account_detail.c.account_no == account.c.no)
        .order_by(account.c.account_id)
        .limit(AT_ONCE)
    )
    page = connection.execute(wanted).all()
    while page:
        for row in page:
            standing = _standing(row.account_id, row.facts)
            standing.advance(None)
            yield row.account_id, standing
        page = connection.execute(wanted.where(account.c.account_id > page[-1].account_id)).all()


def _standing(account_id: str, facts: bytes | None, said: Sequence[Fact] = ()) -> Standing:
    stored = AccountState(account_id, facts_blob=facts or b"").facts()
    return Standing(merge_facts(stored, said) if said else stored)
