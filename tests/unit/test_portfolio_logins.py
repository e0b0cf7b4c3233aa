"""Daily logins as running sums: the same for few accounts and for many, whatever the day and the ring."""

from __future__ import annotations

import numpy as np
import pytest

from alerts.portfolio_logins import RUNNING_DAYS, DailyLogins
from consumers.windows import KEPT_DAYS

MANY, FEW = 300, 7


@pytest.mark.parametrize("as_of", [20_600, 20_600 + KEPT_DAYS // 2])
@pytest.mark.parametrize("width", ["<u2", "<u4"])
def test_an_account_counts_the_same_alone_and_among_hundreds(as_of: int, width: str) -> None:
    rng = np.random.default_rng(7)
    rings = rng.integers(0, 50, (MANY, KEPT_DAYS)).astype(width)
    newest = as_of - rng.integers(0, 90, MANY) * (rng.random(MANY) < 0.5)
    blobs = [ring.tobytes() for ring in rings]
    many, few = (DailyLogins(blobs[:count], newest[:count], as_of) for count in (MANY, FEW))
    days = np.arange(as_of - RUNNING_DAYS + 1, as_of + 1)
    counted = np.where(days <= newest[:, None], rings[:, days % KEPT_DAYS], 0).astype(np.int64)
    expected = counted[:, -28:].sum(axis=1)
    assert many.total(as_of - 27, as_of).tolist() == expected.tolist()
    assert few.total(as_of - 27, as_of).tolist() == expected[:FEW].tolist()
    ends = [counted[:, end - 28 : end].sum(axis=1) for end in range(RUNNING_DAYS - 179, RUNNING_DAYS + 1)]
    best = np.max(ends, axis=0)
    assert many.peak(28, as_of - 179, as_of).tolist() == best.tolist()
    assert few.peak(28, as_of - 179, as_of).tolist() == best[:FEW].tolist()
