"""Many accounts at once, as arrays: what metrics read, one count per account and window.

A live judgement loads the few accounts that moved, a sweep ten thousand at a time, a replay all of them; the arithmetic
is the same. Counts are kept once computed, since several metrics share a window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from alerts.arrays import BoolArray, IntArray
from consumers.facts import PROFILE_FIELDS
from consumers.windows import CELL_FIELDS, CHAMPION, DEACTIVATED, KEPT_DAYS, MAP_DAYS

PROFILE_DTYPE = np.dtype(PROFILE_FIELDS)
CELL_DTYPE = np.dtype(CELL_FIELDS)

RUNNING_DAYS = 207  # the 28-day totals that end in the last 180 days begin here (METRICS section 2.1)

T = TypeVar("T")
Attributes = Callable[[str], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Moment:
    """When accounts are judged: ``as_of`` is the last complete day D, ``today`` the day of the judgement.

    ``families`` gives the first day of each family of events over the portfolio; a family that is not in it was never
    received. ``stale`` names the families that are not flowing. ``zone`` is the organisation's, for evidence.
    """

    as_of: int
    today: int
    zone: str = "UTC"
    families: Mapping[str, int] = field(default_factory=dict)
    stale: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AccountRows:
    """Stored accounts, column by column, all of one length n: numbers, ids, and the blobs of ``consumers.windows``.

    ``attributes(name)`` gives an account attribute (``owner``, ``size``, …) as n values or None, ``login_maps()`` the
    users' login maps; both are read only when asked for.
    """

    nos: Sequence[int]
    account_ids: Sequence[str]
    profiles: Sequence[bytes | bytearray]
    days: Sequence[bytes | bytearray | memoryview]
    users: Sequence[bytes | bytearray]
    attributes: Attributes
    login_maps: Callable[[], Sequence[bytes | bytearray | memoryview]]


class Portfolio:
    """n accounts as arrays. Counts are int64 arrays of length n; days are since 1970-01-01, bounds inclusive."""

    def __init__(self, rows: AccountRows, moment: Moment) -> None:
        self.moment = moment
        self.as_of = moment.as_of
        self.today = moment.today
        self.nos: IntArray = np.asarray(rows.nos, dtype=np.int64)
        self.account_ids = rows.account_ids
        self.size = len(self.nos)
        self.profile: NDArray[Any] = np.frombuffer(b"".join(rows.profiles), dtype=PROFILE_DTYPE)
        self._rows = rows
        self._cells: _Cells | None = None
        self._counts: dict[tuple[Any, ...], Any] = {}

    @property
    def churned(self) -> BoolArray:
        """Accounts that churned: lifecycle says so, or their MRR fell to 0."""
        result: BoolArray = self.profile["churned"] != 0
        return result

    def number(self, name: str) -> IntArray:
        """A field of ``consumers.facts.PROFILE_FIELDS`` as int64; days are NEVER where it never happened."""
        return self._once(("number", name), lambda: self.profile[name].astype(np.int64))

    def attribute(self, name: str) -> NDArray[np.object_]:
        """An account attribute as text or None."""

        def read() -> NDArray[np.object_]:
            values = np.empty(self.size, dtype=object)
            values[:] = list(self._rows.attributes(name))
            return values

        return self._once(("attribute", name), read)

    def fed(self, family: str) -> bool:
        """Whether the portfolio had received ``family`` by today."""
        first = self.moment.families.get(family)
        return first is not None and first <= self.today

    # --- logins -------------------------------------------------------------------------------------------------

    def logins(self, first: int, last: int) -> IntArray:
        """Logins on the days [first..last], which reach back 206 days from D at most."""
        return self._once(("logins", first, last), lambda: self._sum(first, last))

    def peak_logins(self, width: int, first_end: int, last_end: int) -> IntArray:
        """The largest total of ``width`` days in a row that ends on a day of [first_end..last_end], up to D."""

        def read() -> IntArray:
            sums, origin = self._running()
            low, high = first_end - origin, last_end - origin
            ends, starts = sums[low + 1 : high + 2], sums[low + 1 - width : high + 2 - width]
            peaks: IntArray = (ends - starts).max(axis=0).astype(np.int64)
            return peaks

        return self._once(("peak", width, first_end, last_end), read)

    def _sum(self, first: int, last: int) -> IntArray:
        sums, origin = self._running()
        total: IntArray = (sums[last - origin + 1] - sums[first - origin]).astype(np.int64)
        return total

    def _running(self) -> tuple[NDArray[Any], int]:
        """Running sums of daily logins, days down and accounts across, and the day they begin with.

        Every total is then one subtraction. Adding whole rows is twice as fast as a sum along each account.
        """
        origin = self.as_of - RUNNING_DAYS + 1

        def read() -> NDArray[Any]:
            matrix = _day_matrix(self._rows.days)
            sums = np.zeros(
                (RUNNING_DAYS + 1, self.size), dtype=np.int64 if matrix.itemsize > 2 else np.int32
            )
            low, high = origin % KEPT_DAYS, self.as_of % KEPT_DAYS
            if low <= high:
                sums[1:] = matrix[:, low : high + 1].T
            else:
                sums[1 : KEPT_DAYS - low + 1] = matrix[:, low:].T
                sums[KEPT_DAYS - low + 1 :] = matrix[:, : high + 1].T
            newest = self.number("ring_day")
            quiet = np.flatnonzero(newest < self.as_of)  # their later slots still hold days of a year before
            if len(quiet):
                sums[1:, quiet] *= np.arange(origin, self.as_of + 1)[:, None] <= newest[None, quiet]
            for day in range(1, len(sums)):
                sums[day] += sums[day - 1]
            return sums

        return self._once(("running",), read), origin

    # --- users --------------------------------------------------------------------------------------------------

    def active_users(
        self, first: int, last: int, *, logins: bool = False, without_deactivated: bool = False
    ) -> IntArray:
        """Distinct users with any activity (or with a login) on the days [first..last]; within 63 days of today."""

        def read() -> IntArray:
            cells = self._users()
            hit: BoolArray = (self._aligned(logins) & self._mask(first, last)) != 0
            if without_deactivated:
                hit &= (cells.flags & DEACTIVATED) == 0
            return cells.per_account(hit)

        return self._once(("users", first, last, logins, without_deactivated), read)

    def user_days(self, first: int, last: int, *, logins: bool = False) -> IntArray:
        """User-days of any activity (or of logins) on [first..last]: each user counts once for each day."""

        def read() -> IntArray:
            days = np.bitwise_count(self._aligned(logins) & self._mask(first, last))
            return self._users().per_account(days)

        return self._once(("user_days", first, last, logins), read)

    def users_before(self, width: int) -> IntArray:
        """Distinct users active in the ``width`` days that end with the account's last activity day."""

        def read() -> IntArray:
            cells = self._users()
            last = np.repeat(self.profile["last_day"], cells.sizes)
            return cells.per_account(cells.last_day > last - width)

        return self._once(("users_before", width), read)

    def silent_champions(self, quiet_since: int, width: int, days: int) -> IntArray:
        """Current champions without activity since the day ``quiet_since``, who were active on ``days`` or more of the
        ``width`` days that end with their last activity day."""

        def read() -> IntArray:
            cells = self._users()
            silent = (cells.flags & CHAMPION) != 0
            silent &= cells.last_day < quiet_since
            chosen = np.flatnonzero(silent)
            recent = cells.array["active"][chosen] & np.uint64((1 << width) - 1)
            silent[chosen] = np.bitwise_count(recent) >= days
            return cells.per_account(silent)

        return self._once(("silent", quiet_since, width, days), read)

    def _mask(self, first: int, last: int) -> np.uint64:
        if self.today - first >= MAP_DAYS:
            raise ValueError(
                f"a user window reaches back {self.today - first} days; the maps hold {MAP_DAYS}"
            )
        newest, oldest = self.today - last, self.today - first
        return np.uint64((1 << (oldest + 1)) - (1 << max(0, newest)))

    def _aligned(self, logins: bool) -> NDArray[np.uint64]:
        """Users' maps counted back from today: bit i is the day ``today - i``."""

        def read() -> NDArray[np.uint64]:
            cells = self._users()
            maps = cells.array["active"]
            if logins:
                maps = np.frombuffer(b"".join(self._rows.login_maps()), dtype="<u8")
            gap = np.subtract(self.today, cells.last_day, dtype=np.int64)
            # A shift by 64 or more gives 0, and so does a negative one seen as unsigned.
            aligned: NDArray[np.uint64] = np.left_shift(maps, gap.view(np.uint64))
            if (
                len(gap) and gap.min() < 0
            ):  # a sender's clock ahead of ours, by five minutes at most, over midnight
                ahead = gap < 0
                aligned[ahead] = np.right_shift(maps[ahead], (-gap[ahead]).view(np.uint64))
            return aligned

        return self._once(("aligned", logins), read)

    def _users(self) -> _Cells:
        if self._cells is None:
            self._cells = _Cells(self._rows.users)
        return self._cells

    def _once(self, key: tuple[Any, ...], read: Callable[[], T]) -> T:
        if key not in self._counts:
            self._counts[key] = read()
        counted: T = self._counts[key]
        return counted


class _Cells:
    """The users' cells of all accounts in a row, and where each account's begin."""

    def __init__(self, blobs: Sequence[bytes | bytearray]) -> None:
        self.array: NDArray[Any] = np.frombuffer(b"".join(blobs), dtype=CELL_DTYPE)
        self.sizes = np.fromiter(map(len, blobs), dtype=np.int64, count=len(blobs)) // CELL_DTYPE.itemsize
        starts = np.cumsum(self.sizes) - self.sizes
        self._peopled = self.sizes > 0
        self._starts = starts[self._peopled]
        self.last_day: NDArray[np.int32] = self.array["last_day"]
        self.flags: NDArray[np.uint32] = self.array["flags"]

    def per_account(self, counts: NDArray[Any]) -> IntArray:
        """Sums of one number per user, for each account."""
        totals = np.zeros(len(self.sizes), dtype=np.int64)
        if len(self._starts):
            totals[self._peopled] = np.add.reduceat(counts, self._starts, dtype=np.int64)
        return totals


def _day_matrix(blobs: Sequence[bytes | bytearray | memoryview]) -> NDArray[Any]:
    """n rows of KEPT_DAYS counts; uint16 unless some account needed more."""
    narrow = 2 * KEPT_DAYS
    if set(map(len, blobs)) <= {narrow}:
        return np.frombuffer(b"".join(blobs), dtype="<u2").reshape(len(blobs), KEPT_DAYS)
    rows = [np.frombuffer(blob, dtype="<u2" if len(blob) == narrow else "<u4") for blob in blobs]
    return np.stack(rows).astype(np.uint32)
