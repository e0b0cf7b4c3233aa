"""What is remembered of health while history is told again: one close after the other, as a live service does it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alerts.health.closing import Components, advance
from alerts.health.state import Records, blank
from alerts.metrics.health import current, remember
from alerts.portfolio import Portfolio


class HealthMemory:
    """The records of all accounts known so far, in their order; new ones come last."""

    def __init__(self) -> None:
        self.records: Records = blank(0)

    def close(self, portfolio: Portfolio, closes: Sequence[tuple[int, slice]]) -> None:
        """Close some days in a row, each with the rows of ``portfolio`` that are its accounts.

        The rows' days were moved on to be read as of one day, and so are the records that the portfolio's metrics go by
        from now on.
        """
        components = current(portfolio).components
        moved = blank(portfolio.size)
        for day, rows in closes:
            known = np.concatenate([self.records, blank(rows.stop - rows.start - len(self.records))])
            self.records = advance(known, _of(components, rows), day)
            moved[rows] = self.records
            for name in ("day", "since_day"):
                moved[name][rows] += portfolio.as_of - day
        remember(portfolio, moved)


def _of(components: Components, rows: slice) -> Components:
    return Components(
        components.values[rows],
        components.status[rows],
        components.weights[rows],
        components.green_above[rows],
        components.red_below[rows],
    )
