"""The ledgers of many accounts as arrays: what each paid, and which segment it was in, at the close of any days.

An account's MRR is kept as its changes (day, account, by how much). At k days in order each change is added in the row
of the first of them that is not before it; a running sum down the rows is then the MRR at every one of the days. That
is one pass over the changes, whatever k, exact in int64 cents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from alerts.arrays import BoolArray, IntArray
from consumers.ledger import MONEY_FIELDS, SEGMENTS, Stored, currencies_of, load_stored, texts_of

_UNTOLD = ""  # the currency of amounts that came without one
_MONEY = np.dtype(MONEY_FIELDS)


class Books:
    """The ledgers of n accounts.

    ``currency`` is the reporting currency: the one given, or that in which most accounts were ever told an amount
    above 0, the first by name among equals; None where there is none. Amounts told without a currency are in the
    reporting one; amounts in others are left out, which :meth:`foreign` tells and :meth:`left_out` counts.
    """

    def __init__(self, blobs: Sequence[bytes], currency: str | None = None) -> None:
        """``blobs`` are those of :func:`consumers.ledger.ledger_of`, one for each account."""
        self.size = len(blobs)
        self._places: IntArray = np.flatnonzero(np.fromiter(map(len, blobs), np.int64, len(blobs)))
        self._stored = load_stored(filter(None, blobs))
        self._money = _Money.of(self._places, self._stored)
        self.currency = currency or self._most_told()
        reporting = [self.currency or _UNTOLD, _UNTOLD]
        self._reported = np.isin(
            self._money.currency, [place for place, code in enumerate(self._money.codes) if code in reporting]
        )

    def mrr(self, days: Iterable[int]) -> Mapping[int, IntArray]:
        """Cents per account at the close of each of ``days``, in the reporting currency."""
        return self._money.only(self._reported).at(days, self.size)

    def foreign(self, days: Iterable[int]) -> Mapping[int, BoolArray]:
        """Which accounts have MRR in another currency at the close of each of ``days``."""
        return self._having(days, ~self._reported)

    def paying(self, day: int) -> BoolArray:
        """Which accounts have MRR in any currency at the close of ``day``."""
        return self._having([day], np.ones_like(self._reported))[day]

    def left_out(self, days: Iterable[int]) -> dict[str, int]:
        """How many accounts had MRR in another currency at the close of any of ``days``, by currency."""
        counts = {}
        for place, code in sorted(enumerate(self._money.codes), key=lambda each: each[1]):
            chosen = (self._money.currency == place) & ~self._reported
            if chosen.any():
                having = list(self._having(days, chosen).values())
                counts[code] = int(np.any(having, axis=0).sum())
        return {code: count for code, count in counts.items() if count}

    def churned(self, day: int) -> BoolArray:
        """Accounts whose lifecycle was ``churned`` at the close of ``day``."""
        churned = np.zeros(self.size, dtype=np.bool_)
        for index, history in enumerate([stored.churned for stored in self._stored]):
            if history:
                churned[self._places[index]] = [False, *(so for since, so in history if since <= day)][-1]
        return churned

    def segments(self, name: str, day: int) -> tuple[IntArray, Sequence[str | None]]:
        """Each account's segment at the close of ``day``, as places in the names beside; None: not told by then.

        ``name`` is one of SEGMENTS. Names that no account has on that day are there too.
        """
        entries, names = self._segments[name]
        told = entries.day <= day
        places = np.zeros(self.size, dtype=np.int64)
        places[entries.account[told]] = entries.value[
            told
        ]  # of several the last one stays, which is the newest
        return places, names

    def _having(self, days: Iterable[int], chosen: BoolArray) -> dict[int, BoolArray]:
        """Which accounts have MRR at the close of each of ``days``, over the ``chosen`` changes."""
        money = self._money.only(chosen)
        places, account = np.unique(money.account, return_inverse=True)  # a few of all, as a rule
        having = {}
        for day, cents in replace(money, account=account).at(days, len(places)).items():
            having[day] = np.zeros(self.size, dtype=np.bool_)
            having[day][places[cents > 0]] = True
        return having

    def _most_told(self) -> str | None:
        money = self._money
        rises = money.by > 0  # an account's first change is from nothing
        told = {}
        for place, code in enumerate(money.codes):
            if code != _UNTOLD:
                having = np.zeros(self.size, dtype=np.bool_)
                having[money.account[rises & (money.currency == place)]] = True
                told[code] = int(np.count_nonzero(having))
        return min((code for code in told if told[code]), key=lambda code: (-told[code], code), default=None)

    @cached_property
    def _segments(self) -> dict[str, tuple[_Entries, Sequence[str | None]]]:
        return _segments(self._places, self._stored)


@dataclass(frozen=True, slots=True)
class _Money:
    """Changes of MRR: of which account (by place), from which day on, by how many cents, in which of ``codes``."""

    account: IntArray
    day: IntArray
    by: IntArray
    currency: IntArray
    codes: Sequence[str]

    @classmethod
    def of(cls, places: IntArray, stored: Sequence[Stored]) -> _Money:
        heads, of = _shared([each.currencies for each in stored])
        codes: dict[str, int] = {}
        counts, currencies = [], []
        for head in heads:
            told = currencies_of(head)
            counts.append([count for _, count in told])
            currencies.append([codes.setdefault(code, len(codes)) for code, _ in told])
        runs = np.array([len(each) for each in counts], dtype=np.int64)
        run = _expanded(runs, of)
        sizes = _flat(counts)[run]
        entries = np.frombuffer(b"".join([each.money for each in stored]), dtype=_MONEY)
        cents = entries["cents"].astype(np.int64)
        by = np.diff(cents, prepend=0)
        starts = np.cumsum(sizes) - sizes
        by[starts] = cents[starts]  # in each currency an account begins with nothing
        return cls(
            account=np.repeat(np.repeat(places, runs[of]), sizes),
            day=entries["day"].astype(np.int64),
            by=by,
            currency=np.repeat(_flat(currencies)[run], sizes),
            codes=list(codes),
        )

    def only(self, chosen: BoolArray) -> _Money:
        """The ``chosen`` changes."""
        return _Money(
            self.account[chosen], self.day[chosen], self.by[chosen], self.currency[chosen], self.codes
        )

    def at(self, days: Iterable[int], accounts: int) -> dict[int, IntArray]:
        """Cents of each of so many accounts at the close of each of ``days``."""
        wanted = sorted(set(days))
        state = np.zeros((len(wanted) + 1, accounts), dtype=np.int64)
        row = np.searchsorted(np.array(wanted, dtype=np.int64), self.day)
        np.add.at(state.reshape(-1), row * accounts + self.account, self.by)
        for later in range(1, len(wanted)):
            state[later] += state[later - 1]
        return dict(zip(wanted, state, strict=False))


@dataclass(frozen=True, slots=True)
class _Entries:
    """What accounts (by place) were called from which day on, an account's entries by day."""

    account: IntArray
    day: IntArray
    value: IntArray


def _segments(places: IntArray, stored: Sequence[Stored]) -> dict[str, tuple[_Entries, Sequence[str | None]]]:
    """For each of SEGMENTS its entries, their values as places in the names beside; the first, None, is untold."""
    heads, of = _shared([each.texts for each in stored])
    codes: list[dict[str | None, int]] = [{None: 0} for _ in SEGMENTS]
    kinds, values = [], []
    for head in heads:
        told = [(kind, text) for kind, texts in enumerate(texts_of(head)) for text in texts]
        kinds.append([kind for kind, _ in told])
        values.append([codes[kind].setdefault(text, len(codes[kind])) for kind, text in told])
    sizes = np.array([len(each) for each in kinds], dtype=np.int64)
    entry = _expanded(sizes, of)
    account, kind, value = np.repeat(places, sizes[of]), _flat(kinds)[entry], _flat(values)[entry]
    day = np.frombuffer(b"".join([each.days for each in stored]), dtype="<i4")

    def part(number: int) -> _Entries:
        chosen = np.flatnonzero(kind == number)
        return _Entries(account[chosen], day[chosen].astype(np.int64), value[chosen])

    return {name: (part(number), list(codes[number])) for number, name in enumerate(SEGMENTS)}


def _shared(heads: Sequence[bytes]) -> tuple[Sequence[bytes], IntArray]:
    """Each different one once, and for each of ``heads`` which of them it is."""
    places = {head: place for place, head in enumerate(dict.fromkeys(heads))}
    return list(places), np.fromiter(map(places.__getitem__, heads), np.int64, len(heads))


def _expanded(sizes: IntArray, of: IntArray) -> IntArray:
    """Places in lists laid end to end, of so many ``sizes``, when list after list of ``of`` is read."""
    begins = np.cumsum(sizes) - sizes
    lengths = sizes[of]
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    places: IntArray = np.arange(total) + np.repeat(begins[of] - (ends - lengths), lengths)
    return places


def _flat(lists: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    return np.array([each for some in lists for each in some], dtype=np.int64)
