"""Windows and positions in SQLite: one statement per table and batch, on the driver's own cursor.

Core with one dict per row costs twice as much as the driver's executemany; this is the one place where that counts.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, select, update

from app.clock import Clock
from app.database import incidents
from app.database.engine import Database
from app.database.tables import position
from consumers.dedup import Segment
from consumers.errors import LostPosition
from consumers.facts import ATTRIBUTES, Profile
from consumers.source import Chunk, Position
from consumers.state import AccountState, decode_ids, encode_ids
from consumers.store import Rejected
from consumers.windows import NEVER, DayCounts, UserIds, Users

_LOAD = """
SELECT a.no, a.account_id, w.profile, w.days, w.users, w.login_maps, d.user_ids, d.features, d.facts
FROM json_each(?) AS wanted
JOIN account AS a ON a.account_id = wanted.value
JOIN account_window AS w ON w.account_no = a.no
JOIN account_detail AS d ON d.account_no = a.no
"""
_SAVE_WINDOW = """
INSERT INTO account_window (account_no, profile, days, users, login_maps) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (account_no) DO UPDATE SET
  profile = excluded.profile, days = excluded.days, users = excluded.users, login_maps = excluded.login_maps
"""
_SAVE_DETAIL = """
INSERT INTO account_detail (account_no, user_ids, features, facts) VALUES (?, ?, ?, ?)
ON CONFLICT (account_no) DO UPDATE SET
  user_ids = excluded.user_ids, features = excluded.features, facts = excluded.facts
"""
_DIRECTORY = (*ATTRIBUTES, "currency", "term_months", "renewal_day", "mrr_cents")
_SAVE_DIRECTORY = f"UPDATE account SET {', '.join(f'{name} = ?' for name in _DIRECTORY)} WHERE no = ?"  # noqa: S608 - names are ours
_REJECT = """
INSERT INTO dead_letter (partition, "offset", reason, detail, origin, body, received_at, status)
VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting') ON CONFLICT DO NOTHING
"""
_CLOCK = Clock()
_BODY_KEPT = 1 << 20  # of a record larger than any event may be, this much is kept to look at


class _KnownIds:
    """Decoded user ids of accounts seen lately: a batch decodes only those that another process has changed.

    An entry is taken out while a transaction works on it, and comes back only with its commit; it is used again only
    if the stored blob is still what it stands for. Thread-safe.
    """

    def __init__(self, most: int = 1_000_000) -> None:
        """``most``: user ids kept over all accounts, about 150 bytes each."""
        self._most = most
        self._kept = 0
        self._entries: dict[int | None, tuple[bytes, UserIds]] = {}
        self._lock = threading.Lock()

    def take(self, no: int, blob: bytes) -> UserIds:
        """The ids that ``blob`` holds."""
        with self._lock:
            entry = self._entries.pop(no, None)
            if entry is not None:
                self._kept -= len(entry[1])
        return entry[1] if entry is not None and entry[0] == blob else UserIds(decode_ids(blob))

    def keep(self, stored: Mapping[int | None, tuple[bytes, UserIds]]) -> None:
        """Keep what a committed transaction has stored, for the next batch."""
        with self._lock:
            if self._kept > self._most:
                self._entries.clear()
                self._kept = 0
            for no, entry in stored.items():
                self._kept += len(entry[1])
                self._entries[no] = entry


class SqlWindowStore:
    """Implements ``consumers.store.WindowStore``. Thread-safe: each transaction has its own connection."""

    def __init__(self, database: Database, real_us: Callable[[], int] = _CLOCK.real_us) -> None:
        """``real_us`` dates positions and dead letters: retention and patience go by the real clock."""
        self._database = database
        self._real_us = real_us
        self._known = _KnownIds()

    def positions(self, partitions: Sequence[str]) -> Mapping[str, Position]:
        """How far each of ``partitions`` was handled; those that were never read are left out."""
        wanted = select(position.c.partition, position.c.next, position.c.log)
        with self._database.read() as connection:
            rows = connection.execute(wanted.where(position.c.partition.in_(partitions))).all()
        return {row.partition: Position(row.next, row.log) for row in rows}

    def incident(self, kind: str, partition: str, detail: str) -> None:
        """Write down that ``partition`` is in trouble; known trouble is kept as it is."""
        with self._database.write() as connection:
            incidents.open_one(connection, kind, partition, detail, self._real_us())

    def recovered(self, kind: str, partition: str) -> None:
        """Close the incidents of that kind."""
        with self._database.write() as connection:
            incidents.close(connection, kind, partition, self._real_us())

    def caught_up(self, partitions: Sequence[str]) -> None:
        """Nothing more is to come from these: what they touched may be judged."""
        reached = update(position).where(position.c.partition.in_(partitions), position.c.behind)
        with self._database.write() as connection:
            connection.execute(reached.values(behind=False, end=position.c.next))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[SqlWindowTransaction]:
        """Begin a batch: committed at the end, rolled back on any error."""
        with self._database.write() as connection:
            work = SqlWindowTransaction(connection, self._known, self._real_us())
            yield work
        self._known.keep(work.stored)


class SqlWindowTransaction:
    """Implements ``consumers.store.WindowTransaction`` on one connection."""

    def __init__(self, connection: Connection, known: _KnownIds, now: int) -> None:
        """``now`` is the real time."""
        self._connection = connection
        self._known = known
        self._now = now
        self.stored: dict[int | None, tuple[bytes, UserIds]] = {}
        self._loaded: dict[int | None, bytes] = {}
        self._numbers: dict[str, int] = {}
        self._days_before: dict[str, tuple[int, int]] = {}

    def advance(self, chunk: Chunk, origin: str) -> None:
        """Compare-and-set the partition's position, or begin it; a rival who was first raises LostPosition."""
        moved = self._run(
            'UPDATE position SET next = ?, "end" = ?, behind = ?, origin = ?, log = ?, updated_at = ?'
            " WHERE partition = ? AND next = ?",
            (
                chunk.next,
                chunk.end,
                chunk.behind,
                origin,
                chunk.log,
                self._now,
                chunk.partition,
                chunk.start,
            ),
        ).rowcount
        if not moved:
            moved = self._run(
                'INSERT INTO position (partition, next, "end", behind, origin, log, updated_at)'
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (chunk.partition, chunk.next, chunk.end, chunk.behind, origin, chunk.log, self._now),
            ).rowcount
        if not moved:
            raise LostPosition(f"another process has moved {chunk.partition} on from {chunk.start}")
        if chunk.lost:
            incidents.gap(self._connection, chunk, self._now)

    def segments(self, lane: str, after: int) -> Sequence[tuple[int, Segment]]:
        """Segments of ``lane`` numbered above ``after``, oldest first."""
        rows = self._run(
            "SELECT seq, newest_day, ids, prints FROM seen_segment WHERE lane = ? AND seq > ? ORDER BY seq",
            (lane, after),
        )
        return [
            (
                seq,
                Segment(newest, np.frombuffer(ids, dtype=np.uint64), np.frombuffer(prints, dtype=np.uint32)),
            )
            for seq, newest, ids, prints in rows
        ]

    def remember(self, lane: str, segment: Segment, expired_before: int) -> int:
        """Store a segment, dropping those whose newest day is before ``expired_before``. Returns its number."""
        last = self._run(
            "SELECT COALESCE(MAX(seq), 0) FROM seen_segment WHERE lane = ?", (lane,)
        ).scalar_one()
        self._run(
            "DELETE FROM seen_segment WHERE lane = ? AND newest_day < ? AND seq < ?",
            (lane, expired_before, last),
        )
        self._run(
            "INSERT INTO seen_segment (lane, seq, newest_day, ids, prints) VALUES (?, ?, ?, ?, ?)",
            (lane, last + 1, segment.newest_day, segment.ids.tobytes(), segment.prints.tobytes()),
        )
        return int(last) + 1

    def load(self, account_ids: Sequence[str]) -> Mapping[str, AccountState]:
        """Those of the accounts that are known. The write lock is held since BEGIN IMMEDIATE."""
        states = {}
        rows = self._run(_LOAD, (json.dumps(list(account_ids)),))
        for no, account_id, profile, days, users, login_maps, ids, usage, facts in rows:
            known = Profile.load(profile)
            states[account_id] = AccountState(
                account_id=account_id,
                no=no,
                profile=known,
                days=DayCounts(known.ring_day, days),
                users=Users(self._known.take(no, ids), users, login_maps),
                usage_blob=usage,
                facts_blob=facts,
            )
            self._numbers[account_id] = no
            self._loaded[no] = ids
            self._days_before[account_id] = (known.first_day, known.last_day)
        return states

    def save(self, accounts: Iterable[AccountState]) -> None:
        """Write changed accounts back; new ones get their number."""
        accounts = list(accounts)
        self._number([account for account in accounts if account.no is None])
        for account in accounts:
            ids = account.users.known
            blob = self._loaded.get(account.no)
            self.stored[account.no] = (
                encode_ids(ids.ids) if account.new_users or blob is None else blob,
                ids,
            )
        self._many(
            _SAVE_WINDOW,
            [
                (a.no, a.profile.blob(), a.days.blob(), a.users.cells, a.users.login_maps.tobytes())
                for a in accounts
            ],
        )
        self._many(
            _SAVE_DETAIL,
            [(a.no, self.stored[a.no][0], a.usage_blob, a.facts_blob) for a in accounts if a.detail_changed],
        )
        self._many(
            "UPDATE account SET first_day = ?, last_day = ? WHERE no = ?",
            [
                (*days, a.no)
                for a in accounts
                if (days := (a.profile.first_day, a.profile.last_day)) != self._days_before.get(a.account_id)
                and days[1] != NEVER
            ],
        )
        self._many(_SAVE_DIRECTORY, [(*_directory(a), a.no) for a in accounts if a.news is not None])

    def _number(self, new: Sequence[AccountState]) -> None:
        if not new:
            return
        self._many(
            "INSERT INTO account (account_id) VALUES (?) ON CONFLICT DO NOTHING",
            [(account.account_id,) for account in new],
        )
        wanted = json.dumps([account.account_id for account in new])
        rows = self._run(
            "SELECT a.account_id, a.no FROM json_each(?) AS wanted JOIN account AS a ON a.account_id = wanted.value",
            (wanted,),
        )
        self._numbers.update((account_id, no) for account_id, no in rows)
        for account in new:
            account.no = self._numbers[account.account_id]

    def fed(self, first_days: Mapping[str, int]) -> None:
        """Lower the first day of each family of events to the one given, if that is earlier."""
        self._many(
            "INSERT INTO family (name, first_day) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET first_day = min(first_day, excluded.first_day)",
            list(first_days.items()),
        )

    def touch(self, account_ids: Sequence[str], partition: str) -> None:
        """Mark accounts as touched by ``partition``, to be judged once it has caught up."""
        self._many(
            "INSERT INTO touched (account_no, partition) VALUES (?, ?) ON CONFLICT DO NOTHING",
            [(self._numbers[account_id], partition) for account_id in account_ids],
        )

    def reject(self, chunk: Chunk, origin: str, rejected: Sequence[Rejected]) -> None:
        """Keep rejected records as dead letters, each once per partition and offset."""
        self._many(
            _REJECT,
            [
                (
                    chunk.partition,
                    item.offset,
                    item.rejection.reason,
                    item.rejection.detail,
                    f"{origin} {item.offset}"[:1024],
                    item.body[:_BODY_KEPT],
                    self._now,
                )
                for item in rejected
            ],
        )

    def count(self, totals: Mapping[str, int]) -> None:
        """Add to the running totals."""
        self._many(
            "INSERT INTO counter (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            list(totals.items()),
        )

    def _run(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        return self._connection.exec_driver_sql(statement, values)

    def _many(self, statement: str, rows: list[Any]) -> None:
        if rows:
            self._connection.exec_driver_sql(statement, rows)


def _directory(account: AccountState) -> tuple[Any, ...]:
    """The columns of ``_DIRECTORY``, as the account's facts say."""
    assert account.news is not None
    profile = account.profile
    attributes = account.news.attributes
    return (
        *(attributes.get(name) for name in ATTRIBUTES),
        account.news.currency or None,
        profile.term_months if profile.term_months >= 0 else None,
        profile.renewal_day if profile.renewal_day != NEVER else None,
        profile.mrr_cents if profile.mrr_cents >= 0 else None,
    )
