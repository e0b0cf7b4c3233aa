"""Who was a customer when: by what an account paid, or by outcomes that somebody wrote down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from alerts.arrays import BoolArray
from alerts.backtest.outcomes import Outcomes
from consumers.days import Calendar
from consumers.facts import Fact, merge_facts
from consumers.history import History
from consumers.ledger import Ledger, ledger_of, load


class Fates(Protocol):
    """What became of accounts."""

    def between(self, account_ids: Sequence[str], day: int, until: int) -> tuple[BoolArray, BoolArray]:
        """Which of the accounts were customers at the close of ``day``, and which of those were kept to ``until``."""


class Paid:
    """A customer is who has MRR above 0, and is kept who has at the close of the last day too (METRICS 4).

    In whatever currency: whether somebody pays can be told without adding sums up.
    """

    def __init__(self, ledgers: Mapping[str, Ledger]) -> None:
        self._ledgers = {account_id: ledger for account_id, ledger in ledgers.items() if ledger.mrr}

    @classmethod
    def read(cls, history: History, calendar: Calendar) -> Paid:
        """From the facts of a history."""
        facts: dict[str, list[Fact]] = {}
        for _, deltas in history.days():
            for account_id, delta in deltas.items():
                if delta.facts:
                    facts.setdefault(account_id, []).extend(delta.facts)
        return cls({name: load(ledger_of(merge_facts([], told), calendar)) for name, told in facts.items()})

    @property
    def told(self) -> bool:
        """Whether anybody's MRR was ever told."""
        return bool(self._ledgers)

    def between(self, account_ids: Sequence[str], day: int, until: int) -> tuple[BoolArray, BoolArray]:
        """As :class:`Fates` has it."""
        before, after = (
            np.array([self._pays(account_id, close) for account_id in account_ids], dtype=np.bool_)
            for close in (day, until)
        )
        return before, before & after

    def _pays(self, account_id: str, day: int) -> bool:
        ledger = self._ledgers.get(account_id)
        return ledger is not None and any(ledger.mrr_at(day, currency) > 0 for currency in ledger.mrr)


class Told:
    """A customer is who has not churned, or has renewed since; is kept who does not churn, not even to come back."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes

    def between(self, account_ids: Sequence[str], day: int, until: int) -> tuple[BoolArray, BoolArray]:
        """As :class:`Fates` has it."""
        terms = [
            next(self._outcomes.course(account_id).terms(day, until), None) for account_id in account_ids
        ]
        customers = [term is not None and term.first == day for term in terms]
        kept = [
            customer and term is not None and term.churned is None
            for customer, term in zip(customers, terms, strict=True)
        ]
        return np.array(customers, dtype=np.bool_), np.array(kept, dtype=np.bool_)
