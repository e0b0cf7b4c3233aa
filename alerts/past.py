"""Accounts as they were when each of many days closed, as one portfolio: what a replay judges.

A portfolio has one last complete day D, and metrics only ever look back from it. So an account at the close
of an earlier day is the same account with all its days moved on by the difference. Days are judged in
stretches that way, each row one account on one day, because numpy takes as long over twelve rows as over a
thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.account_rows import AccountRows, Moment
from alerts.columns import MOMENT_DTYPE, Stack, stacked
from alerts.model import Model
from alerts.past_facts import Told
from alerts.past_windows import Places, Windows
from alerts.portfolio import Portfolio
from alerts.values import IntArray
from consumers.days import Calendar
from consumers.facts import PROFILE_FIELDS
from consumers.history import History
from consumers.moments import LAST_DAY
from consumers.windows import NEVER

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

    def since(self, day: int) -> Stretch:
        """The same without the closes before ``day``."""
        return Stretch(self.portfolio, [close for close in self.closes if close[0] >= day])

    @property
    def accounts(self) -> int:
        """How many accounts were known at the end."""
        last = self.closes[-1][1]
        return int(last.stop - last.start)


class Past:
    """A history, folded day by day."""

    def __init__(self, history: History, calendar: Calendar, model: Model | None = None) -> None:
        self._model = Model() if model is None else model
        self._history = history
        self._calendar = calendar

    def stretches(self, first: int, last: int) -> Iterator[Stretch]:
        """The closes of the days [first..last], in order."""
        history, span = self._history, self._history.span
        windows = Windows(history, Places(history))
        told = Told(history, self._calendar, windows)
        family_days = set(history.first_days.values())
        coming = first if span is None else min(span[0], first)
        rows = _Rows(windows, told)
        for day in range(first, last + 1):
            if rows.closes and (day in family_days or rows.full):  # a portfolio knows one set of families
                yield self._stretch(rows)
                rows = _Rows(windows, told)
            for each in range(coming, day + 1):
                windows.fold(each)
                told.fold(each)
            coming = day + 1
            rows.close(day)
        if rows.closes:
            yield self._stretch(rows)

    def _stretch(self, rows: _Rows) -> Stretch:
        as_of = rows.closes[-1][0]
        families = {
            family: day for family, day in self._history.first_days.items() if day <= rows.closes[0][0]
        }
        moment = Moment(
            as_of=as_of, today=as_of, zone=self._calendar.zone, families=families, model=self._model
        )
        return Stretch(Portfolio(rows.moved_to(as_of), moment), rows.closes)


@dataclass(frozen=True, slots=True)
class _Close:
    """All accounts known at the close of a day, as they were."""

    day: int
    accounts: int
    profile: NDArray[Any]
    days: NDArray[Any]
    cells: NDArray[Any]
    login_maps: NDArray[np.uint64]
    features: NDArray[Any]
    sessions: NDArray[np.int64]
    moments: Sequence[bytes]
    attributes: Sequence[Mapping[str, str]]


class _Rows:
    """Accounts on days, as they were. ``closes`` says which rows are which day's."""

    def __init__(self, windows: Windows, told: Told) -> None:
        self._windows, self._told = windows, told
        self._closes: list[_Close] = []
        self._users = 0
        self.closes: list[tuple[int, slice]] = []

    @property
    def full(self) -> bool:
        return self._count >= _ROWS or self._users >= _CELLS

    @property
    def _count(self) -> int:
        return self.closes[-1][1].stop if self.closes else 0

    def close(self, day: int) -> None:
        """Add all accounts as they are at the close of ``day``."""
        windows, told, start = self._windows, self._told, self._count
        known = windows.places.known(day)
        users = int(windows.places.sizes[:known].sum())
        features = int(windows.uses.sizes[:known].sum())
        close = _Close(
            day=day,
            accounts=known,
            profile=windows.profile[:known].copy(),
            days=windows.days[:known].copy(),
            cells=windows.cells[:users].copy(),
            login_maps=windows.login_maps[:users].copy(),
            features=windows.uses.features[:features].copy(),
            sessions=windows.sessions[:known].copy(),
            moments=told.moments[:known],
            attributes=told.attributes[:known],
        )
        self._closes.append(close)
        self.closes.append((day, slice(start, start + known)))
        self._users += users

    def moved_to(self, day: int) -> AccountRows:
        """All rows as if their day were ``day``."""
        closes, places = self._closes, self._windows.places
        known, lags = [close.accounts for close in closes], [day - close.day for close in closes]
        shifts: IntArray = np.repeat(lags, known)
        users = np.concatenate([places.sizes[:count] for count in known])
        features = np.concatenate([self._windows.uses.sizes[:count] for count in known])
        profiles = np.concatenate([close.profile for close in closes])
        for name in _DAY_FIELDS:
            profiles[name] = _later(profiles[name], shifts)
        attributes = [told for close in closes for told in close.attributes]
        return AccountRows(
            nos=range(len(profiles)),
            account_ids=[name for count in known for name in places.account_ids[:count]],
            profiles=Stack(profiles, np.ones(len(profiles), dtype=np.int64)),
            days=_turned([close.days for close in closes], lags),
            users=_moved([close.cells for close in closes], users, shifts),
            login_maps=lambda: Stack(np.concatenate([close.login_maps for close in closes]), users),
            moments=lambda: _moved_moments([blob for close in closes for blob in close.moments], shifts),
            sessions=lambda: _sessions(_turned([close.sessions for close in closes], lags), day),
            features=lambda: _moved([close.features for close in closes], features, shifts),
            moved=shifts,
            attributes=lambda name: [each.get(name) for each in attributes],
        )


def _later(days: NDArray[Any], shifts: IntArray) -> NDArray[Any]:
    moved: NDArray[Any] = np.where(days == NEVER, NEVER, days + shifts)
    return moved


def _moved(records: Sequence[NDArray[Any]], sizes: IntArray, shifts: IntArray) -> Stack:
    """Records with a last day, so many of each row."""
    whole = np.concatenate(records)
    whole["last_day"] = _later(whole["last_day"], np.repeat(shifts, sizes))
    return Stack(whole, sizes)


def _turned(rings: Sequence[NDArray[Any]], lags: Sequence[int]) -> Stack:
    """Rings in which each column belongs to a day so much later."""
    whole = np.concatenate([np.roll(ring, lag, axis=1) for ring, lag in zip(rings, lags, strict=True)])
    return Stack(whole, np.ones(len(whole), dtype=np.int64))


def _sessions(rings: Stack, day: int) -> Stack:
    """Rings of milliseconds, the newest day of which is ``day``, as records."""
    count, width = rings.array.shape
    records = np.zeros((count, width), dtype=MOMENT_DTYPE)
    columns = np.arange(width)
    records["day"] = np.clip(day - (day - columns) % width, 0, LAST_DAY)
    records["value"] = rings.array
    return Stack(records.reshape(-1), np.full(count, width))


def _moved_moments(blobs: Sequence[bytes], shifts: IntArray) -> Stack:
    """Moments, each day later by its row's shift."""
    moments = stacked(blobs, MOMENT_DTYPE)
    records = moments.array.copy()
    records["day"] = np.minimum(records["day"] + np.repeat(shifts, moments.sizes), LAST_DAY)
    return Stack(records, moments.sizes)
