"""What the database keeps of accounts, as their facts say: for comparing rows with it, and for writing it out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from app.bulk.plan import AT_ONCE
from app.bulk.standing import Standing
from app.database.engine import Database
from app.database.tables import account, account_detail
from consumers.state import AccountState


def standings(database: Database, account_ids: Sequence[str]) -> dict[str, Standing]:
    """How each of these accounts stands; nobody has heard of those that are not stored. Raises StorageError."""
    wanted = (
        select(account.c.account_id, account_detail.c.facts)
        .outerjoin(account_detail, account_detail.c.account_no == account.c.no)
        .where(account.c.account_id.in_(account_ids))
    )
    with database.read() as connection:
        found = {row.account_id: _standing(row.account_id, row.facts) for row in connection.execute(wanted)}
    return {each: found.get(each) or Standing(known=False) for each in account_ids}


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


def _standing(account_id: str, facts: bytes | None) -> Standing:
    return Standing(AccountState(account_id, facts_blob=facts or b"").facts())
