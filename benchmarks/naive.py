"""The same job as most people would write it first: decode, a table of event ids, one upsert per user and day.

Batches of 10,000 events, one transaction each, through SQLAlchemy Core: not a straw man, but the usual design.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Date,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.dialects.sqlite import insert

metadata = MetaData()
seen = Table("seen", metadata, Column("id", String(36), primary_key=True))
user_day = Table(
    "user_day",
    metadata,
    Column("account_id", String, primary_key=True),
    Column("user_id", String, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("logins", Integer, nullable=False),
)
BATCH = 10_000


class Login(msgspec.Struct):
    """One login, as the file has it."""

    id: str
    account_id: str
    user_id: str
    occurred_at: datetime


def ingest(path: Path, database: Path) -> int:
    """Take the file in. Returns how many events were new."""
    engine = create_engine(f"sqlite:///{database}")

    @event.listens_for(engine, "connect")
    def _tune(connection, _record):  # type: ignore[no-untyped-def]
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA cache_size=-65536")

    metadata.create_all(engine)
    decoder = msgspec.json.Decoder(Login)
    taken = 0
    with path.open("rb") as lines, engine.connect() as connection:
        batch: list[Login] = []
        for line in lines:
            batch.append(decoder.decode(line))
            if len(batch) == BATCH:
                taken += _store(connection, batch)
                batch = []
        if batch:
            taken += _store(connection, batch)
    engine.dispose()
    return taken


def _store(connection: Connection, batch: list[Login]) -> int:
    with connection.begin():
        ids = [login.id for login in batch]
        known: set[str] = set()
        for start in range(0, len(ids), 900):
            known.update(connection.scalars(select(seen.c.id).where(seen.c.id.in_(ids[start : start + 900]))))
        fresh = {login.id: login for login in batch if login.id not in known}
        connection.execute(insert(seen), [{"id": each} for each in fresh])
        counts = Counter((e.account_id, e.user_id, e.occurred_at.date()) for e in fresh.values())
        statement = insert(user_day)
        statement = statement.on_conflict_do_update(
            index_elements=["account_id", "user_id", "day"],
            set_={"logins": user_day.c.logins + statement.excluded.logins},
        )
        connection.execute(
            statement,
            [{"account_id": a, "user_id": u, "day": d, "logins": n} for (a, u, d), n in counts.items()],
        )
    return len(fresh)


def total(database: Path) -> int:
    """All logins counted, to see that the job was done."""
    engine = create_engine(f"sqlite:///{database}")
    with engine.connect() as connection:
        return int(connection.scalar(select(func.sum(user_day.c.logins))) or 0)
