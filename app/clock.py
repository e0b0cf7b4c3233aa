"""Two clocks: the moment of judgement, which may stand still, and the real one, which never does.

``BELLWETHER_NOW`` freezes *today*, the moment of judgement and the check for events from the future. Leases,
retries, signatures and log times keep the real clock: a frozen one would never let them expire.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Both clocks, as UTC epoch microseconds. ``frozen_at`` is BELLWETHER_NOW, None for the real time."""

    frozen_at: int | None = None

    def now_us(self) -> int:
        """The moment of judgement."""
        return self.real_us() if self.frozen_at is None else self.frozen_at

    def real_us(self) -> int:
        """The real time, for leases, retries and signatures."""
        return time.time_ns() // 1000
