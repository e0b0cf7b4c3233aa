"""A backtest: one replay of any number of rules, scored against outcomes that the replay never sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alerts.alert import Severity
from alerts.backtest.outcomes import Outcomes
from alerts.backtest.score import Bench, Opening, Period, Population, Score
from alerts.model import Model
from alerts.replay import Summary, ledger
from alerts.rules.rule import Rule
from consumers.days import Calendar
from consumers.errors import ConfigurationError
from consumers.history import History

DEFAULT_HORIZON = 90


@dataclass(frozen=True, slots=True)
class Trial:
    """A replay's openings, and the accounts with their fates on which they are scored."""

    openings: Sequence[Opening]
    bench: Bench

    @property
    def population(self) -> Population:
        """Who was judged."""
        return self.bench.population

    def scores(self, severities: Mapping[str, Severity]) -> list[Score]:
        """One for each of these rules, which were replayed, and last the one of any of them."""
        return self.bench.scores((each for each in self.openings if each.rule in severities), severities)


def trial(
    history: History,
    rules: Sequence[Rule],
    calendar: Calendar,
    outcomes: Outcomes,
    *,
    first: int | None = None,
    until: int | None = None,
    horizon: int = DEFAULT_HORIZON,
    model: Model | None = None,
    summary: Summary | None = None,
) -> Trial:
    """Replay ``history`` and judge it by ``outcomes``. Days are since 1970-01-01, ``horizon`` counts days.

    Raises ConfigurationError where no day has a whole horizon of history before and behind it.
    """
    if history.span is None:
        raise ConfigurationError("there is no event in it, so there is nothing to judge")
    end = history.span[1] - outcomes.settled_before_end
    begin = history.span[0] if first is None else max(first, history.span[0])
    last = end - horizon if until is None else min(until, end - horizon)
    if last < begin:
        raise ConfigurationError(
            f"no day can be judged: outcomes are known up to {calendar.date(end)}, and an alert counts only if "
            f"{horizon} days follow it\ntake files of more days, or a shorter --horizon"
        )
    summary = Summary() if summary is None else summary
    stop = history.span[1] if until is None else min(until, history.span[1])
    lines = ledger(history, rules, calendar, begin, stop, summary=summary, with_metrics=False, model=model)
    openings = [Opening(line.rule, line.account_id, line.day) for line in lines if line.event == "opened"]
    return Trial(openings, Bench(summary.known_since, outcomes, Period(begin, last, end, horizon)))


def describe_population(population: Population, calendar: Calendar) -> dict[str, Any]:
    """As JSON has it; days are ISO dates."""
    period = population.period
    return {
        "from": calendar.date(period.first).isoformat(),
        "until": calendar.date(period.last).isoformat(),
        "data_end": calendar.date(period.end).isoformat(),
        "horizon_days": period.horizon,
        "accounts": population.accounts,
        "account_days": population.account_days,
        "days_before_churn": population.days_before_churn,
        "base_rate": population.base_rate,
        "churns": population.churns,
        "churns_too_early": population.too_early,
        "churns_too_late": population.too_late,
        "churns_after_end": population.after_end,
        "accounts_without_events": population.strangers,
    }
