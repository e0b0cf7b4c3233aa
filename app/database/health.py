"""Health in the database: pages of 1,024 accounts, one small record each, so that a day's close writes a few big rows.

An account's page is ``no // 1024`` and its place in it ``no % 1024``. ``health_state`` has what a close needs of the
one before, ``health_history`` what every close said. Bytes that were never written are zeros, and so is an account that
was never closed (:mod:`alerts.health.state`).

Who writes an account's record holds the account (:mod:`app.database.account_batches`). Accounts of others may lie in
the same page: so a page is locked, and read again, before it is changed; by number, and after all accounts.
"""

# ruff: noqa: S608 - names and numbers in these texts are ours; values never are in them
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, LargeBinary, Table, delete, func, select

from alerts.health.history import HISTORY_DTYPE, HealthDay, health_day, history_of
from alerts.health.state import HEALTH_DTYPE, Records, blank, raw
from app.database.drivers import Driver
from app.database.tables import health_history, health_state
from app.database.upsert import inserting

PAGE = 1_024
_FEW = 500  # of so many a piece of each page is read, of more the pages
_AT_ONCE = 5_000  # numbers in one list; SQLite takes 32,766
_SIZE = HEALTH_DTYPE.itemsize
_PIECES = f"""
SELECT a.no, substr(h.records, CAST(a.no - a.no / {PAGE} * {PAGE} AS integer) * {_SIZE} + 1, {_SIZE})
FROM account AS a JOIN health_state AS h ON h.page = a.no / {PAGE}
"""


def read_health(connection: Connection, nos: Sequence[int]) -> Records:
    """What is remembered of these accounts, which are in order; zeros of those never closed."""
    numbers = np.asarray(nos, dtype=np.int64)
    records = blank(len(numbers))
    if len(numbers) > _FEW:
        of = numbers // PAGE
        for page, blob in _pages(connection, np.unique(of).tolist()).items():
            here = np.flatnonzero(of == page)
            kept = np.frombuffer(blob, dtype=HEALTH_DTYPE)
            within = here[numbers[here] % PAGE < len(kept)]
            raw(records)[within] = raw(kept)[numbers[within] % PAGE]
    elif len(numbers):
        driver = Driver(connection)
        these, values = driver.among("a.no", numbers.tolist())
        # A page is as long as the last account that was closed in it: the piece of one behind is empty.
        found = {no: bytes(piece) for no, piece in driver.rows(f"{_PIECES} WHERE {these}", *values) if piece}
        here = np.searchsorted(numbers, sorted(found))
        records[here] = np.frombuffer(b"".join(found[no] for no in sorted(found)), dtype=HEALTH_DTYPE)
    return records


def keep_health(connection: Connection, nos: Sequence[int], records: Records, day: int) -> None:
    """Write what the close of ``day`` left of these accounts, and its line of their history."""
    if not len(nos):
        return
    numbers = np.asarray(nos, dtype=np.int64)
    pages = np.unique(numbers // PAGE).tolist()
    _make_pages(connection, pages)
    states = _pages(connection, pages, lock=True)
    histories = dict(
        connection.execute(
            select(health_history.c.page, health_history.c.records).where(
                health_history.c.day == day, health_history.c.page.in_(pages)
            )
        ).all()
    )
    told = history_of(records)
    state_rows, history_rows = [], []
    for page in pages:
        here = np.flatnonzero(numbers // PAGE == page)
        places = numbers[here] % PAGE
        state = _patched(states.get(page, b""), places, np.take(records, here))
        state_rows.append({"page": page, "day": day, "records": state})
        history = _patched(histories.get(page, b""), places, np.take(told, here))
        history_rows.append({"day": day, "page": page, "records": history})
    _put(connection, health_state, state_rows, ["page"])
    _put(connection, health_history, history_rows, ["day", "page"])


def health_days(connection: Connection, no: int, first: int, last: int) -> list[HealthDay]:
    """What the closes of the days [first..last] said of one account, in order."""
    page, place = divmod(no, PAGE)
    piece = func.substr(
        health_history.c.records,
        place * HISTORY_DTYPE.itemsize + 1,
        HISTORY_DTYPE.itemsize,
        type_=LargeBinary,
    )
    found: list[HealthDay] = []
    for start in range(first, last + 1, _AT_ONCE):
        # The days by name: each is then one step into the index, whatever the number of pages.
        days = list(range(start, min(start + _AT_ONCE, last + 1)))
        wanted = select(health_history.c.day, piece).where(
            health_history.c.page == page, health_history.c.day.in_(days)
        )
        rows = connection.execute(wanted.order_by(health_history.c.day))
        found += filter(None, (health_day(day, bytes(entry)) for day, entry in rows))
    return found


def prune_health(connection: Connection, *, before_day: int, limit: int) -> int:
    """Drop up to ``limit`` pages of days before; returns how many went."""
    old = (
        select(health_history.c.day)
        .where(health_history.c.day < before_day)
        .order_by(health_history.c.day)
        .limit(limit)
    )
    days = sorted(set(connection.scalars(old)))
    if not days:
        return 0
    return connection.execute(delete(health_history).where(health_history.c.day.in_(days))).rowcount


def _pages(connection: Connection, pages: Sequence[int], *, lock: bool = False) -> Mapping[int, bytes]:
    found: dict[int, bytes] = {}
    for start in range(0, len(pages), _AT_ONCE):
        some = pages[start : start + _AT_ONCE]
        wanted = select(health_state.c.page, health_state.c.records).where(health_state.c.page.in_(some))
        wanted = wanted.order_by(health_state.c.page)
        if lock and connection.dialect.name != "sqlite":  # on SQLite a writer is alone
            wanted = wanted.with_for_update()
        found.update((page, bytes(blob)) for page, blob in connection.execute(wanted))
    return found


def _make_pages(connection: Connection, pages: Sequence[int]) -> None:
    """So that there is a row to lock."""
    statement = inserting(connection, health_state).on_conflict_do_nothing()
    connection.execute(statement, [{"page": page, "day": 0, "records": b""} for page in pages])


def _patched(page: bytes, places: NDArray[np.int64], records: NDArray[Any]) -> bytes:
    size = max(len(page) // records.dtype.itemsize, int(places.max()) + 1)
    patched = np.zeros(size, dtype=records.dtype)
    before = np.frombuffer(page, dtype=records.dtype)
    raw(patched)[: len(before)] = raw(before)
    raw(patched)[places] = raw(records)
    return patched.tobytes()


def _put(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], key: list[str]) -> None:
    statement = inserting(connection, table)
    changed = {name: statement.excluded[name] for name in rows[0] if name not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changed), list(rows))
