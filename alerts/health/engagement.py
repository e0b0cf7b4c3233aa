"""The engagement score and its four parts (METRICS 3.1).

Each part is 0 at 0, 100 at its target, straight between and no higher. All look at the 28 complete days [D-27..D], but
for those that METRICS defines elsewhere: breadth is that of 2.5, seats that of 2.3. An account that has been seen for
so long and of which nobody is active scores 0: its averages are over nobody, and that is no missing input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alerts.arrays import BoolArray, IntArray, StatusArray
from alerts.health.points import mean, ramp
from alerts.health.scales import Scales
from alerts.metrics import features, seats
from alerts.metrics.standing import ACTIVITY, LOGINS, never_active, seen_since, standing
from alerts.portfolio import Portfolio
from alerts.values import Status

DAYS = 28
WEEKS = 4
MINUTE_MS = 60_000
SESSIONS = ("sessions",)

# Of parts that are all missing, what is said of the score: the first of these that any of them says.
_WHY_NOT = (
    Status.INSUFFICIENT_HISTORY,
    Status.UNKNOWN,
    Status.LOW_VOLUME,
    Status.NOT_APPLICABLE,
)


@dataclass(frozen=True, slots=True)
class Part:
    """One part over n accounts: the exact ratio, and whether it stands."""

    numerator: IntArray
    denominator: IntArray
    status: StatusArray


@dataclass(frozen=True, slots=True)
class Engagement:
    """The score of n accounts in hundredths of a point, which stands where ``status`` is OK.

    ``parts`` (n × 4, hundredths, -1 where missing) are those of ``alerts.model.PARTS``; ``counts`` what they were made
    of, by name.
    """

    points: IntArray
    status: StatusArray
    parts: IntArray
    counts: dict[str, IntArray]


def engagement(portfolio: Portfolio, by: Scales) -> Engagement:
    """The score of each account."""
    day = portfolio.as_of
    counts = {
        "logins": portfolio.logins(day - DAYS + 1, day),
        "active_users": portfolio.active_users(day - DAYS + 1, day),
        "session_ms": portfolio.session_ms(day - DAYS + 1, day),
        "user_days": portfolio.user_days(day - DAYS + 1, day),
    }
    breadth, utilization = features.breadth(portfolio, None), seats.utilization(portfolio, None)
    parts = [
        Part(
            counts["logins"],
            np.maximum(counts["active_users"] * WEEKS, 1),
            _status(portfolio, LOGINS),
        ),
        Part(breadth.numerator, breadth.denominator, breadth.status),
        Part(
            counts["session_ms"],
            np.maximum(counts["user_days"] * MINUTE_MS, 1),
            _status(portfolio, SESSIONS),
        ),
        Part(utilization.numerator, utilization.denominator, utilization.status),
    ]
    points, status, scored = score_of(parts, by)
    return Engagement(points, status, scored, {**counts, **breadth.parts, **utilization.parts})


def score_of(parts: Sequence[Part], by: Scales) -> tuple[IntArray, StatusArray, IntArray]:
    """The weighted mean of the parts that stand, its status, and each part in hundredths (-1 where missing).

    A part whose source is stale makes the score stale; a part without a weight says nothing at all.
    """
    columns = [
        np.where(
            part.status == Status.OK.value, ramp(part.numerator, part.denominator, by.targets[:, number]), -1
        )
        for number, part in enumerate(parts)
    ]
    scored: IntArray = np.stack(columns, axis=1).astype(np.int64)
    said: StatusArray = np.stack([part.status for part in parts], axis=1)
    counts = by.engagement > 0
    points = mean(np.maximum(scored, 0), np.where(scored >= 0, by.engagement, 0))
    return points, _said(points, said, counts), scored


def _said(points: IntArray, said: StatusArray, counts: BoolArray) -> StatusArray:
    status = np.full(len(points), Status.UNKNOWN.value, dtype=np.uint8)
    for word in reversed(_WHY_NOT):
        status[((said == word.value) & counts).any(axis=1)] = word.value
    status[points >= 0] = Status.OK
    status[((said == Status.STALE_SOURCE.value) & counts).any(axis=1)] = Status.STALE_SOURCE
    return status


def _status(portfolio: Portfolio, feed: tuple[str, ...]) -> StatusArray:
    """Of a part over 28 days: ``insufficient_history`` until the account was first active, and the portfolio first
    received ``feed``, by D-27. Absence counts only from then on."""
    since = portfolio.as_of - DAYS + 1
    short = ~(seen_since(portfolio, since) & fed_since(portfolio, feed, since))
    return standing(portfolio, feed, unseen=never_active(portfolio), silence=ACTIVITY, short=short)


def fed_since(portfolio: Portfolio, families: tuple[str, ...], day: int) -> BoolArray:
    """Whether the portfolio first received one of ``families`` on ``day`` or before."""
    fed = np.zeros(portfolio.size, dtype=np.bool_)
    for family in families:
        fed |= portfolio.fed(family) & (portfolio.family_day(family) <= day)
    return fed
