"""The sponsors and contacts of a portfolio, and when each was last active (METRICS sections 2.6 and 3.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alerts.arrays import IntArray
from alerts.columns import Cells, aligned
from alerts.portfolio_moments import Happened, Moments
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
    moments: Moments, cells: Cells, last_days: NDArray[np.int32], first_heard: IntArray
) -> IntArray:
    """The newest day over an account's sponsors (:meth:`alerts.portfolio.Portfolio.sponsor_day`)."""
    sponsors = moments.of(SPONSOR)
    seen = sponsors.newest(_last_days(sponsors, cells, last_days))
    unseen = sponsors.newest(np.maximum(sponsors.days, first_heard[sponsors.owners]))
    return np.where(seen == NEVER, unseen, seen)


def contacts_active(
    moments: Moments, cells: Cells, last_days: NDArray[np.int32], first: int, last: int
) -> IntArray:
    """Distinct contacts whose user's last activity day is in [first..last]."""
    contacts = moments.of(CONTACT)
    days = _last_days(contacts, cells, last_days)
    return contacts.per_account((days >= first) & (days <= last))


def _last_days(people: Happened, cells: Cells, last_days: NDArray[np.int32]) -> IntArray:
    """The last activity day of each person's user, whose slot is the value; NEVER of those never seen."""
    slots, owners = people.values, people.owners
    known = np.flatnonzero((slots >= 0) & (slots < cells.sizes[owners]))
    found = np.full(len(slots), NEVER, dtype=np.int64)
    found[known] = last_days[cells.starts[owners[known]] + slots[known]]
    return found
