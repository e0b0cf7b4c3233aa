"""Statements as the driver takes them, for what runs with every batch: text and arrays.

Building a statement of Core, and naming each of 500 accounts in it, costs more than most of these statements do.
"""

# ruff: noqa: S608 - names and conditions in these texts are ours; values never are in them
from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, CursorResult

Condition = tuple[str, tuple[Any, ...]]


class Driver:
    """Runs small statements that both databases understand, with ``?`` for their values, on one connection."""

    def __init__(self, connection: Connection) -> None:
        self.sqlite = connection.dialect.name == "sqlite"
        self._connection = connection

    def run(self, statement: str, *values: Any) -> CursorResult[Any]:
        """Its result."""
        text = statement if self.sqlite else spoken(statement)
        return self._connection.exec_driver_sql(text, values)

    def rows(self, statement: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        """All its rows, as the driver's own tuples."""
        return driver_rows(self.run(statement, *values))

    def among(self, number: str, nos: Sequence[int]) -> Condition:
        """The condition that ``number`` is one of ``nos``, which are in order, and its values.

        A sweep's are mostly all there are from the first to the last, which costs a tenth of naming each.
        """
        if nos and nos[-1] - nos[0] + 1 == len(nos):
            return f"{number} BETWEEN ? AND ?", (nos[0], nos[-1])
        if self.sqlite:
            return f"{number} IN (SELECT value FROM json_each(?))", (json.dumps(list(nos)),)
        # As text: the driver takes three times as long to write an array of numbers, one by one, in Python.
        return f"{number} = ANY(?::bigint[])", (f"{{{','.join(map(str, nos))}}}",)


def driver_rows(result: CursorResult[Any]) -> Sequence[tuple[Any, ...]]:
    """All rows of a result, which is closed: wrapping each would cost as much again as reading it."""
    found: Sequence[tuple[Any, ...]] = result.cursor.fetchall() if result.cursor is not None else ()
    result.close()
    return found


@cache
def spoken(statement: str) -> str:
    """As PostgreSQL's driver wants it."""
    return statement.replace("?", "%s")
