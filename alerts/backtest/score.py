"""Counts alerts and churns against each other, as ``alerts.backtest`` defines it, and says how sure each figure is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from alerts.alert import Severity
from alerts.backtest.intervals import Interval, median, median_interval, poisson, quantile, wilson
from alerts.backtest.outcomes import Outcomes, Term

ANY_RULE = "any rule"


class Opening(NamedTuple):
    """An alert that opened as ``day`` closed."""

    rule: str
    account_id: str
    day: int


class Period(NamedTuple):
    """Days [first..last] are judged, outcomes are known up to ``end``, and an alert warns of ``horizon`` days."""

    first: int
    last: int
    end: int
    horizon: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; both are None where nothing was counted."""

    value: float | None = None
    interval: Interval | None = None

    def over(self, divisor: float) -> Estimate:
        """Divided by a number that is taken as known; nothing where that is 0."""
        if self.value is None or divisor == 0:
            return Estimate()
        return Estimate(self.value / divisor, None if self.interval is None else self.interval.over(divisor))

    def describe(self) -> dict[str, float | None]:
        """As JSON has it."""
        low, high = self.interval or (None, None)
        return {"value": self.value, "low": low, "high": high}


@dataclass(frozen=True, slots=True)
class Score:
    """How one rule did. ``leads`` has one number of days for each churn that it caught.

    ``after_churn`` and ``censored`` are the alerts that count nowhere.
    """

    rule: str
    severity: Severity | None
    alerts: int
    true_alerts: int
    churns: int
    leads: Sequence[int]
    account_days: int
    base_rate: float
    after_churn: int = 0
    censored: int = 0

    @property
    def precision(self) -> Estimate:
        """True alerts / alerts."""
        return _share(self.true_alerts, self.alerts)

    @property
    def recall(self) -> Estimate:
        """Caught churns / churns."""
        return _share(len(self.leads), self.churns)

    @property
    def lift(self) -> Estimate:
        """Precision / base rate."""
        return self.precision.over(self.base_rate)

    @property
    def lead(self) -> Estimate:
        """The median lead time in days."""
        return Estimate(median(self.leads), median_interval(self.leads)) if self.leads else Estimate()

    @property
    def lead_quartiles(self) -> tuple[float, float] | None:
        """Days by which a quarter of the caught churns, and three quarters, were told of."""
        return (quantile(self.leads, 0.25), quantile(self.leads, 0.75)) if self.leads else None

    @property
    def rate(self) -> Estimate:
        """Alerts per 100 accounts and week."""
        if not self.account_days:
            return Estimate()
        return Estimate(float(self.alerts), poisson(self.alerts)).over(self.account_days / 700)

    def describe(self) -> dict[str, Any]:
        """As JSON has it."""
        low, high = self.lead_quartiles or (None, None)
        return {
            "rule": self.rule,
            "severity": None if self.severity is None else self.severity.value,
            "alerts": self.alerts,
            "true_alerts": self.true_alerts,
            "precision": self.precision.describe(),
            "churns": self.churns,
            "caught": len(self.leads),
            "recall": self.recall.describe(),
            "lift": self.lift.describe(),
            "lead_days": {**self.lead.describe(), "lower_quartile": low, "upper_quartile": high},
            "per_100_accounts_and_week": self.rate.describe(),
            "after_churn": self.after_churn,
            "censored": self.censored,
        }


@dataclass(frozen=True, slots=True)
class Population:
    """Who was judged, and what became of them.

    Churns that count nowhere: ``too_early`` ones had no full lead, or came on the account's first day or before it;
    ``too_late`` ones came when alerts did not count any more, ``after_end`` ones after the data. ``strangers`` are
    accounts with an outcome that no event named by the last day that was read.
    """

    period: Period
    accounts: int
    account_days: int
    days_before_churn: int
    churns: int
    too_early: int
    too_late: int
    after_end: int
    strangers: int

    @property
    def base_rate(self) -> float:
        """The share of customers' judged days with a churn within the horizon; 0 without any day."""
        return self.days_before_churn / self.account_days if self.account_days else 0.0


@dataclass(slots=True)
class _Tally:
    alerts: int = 0
    true_alerts: int = 0
    after_churn: int = 0
    censored: int = 0
    earliest: dict[tuple[str, int], int] = field(default_factory=dict)  # (account, churn) → day of the alert


def of_any_rule(openings: Iterable[Opening], severities: Mapping[str, Severity]) -> Iterator[Opening]:
    """One opening of ANY_RULE for each account's day on which at least one rule opened that is not ``info``."""
    days = ((each.account_id, each.day) for each in openings if severities[each.rule] is not Severity.INFO)
    return (Opening(ANY_RULE, *each) for each in dict.fromkeys(days))


class Bench:
    """The accounts of a period with their terms, on which any number of rules can be scored."""

    def __init__(self, known_since: Mapping[str, int], outcomes: Outcomes, period: Period) -> None:
        """``known_since`` has each account's first judged day."""
        self._terms = {
            account_id: list(outcomes.course(account_id).terms(since, period.end))
            for account_id, since in known_since.items()
        }
        self._counted: set[tuple[str, int]] = set()
        early = late = days = warned = 0
        first, last, _, horizon = period
        for account_id, terms in self._terms.items():
            early += sum(churn <= known_since[account_id] for churn in outcomes.course(account_id).churns)
            for term in terms:
                days += max(0, min(term.last, last) - term.first + 1)
                if (churn := term.churned) is None:
                    continue
                warned += max(0, min(churn - 1, last) - max(term.first, churn - horizon) + 1)
                if churn - horizon < first:
                    early += 1
                elif churn - 1 > last:
                    late += 1
                else:
                    self._counted.add((account_id, churn))
        courses = outcomes.courses
        self.population = Population(
            period=period,
            accounts=len(known_since),
            account_days=days,
            days_before_churn=warned,
            churns=len(self._counted),
            too_early=early,
            too_late=late,
            after_end=sum(day > period.end for course in courses.values() for day in course.churns),
            strangers=sum(account_id not in known_since for account_id in courses),
        )

    def scores(self, openings: Iterable[Opening], severities: Mapping[str, Severity]) -> list[Score]:
        """One score for each rule of ``severities``, in that order, and last the one of any rule."""
        tallies = {rule: _Tally() for rule in (*severities, ANY_RULE)}
        openings = list(openings)
        for opening in chain(openings, of_any_rule(openings, severities)):
            self._count(tallies[opening.rule], opening)
        return [self._score(rule, severities.get(rule), tally) for rule, tally in tallies.items()]

    def _count(self, tally: _Tally, opening: Opening) -> None:
        _, account_id, day = opening
        _, last, end, horizon = self.population.period
        term = self._term(account_id, min(day, end))
        if term is None:
            tally.after_churn += 1
            return
        if day > last:
            tally.censored += 1
            return
        tally.alerts += 1
        churn = term.churned
        if churn is not None and churn - day <= horizon:
            tally.true_alerts += 1
            if (account_id, churn) in self._counted:
                known = tally.earliest.setdefault((account_id, churn), day)
                tally.earliest[account_id, churn] = min(known, day)

    def _term(self, account_id: str, day: int) -> Term | None:
        """The term that the day lies in."""
        terms = self._terms.get(account_id, ())
        at = bisect_right(terms, day, key=lambda term: term.first) - 1
        return terms[at] if at >= 0 and day <= terms[at].last else None

    def _score(self, rule: str, severity: Severity | None, tally: _Tally) -> Score:
        return Score(
            rule=rule,
            severity=severity,
            alerts=tally.alerts,
            true_alerts=tally.true_alerts,
            churns=self.population.churns,
            leads=sorted(churn - day for (_, churn), day in tally.earliest.items()),
            account_days=self.population.account_days,
            base_rate=self.population.base_rate,
            after_churn=tally.after_churn,
            censored=tally.censored,
        )


def _share(hits: int, trials: int) -> Estimate:
    return Estimate(hits / trials, wilson(hits, trials)) if trials else Estimate()
