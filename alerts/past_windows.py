"""The windows of all accounts of a history at once, moved on from day to day: what :mod:`alerts.past` takes rows from.

The same windows as :mod:`consumers.windows` and :mod:`consumers.usage` have of one account, but laid end to end, since
a replay knows beforehand who will ever come: every user has his place from the beginning, with no day until he is
active. Days come in order, so a map moves on only where somebody is active, and a ring has no gaps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.arrays import IntArray
from alerts.columns import CELL_DTYPE, FEATURE_DTYPE, PROFILE_DTYPE
from consumers.facts import Profile
from consumers.history import History
from consumers.usage import USE_FIELDS, extend, feature_hash
from consumers.windows import KEPT_DAYS, MAP_DAYS, NEVER

_USE = np.dtype(USE_FIELDS)
_NARROW = np.iinfo(np.uint16).max
_ONE = np.uint64(1)


class Places:
    """Where accounts and users stand: accounts by the day of their first event, an account's users next to each other.

    So the accounts that are known at the close of a day are the first so many, and so are their users.
    """

    def __init__(self, history: History) -> None:
        count, nobody = len(history.accounts), np.iinfo(np.int64).max
        born = np.full(count, nobody)
        users, days = users_of(history.activity), history.activity >> 33
        # Of the days written to one place the last stays: backwards that is the first.
        born[history.account_of[users[::-1]]] = days[::-1]
        for day, facts in history.facts.items():
            accounts = [account for account, _ in facts]
            born[accounts] = np.minimum(born[accounts], day)
        order = np.argsort(born, kind="stable")
        self._born = born[order][: np.searchsorted(born[order], nobody)]
        self.account_ids = [history.accounts[number] for number in order[: len(self._born)].tolist()]
        self.of_account: IntArray = np.empty(count, dtype=np.int64)  # of accounts as the history numbers them
        self.of_account[order] = np.arange(count)

        owner = self.of_account[history.account_of]
        users_order = np.argsort(owner, kind="stable")
        self.of_user: IntArray = np.empty(len(owner), dtype=np.int64)  # of users as the history numbers them
        self.of_user[users_order] = np.arange(len(owner))
        self.owner: IntArray = owner[users_order]  # the account of the user in each place
        self.sizes: IntArray = np.bincount(owner, minlength=count)
        self.ends: IntArray = np.cumsum(self.sizes)
        self._users, self._users_order = history.users, users_order

    def known(self, day: int) -> int:
        """How many accounts there are at the close of ``day``."""
        return int(np.searchsorted(self._born, day, side="right"))

    def users(self, account: int) -> slice:
        """The places of an account's users."""
        end = int(self.ends[account])
        return slice(end - int(self.sizes[account]), end)

    def slots(self, account: int) -> dict[str, int]:
        """Each of an account's users' place among them, by id."""
        numbers = self._users_order[self.users(account)].tolist()
        return {self._users[number]: slot for slot, number in enumerate(numbers)}


class Windows:
    """The windows at the close of the last day that was folded in.

    ``days`` are the rings of daily logins, ``sessions`` rings of MAP_DAYS days with the milliseconds of sessions; day
    ``d`` is in the column ``d`` modulo the ring's length.
    """

    def __init__(self, history: History, places: Places) -> None:
        accounts = len(places.account_ids)
        self._history, self.places = history, places
        self.profile = np.frombuffer(Profile().blob() * accounts, dtype=PROFILE_DTYPE).copy()
        self.cells = np.zeros(len(places.owner), dtype=CELL_DTYPE)
        self.cells["last_day"] = NEVER
        self.login_maps = np.zeros(len(places.owner), dtype=np.uint64)
        self.days: NDArray[Any] = np.zeros((accounts, KEPT_DAYS), dtype=np.uint16)
        self.sessions = np.zeros((accounts, MAP_DAYS), dtype=np.int64)
        self.uses = _Uses(history, places)

    def fold(self, day: int) -> None:
        """Take in the activity of ``day``. No day may be left out, but where nothing came before."""
        for ring in (self.days, self.sessions):
            ring[:, day % ring.shape[1]] = 0
        history = self._history
        span = slice(*np.searchsorted(history.activity, (day << 33, (day + 1) << 33)))
        if span.start == span.stop:
            return
        packed = history.activity[span]
        places = self.places.of_user[users_of(packed)]
        logins = (packed & 1).astype(np.bool_)
        accounts = self.places.owner[places]
        self._count(day, accounts, np.where(logins, history.counts[span], 0))
        self._meet(day, places, logins)
        profile = self.profile
        profile["ring_day"][accounts[logins]] = day
        profile["last_day"][accounts] = day
        profile["first_day"][accounts] = np.where(
            profile["first_day"][accounts] == NEVER, day, profile["first_day"][accounts]
        )
        self.uses.fold(day)
        ended = history.sessions[slice(*np.searchsorted(history.sessions["day"], (day, day + 1)))]
        self.sessions[self.places.of_account[ended["account"]], day % MAP_DAYS] = ended["milliseconds"]

    def _count(self, day: int, accounts: IntArray, counts: NDArray[np.int64]) -> None:
        totals = np.bincount(accounts, counts, minlength=len(self.days)).astype(np.int64)  # exact below 2**53
        if self.days.itemsize == 2 and totals.max() > _NARROW:
            self.days = self.days.astype(np.uint32)
        self.days[:, day % KEPT_DAYS] = totals

    def _meet(self, day: int, places: IntArray, logins: NDArray[np.bool_]) -> None:
        """Move the maps of those who are active on; a user's login stands behind what else he did."""
        newest = np.append(places[1:] != places[:-1], True)
        at, logged_in = places[newest], logins[newest]
        gap = np.subtract(day, self.cells["last_day"][at], dtype=np.int64).view(np.uint64)
        # Shifted by 64 or more nothing is left: days so long gone lie in no window.
        self.cells["active"][at] = np.left_shift(self.cells["active"][at], gap) | _ONE
        self.login_maps[at] = np.left_shift(self.login_maps[at], gap) | logged_in.astype(np.uint64)
        self.cells["last_day"][at] = day


class _Uses:
    """Who used which feature, and the features of all accounts, next to each other by account."""

    def __init__(self, history: History, places: Places) -> None:
        self._history, self._places, self._features = history, places, max(len(history.features), 1)
        users, features = history.uses["user"], history.uses["feature"]
        owner = self._places.of_account[history.account_of[users]]
        self._rows = np.unique(owner * self._features + features)
        self._pairs = np.unique(self._keys(users, features)[0])
        self._last_day = np.full(len(self._pairs), NEVER, dtype=np.int64)
        self._days = np.zeros(len(self._pairs), dtype=np.uint64)
        hashes = np.array([feature_hash(name) for name in history.features], dtype=np.uint64)
        self.features = np.zeros(len(self._rows), dtype=FEATURE_DTYPE)
        self.features["last_day"] = NEVER
        if len(self._rows):
            self.features["feature"] = hashes[self._rows % self._features]
        self.sizes: IntArray = np.bincount(self._rows // self._features, minlength=len(places.account_ids))
        self.ends: IntArray = np.cumsum(self.sizes)

    def fold(self, day: int) -> None:
        """Take in who used what on ``day``."""
        uses = self._history.uses[slice(*np.searchsorted(self._history.uses["day"], (day, day + 1)))]
        if not len(uses):
            return
        keys, rows = self._keys(uses["user"], uses["feature"])
        order = np.argsort(keys)
        keys, rows = keys[order], rows[order]
        at = np.searchsorted(self._pairs, keys)
        old, new = np.zeros(len(at), dtype=_USE), np.zeros(len(at), dtype=_USE)
        before = self._last_day[at]
        gap = np.subtract(day, before).view(np.uint64)
        old["last_day"], old["days"] = np.where(before == NEVER, day, before), self._days[at]
        new["last_day"], new["days"] = day, np.left_shift(old["days"], gap) | _ONE
        extend(self.features, rows, old, new)
        self._last_day[at], self._days[at] = day, new["days"]

    def _keys(self, users: NDArray[Any], features: NDArray[Any]) -> tuple[IntArray, IntArray]:
        """For each use a number that stands for its user and feature, by feature; and its feature's row."""
        owner = self._places.of_account[self._history.account_of[users]]
        rows = np.searchsorted(self._rows, owner * self._features + features)
        return rows * len(self._history.users) + users, rows

    def mark(self, account: int, flags: dict[int, int]) -> None:
        """Set the flags of an account's features: those of ``flags``, by their hashes, none elsewhere."""
        end = int(self.ends[account])
        rows = self.features[end - int(self.sizes[account]) : end]
        rows["flags"] = [flags.get(name, 0) for name in rows["feature"].tolist()]


def users_of(activity: NDArray[np.int64]) -> NDArray[np.int64]:
    """The users of packed activity (:class:`consumers.history.History`)."""
    return (activity >> 1) & ((1 << 32) - 1)
