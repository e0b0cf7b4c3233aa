"""On which of the last KEPT_DAYS days anybody of an account was active: one bit for each day, in a ring.

Day ``d`` is bit ``d % KEPT_DAYS``, bit ``i`` of a blob being bit ``i % 8`` of its byte ``i // 8``. The ring holds the
days that end with the account's last activity day; the bits of later days still say what was KEPT_DAYS days before.
"""

from __future__ import annotations

from collections.abc import Iterable

from consumers.windows import KEPT_DAYS, NEVER

RING_BYTES = KEPT_DAYS // 8


def enter(ring: bytearray, newest: int, days: Iterable[int]) -> None:
    """Mark ``days``, in any order, in a ring whose newest day was ``newest``; days older than it holds are left out."""
    for day in days:
        if day > newest:
            _advance(ring, newest, day)
            newest = day
        elif day <= newest - KEPT_DAYS:
            continue
        slot = day % KEPT_DAYS
        ring[slot >> 3] |= 1 << (slot & 7)


def _advance(ring: bytearray, newest: int, day: int) -> None:
    if newest == NEVER or day - newest >= KEPT_DAYS:
        ring[:] = bytes(RING_BYTES)
        return
    for passed in range(newest + 1, day + 1):
        slot = passed % KEPT_DAYS
        ring[slot >> 3] &= ~(1 << (slot & 7))
