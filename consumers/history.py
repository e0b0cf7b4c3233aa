"""A whole file of events, in memory and by day, whatever order it came in: what a replay reads.

Events are kept as columns of numbers, some forty bytes each, so that millions fit. Their bodies are kept
compressed, because of two copies of an event that differ the smaller bytes may have to decide which one
stands (METRICS section 1).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from consumers.days import DAY_US, LATEST, Calendar, micros
from consumers.decode import MAX_AHEAD_US, decode_batch, hash_batch, identities
from consumers.events import ACTIVITY, FAMILY, Event, FeatureUsed, SessionEnded, UserLogin
from consumers.facts import Fact
from consumers.fold import Delta, fact_of, whole_milliseconds
from consumers.pipeline import Totals
from consumers.windows import Activity

_BLOCK = 4096  # bodies compressed together: a tie costs the unpacking of one block
_TYPES = tuple(FAMILY)
_NUMBER = {kind: number for number, kind in enumerate(_TYPES)}
_IS_ACTIVITY = np.array([kind in ACTIVITY for kind in _TYPES])
_LOGIN, _FEATURE, _SESSION_END = _NUMBER[UserLogin], _NUMBER[FeatureUsed], _NUMBER[SessionEnded]
_FOR_EVER = micros(LATEST) - MAX_AHEAD_US
_USE = np.dtype([("day", "<i4"), ("user", "<i4"), ("feature", "<i4")])
_SESSION = np.dtype([("day", "<i4"), ("account", "<i4"), ("milliseconds", "<i8")])
_unpack = msgspec.msgpack.Decoder(list[bytes]).decode
_compress = zstandard.ZstdCompressor(level=1).compress  # a third of zlib's time, and smaller
_decompress = zstandard.ZstdDecompressor().decompress


@dataclass(frozen=True, slots=True)
class History:
    """De-duplicated events by day. ``first_days`` has the first day of each family of events."""

    totals: Totals
    accounts: Sequence[str]  # all that were named, also by a copy that does not stand
    first_days: Mapping[str, int]
    users: Sequence[str]
    account_of: NDArray[np.int32]  # of each user
    activity: NDArray[np.int64]  # day, user and whether it was a login, packed and sorted
    counts: NDArray[np.int64]  # how often
    uses: NDArray[Any]  # _USE, each once, sorted
    features: Sequence[str]
    sessions: NDArray[Any]  # _SESSION, sorted
    facts: Mapping[int, Sequence[tuple[int, Fact]]]  # day → (account, fact)

    @property
    def span(self) -> tuple[int, int] | None:
        """The first and the newest day with events; None without any."""
        days = list(self.facts)
        if len(self.activity):
            days += [int(self.activity[0]) >> 33, int(self.activity[-1]) >> 33]
        return (min(days), max(days)) if days else None

    def days(self) -> Iterator[tuple[int, dict[str, Delta]]]:
        """Each day with events, in order, and what it adds to each account."""
        found = np.unique(self.activity >> 33, return_index=True, return_counts=True)
        bounds = {
            day: (at, at + count) for day, at, count in zip(*(each.tolist() for each in found), strict=True)
        }
        for day in sorted(bounds.keys() | self.facts.keys()):
            deltas: dict[str, Delta] = {}
            if day in bounds:
                self._add_activity(deltas, day, *bounds[day])
                self._add_usage(deltas, day)
            for account, fact in self.facts.get(day, ()):
                self._delta(deltas, account).facts.append(fact)
            yield day, deltas

    def _add_activity(self, deltas: dict[str, Delta], day: int, start: int, end: int) -> None:
        packed = self.activity[start:end]
        users = (packed >> 1) & (1 << 32) - 1
        accounts = self.account_of[users].tolist()
        for user, account, login, count in zip(
            users.tolist(), accounts, (packed & 1).tolist(), self.counts[start:end].tolist(), strict=True
        ):
            activity = self._delta(deltas, account).activity
            activity.first_day = day
            activity.saw(self.users[user], day, login)
            if login:
                activity.logins[day] = activity.logins.get(day, 0) + count
            else:
                activity.others.add(day)

    def _add_usage(self, deltas: dict[str, Delta], day: int) -> None:
        uses = self.uses[slice(*np.searchsorted(self.uses["day"], (day, day + 1)))]
        accounts = self.account_of[uses["user"]].tolist()
        for account, user, feature in zip(
            accounts, uses["user"].tolist(), uses["feature"].tolist(), strict=True
        ):
            features = deltas[self.accounts[account]].activity.features
            features[self.users[user], self.features[feature]] = [day, 1]
        sessions = self.sessions[slice(*np.searchsorted(self.sessions["day"], (day, day + 1)))]
        for _, account, milliseconds in sessions.tolist():
            deltas[self.accounts[account]].activity.sessions[day] = milliseconds

    def _delta(self, deltas: dict[str, Delta], account: int) -> Delta:
        name = self.accounts[account]
        delta = deltas.get(name)
        if delta is None:
            delta = deltas[name] = Delta(Activity(), [])
        return delta


def read_history(
    bodies: Iterable[bytes],
    calendar: Calendar,
    *,
    now_us: int | None = None,
    is_internal: Callable[[str], bool] | None = None,
) -> History:
    """Read all ``bodies``. Of the copies of an event the earliest stands, and of those the one with the smallest bytes.

    Events more than five minutes after ``now_us`` are rejected as in the future; None: no instant is.
    ``is_internal`` names our own users, whose activity is left out.
    """
    columns = _Columns(calendar, is_internal)
    stream = iter(bodies)
    while block := list(islice(stream, _BLOCK)):
        columns.add(block, _FOR_EVER if now_us is None else now_us)
    return columns.history()


class _Accounts(dict[str, "_Users"]):
    """Accounts by id, in order of appearance, and the users of all of them by number."""

    def __init__(self) -> None:
        self.users: list[str] = []
        self.account_of: array[int] = array("i")

    def __missing__(self, account_id: str) -> _Users:
        users = self[account_id] = _Users(len(self), self)
        return users


class _Users(dict[str, int]):
    """The numbers of an account's users by id; one that is asked for first has the next."""

    __slots__ = ("_all", "account")

    def __init__(self, account: int, everybody: _Accounts) -> None:
        self.account, self._all = account, everybody

    def __missing__(self, user_id: str) -> int:
        user = self[user_id] = len(self._all.users)
        self._all.users.append(user_id)
        self._all.account_of.append(self.account)
        return user


@dataclass(slots=True)
class _Columns:
    """One number per event and column, in order of arrival; users and accounts as numbers in order of appearance."""

    calendar: Calendar
    is_internal: Callable[[str], bool] | None
    totals: Totals = field(default_factory=Totals)
    ids: array[int] = field(default_factory=lambda: array("Q"))
    instants: array[int] = field(default_factory=lambda: array("q"))
    days: array[int] = field(default_factory=lambda: array("i"))
    kinds: array[int] = field(default_factory=lambda: array("b"))
    subjects: array[int] = field(default_factory=lambda: array("i"))  # a user, or for a fact its account
    facts: dict[int, Fact] = field(default_factory=dict)
    accounts: _Accounts = field(default_factory=_Accounts)
    uses: array[int] = field(
        default_factory=lambda: array("i")
    )  # which events were uses, and of which feature
    features: dict[str, int] = field(default_factory=dict)
    sessions: array[int] = field(
        default_factory=lambda: array("q")
    )  # which events were sessions, and their length
    blocks: list[tuple[int, bytes]] = field(default_factory=list)  # (first event, bodies)

    def add(self, block: Sequence[bytes], now_us: int) -> None:
        events, rejections = decode_batch(block, now_us)
        for _, rejection in rejections:
            self.totals.rejected[rejection.reason] += 1
        refused = {index for index, _ in rejections}
        kept = [body for index, body in enumerate(block) if index not in refused] if refused else block
        if self.is_internal is not None:
            events, kept = self._outsiders(events, kept)
        self.blocks.append((len(self.ids), _compress(msgspec.msgpack.encode(kept))))
        instants = _instants(events)
        self.ids.extend(identities(events))
        self.instants.frombytes(instants.tobytes())
        self.days.frombytes(self._days(events, instants).astype(np.int32).tobytes())
        kinds = np.array([_NUMBER[type(event)] for event in events], dtype=np.int8)
        self.kinds.frombytes(kinds.tobytes())
        self._take(events, kinds)

    def _days(self, events: Sequence[Event], instants: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.calendar.zone == "UTC":  # there a day is always as long
            return instants // DAY_US
        return np.array([self.calendar.day(event.occurred_at) for event in events], dtype=np.int64)

    def history(self) -> History:
        """What stands of all that was added; the columns are given up."""
        stands = self._stands()
        self.blocks.clear()
        days = np.frombuffer(self.days, dtype=np.int32).astype(np.int64)
        kinds = np.frombuffer(self.kinds, dtype=np.int8)
        subjects = np.frombuffer(self.subjects, dtype=np.int32)
        first_days: dict[str, int] = {}
        for number in np.unique(kinds[stands]).tolist():
            family, first = FAMILY[_TYPES[number]], int(days[stands & (kinds == number)].min())
            if family is not None:
                first_days[family] = min(first, first_days.get(family, first))
        moves = stands & _IS_ACTIVITY[kinds]
        packed = days[moves] << 33 | subjects[moves].astype(np.int64) << 1 | (kinds[moves] == _LOGIN)
        activity, counts = np.unique(packed, return_counts=True)
        facts: dict[int, list[tuple[int, Fact]]] = {}
        for index, fact in self.facts.items():
            if stands[index]:
                facts.setdefault(int(days[index]), []).append((int(subjects[index]), fact))
        self.totals.accepted = int(np.count_nonzero(stands))
        account_of = np.frombuffer(self.accounts.account_of, dtype=np.int32)
        return History(
            totals=self.totals,
            accounts=list(self.accounts),
            first_days=first_days,
            users=self.accounts.users,
            account_of=account_of,
            activity=activity,
            counts=counts,
            uses=self._used(stands, days, subjects),
            features=list(self.features),
            sessions=self._spent(stands, days, subjects, account_of),
            facts=facts,
        )

    def _used(
        self, stands: NDArray[np.bool_], days: NDArray[np.int64], subjects: NDArray[np.int32]
    ) -> NDArray[Any]:
        """Who used which feature on which day, each once."""
        events, features = np.frombuffer(self.uses, dtype=np.int32).reshape(-1, 2).T
        kept = stands[events]
        uses = np.empty(np.count_nonzero(kept), dtype=_USE)
        uses["day"], uses["user"], uses["feature"] = (
            days[events[kept]],
            subjects[events[kept]],
            features[kept],
        )
        uses = uses[np.lexsort((uses["feature"], uses["user"], uses["day"]))]
        return uses[np.append(True, uses[1:] != uses[:-1])] if len(uses) else uses

    def _spent(
        self,
        stands: NDArray[np.bool_],
        days: NDArray[np.int64],
        subjects: NDArray[np.int32],
        account_of: NDArray[np.int32],
    ) -> NDArray[Any]:
        """How long all sessions of an account took that ended on a day."""
        events, milliseconds = np.frombuffer(self.sessions, dtype=np.int64).reshape(-1, 2).T
        kept = stands[events]
        packed = days[events[kept]] << 32 | account_of[subjects[events[kept]]]
        found, place = np.unique(packed, return_inverse=True)
        sessions = np.zeros(len(found), dtype=_SESSION)
        sessions["day"], sessions["account"] = found >> 32, found & (1 << 32) - 1
        np.add.at(sessions["milliseconds"], place, milliseconds[kept])
        return sessions

    def _outsiders(self, events: list[Event], bodies: Sequence[bytes]) -> tuple[list[Event], list[bytes]]:
        """Without the activity of internal users, who are counted and then forgotten."""
        assert self.is_internal is not None
        kept = [
            (event, body)
            for event, body in zip(events, bodies, strict=True)
            if type(event) not in ACTIVITY or not self.is_internal(event.user_id or "")
        ]
        self.totals.internal += len(events) - len(kept)
        return [event for event, _ in kept], [body for _, body in kept]

    def _take(self, events: Sequence[Any], kinds: NDArray[np.int8]) -> None:
        """The user of each event, or of a fact its account; what more it says is put aside."""
        first, accounts, features = len(self.subjects), self.accounts, self.features
        owners = [accounts[event.account_id] for event in events]
        active = _IS_ACTIVITY[kinds]
        self.subjects.extend(
            [
                users[event.user_id] if moves else users.account
                for users, event, moves in zip(owners, events, active.tolist(), strict=True)
            ]
        )
        at = np.flatnonzero(kinds == _FEATURE)
        names = [events[index].data.feature for index in at.tolist()]
        used = [features.setdefault(name, len(features)) for name in names]
        self.uses.frombytes(np.array([at + first, used], dtype=np.int32).T.tobytes())
        at = np.flatnonzero(kinds == _SESSION_END)
        spent = [whole_milliseconds(events[index].data.duration_s) for index in at.tolist()]
        self.sessions.frombytes(np.array([at + first, spent], dtype=np.int64).T.tobytes())
        for index in np.flatnonzero(~active).tolist():
            self.facts[first + index] = fact_of(events[index])

    def _stands(self) -> NDArray[np.bool_]:
        """Which events stand: of the copies of each the earliest, and of those the one with the smallest bytes."""
        ids = np.frombuffer(self.ids, dtype=np.uint64)
        instants = np.frombuffer(self.instants, dtype=np.int64)
        stands = np.ones(len(ids), dtype=np.bool_)
        ordered = np.sort(ids)
        repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        if not len(repeated):
            return stands
        copies = np.flatnonzero(np.isin(ids, repeated))
        prints = self._prints(copies)
        order = np.lexsort((prints, instants[copies], ids[copies]))
        copies, prints = copies[order], prints[order]
        heads = np.append(True, ids[copies][1:] != ids[copies][:-1])
        group, chosen = np.cumsum(heads) - 1, np.flatnonzero(heads)
        tied = instants[copies] == instants[copies[chosen]][group]
        # Copies that say the same need no choice, whatever their bytes.
        disputed = np.unique(group[tied & (prints != prints[chosen][group])])
        bodies = dict(self._bodies(copies[tied & np.isin(group, disputed)]))
        for number in disputed.tolist():
            rivals = np.arange(*np.searchsorted(group, (number, number + 1)))
            chosen[number] = min(rivals[tied[rivals]].tolist(), key=lambda at: bodies[int(copies[at])])
        self.totals.duplicate = len(copies) - len(chosen)
        self.totals.conflicting_duplicate = int(np.count_nonzero(prints != prints[chosen][group]))
        stands[copies] = False
        stands[copies[chosen]] = True
        return stands

    def _prints(self, copies: NDArray[np.intp]) -> NDArray[np.uint32]:
        """What each of these events says, as a fingerprint; nearly all events have no copy and never need one."""
        prints = array("I")
        bodies = self._bodies(copies)
        while some := [body for _, body in islice(bodies, _BLOCK)]:
            prints.extend(hash_batch(decode_batch(some, _FOR_EVER)[0])[1])
        return np.frombuffer(prints, dtype=np.uint32)

    def _bodies(self, wanted: NDArray[np.intp]) -> Iterator[tuple[int, bytes]]:
        """These events, which are in any order, in theirs, with their bytes; each block is unpacked once at most."""
        numbers = np.sort(wanted)
        for first, packed in self.blocks:
            some = numbers[slice(*np.searchsorted(numbers, (first, first + _BLOCK)))]
            block = _unpack(_decompress(packed)) if len(some) else []
            # A block of which events were refused is shorter; what lies behind it is the next one's.
            yield from (
                (index, block[index - first]) for index in some.tolist() if index - first < len(block)
            )


def _instants(events: Sequence[Event]) -> NDArray[np.int64]:
    """Microseconds since the epoch."""
    seconds = np.array([event.occurred_at.timestamp() for event in events], dtype=np.float64)
    if (
        not len(seconds) or seconds.max() < 1 << 31
    ):  # until 2038 a double is exact to a quarter of a microsecond
        return np.rint(seconds * 1e6).astype(np.int64)
    return np.array([micros(event.occurred_at) for event in events], dtype=np.int64)
