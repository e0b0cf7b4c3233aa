"""What outcomes need of one account: how its monthly recurring revenue went, and which segments it was in when.

Derived from the account's facts, like its profile, so any order of arrival gives the same ledger. An entry is what was
in effect at the close of its day, and holds until the next one; whatever changed and changed back within a day leaves
none. Stored with the windows, so that outcomes over a whole portfolio decode no facts.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from typing import Any, TypeVar

import msgspec

from consumers.days import Calendar
from consumers.facts import Fact, cents

SEGMENTS = ("size", "channel", "tier", "use_case")
"""The attributes by which outcomes are split: company size, acquisition channel, product tier, use case."""

MONEY_FIELDS = [("day", "<i4"), ("cents", "<i8")]  # one change of an account's MRR in one currency
_MONEY = struct.Struct("<iq")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ledger:
    """Histories, each a list of (day, what is so from that day's close on), by day.

    ``mrr`` holds one for each currency: cents over all subscriptions in effect in it. An amount told without a currency
    stands under "". ``segments`` holds one for each of SEGMENTS; an attribute that is not there was never told.
    ``churned`` says when the lifecycle was ``churned`` and when no longer.
    """

    mrr: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    segments: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    churned: list[tuple[int, bool]] = field(default_factory=list)

    def mrr_at(self, day: int, currency: str) -> int:
        """Cents at the close of ``day``; 0 before anything was told."""
        return _at(self.mrr.get(currency, ()), day) or 0

    def segment_at(self, day: int, name: str) -> str | None:
        """A segment at the close of ``day``; None where it was not told by then."""
        return _at(self.segments.get(name, ()), day)


class Stored(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A ledger as it is stored: numbers packed, so that those of a portfolio are read side by side as arrays.

    ``money`` are MONEY_FIELDS records of one currency after another, ``currencies`` says which and how many of each.
    ``days`` are int32, of SEGMENTS in their order, ``texts`` what the account was called from each of them on. Both
    ``currencies`` and ``texts`` are msgpack once more: many accounts have them in common, so they are read once.
    """

    money: bytes
    currencies: bytes
    days: bytes
    texts: bytes
    churned: tuple[tuple[int, bool], ...]


_decoder = msgspec.msgpack.Decoder(Stored)
_currencies_decoder = msgspec.msgpack.Decoder(tuple[tuple[str, int], ...])
_texts_decoder = msgspec.msgpack.Decoder(tuple[tuple[str, ...], ...])
_encoder = msgspec.msgpack.Encoder()


def ledger_of(facts: Sequence[Fact], calendar: Calendar) -> bytes:
    """The ledger of an account's ``facts``, which are in order; empty bytes where they tell nothing that it keeps.

    Subscriptions are summed per currency: each counts with the amount and the currency that were told of it last.
    """
    subscriptions: dict[str, dict[str, Any]] = {}
    mrr: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    segments: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    churned: list[tuple[int, bool]] = []
    for fact in facts:
        if fact.kind == "subscription.changed":
            subscriptions.setdefault(fact.data.get("subscription_id", "default"), {}).update(fact.data)
            totals = _totals(subscriptions.values())
            day = calendar.day_of_us(fact.at)
            for currency in totals.keys() | mrr.keys():
                _enter(mrr[currency], day, totals.get(currency, 0))
        elif fact.kind == "account.updated":
            day = calendar.day_of_us(fact.at)
            for name in SEGMENTS:
                if name in fact.data:
                    _enter(segments[name], day, str(fact.data[name]))
            if "lifecycle" in fact.data:
                _enter(churned, day, fact.data["lifecycle"] == "churned")
    return store(Ledger(dict(mrr), dict(segments), churned))


def store(ledger: Ledger) -> bytes:
    """As :func:`load` reads it."""
    mrr = [(currency, _changes(history)) for currency, history in sorted(ledger.mrr.items())]
    segments = [_changes(ledger.segments.get(name, ())) for name in SEGMENTS]
    churned = _changes(ledger.churned)
    if churned and not churned[0][1]:
        del churned[0]  # not churned is how every account begins
    if not (mrr or churned or any(segments)):
        return b""
    days = [day for day, _ in chain.from_iterable(segments)]
    stored = Stored(
        money=b"".join([_MONEY.pack(*entry) for _, history in mrr for entry in history]),
        currencies=_encoder.encode([(currency, len(history)) for currency, history in mrr]),
        days=struct.pack(f"<{len(days)}i", *days),
        texts=_encoder.encode([[text for _, text in history] for history in segments]),
        churned=tuple(churned),
    )
    return _encoder.encode(stored)


def load(blob: bytes) -> Ledger:
    """From :func:`ledger_of`."""
    if not blob:
        return Ledger()
    stored = _decoder.decode(blob)
    money = _MONEY.iter_unpack(stored.money)
    days = iter(struct.unpack(f"<{len(stored.days) // 4}i", stored.days))
    told = zip(SEGMENTS, texts_of(stored.texts), strict=True)
    return Ledger(
        mrr={currency: list(islice(money, count)) for currency, count in currencies_of(stored.currencies)},
        segments={
            name: list(zip(islice(days, len(texts)), texts, strict=True)) for name, texts in told if texts
        },
        churned=list(stored.churned),
    )


def load_stored(blobs: Iterable[bytes]) -> list[Stored]:
    """The packed form of many ledgers, none of them empty."""
    return list(map(_decoder.decode, blobs))


def currencies_of(packed: bytes) -> tuple[tuple[str, int], ...]:
    """Which currencies, in the order of ``Stored.money``, with the number of entries of each."""
    return _currencies_decoder.decode(packed)


def texts_of(packed: bytes) -> tuple[tuple[str, ...], ...]:
    """For each of SEGMENTS what it was called, in the order of ``Stored.days``."""
    return _texts_decoder.decode(packed)


def _totals(subscriptions: Iterable[dict[str, Any]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for each in subscriptions:
        if "mrr" in each:
            currency = each.get("currency", "")
            totals[currency] = totals.get(currency, 0) + cents(each["mrr"])
    return totals


def _enter(history: list[tuple[int, T]], day: int, value: T) -> None:
    """``value`` holds from the close of ``day`` on, whatever was said of that day before."""
    # Where clocks go back over midnight, a later instant may lie on an earlier day.
    while history and history[-1][0] >= day:
        history.pop()
    history.append((day, value))


def _changes(history: Sequence[tuple[int, T]]) -> list[tuple[int, T]]:
    """Without the entries that say what was so already."""
    return [*history[:1], *(after for before, after in pairwise(history) if after[1] != before[1])]


def _at(history: Sequence[tuple[int, T]], day: int) -> T | None:
    index = bisect_right(history, day, key=lambda entry: entry[0])
    return history[index - 1][1] if index else None
