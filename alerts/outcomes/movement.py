"""Revenue retention: what became of the MRR of a cohort between two days (METRICS section 4).

The endpoint method: an account's MRR at the close of two days decides, whatever lay between them. The cohort are the
accounts with MRR above 0 at the start, S their MRR then. Amounts are whole cents, and sums are exact: the parts of a
split add up to the whole to the cent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from alerts.arrays import BoolArray, IntArray

# An amount is under 2**60 cents. Cut in two, sums of either half over any portfolio are exact where floats add them.
_LOW_BITS = 26
_LOW = (1 << _LOW_BITS) - 1
_MOST = 2**63


@dataclass(frozen=True, slots=True)
class Movement:
    """From the start to the end: ``start + expansion - contraction - churn`` is what the cohort has at the end.

    ``accounts`` is the cohort's size, ``retained`` how many of it have MRR above 0 at the end. ``new`` is the MRR at
    the end of accounts that had none at the start: in no rate, but :attr:`end` and it are all of the MRR at the end.
    """

    accounts: int
    retained: int
    start: int
    expansion: int
    contraction: int
    churn: int
    new_accounts: int
    new: int

    @property
    def end(self) -> int:
        """Cents that the cohort has at the end."""
        return self.start + self.expansion - self.contraction - self.churn

    @property
    def lost(self) -> int:
        """How many accounts of the cohort have no MRR at the end."""
        return self.accounts - self.retained

    @property
    def nrr(self) -> Fraction | None:
        """Net revenue retention, (S + expansion - contraction - churn) / S; None if S is 0 (METRICS 4)."""
        return self._of_start(self.end)

    @property
    def grr(self) -> Fraction | None:
        """Gross revenue retention, the sum of min(start, end) / S: at most 1, and at most NRR (METRICS 4)."""
        return self._of_start(self.start - self.contraction - self.churn)

    @property
    def expansion_rate(self) -> Fraction | None:
        """Expansion / S (METRICS 4)."""
        return self._of_start(self.expansion)

    @property
    def contraction_rate(self) -> Fraction | None:
        """Contraction / S (METRICS 4)."""
        return self._of_start(self.contraction)

    @property
    def churned_mrr_rate(self) -> Fraction | None:
        """Churned MRR / S, the gross revenue churn (METRICS 4)."""
        return self._of_start(self.churn)

    @property
    def logo_retention(self) -> Fraction | None:
        """Accounts with MRR above 0 at both ends / the cohort (METRICS 4)."""
        return Fraction(self.retained, self.accounts) if self.accounts else None

    @property
    def logo_churn(self) -> Fraction | None:
        """Accounts of the cohort without MRR at the end / the cohort (METRICS 4)."""
        return Fraction(self.lost, self.accounts) if self.accounts else None

    def __add__(self, other: Movement) -> Movement:
        """Of two cohorts that have no account in common."""
        return Movement(*(getattr(self, name) + getattr(other, name) for name in Movement.__slots__))

    def _of_start(self, cents: int) -> Fraction | None:
        return Fraction(cents, self.start) if self.start else None


NOBODY = Movement(0, 0, 0, 0, 0, 0, 0, 0)


def movement(start: IntArray, end: IntArray) -> Movement:
    """Over all accounts, ``start`` and ``end`` being the MRR of each at the close of two days, in cents."""
    return movements(start, end, None, 1)[0]


def movements(start: IntArray, end: IntArray, groups: IntArray | None, count: int) -> Sequence[Movement]:
    """Over the accounts of each of ``count`` groups; ``groups`` says by number which one an account is in."""
    present, there = start > 0, end > 0
    sums = _Sums(groups, count, max(int(start.max(initial=0)), int(end.max(initial=0))))
    return [
        Movement(
            accounts=accounts,
            retained=retained,
            start=before,
            expansion=after - new - kept,
            contraction=before - kept - churn,
            churn=churn,
            new_accounts=paying - retained,
            new=new,
        )
        for accounts, retained, paying, before, after, kept, churn, new in zip(
            sums.counts(present),
            sums.counts(present & there),
            sums.counts(there),
            sums.of(start),
            sums.of(end),
            sums.of(np.minimum(start, end)),
            sums.of(start * ~there),
            sums.of(end * ~present),
            strict=True,
        )
    ]


@dataclass(frozen=True, slots=True)
class Waterfall:
    """What a movement adds up, for each account by itself, in int64 cents.

    ``start + expansion - contraction - churn + new`` is the account's MRR at the end.
    """

    start: IntArray
    end: IntArray
    expansion: IntArray
    contraction: IntArray
    churn: IntArray
    new: IntArray

    @classmethod
    def between(cls, start: IntArray, end: IntArray) -> Waterfall:
        """``start`` and ``end`` are each account's MRR at the close of two days."""
        present, change = start > 0, end - start
        falls = np.maximum(-change, 0)
        gone = end == 0
        return cls(
            start=start,
            end=end,
            expansion=np.where(present, np.maximum(change, 0), 0),
            contraction=np.where(gone, 0, falls),
            churn=np.where(gone, falls, 0),
            new=np.where(present, 0, end),
        )


@dataclass(frozen=True, slots=True)
class _Sums:
    """Exact sums by group of amounts up to ``largest``."""

    groups: IntArray | None
    count: int
    largest: int

    def counts(self, chosen: BoolArray) -> list[int]:
        if self.groups is None:
            return [int(np.count_nonzero(chosen))]
        return [int(number) for number in np.bincount(self.groups[chosen], minlength=self.count)]

    def of(self, cents: IntArray) -> list[int]:
        if self.groups is None:
            if self.largest * len(cents) < _MOST:
                return [int(cents.sum())]
            return [(int((cents >> _LOW_BITS).sum()) << _LOW_BITS) + int((cents & _LOW).sum())]
        high, low = (
            np.bincount(self.groups, half, self.count) for half in (cents >> _LOW_BITS, cents & _LOW)
        )
        return [(int(above) << _LOW_BITS) + int(below) for above, below in zip(high, low, strict=True)]
