"""The intervention queue: which customers need somebody now, why, and whose turn it is first (METRICS section 5).

Bands are those in which the last day closed. A customer whose band is unknown has no place here, whatever his renewal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from alerts.arrays import BoolArray
from alerts.health.state import BANDS, RED, YELLOW, Records
from alerts.metrics.renewal import SHORT_TERM_MONTHS

RENEWING_DAYS = 90
YELLOW_DAYS = 28

_NO_RENEWAL = 2**31


class Cause(StrEnum):
    """Why a customer is in the queue."""

    RED = "red"
    YELLOW = "yellow_28_days"
    RENEWING = "renewing_90_days"  # and not green


@dataclass(frozen=True, slots=True)
class Customer:
    """What the directory says of an account. Days are since 1970-01-01, ``term_months`` None where never told."""

    account_no: int
    account_id: str
    name: str | None = None
    owner: str | None = None
    owner_email: str | None = None
    renewal_day: int | None = None
    term_months: int | None = None
    mrr_cents: int | None = None
    currency: str | None = None

    def days_to_renewal(self, today: int) -> int | None:
        """Days to the renewal; None when none is known, it is past, or the contract is a short one (METRICS 2.8)."""
        if self.renewal_day is None or self.renewal_day < today:
            return None
        if self.term_months is not None and self.term_months < SHORT_TERM_MONTHS:
            return None
        return self.renewal_day - today


@dataclass(frozen=True, slots=True)
class Intervention:
    """One place in the queue. ``score`` is in hundredths of a point, None where there is none."""

    customer: Customer
    band: int
    days_in_band: int
    days_to_renewal: int | None
    score: int | None

    @property
    def band_word(self) -> str:
        """The band as REST spells it."""
        return BANDS[self.band]

    @property
    def causes(self) -> tuple[Cause, ...]:
        """All that hold; none: the customer is in no queue."""
        holds = {
            Cause.RED: self.band == RED,
            Cause.YELLOW: self.band == YELLOW and self.days_in_band >= YELLOW_DAYS,
            Cause.RENEWING: self.band in {RED, YELLOW} and self._renewing,
        }
        return tuple(cause for cause, true in holds.items() if true)

    @property
    def place(self) -> tuple[bool, bool, int, int, str]:
        """Sorts the queue: renewing within 90 days, red before yellow, days to renewal, MRR descending, account id.

        A renewal or an MRR that is not known comes last. MRR counts as it was told, whatever its currency.
        """
        mrr = self.customer.mrr_cents
        return (
            not self._renewing,
            self.band != RED,
            _NO_RENEWAL if self.days_to_renewal is None else self.days_to_renewal,
            1 if mrr is None else -mrr,
            self.customer.account_id,
        )

    @property
    def _renewing(self) -> bool:
        return self.days_to_renewal is not None and self.days_to_renewal <= RENEWING_DAYS


def listed(records: Records, as_of: int) -> tuple[BoolArray, BoolArray]:
    """Of closed accounts those that are in the queue whatever their renewal, and those that are if it is near."""
    long = as_of - records["since_day"] >= YELLOW_DAYS
    yellow = records["band"] == YELLOW
    return (records["band"] == RED) | (yellow & long), yellow & ~long


def queue(customers: Sequence[Customer], records: Records, *, as_of: int, today: int) -> list[Intervention]:
    """The queue of ``customers``, with the record of each; those without a cause are left out."""
    days = np.maximum(as_of - records["since_day"].astype(np.int64), 0).tolist()
    bands, scores = records["band"].tolist(), records["score"].tolist()
    found = (
        Intervention(each, band, since, each.days_to_renewal(today), score if score >= 0 else None)
        for each, band, since, score in zip(customers, bands, days, scores, strict=True)
    )
    return sorted((each for each in found if each.causes), key=lambda each: each.place)


def earliest(instants: Iterable[int | None]) -> int | None:
    """The earliest of due times, None without any."""
    return min((each for each in instants if each is not None), default=None)
