"""Accounts as they were when each of many days closed, as one portfolio: what a replay judges.

A portfolio has one last complete day D, and metrics only ever look back from it. So an account at the close
of an earlier day is the same account with all its days moved on by the difference. Days are judged in
stretches that way, each row one account on one day, because numpy takes as long over twelve rows as over a
thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.portfolio import CELL_DTYPE, PROFILE_DTYPE, AccountRows, Moment, Portfolio
from alerts.values import IntArray
from consumers.days import Calendar
from consumers.facts import PROFILE_FIELDS
from consumers.fold import Delta
from consumers.history import History
from consumers.state import AccountState, merge_states
from consumers.windows import KEPT_DAYS, NEVER

_DAY_FIELDS = [name for name, _ in PROFILE_FIELDS if name.endswith("_day")]
# Enough rows or users for numpy's own time to outweigh Python's; few enough to stay in the processor's cache.
_ROWS, _CELLS = 2_000, 200_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some days in a row: their portfolio, and for each day the rows that are its close, in the accounts' order.

    Accounts keep their order, and new ones come last. Only the last day's evidence has true dates; values are
    true for all.
    """

    portfolio: Portfolio
    closes: Sequence[tuple[int, slice]]

    @property
    def accounts(self) -> int:
        """How many accounts were known at the end."""
        last = self.closes[-1][1]
        return int(last.stop - last.start)


class Past:
    """A history, folded day by day."""

    def __init__(self, history: History, calendar: Calendar) -> None:
        self._history = history
        self._calendar = calendar
        self._columns: dict[str, _Column] = {}

    def stretches(self, first: int, last: int) -> Iterator[Stretch]:
        """The closes of the days [first..last], in order."""
        days = self._history.days()
        coming = next(days, None)
        family_days = set(self._history.first_days.values())
        rows = _Rows()
        for day in range(first, last + 1):
            if rows.closes and (day in family_days or rows.full):  # a portfolio knows one set of families
                yield self._stretch(rows)
                rows = _Rows()
            while coming is not None and coming[0] <= day:
                self._fold(coming[1])
                coming = next(days, None)
            rows.close(day, self._columns.values())
        if rows.closes:
            yield self._stretch(rows)

    def _fold(self, deltas: Mapping[str, Delta]) -> None:
        for account_id in deltas:
            if account_id not in self._columns:
                self._columns[account_id] = _Column(AccountState(account_id))
        moved = [self._columns[account_id] for account_id in deltas]
        merge_states(
            [(column.state, *delta) for column, delta in zip(moved, deltas.values(), strict=True)],
            self._calendar,
        )
        for column in moved:
            column.refresh()

    def _stretch(self, rows: _Rows) -> Stretch:
        as_of = rows.closes[-1][0]
        families = {
            family: day for family, day in self._history.first_days.items() if day <= rows.closes[0][0]
        }
        moment = Moment(as_of=as_of, today=as_of, zone=self._calendar.zone, families=families)
        return Stretch(Portfolio(rows.moved_to(as_of), moment), rows.closes)


@dataclass(slots=True)
class _Column:
    """An account, with what rows take of it made once for each change."""

    state: AccountState
    profile: bytes = b""
    days: bytes = b""
    cells: bytes = b""
    login_maps: bytes = b""
    attributes: Mapping[str, str] = field(default_factory=dict)

    def refresh(self) -> None:
        """Take up what has changed."""
        state = self.state
        if state.news is not None:
            self.attributes = state.news.attributes
        state.settle()
        self.profile, self.days = state.profile.blob(), state.days.blob()
        self.cells, self.login_maps = bytes(state.users.cells), state.users.login_maps.tobytes()


@dataclass(slots=True)
class _Rows:
    """Accounts on days, as they were."""

    closes: list[tuple[int, slice]] = field(default_factory=list)
    account_ids: list[str] = field(default_factory=list)
    profiles: list[bytes] = field(default_factory=list)
    days: list[bytes] = field(default_factory=list)
    cells: list[bytes] = field(default_factory=list)
    login_maps: list[bytes] = field(default_factory=list)
    attributes: list[Mapping[str, str]] = field(default_factory=list)
    size: int = 0

    @property
    def full(self) -> bool:
        return len(self.profiles) >= _ROWS or self.size >= _CELLS * CELL_DTYPE.itemsize

    def close(self, day: int, columns: Iterable[_Column]) -> None:
        """Add all accounts as they are at the close of ``day``."""
        start = len(self.profiles)
        for column in columns:
            self.account_ids.append(column.state.account_id)
            self.profiles.append(column.profile)
            self.days.append(column.days)
            self.cells.append(column.cells)
            self.login_maps.append(column.login_maps)
            self.attributes.append(column.attributes)
            self.size += len(column.cells)
        self.closes.append((day, slice(start, len(self.profiles))))

    def moved_to(self, day: int) -> AccountRows:
        """All rows as if their day were ``day``."""
        shifts = np.repeat(
            [day - closed for closed, _ in self.closes], [rows.stop - rows.start for _, rows in self.closes]
        )
        return AccountRows(
            nos=range(len(self.profiles)),
            account_ids=self.account_ids,
            profiles=self._moved_profiles(shifts),
            days=[_turned(ring, shift) for ring, shift in zip(self.days, shifts.tolist(), strict=True)],
            users=self._moved_cells(shifts),
            login_maps=lambda: self.login_maps,
            attributes=lambda name: [attributes.get(name) for attributes in self.attributes],
        )

    def _moved_profiles(self, shifts: IntArray) -> list[bytes]:
        profiles = np.frombuffer(b"".join(self.profiles), dtype=PROFILE_DTYPE).copy()
        for name in _DAY_FIELDS:
            days = profiles[name]
            profiles[name] = np.where(days == NEVER, NEVER, days + shifts)
        return _split(profiles, np.ones(len(profiles), dtype=np.int64))

    def _moved_cells(self, shifts: IntArray) -> list[bytes]:
        sizes = (
            np.fromiter(map(len, self.cells), dtype=np.int64, count=len(self.cells)) // CELL_DTYPE.itemsize
        )
        cells = np.frombuffer(b"".join(self.cells), dtype=CELL_DTYPE).copy()
        cells["last_day"] += np.repeat(shifts, sizes).astype(np.int32)
        return _split(cells, sizes)


def _turned(ring: bytes, shift: int) -> bytes:
    """A ring of daily counts in which each count belongs to a day ``shift`` days later."""
    cut = len(ring) - shift % KEPT_DAYS * (len(ring) // KEPT_DAYS)
    return ring[cut:] + ring[:cut]


def _split(records: NDArray[Any], sizes: IntArray) -> list[bytes]:
    """The bytes of so many records each."""
    blob = records.tobytes()
    ends = np.cumsum(sizes * records.itemsize).tolist()
    return [blob[start:end] for start, end in zip([0, *ends], ends, strict=False)]
