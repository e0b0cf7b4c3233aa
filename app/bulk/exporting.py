"""What is stored as the rows of a file: the columns that the same kind of file is read by, but for the instants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from app.bulk.cells import cell_of
from app.bulk.kinds import ACCOUNT, WHEN, Kind
from app.bulk.sheet import write_sheet
from app.bulk.standing import GROUPS, Standing
from app.bulk.stored import all_standings
from app.database.engine import Database


def export(database: Database, kind: Kind, into: Path | None) -> int:
    """Write every row of a kind of EXPORTED, by account id; returns how many. Raises StorageError, ConfigurationError.

    Without ``occurred_at``: what a person changes in the file is so from the moment on at which it is read again.
    """
    columns = [name for name in kind.header if name != WHEN]
    with database.read() as connection:

        def rows() -> Iterator[Sequence[str]]:
            for account_id, standing in all_standings(connection):
                for told in _told(kind, standing):
                    values = {ACCOUNT: account_id, **told}
                    yield [values.get(name) or "" for name in columns]

        return write_sheet(columns, rows(), into)


def _told(kind: Kind, standing: Standing) -> Iterator[dict[str, str]]:
    match kind.name:
        case "accounts":
            thing = standing.thing(GROUPS["account.updated"], ())
            yield {name: cell_of(value) for name, value in thing.fields.items()}
        case "contacts":
            for contact_id, thing in standing.contacts():
                yield {
                    "contact_id": contact_id,
                    **{name: cell_of(value) for name, value in thing.fields.items()},
                }
        case "subscriptions":
            for subscription_id, money, seats in standing.subscriptions():
                fields = {**money.fields, **seats.fields}
                told = {name: cell_of(value) for name, value in fields.items()}
                yield {"subscription_id": subscription_id, **told}
        case _:
            raise ValueError(f"{kind.name} are not exported")
