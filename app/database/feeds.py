"""What sources brought, kept with the batch that brought it: rows that every consumer of a source shares.

Most batches only move a source's newest instant within an hour that is known: one small statement. What a process knows
to be stored it remembers, as rows only ever gain.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, tuple_, update

from app.database.drivers import Driver
from app.database.tables import api_key, family, feed
from app.database.upsert import inserting
from consumers.feeds import LOCAL, Feed, stored_feed, union

_Names = tuple[str, str]
_COLUMNS = (feed.c.source, feed.c.family, feed.c.newest_at, feed.c.first_day, feed.c.hours)
_MOVING = ("newest_at", "first_day", "hours", "updated_at")
_RECEIVED = (
    select(family.c.name, family.c.first_day, func.max(feed.c.newest_at))
    .outerjoin(feed, feed.c.family == family.c.name)
    .group_by(family.c.name, family.c.first_day)
)
_NEWER = "UPDATE feed SET newest_at = ?, updated_at = ? WHERE source = ? AND family = ? AND newest_at < ?"


class KnownFeeds:
    """What is known to be stored. Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[_Names, Feed] = {}
        self._lock = threading.Lock()

    def get(self, each: Feed) -> Feed | None:
        """What is stored of this source and family, or was once: there may be more by now."""
        return self._known.get((each.source, each.family))

    def keep(self, stored: Iterable[Feed]) -> None:
        """These are committed."""
        with self._lock:
            for each in stored:
                names = each.source, each.family
                known = self._known.get(names)
                self._known[names] = each if known is None else union(known, each)


def keep(connection: Connection, feeds: Sequence[Feed], known: KnownFeeds, now: int) -> list[Feed]:
    """Store ``feeds``, of which each source and family is there once, in order. Returns what is stored now."""
    changed: list[Feed] = []
    more = False
    for each in feeds:
        before = known.get(each)
        after = each if before is None else union(before, each)
        more |= before is None or _says_more(before, after)
        if after != before:
            changed.append(after)
    if more:  # all of them, so that everybody takes the rows in one order
        return _merge(connection, changed, now)
    driver = Driver(connection)
    for each in changed:
        driver.run(_NEWER, each.newest_at, now, each.source, each.family, each.newest_at).close()
    return changed


def _says_more(before: Feed, after: Feed) -> bool:
    """Beside a newer instant in the hour that was the newest already."""
    return after.newest_hour != before.newest_hour or (after.hours, after.first_day) != (
        before.hours,
        before.first_day,
    )


def _merge(connection: Connection, feeds: Sequence[Feed], now: int) -> list[Feed]:
    """With what is there, which nobody else changes meanwhile; everybody takes the rows in the same order."""
    new = inserting(connection, feed).on_conflict_do_nothing()
    connection.execute(new, [_row(each, now) for each in feeds])
    names = [(each.source, each.family) for each in feeds]
    wanted = select(*_COLUMNS).where(tuple_(feed.c.source, feed.c.family).in_(names))
    held = wanted.order_by(feed.c.source, feed.c.family).with_for_update()
    there = {(row.source, row.family): stored_feed(*row) for row in connection.execute(held)}
    after = [union(there[each.source, each.family], each) for each in feeds]
    this = (feed.c.source == bindparam("of"), feed.c.family == bindparam("kind"))
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in _MOVING}
    rows = [_row(each, now) for each in after]
    connection.execute(
        update(feed).where(*this).values(values),
        [
            {"of": row["source"], "kind": row["family"], **{f"new_{name}": row[name] for name in _MOVING}}
            for row in rows
        ],
    )
    return after


def _row(each: Feed, now: int) -> dict[str, Any]:
    return {
        "source": each.source,
        "family": each.family,
        "newest_at": each.newest_at,
        "first_day": each.first_day,
        "hours": each.blob(),
        "updated_at": now,
    }


def received(connection: Connection) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Of each family the first day over the portfolio; of each family of activity the instant of its newest event."""
    rows = connection.execute(_RECEIVED).all()
    return {row[0]: row[1] for row in rows}, {row[0]: row[2] for row in rows if row[2] is not None}


def everything(connection: Connection) -> list[Feed]:
    """What every source ever brought."""
    return [stored_feed(*row) for row in connection.execute(select(*_COLUMNS))]


def heard_at(connection: Connection) -> Mapping[str, int]:
    """When, by the real clock, each source last brought anything newer, or of an hour that was not known."""
    wanted = select(feed.c.source, func.max(feed.c.updated_at)).group_by(feed.c.source)
    return {row[0]: int(row[1]) for row in connection.execute(wanted)}


def gone(connection: Connection) -> frozenset[str]:
    """The names of senders who are let in no more: all keys of the name are revoked; or, since there is a key, those
    who sent from this machine without one."""
    wanted = select(api_key.c.name, func.count(), func.count(api_key.c.revoked_at)).group_by(api_key.c.name)
    keys = connection.execute(wanted).all()
    revoked = {name[:128] for name, keys_, revoked_ in keys if keys_ == revoked_}
    return frozenset(revoked | ({LOCAL} if keys and LOCAL not in {row[0] for row in keys} else set()))
