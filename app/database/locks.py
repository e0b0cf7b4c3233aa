"""Locks that belong to no row: what one transaction at a time may do, until it ends.

On SQLite a writing transaction is alone by itself, so there they cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from sqlalchemy import Connection, func, select


class Lock(IntEnum):
    """PostgreSQL's numbers for them; they never change, as releases that run beside each other must agree."""

    JOURNAL = 0x62656C6C  # give offsets
    MIGRATION = 0x6D696772  # change the schema
    BASELINE = 0x62617365  # keep or tell the summary of what was true from the start
    INCIDENT = 0x696E6369  # open one unless it is open


_LANE = 0x6C616E65  # the first half of the locks of lanes, which have names


def alone(connection: Connection, lock: Lock) -> None:
    """Wait until nobody else holds ``lock``, and hold it until the end of the transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(int(lock))))


def alone_in_lanes(connection: Connection, lanes: Sequence[str]) -> None:
    """The same for lanes of event ids, one after the other, on PostgreSQL. Two names may share a lock: that costs a
    wait, no more."""
    every = "SELECT pg_advisory_xact_lock(%s, hashtext(lane)) FROM unnest(%b::text[]) AS given (lane)"
    connection.exec_driver_sql(every, (_LANE, list(lanes))).close()
