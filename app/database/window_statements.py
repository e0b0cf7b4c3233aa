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

# The account's number and id, its profile, days, users, login_maps, active_days, features, sessions, and beside them
# user_ids, usage, facts.
StoredAccount = Sequence[Any]


class Ask(Enum):
    """What may be read, of many things at once; the values of each, and what comes of it."""

    POSITIONS = auto()  # partition → partition, next; sorted, and held from now on
    # lane, seq, day → lane, and seq, batches, newest day, and of those above seq that are not before day: ids, prints
    SEGMENTS = auto()
    NEWEST = auto()  # lane → lane, seq, newest day, ids in it; of a lane the newest first, and few
    MERGED = auto()  # lane, seq → lane, batches, newest day, ids, prints; of those above seq, oldest first


class Put(Enum):
    """What may be written, many rows at once; each row's values in the order given here."""

    POSITION = auto()  # next, end, behind, origin, log, updated_at, current_at (None: as it was), partition
    NEW_POSITION = auto()  # partition, and the same; one that is there stays
    SEGMENT = auto()  # lane, seq, batches, newest day, ids, prints
    NO_MERGED = auto()  # lane, seq: those above it go
    NO_EXPIRED = auto()  # lane, newest day, seq: those of earlier days below it go
    NEW_WINDOW = (
        auto()
    )  # no, profile, days, users, login_maps, active_days, moments, features, sessions, ledger
    WINDOW = auto()  # the first six, of an account that has them
    MOMENTS = auto()  # moments, ledger, no
    USAGE = auto()  # features, sessions, no
    NEW_DETAIL = auto()  # no, user_ids, features, facts
    DETAIL = auto()
    DAYS = auto()  # first day, last day, no
    DIRECTORY = auto()  # the columns of DIRECTORY, no
    TOUCHED = auto()  # no, partition
    DEAD_LETTER = auto()  # partition, log, offset, reason, detail, origin, body, received_at
    OTHER_DEAD_LETTER = auto()  # the same, and a mark: kept under log + mark if another body has its place
    FAMILY = auto()  # name, first day
    COUNTER = auto()  # name, by how much


class WindowStatements(Protocol):
    """On one connection, in one transaction."""

    def run(self, statement: str, values: tuple[Any, ...]) -> Any:
        """One small statement that both databases understand, with ``?`` for its values."""

    def ask(self, what: Ask, rows: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
        """What is there of each of ``rows``."""

    def hold_lanes(self, lanes: Sequence[str]) -> None:
        """Keep others from reading and adding to the segments of ``lanes``, in order, until the end."""

    def find(self, account_ids: Sequence[str]) -> Iterable[StoredAccount]:
        """The accounts that have windows; from now on nobody else changes any of ``account_ids``."""

    def number(self, account_ids: Sequence[str]) -> Mapping[str, int]:
        """Numbers for accounts that :meth:`find` did not find."""

    def put(self, what: Put, rows: Sequence[tuple[Any, ...]]) -> int:
        """Write rows, each of another account, mark, name or record; none is fine. Returns how many were written."""
