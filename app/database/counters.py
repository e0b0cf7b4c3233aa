"""The running totals over all processes, written last in a transaction and in one order.

Every writer adds to the same few rows. Each locks them for the time of its commit alone, sorted by name: two writers
then never wait for each other in a circle, however many pieces of work share a transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import Connection

from app.database.tables import counter
from app.database.upsert import inserting

_KEY = "bellwether_counted"


def add(connection: Connection, totals: Mapping[str, int]) -> None:
    """Note what this transaction counted; :meth:`Database.write` writes it down before it commits."""
    connection.info.setdefault(_KEY, Counter()).update(totals)


def forget(connection: Connection) -> None:
    """Drop what was noted by a transaction that was rolled back."""
    connection.info.pop(_KEY, None)


def settle(connection: Connection) -> None:
    """Write down what was noted."""
    totals: Counter[str] = connection.info.pop(_KEY, None) or Counter()
    if not totals:
        return
    statement = inserting(connection, counter)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"value": counter.c.value + statement.excluded.value}
        ),
        [{"name": name, "value": count} for name, count in sorted(totals.items())],
    )
