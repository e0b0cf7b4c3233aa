"""The sponsors and contacts of a portfolio, and when each was last active (METRICS sections 2.6 and 3.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alerts.arrays import IntArray
from alerts.columns import Cells, Records, aligned
from consumers.moments import CONTACT, SPONSOR
from consumers.windows import NEVER

LastSeen = tuple[NDArray[np.int32], NDArray[np.uint64]]


def last_seen(cells: Cells, today: int) -> LastSeen:
    """Each user's last activity day up to today, and the map that is counted back from it.

    They are as stored, but for users active later than today, as when a day is closed after midnight: of these the map
    says it, NEVER if it has nothing else.
    """
    last_days, maps = cells.last_day, cells.array["active"]
    ahead = np.flatnonzero(last_days > today)
    if len(ahead):
        last_days, maps = last_days.copy(), maps.copy()
        before = aligned(maps[ahead], last_days[ahead], today)
        empty_bits = np.bitwise_count(~before & (before - np.uint64(1)))  # below the newest day
        last_days[ahead] = np.where(before == 0, NEVER, today - empty_bits.astype(np.int64))
        maps[ahead] = np.right_shift(before, empty_bits.astype(np.uint64))
    return last_days, maps


def sponsor_day(
    moments: Records, cells: Cells, last_days: NDArray[np.int32], first_logins: IntArray
) -> IntArray:
    """The newest day over an account's sponsors (:meth:`alerts.portfolio.Portfolio.sponsor_day`)."""
    chosen, owner, place = _people(moments, cells, SPONSOR)
    unseen = np.maximum(moments.array["day"][chosen], first_logins[owner])
    seen = np.flatnonzero(place >= 0)
    seen = seen[last_days[place[seen]] != NEVER]
    unseen[seen] = last_days[place[seen]]
    return moments.newest(chosen, unseen)


def contacts_active(
    moments: Records, cells: Cells, last_days: NDArray[np.int32], first: int, last: int
) -> IntArray:
    """Distinct contacts whose user's last activity day is in [first..last]."""
    chosen, _, place = _people(moments, cells, CONTACT)
    chosen, place = chosen[place >= 0], place[place >= 0]
    days = last_days[place]
    return moments.total(chosen[(days >= first) & (days <= last)])


def _people(moments: Records, cells: Cells, kind: int) -> tuple[NDArray[np.intp], NDArray[np.intp], IntArray]:
    """The moments of people: their places, their accounts, and the places of their users' cells, -1 without one."""
    chosen = np.flatnonzero(moments.array["kind"] == kind)
    owner = moments.owner(chosen)
    slot = moments.array["value"][chosen]
    known = (slot >= 0) & (slot < cells.sizes[owner])
    return chosen, owner, np.where(known, cells.starts[owner] + slot, -1)
