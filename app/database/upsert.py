"""An INSERT that knows what to do about a row that is there: written the same, spoken by each database its own way."""

from __future__ import annotations

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from app.database.tables import setting


def inserting(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert into ``table`` with ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def put_setting(connection: Connection, key: str, value: str) -> None:
    """Write ``value`` under ``key`` of the table ``setting``, over what was there."""
    statement = inserting(connection, setting).values(key=key, value=value)
    connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))
