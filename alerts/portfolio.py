"""Many accounts at once, as arrays: what metrics read, one count per account and window.

A live judgement loads the few accounts that moved, a sweep ten thousand at a time, a replay all of them; the arithmetic
is the same. Counts are kept once computed, since several metrics share a window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from alerts.account_rows import AccountRows, Moment
from alerts.arrays import BoolArray, IntArray
from alerts.columns import (
    FEATURE_DTYPE,
    PROFILE_DTYPE,
    Cells,
    Column,
    Records,
    aligned,
    stacked,
)
from alerts.portfolio_features import Adoption
from alerts.portfolio_logins import DailyLogins
from alerts.portfolio_moments import Happened, Moments
from alerts.portfolio_people import LastSeen, contacts_active, last_seen, sponsor_day
from consumers.windows import CHAMPION, DEACTIVATED, MAP_DAYS, NEVER

# What is the same with and without today so far; so are counts over windows that end by D.
_WHATEVER_THE_DAY = frozenset(
    {
        *("number", "attribute", "daily logins", "logins", "peak", "champions", "staying"),
        *("records", "moments", "moment sum", "newest"),
        *("features", "session days", "sessions", "core"),
    }
)
_BY_WINDOW = frozenset({"users", "user_days"})  # ("users", first, last, …)

_MAP_DTYPE = np.dtype("<u8")

T = TypeVar("T")


class Portfolio:
    """n accounts as arrays. Counts are int64 arrays of length n; days are since 1970-01-01, bounds inclusive."""

    def __init__(self, rows: AccountRows, moment: Moment) -> None:
        self.moment = moment
        self.as_of = moment.as_of
        self.today = moment.today
        self.nos: IntArray = np.asarray(rows.nos, dtype=np.int64)
        self.account_ids = rows.account_ids
        self.size = len(self.nos)
        self.profile: NDArray[Any] = stacked(rows.profiles, PROFILE_DTYPE).array
        self._rows = rows
        self._cells: Cells | None = None
        self._counts: dict[tuple[Any, ...], Any] = {}
        self._common: dict[tuple[Any, ...], Any] = {}  # the same for :meth:`at_close`

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

    def family_day(self, family: str) -> IntArray:
        """For each account, the first day of ``family`` over the portfolio; NEVER before it was fed."""
        first = self.moment.families.get(family)
        if first is None or first > self.today:
            return np.full(self.size, NEVER, dtype=np.int64)
        # A row that was moved on is of an earlier day, which lay as much closer to the first one.
        return np.full(self.size, first, dtype=np.int64) + self._moved()

    @property
    def whole(self) -> bool:
        """Whether the rows are all accounts that there were on each of their own days, as in a replay."""
        return self._rows.moved is not None

    def own_day(self) -> IntArray:
        """For each row the day as of which it was so: D, but for rows of the past that were moved on."""
        return np.full(self.size, self.as_of, dtype=np.int64) - self._moved()

    def _moved(self) -> IntArray | int:
        return 0 if self._rows.moved is None else self._rows.moved

    def health(self) -> NDArray[Any] | None:
        """What is remembered of each account's health (alerts/health/state.py); None where nothing is."""
        read = self._rows.health
        return None if read is None else self._once(("health",), read)

    # --- logins -------------------------------------------------------------------------------------------------

    def logins(self, first: int, last: int) -> IntArray:
        """Logins on the days [first..last], which reach back 206 days from D at most."""
        return self._once(("logins", first, last), lambda: self._daily_logins().total(first, last))

    def peak_logins(self, width: int, first_end: int, last_end: int) -> IntArray:
        """The largest total of ``width`` days in a row that ends on a day of [first_end..last_end], up to D."""
        return self._once(
            ("peak", width, first_end, last_end),
            lambda: self._daily_logins().peak(width, first_end, last_end),
        )

    def _daily_logins(self) -> DailyLogins:
        return self._once(
            ("daily logins",), lambda: DailyLogins(self._rows.days, self.number("ring_day"), self.as_of)
        )

    # --- users --------------------------------------------------------------------------------------------------

    def active_users(
        self, first: int, last: int, *, logins: bool = False, without_deactivated: bool = False
    ) -> IntArray:
        """Distinct users with any activity (or with a login) on the days [first..last]; within 63 days of today."""

        def read() -> IntArray:
            cells = self._users()
            hit: BoolArray = (self._aligned(logins) & self._mask(first, last)) != 0
            if without_deactivated:
                hit &= self._once(("staying",), lambda: (cells.flags & DEACTIVATED) == 0)
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
            champions = self._once(("champions",), lambda: np.flatnonzero(self._users().flags & CHAMPION))
            last_days, maps = self._last_seen()
            silent = champions[last_days[champions] < quiet_since]
            recent = maps[silent] & np.uint64((1 << width) - 1)
            return self._users().count_at(silent[np.bitwise_count(recent) >= days])

        return self._once(("silent", quiet_since, width, days), read)

    def sponsor_day(self) -> IntArray:
        """The newest day on which the user of a current sponsor was active. Where none of them was ever seen, the
        newest from which one counts: the later of the day on which he got the role and the first day of logins, or of
        other activity where logins were never received. NEVER without a sponsor with a user id (METRICS 2.6)."""

        return self._once(
            ("sponsor",),
            lambda: sponsor_day(
                self._moments(), self._users(), self._last_seen()[0], self._activity_first_heard()
            ),
        )

    def _activity_first_heard(self) -> IntArray:
        others = [family for family in ("features", "sessions") if self.fed(family)]
        if self.fed("logins") or not others:
            return self.family_day("logins")
        return self.family_day(min(others, key=lambda family: self.moment.families[family]))

    def contacts_active(self, first: int, last: int) -> IntArray:
        """Distinct current contacts whose user's last activity day is in [first..last]."""

        return self._once(
            ("contacts", first, last),
            lambda: contacts_active(self._moments(), self._users(), self._last_seen()[0], first, last),
        )

    def _last_seen(self) -> LastSeen:
        return self._once(("last seen",), lambda: last_seen(self._users(), self.today))

    # --- moments ------------------------------------------------------------------------------------------------

    def moment_count(self, kind: int, first: int, last: int) -> IntArray:
        """How many moments of a kind of ``consumers.moments`` lie on the days [first..last]."""
        return self._once(("moments", kind, first, last), lambda: self._moments().of(kind).count(first, last))

    def moment_sum(self, kind: int, first: int, last: int) -> IntArray:
        """The sum of their values."""
        return self._once(
            ("moment sum", kind, first, last), lambda: self._moments().of(kind).total(first, last)
        )

    def newest_moment(self, kind: int, upto: int | None = None) -> IntArray:
        """The newest day of a moment of that kind, none after ``upto``; NEVER without one."""
        return self._once(("newest", kind, upto), lambda: self._moments().of(kind).newest_day(upto))

    def _moments(self) -> Moments:
        return self._once(("records",), lambda: Moments(self._column(self._rows.moments)))

    # --- features and sessions ------------------------------------------------------------------------------------

    def session_ms(self, first: int, last: int) -> IntArray:
        """Milliseconds of all sessions that ended on the days [first..last], within 62 days of today."""

        sessions = self._once(("session days",), lambda: Happened.read(self._column(self._rows.sessions)))
        return self._once(("sessions", first, last), lambda: sessions.total(first, last))

    def core_count(self) -> IntArray:
        """How many core features the account is entitled to: those of its own list, else of the configuration's."""

        def read() -> IntArray:
            own = self.number("core_own")
            return np.where(own >= 0, own, len(set(self.moment.model.core_features)))

        return self._once(("core",), read)

    def core_in_use(self, first: int, last: int, days: int = 2) -> IntArray:
        """How many of them anybody used on ``days`` or more of the days [first..last], within 62 days of today."""

        return self._once(
            ("in use", first, last, days), lambda: self._adoption().in_use(self._mask(first, last), days)
        )

    def core_abandoned(self) -> IntArray:
        """How many of them two users or more used in [D-55..D-28] and nobody in [D-27..D] (METRICS 2.5)."""
        return self._once(("abandoned",), self._adoption().abandoned)

    def abandoned_features(self, index: int) -> list[int]:
        """The hashes (``consumers.usage.feature_hash``) of those of one account."""
        return self._adoption().abandoned_hashes(index)

    def _adoption(self) -> Adoption:
        def read() -> Adoption:
            features = self._once(
                ("features",), lambda: Records(self._column(self._rows.features), FEATURE_DTYPE)
            )
            core = self.moment.model.core_features
            return Adoption(features, self.profile["core_own"], core, self.as_of, self.today)

        return self._once(("adoption",), read)

    def _column(self, read: Callable[[], Column] | None) -> Column:
        return [b""] * self.size if read is None else read()

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
                maps = stacked(self._rows.login_maps(), _MAP_DTYPE).array
            return aligned(maps, cells.last_day, self.today)

        return self._once(("aligned", logins), read)

    def _users(self) -> Cells:
        if self._cells is None:
            self._cells = Cells(self._rows.users)
        return self._cells

    def at_close(self) -> Portfolio:
        """The same accounts without today so far, as the close of D saw them; itself where D is today.

        But for a user who comes back today after two months: what he did before has left his map.
        """
        if self.today == self.as_of:
            return self
        closed = Portfolio(self._rows, replace(self.moment, today=self.as_of))
        closed._cells = self._users()
        closed._common = self._common
        return closed

    def once(self, key: tuple[Any, ...], read: Callable[[], T]) -> T:
        """What ``read`` gives, worked out once for this portfolio under a key that is nobody else's."""
        return self._once(key, read)

    def put(self, key: tuple[Any, ...], value: Any) -> None:
        """What :meth:`once` gives from now on."""
        self._counts[key] = value

    def _once(self, key: tuple[Any, ...], read: Callable[[], T]) -> T:
        common = key[0] in _WHATEVER_THE_DAY or (key[0] in _BY_WINDOW and key[2] <= self.as_of)
        kept = self._common if common else self._counts
        if key not in kept:
            kept[key] = read()
        counted: T = kept[key]
        return counted
