"""Engagement weights from history: how far each part of the score went with customers' staying (METRICS 3.1).

The cohort
    The customers at the close of a day ``t`` who had a score of any part then. Scores are as of ``t``: of the history
    only the days up to ``t`` are folded. What became of them by ``t`` + 12 months is put beside the scores afterwards.

Correlation
    Pearson's, of a part's score with having been kept (which is 0 or 1: the point-biserial one), over the accounts that
    have the part. The weighted mean takes scores as they are, in a straight line; so does Pearson's coefficient.
    What usually speaks for ranks instead, a few huge values, cannot be: every score lies between 0 and 100. Sums are
    whole numbers, so that the order of events or accounts changes nothing. Intervals are Fisher's, 95 %.

Weights
    In proportion to the correlations. One that is negative, or of a part that was the same for everybody, gives 0.
    A part of which fewer than 30 accounts of either outcome had a score keeps its present share: nothing new is known
    of it. No weight passes one half, so that no score rests on one part. No correlation speaks for what the limit takes
    off, so the other parts get it in equal shares, as METRICS weighs where nothing is known, but for those whose
    interval lies below 0; correlations close to 0 would divide it by chance. Weights are thousandths that add up to
    1000, by largest remainder. Fitting to the same days again proposes what was proposed.

No weights are proposed with fewer than 30 accounts of either outcome, nor if no part's interval lies above 0: chance
gives every part some correlation.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from alerts.arrays import BoolArray, IntArray
from alerts.backtest.intervals import Interval
from alerts.health.engagement import engagement
from alerts.health.fates import Fates
from alerts.health.judging import Judgement, judged
from alerts.health.scales import scales
from alerts.model import PARTS, HealthModel, Model
from alerts.outcomes.months import Month, year_before
from alerts.past import Past
from alerts.portfolio import Portfolio
from consumers.days import Calendar
from consumers.errors import BellwetherError, ConfigurationError
from consumers.history import History

ENOUGH = 30  # accounts of each outcome
MOST = Fraction(1, 2)  # of the whole weight
WINDOW = 30  # days that the widest part looks back on
WHOLE = 1_000

_Z = 1.959963984540054  # the normal distribution's 97.5 % point
Weights = tuple[int, int, int, int]


class NothingToPropose(BellwetherError):
    """History does not tell weights: too little of it, or nothing in it that goes with staying."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Customers at the close of ``day``, as places in ``portfolio``, and which of them were ``kept`` to ``until``.

    ``parts`` are their scores as of ``day``, n × 4 hundredths of a point, -1 where missing, at least one there.
    ``unscored`` counts the customers who had none.
    """

    day: int
    until: int
    portfolio: Portfolio
    places: IntArray
    kept: BoolArray
    parts: IntArray
    unscored: int

    @property
    def lost(self) -> int:
        """How many were not kept."""
        return int((~self.kept).sum())

    @property
    def account_ids(self) -> list[str]:
        """Whose they are."""
        return [self.portfolio.account_ids[place] for place in self.places.tolist()]

    def points(self, health: HealthModel) -> IntArray:
        """The engagement scores by these weights, in hundredths; -1 where the parts that count are missing."""
        scored = engagement(self.portfolio, scales(self.portfolio, health))
        return scored.points[self.places]

    def lost_in_both(self, other: Cohort) -> int:
        """How many accounts are among the lost of both."""
        gone = [
            {name for name, kept in zip(each.account_ids, each.kept.tolist(), strict=True) if not kept}
            for each in (self, other)
        ]
        return len(gone[0] & gone[1])


@dataclass(frozen=True, slots=True)
class PartFit:
    """One part: the accounts that have it, how many of those were lost, and its correlation with being kept.

    ``correlation`` is None where ``enough`` is not so, and where the score is the same for all.
    """

    name: str
    accounts: int
    lost: int
    correlation: float | None
    interval: Interval | None

    @property
    def enough(self) -> bool:
        """Whether there are enough accounts of each outcome to fit it."""
        return min(self.lost, self.accounts - self.lost) >= ENOUGH


@dataclass(frozen=True, slots=True)
class Fit:
    """What a cohort told."""

    cohort: Cohort
    parts: Sequence[PartFit]
    weights: Weights


# --- which days


def months_later(day: int, months: int) -> int:
    """The same date so many months on, or the month's last; from a last day of a month to a last day."""
    month = Month.of(day)
    then = month.before(-months)
    if day == month.last_day:
        return then.last_day
    return min(then.first_day + day - month.first_day, then.last_day)


def chosen_days(
    span: tuple[int, int] | None, calendar: Calendar, cohort: int | None, judge: int | None
) -> tuple[int, int]:
    """The day of the cohort to fit on, and of the one to judge on, of a history from one day to another.

    By default the latest day to judge on with twelve months behind it, but not more than twelve after the cohort's;
    and the cohort twelve months before it, so that no outcome is in both, or six where history is shorter. Raises
    NothingToPropose where it is too short, and ConfigurationError for days that will not do.
    """
    if span is None:
        raise NothingToPropose("there is no event in it, so there is nothing to fit to")
    first, end = span
    latest = year_before(end) + 1
    while months_later(latest, 12) > end:
        latest -= 1
    for option, day in (("--cohort", cohort), ("--judge", judge)):
        if day is not None and not first <= day <= latest:
            raise ConfigurationError(
                f"{option} {calendar.date(day)} is not in the data, or has no twelve months of them behind it\n"
                f"they begin on {calendar.date(first)}, and the latest day is {calendar.date(latest)}"
            )
    if judge is None:
        judge = latest if cohort is None else min(months_later(cohort, 12), latest)
    if cohort is None:
        far, near = months_later(judge, -12), months_later(judge, -6)
        cohort = far if far >= first + WINDOW - 1 else near
        if cohort < first + WINDOW - 1:
            raise NothingToPropose(
                f"the data, {calendar.date(first)} to {calendar.date(end)}, are too short\n"
                "it takes a month to score a cohort, six more to a later one, and twelve to see what became of that"
            )
    if judge < cohort + WINDOW:
        raise ConfigurationError(
            f"no day to judge on comes {WINDOW} days or more after the cohort of {calendar.date(cohort)}\n"
            f"name an earlier --cohort; the latest day to judge on is {calendar.date(latest)}"
        )
    return cohort, judge


# --- cohorts


def read_cohort(history: History, calendar: Calendar, model: Model, day: int, fates: Fates) -> Cohort:
    """The customers at the close of ``day``."""
    (stretch,) = Past(history, calendar, model).stretches(day, day)
    portfolio, until = stretch.portfolio, months_later(day, 12)
    customers, kept = fates.between(list(portfolio.account_ids), day, until)
    parts = engagement(portfolio, scales(portfolio, model.health)).parts
    scored = (parts >= 0).any(axis=1)
    places = np.flatnonzero(customers & scored)
    return Cohort(
        day, until, portfolio, places, kept[places], parts[places], int((customers & ~scored).sum())
    )


def check_enough(cohort: Cohort, calendar: Calendar) -> None:
    """Raises NothingToPropose unless there are enough accounts of each outcome."""
    lost, kept = cohort.lost, len(cohort.kept) - cohort.lost
    if min(lost, kept) < ENOUGH:
        unscored = f"; {cohort.unscored:,} more had no score yet" if cohort.unscored else ""
        raise NothingToPropose(
            f"too few outcomes: of the customers of {calendar.date(cohort.day)} {kept:,} were kept and {lost:,} lost "
            f"by {calendar.date(cohort.until)}{unscored}\nit takes {ENOUGH} of each"
        )


# --- weights


def fitted(cohort: Cohort, calendar: Calendar, present: Weights) -> Fit:
    """The weights that a cohort tells; ``present`` are those of now. Raises NothingToPropose."""
    check_enough(cohort, calendar)
    parts = [_part(name, cohort.parts[:, place], cohort.kept) for place, name in enumerate(PARTS)]
    if not any(part.interval is not None and part.interval.low > 0 for part in parts):
        told = [f"{part.name} {part.correlation:+.3f}" for part in parts if part.correlation is not None]
        raise NothingToPropose(
            f"no part of the score predicts who stayed of the customers of {calendar.date(cohort.day)}: "
            f"{', '.join(told) or 'none could be fitted'}\nno correlation's 95 % interval lies above 0; weights stay"
        )
    return Fit(cohort, parts, weights_of(parts, present))


def _part(name: str, scores: IntArray, kept: BoolArray) -> PartFit:
    there = scores >= 0
    part = PartFit(name, int(there.sum()), int((there & ~kept).sum()), None, None)
    found = correlation(scores[there], kept[there]) if part.enough else None
    if found is None:
        return part
    return PartFit(name, part.accounts, part.lost, found, _fisher(found, part.accounts))


def correlation(scores: IntArray, kept: BoolArray) -> float | None:
    """Pearson's coefficient; None where either is the same for all."""
    count, total, squares = len(scores), int(scores.sum()), int((scores * scores).sum())
    stayed = int(kept.sum())
    spread = (count * squares - total**2) * stayed * (count - stayed)
    if spread == 0:
        return None
    return max(-1.0, min(1.0, (count * int(scores[kept].sum()) - total * stayed) / math.sqrt(spread)))


def _fisher(found: float, count: int) -> Interval:
    if abs(found) == 1:
        return Interval(found, found)
    half = _Z / math.sqrt(count - 3)
    return Interval(math.tanh(math.atanh(found) - half), math.tanh(math.atanh(found) + half))


def weights_of(parts: Sequence[PartFit], present: Weights) -> Weights:
    """Thousandths that add up to 1000, none above 500."""
    now = [Fraction(weight, sum(present)) for weight in present]
    shares = [
        Fraction(0) if part.enough else min(share, MOST) for part, share in zip(parts, now, strict=True)
    ]
    strengths = [Fraction(max(part.correlation or 0.0, 0.0)) for part in parts]
    left, total = 1 - sum(shares), sum(strengths)
    if total:
        shares = [
            min(share + left * strength / total, MOST)
            for share, strength in zip(shares, strengths, strict=True)
        ]
    open_ = [part.enough and (part.interval is None or part.interval.high >= 0) for part in parts]
    for takers in (open_, [part.enough for part in parts], [True] * len(parts)):
        shares = _filled(shares, takers)
    one, two, three, four = _thousandths(shares)
    return one, two, three, four


def _filled(shares: Sequence[Fraction], takes: Sequence[bool]) -> list[Fraction]:
    """What is left of 1 in equal shares to those who take, as far as none passes MOST."""
    filled = list(shares)
    while left := 1 - sum(filled, Fraction(0)):
        open_ = [place for place, share in enumerate(filled) if takes[place] and share < MOST]
        if not open_:
            break
        room = min(MOST - filled[place] for place in open_)
        step = min(left / len(open_), room)  # until the first is full
        for place in open_:
            filled[place] += step
    return filled


def _thousandths(shares: Sequence[Fraction]) -> list[int]:
    """Rounded by largest remainder, the first of equal ones first."""
    weights = [math.floor(share * WHOLE) for share in shares]
    by_remainder = sorted(
        range(len(shares)), key=lambda place: (weights[place] - shares[place] * WHOLE, place)
    )
    for place in by_remainder[: WHOLE - sum(weights)]:
        weights[place] += 1
    return weights


# --- judging


def judged_on(cohort: Cohort, present: HealthModel, proposed: HealthModel) -> Judgement:
    """Both scores of a later cohort's accounts; those without either score are left out. Raises NothingToPropose."""
    before, after = cohort.points(present), cohort.points(proposed)
    both = (before >= 0) & (after >= 0)
    try:
        return judged(before[both], after[both], cohort.kept[both])
    except ValueError:
        raise NothingToPropose(
            "too few accounts have a score by both weights to judge them\nname other days: --cohort, --judge"
        ) from None


def fingerprint(version: str, weights: Weights, cohorts: Iterable[Cohort]) -> str:
    """16 hex digits that change with the configuration, the weights, and any score or outcome they were made of."""
    content = [version, weights, [_content(cohort) for cohort in cohorts]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _content(cohort: Cohort) -> list[object]:
    rows: Mapping[str, list[object]] = {
        name: [kept, *parts]
        for name, kept, parts in zip(
            cohort.account_ids, cohort.kept.tolist(), cohort.parts.tolist(), strict=True
        )
    }
    return [cohort.day, cohort.until, sorted(rows.items())]
