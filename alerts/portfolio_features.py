"""Which features the accounts of a portfolio use, and which of theirs they gave up (METRICS section 2.5)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.arrays import BoolArray, IntArray
from alerts.columns import Records, aligned
from consumers.usage import CORE, WINDOW, feature_hash


class Adoption:
    """Features of n accounts as of a day; ``core`` is the configuration's list, ``core_own`` the profiles' field."""

    def __init__(
        self, features: Records, core_own: NDArray[Any], core: Sequence[str], as_of: int, today: int
    ) -> None:
        self._features, self._own, self._core = features, core_own >= 0, core
        self._as_of, self._today = as_of, today

    def in_use(self, mask: np.uint64, days: int) -> IntArray:
        """How many core features anybody used on ``days`` or more of the days of ``mask``, bit i being today - i."""
        used = np.bitwise_count(self._aligned & mask) >= days
        return self._features.per_account(used & self._is_core)

    def abandoned(self) -> IntArray:
        """How many core features two users or more used in [D-55..D-28] and nobody in [D-27..D]."""
        return self._features.per_account(self._is_abandoned)

    def abandoned_hashes(self, index: int) -> list[int]:
        """Which those are, of one account."""
        start = int(self._features.starts[index])
        rows = slice(start, start + int(self._features.sizes[index]))
        found: list[int] = self._features.array["feature"][rows][self._is_abandoned[rows]].tolist()
        return found

    @cached_property
    def _is_abandoned(self) -> BoolArray:
        features, ahead = self._features.array, self._today - self._as_of
        recent = np.uint64((1 << (WINDOW + ahead)) - (1 << ahead))  # [D-27..D]
        unused = (self._aligned & recent) == 0
        # The bit of the window that ends on D-28; before bit 0 nobody can have used it in that window.
        bit = np.subtract(features["last_day"], self._as_of - 2 * WINDOW + 1, dtype=np.int64)
        two = np.right_shift(features["two"], np.maximum(bit, 0).view(np.uint64)) & np.uint64(1)
        found: BoolArray = unused & self._is_core & (bit >= 0) & (two != 0)
        return found

    @cached_property
    def _is_core(self) -> BoolArray:
        """Which features are core features of their account."""
        features = self._features.array
        hashes = [feature_hash(name) for name in self._core]
        common = np.isin(features["feature"], np.array(hashes, dtype=np.uint64))
        own = np.repeat(self._own, self._features.sizes)
        found: BoolArray = np.where(own, (features["flags"] & CORE) != 0, common)
        return found

    @cached_property
    def _aligned(self) -> NDArray[np.uint64]:
        return aligned(self._features.array["days"], self._features.array["last_day"], self._today)
