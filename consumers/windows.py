"""The rolling windows of one account, and how a batch of activity is folded into them.

Three shapes, each merged by an operation that is commutative and idempotent but for the daily counts, which
de-duplication protects; so any order of arrival gives the same windows.

``days``
    Daily login counts in a ring of KEPT_DAYS slots: day ``d`` lives in slot ``d % KEPT_DAYS``, uint16, or uint32 from
    the first count that needs it (told apart by length). Slots after the newest day hold days long gone.
``users``
    One CELL per user: the user's last active day, flags, and a 64-bit map in which bit ``i`` says whether the user was
    active on the day ``i`` days before that last day. Every window of a metric reaches back 58 days at most from today,
    or is counted back from a last activity day, so 64 days of bits answer all of them.
``login_maps``
    For the same users the same kind of map, of logins alone; apart, since a sweep does not need it.
``active_days``
    A ring of bits, one for each day on which anybody was active (:mod:`consumers.active_days`).
``moments``
    What happened on which day, as facts say (:mod:`consumers.moments`).
``features``, ``sessions``
    Which features were used on which days, and how long sessions were (:mod:`consumers.usage`).
``ledger``
    How the account's revenue went and which segments it was in, as facts say (:mod:`consumers.ledger`).
``profile``
    What facts say (:mod:`consumers.facts`), as fixed-size numbers, so that a sweep reads it without decoding.

Little-endian, as every machine this runs on is. The layout is ours alone; :mod:`alerts.portfolio` reads many accounts
at once through the same two dtypes.
"""

from __future__ import annotations

import struct
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOWS_LAYOUT = 2
"""The number of this layout; windows of another one are made anew (:mod:`consumers.layout`) before they are read."""

KEPT_DAYS = 416  # 400 days of retention (METRICS section 1) and some for today and late clocks
MAP_DAYS = 64
NEVER = -(2**31)  # a day before every day: "has not happened"

DEACTIVATED = 1
CHAMPION = 2

CELL = struct.Struct("<iIQ")  # last_day, flags, active_map
CELL_FIELDS = [("last_day", "<i4"), ("flags", "<u4"), ("active", "<u8")]

_FULL = (1 << MAP_DAYS) - 1
_UINT16_MAX = 65535


def union(last_a: int, map_a: int, last_b: int, map_b: int) -> int:
    """Two maps, each counted back from its own last day, as one counted back from the later of them."""
    if last_a < last_b:
        last_a, map_a, last_b, map_b = last_b, map_b, last_a, map_a
    return map_a | map_b << (last_a - last_b) & _FULL


@dataclass(slots=True)
class Activity:
    """What one batch adds to one account's windows: logins per day, each user's days, features and sessions."""

    logins: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    users: dict[str, list[int]] = field(default_factory=dict)  # user id → [last_day, login_map, active_map]
    features: dict[tuple[str, str], list[int]] = field(
        default_factory=dict
    )  # (user, feature) → [last_day, map]
    sessions: dict[int, int] = field(default_factory=dict)  # day → milliseconds
    others: set[int] = field(default_factory=set)  # days of activity that was no login
    first_day: int = 2**31 - 1  # the earliest day of all of it

    def saw(self, user_id: str, day: int, login: int) -> None:
        """``user_id`` was active on ``day``; ``login`` is 1 if by a login, else 0."""
        cell = self.users.get(user_id)
        if cell is None:
            self.users[user_id] = [day, login, 1]
        elif cell[0] == day:
            cell[1] |= login
        else:
            last = cell[0]
            cell[1] = union(last, cell[1], day, login)
            cell[2] = union(last, cell[2], day, 1)
            if day > last:
                cell[0] = day

    def used(self, user_id: str, feature: str, day: int) -> None:
        """``user_id`` used ``feature`` on ``day``."""
        cell = self.features.get((user_id, feature))
        if cell is None:
            self.features[user_id, feature] = [day, 1]
        else:
            cell[1] = union(cell[0], cell[1], day, 1)
            cell[0] = max(cell[0], day)


class DayCounts:
    """Counts per day over the newest KEPT_DAYS days, in a ring. Adding is order-free; older days are dropped."""

    __slots__ = ("newest", "slots")

    def __init__(self, newest: int = NEVER, blob: bytes = b"") -> None:
        """Empty, or as :meth:`blob` gave it with the ``newest`` day it held."""
        self.newest = newest
        self.slots = array("I" if len(blob) > 2 * KEPT_DAYS else "H")
        self.slots.frombytes(blob or bytes(2 * KEPT_DAYS))

    def add(self, day: int, count: int) -> None:
        """Count ``count`` more on ``day``."""
        newest = self.newest
        if day > newest:
            self._advance(day)
        elif day <= newest - KEPT_DAYS:
            return
        slot = day % KEPT_DAYS
        total = self.slots[slot] + count
        if total > _UINT16_MAX and self.slots.typecode == "H":
            self.slots = array("I", self.slots)
        self.slots[slot] = total

    def _advance(self, day: int) -> None:
        gap = day - self.newest
        if gap >= KEPT_DAYS:
            self.slots = array("H", bytes(2 * KEPT_DAYS))
        else:
            for passed in range(self.newest + 1, day + 1):
                self.slots[passed % KEPT_DAYS] = 0
        self.newest = day

    def __getitem__(self, day: int) -> int:
        """The count on ``day``; 0 outside the kept days."""
        if self.newest - KEPT_DAYS < day <= self.newest:
            return self.slots[day % KEPT_DAYS]
        return 0

    def blob(self) -> bytes:
        """As stored."""
        return self.slots.tobytes()


class UserIds:
    """The users of one account in order of first appearance, and each one's slot."""

    __slots__ = ("ids", "slots")

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self.ids = list(ids)
        self.slots = {user_id: slot for slot, user_id in enumerate(self.ids)}

    def add(self, user_id: str) -> None:
        """Give a new user the next slot."""
        self.slots[user_id] = len(self.ids)
        self.ids.append(user_id)

    def __len__(self) -> int:
        return len(self.ids)


class Users:
    """One cell and one login map per user of an account, each in its user's slot."""

    __slots__ = ("cells", "known", "login_maps")

    def __init__(self, known: UserIds | None = None, cells: bytes = b"", login_maps: bytes = b"") -> None:
        """``cells`` holds one CELL for each of ``known``, ``login_maps`` one uint64, both by slot."""
        self.known = UserIds() if known is None else known
        self.cells = bytearray(cells)
        self.login_maps = array("Q", login_maps)

    def mark(self, marks: Mapping[str, int]) -> None:
        """Set every user's flags: those of ``marks`` where named, none elsewhere."""
        flags = np.frombuffer(self.cells, dtype=CELL_FIELDS)["flags"]
        flags[:] = 0
        for user_id, mark in marks.items():
            slot = self.known.slots.get(user_id)
            if slot is not None:
                flags[slot] = mark

    def __len__(self) -> int:
        return len(self.known)


def merge_users(work: Sequence[tuple[Users, Mapping[str, Sequence[int]]]]) -> list[bool]:
    """Fold users' (last_day, login_map, active_map) into their accounts, all at once; each account may come once.

    Returns for each account whether some of its users are new. One user at a time this would be half of all the
    work of intake; over the cells of all accounts laid end to end it is a dozen operations on arrays.
    """
    new = []
    slots: list[int] = []
    coming: list[Sequence[int]] = []
    base = 0
    for users, days in work:
        known = users.known.slots
        fresh = [user_id for user_id in days if user_id not in known]
        for user_id in fresh:
            users.known.add(user_id)
        users.cells += bytes(CELL.size * len(fresh))
        users.login_maps.frombytes(bytes(8 * len(fresh)))
        slots += [base + known[user_id] for user_id in days]
        coming += days.values()
        base += len(users)
        new.append(bool(fresh))
    cells = np.frombuffer(bytearray().join([users.cells for users, _ in work]), dtype=CELL_FIELDS)
    logins = np.frombuffer(bytearray().join([users.login_maps for users, _ in work]), dtype="<u8")
    rows = np.fromiter(chain.from_iterable(coming), np.uint64, 3 * len(coming)).reshape(-1, 3)
    _union_at(cells, logins, np.array(slots, dtype=np.intp), rows)
    cell_bytes, login_bytes = cells.view(np.uint8), logins.view(np.uint8)
    start = 0
    for users, _ in work:
        end = start + len(users)
        users.cells = bytearray(cell_bytes[CELL.size * start : CELL.size * end].tobytes())
        users.login_maps = array("Q", login_bytes[8 * start : 8 * end].tobytes())
        start = end
    return new


def _union_at(
    cells: NDArray[Any], logins: NDArray[np.uint64], at: NDArray[np.intp], coming: NDArray[np.uint64]
) -> None:
    """:func:`union` of the cells at the places ``at``, each once, with rows of (last_day, login_map, active_map)."""
    if not len(at):
        return
    last = coming[:, 0].astype(np.int64)
    gap = last - cells["last_day"][at]
    # Shifted by 64 or more nothing is left: days so long gone lie in no window.
    older, newer = np.maximum(gap, 0).astype(np.uint64), np.maximum(-gap, 0).astype(np.uint64)
    cells["active"][at] = cells["active"][at] << older | coming[:, 2] << newer
    logins[at] = logins[at] << older | coming[:, 1] << newer
    cells["last_day"][at] = np.maximum(last, cells["last_day"][at])
