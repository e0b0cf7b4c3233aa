"""Windows and positions in the database: a batch is one transaction, and its statements are few."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xxhash
from sqlalchemy import Connection, select, tuple_, update

from app.clock import Clock
from app.database import feeds, incidents
from app.database.engine import Database
from app.database.feeds import KnownFeeds
from app.database.known_ids import KnownIds
from app.database.tables import position
from app.database.window_statements import Ask, Put, WindowStatements
from app.database.window_statements_postgresql import PostgresqlStatements
from app.database.window_statements_sqlite import SqliteStatements
from consumers.dedup import Segment, merges
from consumers.errors import LostPosition
from consumers.facts import ATTRIBUTES, Profile
from consumers.feeds import Feed
from consumers.source import Chunk, Position
from consumers.state import AccountState, encode_ids
from consumers.store import Rejected
from consumers.windows import NEVER, DayCounts, UserIds, Users

# The one that is known comes too, but for its blobs: were it gone, the lane was made anew.
_SEGMENTS = """
SELECT seq, batches, newest_day,
  CASE WHEN seq > ? AND newest_day >= ? AND newest_day < ? THEN ids END,
  CASE WHEN seq > ? AND newest_day >= ? AND newest_day < ? THEN prints END
FROM seen_segment WHERE lane = ? AND seq >= ? ORDER BY seq LIMIT ?
"""
_SLICE = 64  # segments, 40 MB of merged ones; fewer where some come without their ids
_FAMILIES = "SELECT name, first_day FROM family"
_CLOCK = Clock()
_BODY_KEPT = 1 << 20  # of a record larger than any event may be, this much is kept to look at


class SqlWindowStore:
    """Implements ``consumers.store.WindowStore``. Thread-safe: each transaction has its own connection."""

    def __init__(self, database: Database, real_us: Callable[[], int] = _CLOCK.real_us) -> None:
        """``real_us`` dates positions and dead letters: retention and patience go by the real clock."""
        self._database = database
        self._real_us = real_us
        self._known = KnownIds()
        self._feeds = KnownFeeds()

    def positions(self, partitions: Sequence[str]) -> Mapping[str, Position]:
        """How far each of ``partitions`` was handled; those that were never read are left out."""
        wanted = select(position.c.partition, position.c.next, position.c.log)
        with self._database.read() as connection:
            rows = connection.execute(wanted.where(position.c.partition.in_(partitions))).all()
        return {row.partition: Position(row.next, row.log) for row in rows}

    def current(self, reached: Mapping[str, int], now: int) -> None:
        """Write down that each partition was read to its end at ``now``, if it still stands where it ``reached``."""
        ours = tuple_(position.c.partition, position.c.next).in_(sorted(reached.items()))
        with self._database.write() as connection:
            connection.execute(update(position).where(ours).values(current_at=now, behind=False))

    def troubles(self, partitions: Sequence[str]) -> Mapping[str, Collection[str]]:
        """The kinds of the open incidents of each of ``partitions``; those without any are left out."""
        found: dict[str, set[str]] = {}
        with self._database.read() as connection:
            for each in incidents.going_on(connection):
                found.setdefault(each.subject, set()).add(each.kind)
        return {partition: found[partition] for partition in partitions if partition in found}

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

    def segments(self, lane: str, after: int, days: range) -> Sequence[tuple[int, Segment]] | None:
        """Some segments of ``lane`` above ``after``, oldest first, None if that is gone: in a snapshot of its own."""
        wanted = (after, days.start, days.stop)
        with self._database.read() as connection:
            rows = self._speak(connection).run(_SEGMENTS, (*wanted, *wanted, lane, after, _SLICE + 1))
            return _segments(rows, after)

    def _speak(self, connection: Connection) -> WindowStatements:
        return SqliteStatements(connection) if self._database.sqlite else PostgresqlStatements(connection)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[SqlWindowTransaction]:
        """Begin a batch: committed at the end, rolled back on any error."""
        with self._database.write() as connection:
            work = SqlWindowTransaction(
                connection, self._speak(connection), self._known, self._feeds, self._real_us()
            )
            yield work
        self._known.keep(work.stored)
        self._feeds.keep(work.flowed)


class SqlWindowTransaction:
    """Implements ``consumers.store.WindowTransaction`` on one connection."""

    def __init__(
        self,
        connection: Connection,
        statements: WindowStatements,
        known: KnownIds,
        known_feeds: KnownFeeds,
        now: int,
    ) -> None:
        """``now`` is the real time."""
        self._connection = connection
        self._statements = statements
        self._known = known
        self._feeds = known_feeds
        self._now = now
        self.flowed: Sequence[Feed] = ()
        self.stored: dict[int | None, tuple[bytes, UserIds]] = {}
        self._loaded: dict[int | None, bytes] = {}
        self._numbers: dict[str, int] = {}
        self._lanes: set[str] = set()
        self._days_before: dict[str, tuple[int, int]] = {}

    def advance(self, chunks: Sequence[Chunk], origin: str, now: int) -> None:
        """Compare-and-set positions, or begin them; a rival who was first with any raises LostPosition."""
        chunks = sorted(chunks, key=lambda each: each.partition)
        stored = dict(self._statements.ask(Ask.POSITIONS, [(chunk.partition,) for chunk in chunks]))
        known: list[tuple[Any, ...]] = []
        new: list[tuple[Any, ...]] = []
        for chunk in chunks:
            current_at = None if chunk.behind else now
            reached = (chunk.next, chunk.end, chunk.behind, origin, chunk.log, self._now, current_at)
            if stored.get(chunk.partition) == chunk.start:
                known.append((*reached, chunk.partition))
            elif chunk.partition in stored or chunk.resumes:
                raise LostPosition(f"another process has moved {chunk.partition} on from {chunk.start}")
            else:
                new.append((chunk.partition, *reached))
        self._statements.put(Put.POSITION, known)
        if self._statements.put(Put.NEW_POSITION, new) < len(new):
            raise LostPosition(f"another process has begun one of {', '.join(each[0] for each in new)}")
        for chunk in chunks:
            if chunk.lost:
                incidents.gap(self._connection, chunk, self._now)
            if chunk.damaged:
                incidents.damage(self._connection, chunk, self._now)

    def since(
        self, known: Mapping[str, tuple[int, int]]
    ) -> Mapping[str, Sequence[tuple[int, Segment]] | None]:
        """All segments of each lane above the number given, None if that is gone; the lanes are ours now.

        The day beside the number: those of earlier ones come without their ids.
        """
        self._hold(known)
        rows: dict[str, list[tuple[Any, ...]]] = {lane: [] for lane in known}
        wanted = [(lane, after, first_day) for lane, (after, first_day) in known.items()]
        for lane, *row in self._statements.ask(Ask.SEGMENTS, wanted):
            rows[lane].append(tuple(row))
        return {lane: _segments(rows[lane], after) for lane, (after, _) in known.items()}

    def remember(self, brought: Mapping[str, Segment], expired_before: int) -> Mapping[str, int]:
        """Store what a batch brought, of each lane in one row with small ones before it. Returns their numbers."""
        ask, put = self._statements.ask, self._statements.put
        self._hold(brought)
        newest: dict[str, list[tuple[int, int, int]]] = {lane: [] for lane in brought}
        for lane, seq, day, size in ask(Ask.NEWEST, [(lane,) for lane in brought]):
            newest[lane].append((seq, day, size))
        last = {lane: rows[0][0] if rows else 0 for lane, rows in newest.items()}
        put(Put.NO_EXPIRED, [(lane, expired_before, last[lane]) for lane in brought])
        merging = []
        for lane, rows in newest.items():
            new = brought[lane]
            if taken := merges(new.newest_day, len(new.ids), [(day, size) for _, day, size in rows]):
                merging.append((lane, rows[taken][0] if taken < len(rows) else rows[taken - 1][0] - 1))
        parts: dict[str, list[tuple[Any, ...]]] = {lane: [] for lane in brought}
        for lane, *part in ask(Ask.MERGED, merging) if merging else ():
            parts[lane].append(tuple(part))
        put(Put.NO_MERGED, merging)
        merged = []
        for lane, new in brought.items():
            parts[lane].append((1, new.newest_day, new.ids.tobytes(), new.prints.tobytes()))
            batches, days, ids, prints = zip(*parts[lane], strict=True)
            merged.append((lane, last[lane] + 1, sum(batches), max(days), b"".join(ids), b"".join(prints)))
        put(Put.SEGMENT, merged)
        return {lane: number + 1 for lane, number in last.items()}

    def _hold(self, lanes: Iterable[str]) -> None:
        """Lanes are ours until the end; sorted, as everybody takes them."""
        if new := sorted(set(lanes) - self._lanes):
            self._statements.hold_lanes(new)
            self._lanes.update(new)

    def load(self, account_ids: Sequence[str]) -> Mapping[str, AccountState]:
        """Those of the accounts that are known; nobody else changes any of ``account_ids`` before the end."""
        states = {}
        for row in self._statements.find(account_ids):
            (
                no,
                account_id,
                profile,
                days,
                users,
                login_maps,
                active,
                features,
                sessions,
                ids,
                usage,
                facts,
            ) = row
            known = Profile.load(profile)
            states[account_id] = AccountState(
                account_id=account_id,
                no=no,
                profile=known,
                days=DayCounts(known.ring_day, days),
                users=Users(self._known.take(no, ids), users, login_maps),
                active_days=bytearray(active),
                features=features,
                sessions=sessions,
                usage_blob=usage,
                facts_blob=facts,
            )
            self._numbers[account_id] = no
            self._loaded[no] = ids
            self._days_before[account_id] = (known.first_day, known.last_day)
        return states

    def save(self, accounts: Iterable[AccountState]) -> None:
        """Write changed accounts back; new ones get their number."""
        known: list[AccountState] = []
        new: list[AccountState] = []
        for account in accounts:
            (known if account.no in self._loaded else new).append(account)
        self._number(new)
        accounts = [*known, *new]
        for account in accounts:
            ids = account.users.known
            blob = self._loaded.get(account.no)
            kept = encode_ids(ids.ids) if account.new_users or blob is None else blob
            self.stored[account.no] = (kept, ids)
        put = self._statements.put
        put(Put.WINDOW, [_window(each) for each in known])
        put(Put.NEW_WINDOW, [_new_window(each) for each in new])
        put(Put.MOMENTS, [(each.moments, each.ledger, each.no) for each in known if each.new_moments])
        put(Put.USAGE, [(each.features, each.sessions, each.no) for each in known if each.new_usage])
        put(Put.DETAIL, [self._detail(each) for each in known if each.detail_changed])
        put(Put.NEW_DETAIL, [self._detail(each) for each in new if each.detail_changed])
        put(
            Put.DAYS,
            [
                (*days, each.no)
                for each in accounts
                if (days := (each.profile.first_day, each.profile.last_day))
                != self._days_before.get(each.account_id)
                and days[1] != NEVER
            ],
        )
        put(Put.DIRECTORY, [(*_directory(each), each.no) for each in accounts if each.news is not None])

    def _detail(self, account: AccountState) -> tuple[Any, ...]:
        return (account.no, self.stored[account.no][0], account.stored_usage(), account.stored_facts())

    def _number(self, new: Sequence[AccountState]) -> None:
        if not new:
            return
        self._numbers.update(self._statements.number([account.account_id for account in new]))
        for account in new:
            account.no = self._numbers[account.account_id]

    def fed(self, first_days: Mapping[str, int]) -> None:
        """Lower the first day of each family of events to the one given, if that is earlier.

        What is as early already is not written: every batch feeds the same few rows.
        """
        known: dict[str, int] = dict(self._statements.run(_FAMILIES, ()).all())
        lower = {name: day for name, day in first_days.items() if day < known.get(name, day + 1)}
        self._statements.put(Put.FAMILY, sorted(lower.items()))

    def feed(self, brought: Sequence[Feed]) -> None:
        """Keep what sources brought; nothing is written that is known to be there."""
        self.flowed = feeds.keep(self._connection, brought, self._feeds, self._now) if brought else ()

    def touch(self, accounts: Mapping[str, Collection[str]]) -> None:
        """Mark accounts as touched by a partition, the key, to be judged once it has caught up."""
        numbers = self._numbers
        marks = [(numbers[each], partition) for partition, named in accounts.items() for each in named]
        self._statements.put(Put.TOUCHED, marks)

    def reject(self, chunk: Chunk, origin: str, rejected: Sequence[Rejected]) -> None:
        """Keep rejected records as dead letters, each once per partition, log, offset and body.

        A log that was cut gives an offset to another record: that one is kept too, its log named with a hash behind.
        """
        rows = [
            (
                chunk.partition,
                chunk.log,
                item.offset,
                str(item.rejection.reason),
                item.rejection.detail,
                f"{origin} {item.offset}"[:1024],
                item.body[:_BODY_KEPT],
                self._now,
            )
            for item in rejected
        ]
        if self._statements.put(Put.DEAD_LETTER, rows) < len(rows):
            marks = (f"#{xxhash.xxh3_64_hexdigest(item.body[:_BODY_KEPT])}" for item in rejected)
            self._statements.put(
                Put.OTHER_DEAD_LETTER, [(*row, mark) for row, mark in zip(rows, marks, strict=True)]
            )

    def count(self, totals: Mapping[str, int]) -> None:
        """Add to the running totals, by name: two who count at once then never wait for each other in a circle."""
        self._statements.put(Put.COUNTER, sorted(totals.items()))


def _segments(rows: Iterable[Sequence[Any]], after: int) -> Sequence[tuple[int, Segment]] | None:
    """Those above ``after``, None if the batch of that number is in none of ``rows``, of which it is the first.

    Ids that were not asked for are none.
    """
    rows = list(rows)
    if after and (not rows or rows[0][0] - rows[0][1] >= after):
        return None
    return [
        (
            seq,
            Segment(
                newest,
                np.frombuffer(ids or b"", dtype=np.uint64),
                np.frombuffer(prints or b"", dtype=np.uint32),
            ),
        )
        for seq, _, newest, ids, prints in rows
        if seq > after
    ]


def _window(account: AccountState) -> tuple[Any, ...]:
    users = account.users
    return (
        account.no,
        account.profile.blob(),
        account.days.blob(),
        bytes(users.cells),
        users.login_maps.tobytes(),
        bytes(account.active_days),
    )


def _new_window(account: AccountState) -> tuple[Any, ...]:
    return (*_window(account), account.moments, account.features, account.sessions, account.ledger)


def _directory(account: AccountState) -> tuple[Any, ...]:
    """The columns of ``DIRECTORY``, as the account's facts say."""
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
