"""Current health (METRICS section 3): engagement, the health score with its inputs, and the band it closed in.

Scores are computed now, from inputs of now; the band is the one of the last day's close, so that a live service and a
replay agree. Points are exact hundredths, rounded half up; :mod:`alerts.health` has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.health.closing import Score, advance, band_of, score
from alerts.health.components import SURVEYS, Component, Health, health
from alerts.health.scales import scales, segment_numbers
from alerts.health.state import BANDS, STALE, UNKNOWN, Records, blank, closed
from alerts.metrics.standing import ACTIVITY, CONTACTS, ESCALATIONS, QBRS, SEATS, TICKETS, whole
from alerts.model import COMPONENTS, PARTS
from alerts.portfolio import Portfolio
from alerts.values import BoolArray, IntArray, Status, StatusArray, Values
from consumers.windows import NEVER

# What feeds them, for evidence: each may be missing, and then the rest counts.
ENGAGEMENT = (*ACTIVITY, *SEATS)
SUPPORT = (*ESCALATIONS, *TICKETS)
RELATIONSHIP = (*CONTACTS, *QBRS)
SATISFACTION = SURVEYS
HEALTH = (*ENGAGEMENT, *SUPPORT, *RELATIONSHIP, *SATISFACTION)
WORDS = BANDS[1:]

_POINTS = 100  # hundredths
_WORDS = np.array(BANDS, dtype=object)
_DAYS = 28


def engagement_score(portfolio: Portfolio, floor: int | None) -> Values:
    """How much of the product the account uses, from 0 to 100 (METRICS 3.1).

    The weighted mean of four parts, each 0 at 0 and 100 at its target: logins per active user and week over
    [D-27..D] (5); core features in use / core features (0.8); minutes of sessions per active user-day over
    [D-27..D] (20); active users / seats (0.8). Weights are equal; they and the targets may differ by segment
    (docs/health.md). A part that has no value is left out and the rest weighs more; a part whose source is
    silent makes the score ``stale_source``. Nobody active in 28 days is 0 logins and 0 minutes per user, not
    a missing part. Parts and the mean are rounded half up to the hundredth of a point.
    """
    engaged = current(portfolio).engagement
    parts = {f"{name}_points": engaged.parts[:, place] for place, name in enumerate(PARTS)}
    return _points(
        engaged.points,
        engaged.status,
        {**engaged.counts, **parts},
        {"window": (portfolio.as_of - _DAYS + 1, portfolio.as_of)},
    )


def engagement_band(portfolio: Portfolio, floor: int | None) -> Values:
    """The band of the engagement score by itself: above 70 ``green``, below 40 ``red``, else ``yellow`` (METRICS 3.1).

    It follows the score without delay. With the statuses of the score.
    """
    engaged = current(portfolio).engagement
    by = scales(portfolio, portfolio.moment.model.health)
    bands = band_of(engaged.points, by.green_above, by.red_below)
    return whole(bands, engaged.status, text=_WORDS[bands], parts={"score_hundredths": engaged.points})


def health_score(portfolio: Portfolio, floor: int | None) -> Values:
    """How the customer does now, from 0 to 100, higher is better (METRICS 3.2).

    0.40 product engagement, 0.20 support, 0.25 relationship and 0.15 satisfaction. An input without a value
    counts with its last one for 14 day closes, then it is left out and the rest weighs more. ``unknown`` when
    less than 0.60 of the weight is present, or no product engagement; ``stale_source`` while an input may
    exist that was not heard.
    """
    found, now = scored(portfolio), current(portfolio)
    return _points(found.points, _score_status(found, now), _score_parts(found), {})


def health_band(portfolio: Portfolio, floor: int | None) -> Values:
    """The band in which the account's last day closed: ``green``, ``yellow`` or ``red`` (METRICS 3.2).

    Judged at the day's close. It changes as far as the score is two points past an edge (70, 40), or as far
    as two closes in a row agree; the first close, and the first with a score again, takes the score's own
    band. ``unknown`` before the first close and while the score is; ``stale_source`` as the score has it.
    """
    records = remembered(portfolio)
    bands = records["band"].astype(np.int64)
    parts = {"closed_day": _day(portfolio, "day"), "since_day": _day(portfolio, "since_day")}
    parts["score_hundredths"] = np.where(closed(records), records["score"], -1).astype(np.int64)
    return whole(bands, _band_status(portfolio), text=_WORDS[bands], parts=parts)


def days_in_band(portfolio: Portfolio, floor: int | None) -> Values:
    """Days since the close at which the account got into its band (METRICS 3.2).

    ``max(0, D - day)``; so 28 when four full weeks have gone by. With the statuses of the band.
    """
    since = _day(portfolio, "since_day")
    days = np.maximum(portfolio.as_of - since, 0)
    return whole(days, _band_status(portfolio), parts={"since_day": since})


def coverage(portfolio: Portfolio, floor: int | None) -> Values:
    """How much of the health score's weight is present, kept inputs included (METRICS 3.2).

    Below 0.60 there is no score. ``stale_source`` while an input may exist that was not heard.
    """
    found, now = scored(portfolio), current(portfolio)
    status = np.full(portfolio.size, Status.OK.value, dtype=np.uint8)
    status[now.components.stale()] = Status.STALE_SOURCE
    whole_weight = np.full(portfolio.size, 10_000, dtype=np.int64)
    return Values(found.coverage, whole_weight, status, parts=_score_parts(found))


def product(portfolio: Portfolio, floor: int | None) -> Values:
    """Product engagement as the health score counts it (METRICS 3.2).

    The engagement score, less 25 while ``logins.change_28d`` is ``ok`` and at most -0.20, less 25 while
    ``seats.utilization`` is ``ok`` and below 0.40; never below 0. With the statuses of the engagement score.
    """
    return _component(portfolio, "product")


def support(portfolio: Portfolio, floor: int | None) -> Values:
    """Support as the health score counts it: 100 less escalations and tickets above the usual (METRICS 3.2).

    Less 25 per open escalation, at most 50; less 10 per ticket of [D-27..D] above the median of the four
    28-day windows before, at most 50. The median needs an account first active, and tickets first received by
    the portfolio, on D-139 or before; until then, and where escalations were never received, that part takes
    nothing off. ``unknown`` when neither was ever received.
    """
    return _component(portfolio, "support")


def relationship(portfolio: Portfolio, floor: int | None) -> Values:
    """The relationship as the health score counts it: champion, sponsor, business reviews, contacts (METRICS 3.2).

    Champion ``active`` 30; sponsor's ``days_since_login`` below 60, 25; a QBR held in [D-89..today] or booked
    for [today..D+90], 25; three or more contacts active in [D-89..today], 20. What was never received is left
    out and the rest scaled to 100; a QBR or contacts that are not there count only once they were received
    for 90 days. A red rating of the last 30 days caps it at 40.
    """
    return _component(portfolio, "relationship")


def satisfaction(portfolio: Portfolio, floor: int | None) -> Values:
    """Satisfaction as the health score counts it: 50 and the change of the mean answer (METRICS 3.2).

    Answers of [D-179..D] against those of [D-359..D-180], NPS and CSAT alike rescaled to 0..100, of which evidence
    has the sums; from 0 to 100. Three answers at least in a window; of one window alone its own mean;
    ``low_volume`` when neither has them.
    """
    return _component(portfolio, "satisfaction")


def terms(portfolio: Portfolio, index: int) -> dict[str, Any]:
    """By what the account is scored, in the units of the configuration, and whose segment's it is; None for nobody's.

    ``{"segment", "engagement": {"weights", "targets"}, "weights", "bands"}``.
    """
    model = portfolio.moment.model.health
    numbers = portfolio.once(("health", "segments"), lambda: segment_numbers(portfolio, model.segments))
    segment = model.segments[numbers[index] - 1] if numbers[index] else None
    mine = model.terms if segment is None else segment.terms
    return {
        "segment": None if segment is None else {name: sorted(them) for name, them in segment.match.items()},
        "engagement": {"weights": _shown(PARTS, mine.engagement), "targets": _shown(PARTS, mine.targets)},
        "weights": _shown(COMPONENTS, mine.weights),
        "bands": {
            "green_above": mine.bands.green_above / _POINTS,
            "red_below": mine.bands.red_below / _POINTS,
        },
    }


def _shown(names: Sequence[str], thousandths: Sequence[int]) -> dict[str, float]:
    return {name: number / 1_000 for name, number in zip(names, thousandths, strict=True)}


def current(portfolio: Portfolio) -> Health:
    """Everything that is scored now, computed once for a portfolio."""
    return portfolio.once(("health", "now"), lambda: health(portfolio))


def scored(portfolio: Portfolio) -> Score:
    """The health score of now, given what is remembered, computed once for a portfolio."""
    return portfolio.once(
        ("health", "score"),
        lambda: score(remembered(portfolio), current(portfolio).components, portfolio.as_of),
    )


def remembered(portfolio: Portfolio) -> Records:
    """What the newest close left of each account; zeros of those never closed."""

    def read() -> Records:
        records = portfolio.health()
        return blank(portfolio.size) if records is None else records

    return portfolio.once(("health", "records"), read)


@dataclass(frozen=True, slots=True)
class Closed:
    """What a close changed: the records of the accounts at ``places``, after ``day``."""

    day: int
    places: IntArray
    records: Records

    def first(self, count: int) -> Closed:
        """As much of it as is of the first ``count`` places."""
        within = np.flatnonzero(self.places < count)
        return Closed(self.day, self.places[within], np.take(self.records, within))


def close_health(portfolio: Portfolio) -> Closed:
    """Close the last complete day; the portfolio's metrics go by the new records from now on.

    Inputs are those of the close, without today so far, and stand for those of now: so all that is judged at the close
    is judged on what a replay has.
    """
    return _closed(portfolio, np.ones(portfolio.size, dtype=np.bool_))


def close_again(portfolio: Portfolio) -> Closed:
    """The same for accounts whose last day was closed while something was unheard, and those alone."""
    records = remembered(portfolio)
    return _closed(portfolio, (records["day"] == portfolio.as_of) & (records["flags"] & STALE != 0))


def _closed(portfolio: Portfolio, chosen: BoolArray) -> Closed:
    records, places = remembered(portfolio), np.flatnonzero(chosen)
    if len(places):
        found = health(portfolio.at_close())
        after = advance(records, found.components, portfolio.as_of)
        records = after if len(places) == len(after) else np.where(chosen, after, records)
        remember(portfolio, records)
        portfolio.put(("health", "now"), found)
    return Closed(portfolio.as_of, places, np.take(records, places))


def remember(portfolio: Portfolio, records: Records) -> None:
    """What the portfolio's metrics go by from now on."""
    portfolio.put(("health", "records"), records)


def _component(portfolio: Portfolio, name: str) -> Values:
    found: Component = current(portfolio).parts[name]
    return _points(found.points, found.status, found.counts, found.windows)


def _points(
    points: IntArray,
    status: StatusArray,
    parts: dict[str, IntArray],
    windows: dict[str, tuple[int, int]],
) -> Values:
    hundredths = np.full(len(points), _POINTS, dtype=np.int64)
    return Values(points, hundredths, status, parts=parts, windows=windows)


def _score_parts(found: Score) -> dict[str, IntArray]:
    """What was counted, in hundredths of a point, -1 where nothing; ``_held`` 1 where it is kept from before."""
    parts = {}
    for place, name in enumerate(COMPONENTS):
        parts[f"{name}_hundredths"] = found.values[:, place]
        parts[f"{name}_held"] = found.held[:, place].astype(np.int64)
    return parts


def _score_status(found: Score, now: Health) -> StatusArray:
    status = np.where(found.points < 0, Status.UNKNOWN.value, Status.OK.value).astype(np.uint8)
    status[now.components.stale()] = Status.STALE_SOURCE
    return status


def _band_status(portfolio: Portfolio) -> StatusArray:
    status = np.where(remembered(portfolio)["band"] == UNKNOWN, Status.UNKNOWN.value, Status.OK.value).astype(
        np.uint8
    )
    if portfolio.moment.stale:  # else a sweep would score everybody to learn that nothing is
        status[current(portfolio).components.stale()] = Status.STALE_SOURCE
    return status


def _day(portfolio: Portfolio, name: str) -> IntArray:
    """A day of the records; NEVER of those never closed."""
    records = remembered(portfolio)
    days: IntArray = np.where(closed(records), records[name], NEVER).astype(np.int64)
    return days
