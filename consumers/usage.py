"""Who used which feature of an account on which days, how long sessions were, and what feature metrics need of it.

Three shapes, each merged so that any order of arrival, in any batches, gives the same answers:

``uses``
    One USE per user and feature: the last day on which he used it, and a map as of :mod:`consumers.windows`. Sorted by
    feature, a number that the account gave it, and slot.
``features``
    One FEATURE per feature, in the order of those numbers, over all its users: bit ``i`` of ``days`` says whether
    anybody used it on the day ``last_day - i``, bit ``i`` of ``two`` whether two or more users did within the 28 days
    that end with ``last_day + 27 - i``. Both are exact for all 64 bits.
``sessions``
    One record of :data:`consumers.moments.MOMENT` per day, of kind 0, with the milliseconds of all sessions that ended
    on it: the newest 64 days, in order.

A feature that nobody used within the kept days is forgotten.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from consumers.moments import LAST_DAY, MOMENT
from consumers.windows import KEPT_DAYS, MAP_DAYS, NEVER

USE_FIELDS = [("feature", "<u4"), ("slot", "<u4"), ("last_day", "<i4"), ("days", "<u8")]
FEATURE_FIELDS = [("feature", "<u8"), ("days", "<u8"), ("two", "<u8"), ("last_day", "<i4"), ("flags", "<u4")]
CORE = 1  # a flag: the feature is on the account's own list of core features
WINDOW = 28  # days over which ``two`` looks back

USE = struct.Struct("<IIiQ")
_USE = np.dtype(USE_FIELDS)
_FEATURE = np.dtype(FEATURE_FIELDS)
_NEW_FEATURE = struct.Struct("<QQQiI")
_FLAGS = struct.Struct("<I")
_encoder = msgspec.msgpack.Encoder()

Maps = NDArray[np.uint64]
Uses = Mapping[tuple[str, str], Sequence[int]]
"""(user id, feature) → [last day, map]"""


class _Stored(msgspec.Struct, array_like=True):
    names: list[str]
    uses: bytes


_decoder = msgspec.msgpack.Decoder(_Stored)


@lru_cache(maxsize=65_536)
def feature_hash(name: str) -> int:
    """What a FEATURE record has for a feature's name: 64 bits of its BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


class Usage:
    """One account's usage. ``features`` and ``sessions`` are stored with its windows, the rest with its details."""

    __slots__ = ("features", "numbers", "sessions", "uses")

    def __init__(self, blob: bytes = b"", features: bytes = b"", sessions: bytes = b"") -> None:
        """As :meth:`blob` gave it, with the two others."""
        stored = _decoder.decode(blob) if blob else _Stored([], b"")
        self.numbers = {name: number for number, name in enumerate(stored.names)}
        self.uses = stored.uses
        self.features = bytearray(features)
        self.sessions = bytearray(sessions)

    def blob(self) -> bytes:
        """What is stored with the account's details."""
        return _encoder.encode((list(self.numbers), self.uses))

    def number(self, feature: str) -> int:
        """A feature's number; a new one gets the next."""
        number = self.numbers.get(feature)
        if number is None:
            number = self.numbers[feature] = len(self.numbers)
            self.features += _NEW_FEATURE.pack(feature_hash(feature), 0, 0, NEVER, 0)
        return number

    def mark(self, core: Collection[str]) -> None:
        """Say of each feature whether it is on the account's own list."""
        for at, name in zip(range(28, len(self.features), _FEATURE.itemsize), self.numbers, strict=True):
            _FLAGS.pack_into(self.features, at, CORE if name in core else 0)

    def spent(self, day: int, milliseconds: int) -> None:
        """Sessions of so long ended on ``day``."""
        day = min(day, LAST_DAY)
        sessions, size = self.sessions, MOMENT.size
        at = len(sessions)  # of the first record after the day
        while at and _day_at(sessions, at - size) > day:
            at -= size
        if at and _day_at(sessions, at - size) == day:
            before = MOMENT.unpack_from(sessions, at - size)[2]
            MOMENT.pack_into(sessions, at - size, day, 0, before + milliseconds)
            return
        sessions[at:at] = MOMENT.pack(day, 0, milliseconds)
        oldest, passed = _day_at(sessions, len(sessions) - size) - MAP_DAYS, 0
        while _day_at(sessions, passed) <= oldest:
            passed += size
        del sessions[:passed]

    def forget(self, oldest: int) -> None:
        """Leave out what was last used on ``oldest`` or before; other features get other numbers."""
        features = np.frombuffer(bytes(self.features), dtype=_FEATURE)
        uses = np.frombuffer(self.uses, dtype=_USE)
        kept = features["last_day"] > oldest
        place = np.cumsum(kept) - 1
        left = uses[uses["last_day"] > oldest].copy()
        left["feature"] = place[left["feature"]]
        self.uses = left.tobytes()
        self.features = bytearray(features[kept].tobytes())
        names = [name for name, keep in zip(self.numbers, kept.tolist(), strict=True) if keep]
        self.numbers = {name: number for number, name in enumerate(names)}


def _day_at(sessions: bytearray, at: int) -> int:
    day: int = MOMENT.unpack_from(sessions, at)[0]
    return day


@dataclass(frozen=True, slots=True)
class Using:
    """One account's part in a batch: its usage, its users' slots, who used what, and its last activity day after it."""

    usage: Usage
    slots: Mapping[str, int]
    uses: Uses
    last_day: int


def merge_uses(work: Sequence[Using]) -> None:
    """Fold features used into their accounts, all at once; each account may come once, and with something."""
    if not work:
        return
    coming = _coming(work)
    known = np.frombuffer(bytearray().join([each.usage.uses for each in work]), dtype=_USE)
    sizes = np.fromiter((len(each.usage.uses) for each in work), np.int64, len(work)) // _USE.itemsize
    features = np.frombuffer(bytearray().join([each.usage.features for each in work]), dtype=_FEATURE)
    counts = (
        np.fromiter((len(each.usage.features) for each in work), np.int64, len(work)) // _FEATURE.itemsize
    )
    firsts = np.cumsum(counts) - counts
    row = firsts[coming["owner"]] + coming["feature"]  # of the record of each one's feature
    span = max(len(each.slots) for each in work)
    keys = row * span + coming["slot"]
    order = np.argsort(keys)
    coming, row, keys = coming[order], row[order], keys[order]
    known_row = np.repeat(firsts, sizes) + known["feature"]
    at = np.searchsorted(known_row * span + known["slot"], keys)
    old = np.zeros(len(keys), dtype=_USE)
    old["last_day"] = coming["last_day"]
    if len(known):
        beside = np.minimum(at, len(known) - 1)
        there = (known_row[beside] == row) & (known["slot"][beside] == coming["slot"])
        old[there] = known[at[there]]
    else:
        there = np.zeros(len(keys), dtype=np.bool_)
    new = _united(old, coming)
    extend(features, row, old, new)
    known[at[there]] = new[there]
    fresh = ~there
    known = np.insert(known, at[fresh], new[fresh])
    sizes += np.bincount(coming["owner"][fresh], minlength=len(work))
    _give_back(work, known, sizes, features, counts)


_COMING = np.dtype(
    [("owner", "<i8"), ("feature", "<i8"), ("slot", "<i8"), ("last_day", "<i8"), ("days", "<u8")]
)


def _coming(work: Sequence[Using]) -> NDArray[Any]:
    rows: list[tuple[int, int, int, int, int]] = []
    for owner, each in enumerate(work):
        slots, numbers, number = each.slots, each.usage.numbers, each.usage.number
        for (user_id, feature), (last, days) in each.uses.items():
            known = numbers.get(feature)
            rows.append((owner, number(feature) if known is None else known, slots[user_id], last, days))
    return np.array(rows, dtype=_COMING)


def _united(old: NDArray[Any], coming: NDArray[Any]) -> NDArray[Any]:
    """The uses after the batch: of each the later last day, and the days of both."""
    new = np.empty(len(old), dtype=_USE)
    last = np.maximum(old["last_day"], coming["last_day"])
    new["feature"], new["slot"], new["last_day"] = coming["feature"], coming["slot"], last
    new["days"] = _shifted(old["days"], last - old["last_day"]) | _shifted(
        coming["days"], last - coming["last_day"]
    )
    return new


def extend(features: NDArray[Any], row: NDArray[np.int64], old: NDArray[Any], new: NDArray[Any]) -> None:
    """Take into the features, one for each ``row``, in order, what users' uses became.

    A window end at which somebody uses a feature who did not before gets its second user if there was one before him,
    or if another one does the same now. So the maps of those who are not in the batch need not be looked at.
    """
    starts = np.flatnonzero(np.append(True, row[1:] != row[:-1]))
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(row))))
    found = features[row[starts]]
    last = np.maximum(np.maximum.reduceat(new["last_day"], starts), found["last_day"])
    gap = np.subtract(last, found["last_day"], dtype=np.int64)
    days, two = _shifted(found["days"], gap), _shifted(found["two"], gap)
    users_days = _shifted(new["days"], last[group] - new["last_day"])
    before = _dilated(_shifted(old["days"], last[group] - old["last_day"]))
    gained = _dilated(users_days) & ~before
    found["two"] = two | np.bitwise_or.reduceat(gained, starts) & _dilated(days) | _twice(gained, starts)
    found["days"] = days | np.bitwise_or.reduceat(users_days, starts)
    found["last_day"] = last
    features[row[starts]] = found


def _shifted(maps: Maps, gap: NDArray[Any]) -> Maps:
    """Maps counted back from days that lie ``gap`` later, which is never below 0."""
    # Shifted by 64 or more nothing is left: days so long gone lie in no window.
    shifted: Maps = np.left_shift(maps, gap.astype(np.uint64))
    return shifted


def _dilated(maps: Maps) -> Maps:
    """Maps over days as maps over the ends of windows of 28 days: bit ``i`` is set by any of the bits ``i-27..i``."""
    for shift in (1, 2, 4, 8, 12):  # over 2, 4, 8, 16 and 28 bits
        maps = maps | maps << np.uint64(shift)
    return maps


def _twice(maps: Maps, starts: NDArray[np.intp]) -> Maps:
    """For each group of maps, in order, the bits that two of them or more have."""
    kept = np.flatnonzero(maps)
    group = np.searchsorted(starts, kept, side="right") - 1
    once = np.zeros(len(starts), dtype=np.uint64)
    twice = np.zeros(len(starts), dtype=np.uint64)
    rank = np.arange(len(kept)) - np.searchsorted(group, group)
    for at in (
        np.split(np.argsort(rank, kind="stable"), np.cumsum(np.bincount(rank))[:-1]) if len(kept) else ()
    ):
        of, some = group[at], maps[kept[at]]
        twice[of] |= once[of] & some
        once[of] |= some
    return twice


def _give_back(
    work: Sequence[Using],
    uses: NDArray[Any],
    sizes: NDArray[np.int64],
    features: NDArray[Any],
    counts: NDArray[np.int64],
) -> None:
    oldest = np.fromiter((each.last_day for each in work), np.int64, len(work)) - KEPT_DAYS
    ends = np.cumsum(sizes)
    stale = uses["last_day"] <= np.repeat(oldest, sizes)
    lapsed = np.unique(np.searchsorted(ends, np.flatnonzero(stale), side="right")).tolist()
    uses_blob, features_blob = uses.tobytes(), features.tobytes()
    use_ends, feature_ends = (ends * _USE.itemsize).tolist(), (np.cumsum(counts) * _FEATURE.itemsize).tolist()
    use, feature = 0, 0
    for each, use_end, feature_end in zip(work, use_ends, feature_ends, strict=True):
        each.usage.uses = uses_blob[use:use_end]
        each.usage.features = bytearray(features_blob[feature:feature_end])
        use, feature = use_end, feature_end
    for index in lapsed:
        work[index].usage.forget(int(oldest[index]))
