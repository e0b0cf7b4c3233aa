"""What storing windows asks of a database beside plain statements: one statement per table and batch, on both.

Core with one dict per row costs twice as much as the driver's executemany on SQLite, and three times as much as arrays
on PostgreSQL; this is the one place where that counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Protocol

from consumers.facts import ATTRIBUTES

DIRECTORY = (*ATTRIBUTES, "currency", "term_months", "renewal_day", "mrr_cents")

# The account's number and id, its profile, days, users, login_maps, and beside them user_ids, features, facts.
StoredAccount = Sequence[Any]


class Put(Enum):
    """What may be written, many rows at once; each row's values in the order given here."""

    NEW_WINDOW = auto()  # no, profile, days, users, login_maps
    WINDOW = auto()  # the same, of an account that has them
    NEW_DETAIL = auto()  # no, user_ids, features, facts
    DETAIL = auto()
    DAYS = auto()  # first day, last day, no
    DIRECTORY = auto()  # the columns of DIRECTORY, no
    TOUCHED = auto()  # no, partition
    DEAD_LETTER = auto()  # partition, log, offset, reason, detail, origin, body, received_at
    FAMILY = auto()  # name, first day
    COUNTER = auto()  # name, by how much


class WindowStatements(Protocol):
    """On one connection, in one transaction."""

    def run(self, statement: str, values: tuple[Any, ...]) -> Any:
        """One small statement that both databases understand, with ``?`` for its values."""

    def hold_lane(self, lane: str) -> None:
        """Keep others from reading and adding to the segments of ``lane`` until the end of the transaction."""

    def find(self, account_ids: Sequence[str]) -> Iterable[StoredAccount]:
        """The accounts that have windows; from now on nobody else changes any of ``account_ids``."""

    def number(self, account_ids: Sequence[str]) -> Mapping[str, int]:
        """Numbers for accounts that :meth:`find` did not find."""

    def put(self, what: Put, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write rows, each of another account, mark, name or record; none is fine."""
