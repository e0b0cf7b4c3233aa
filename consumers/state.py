"""Everything kept of one account, and how it changes: windows by merging activity, profile by deriving from facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from consumers.active_days import RING_BYTES, enter
from consumers.days import Calendar
from consumers.facts import Fact, Profile, State, derive, merge_facts
from consumers.ledger import ledger_of
from consumers.moments import pack
from consumers.usage import Usage, Using, merge_uses
from consumers.windows import NEVER, Activity, DayCounts, Users, merge_users


class _Facts(msgspec.Struct, array_like=True):
    """The facts, and what of them new users and features need: readable without decoding the former."""

    marks: dict[str, int]  # flags of users
    facts: msgspec.Raw
    people: list[str] = []  # users whose slots are in the moments
    core: list[str] | None = None  # its own core features


_facts_decoder = msgspec.msgpack.Decoder(_Facts)
_fact_list_decoder = msgspec.msgpack.Decoder(list[Fact])
_id_list_decoder = msgspec.msgpack.Decoder(list[str])
_encoder = msgspec.msgpack.Encoder()
_NO_FACTS = msgspec.Raw()


@dataclass(slots=True)
class AccountState:
    """One account's windows, facts and profile.

    ``no`` is the database's number, None until stored. ``news`` holds what facts say when they changed in this batch,
    so that the directory row is written only then. ``usage_blob`` and ``facts_blob`` are as stored before;
    :meth:`stored_usage` and :meth:`stored_facts` as they are to be stored now. What facts alone say, ``moments`` and
    ``ledger``, is not loaded: it is there once they changed, or a user came who is in it.
    """

    account_id: str
    no: int | None = None
    profile: Profile = field(default_factory=Profile)
    days: DayCounts = field(default_factory=DayCounts)
    users: Users = field(default_factory=Users)
    active_days: bytearray = field(default_factory=lambda: bytearray(RING_BYTES))
    features: bytes = b""
    sessions: bytes = b""
    moments: bytes = b""
    ledger: bytes = b""
    usage_blob: bytes = b""
    facts_blob: bytes = b""
    news: State | None = None
    new_users: bool = False
    new_usage: bool = False
    new_moments: bool = False
    _usage: Usage | None = None
    _facts: list[Fact] | None = None
    _aside: _Facts | None = None
    _paired: int = field(init=False)  # how many users there were when the moments got their slots

    def __post_init__(self) -> None:
        """What was stored is in step."""
        self._paired = len(self.users)

    @property
    def detail_changed(self) -> bool:
        """Whether anything beside the windows and the profile changed: user ids, usage or facts."""
        return self.new_users or self.new_usage or self.news is not None

    def settle(self) -> None:
        """Everything is stored: nothing is new any more."""
        self.news, self.new_users, self.new_usage, self.new_moments = None, False, False, False

    def merge(self, activity: Activity, facts: Sequence[Fact], calendar: Calendar) -> None:
        """Fold one batch's activity and facts in."""
        merge_states([(self, activity, facts)], calendar)

    def facts(self) -> list[Fact]:
        """All facts kept, in order."""
        if self._facts is None:
            self._facts = (
                _fact_list_decoder.decode(_facts_decoder.decode(self.facts_blob).facts)
                if self.facts_blob
                else []
            )
        return self._facts

    def usage(self) -> Usage:
        """Who used what. Not to be changed by others."""
        if self._usage is None:
            self._usage = Usage(self.usage_blob, self.features, self.sessions)
        return self._usage

    def stored_facts(self) -> bytes:
        """Its facts, for ``facts_blob``."""
        if not self.facts_blob and self._facts and self._aside is not None:
            aside = self._aside
            self.facts_blob = _encoder.encode([aside.marks, self._facts, aside.people, aside.core])
        return self.facts_blob

    def stored_usage(self) -> bytes:
        """Its usage, for ``usage_blob``."""
        if not self.usage_blob and self._usage is not None:
            self.usage_blob = self._usage.blob()
        return self.usage_blob

    def take_activity(self, activity: Activity, new_users: bool) -> None:
        """Fold in a batch's activity but for the users' days and uses, which :func:`merge_states` folds in itself."""
        self.new_users |= new_users
        profile = self.profile
        for day, count in activity.logins.items():
            self.days.add(day, count)
        days = activity.logins.keys() | activity.others if activity.others else activity.logins
        enter(self.active_days, profile.last_day, days)
        profile.ring_day = self.days.newest
        profile.last_day = max(profile.last_day, *days)
        if profile.first_day == NEVER or activity.first_day < profile.first_day:
            profile.first_day = activity.first_day

    def take_facts(self, facts: Sequence[Fact], calendar: Calendar) -> None:
        """Fold in a batch's facts, or no facts but new users."""
        if facts:
            self._merge_facts(facts, calendar)
        elif self.new_users and (self.facts_blob or self._aside is not None):
            aside = self._told()
            if aside.marks:
                self.users.mark(aside.marks)
            if not set(aside.people).isdisjoint(self.users.known.ids[self._paired :]):
                self._take_moments(derive(self.facts(), calendar), calendar)
            self._paired = len(self.users)

    def take_usage(self) -> None:
        """What features and sessions became is for the sweep to read."""
        usage = self.usage()
        core = self._told().core
        usage.mark(() if core is None else core)
        self.features, self.sessions = bytes(usage.features), bytes(usage.sessions)

    def renew_facts(self, calendar: Calendar) -> None:
        """Derive anew what facts say, and store it."""
        self._merge_facts((), calendar)

    def _merge_facts(self, new: Sequence[Fact], calendar: Calendar) -> None:
        facts = merge_facts(self.facts(), new)
        state = derive(facts, calendar)
        windows = self.profile
        state.profile.first_day, state.profile.last_day = windows.first_day, windows.last_day
        state.profile.ring_day = windows.ring_day
        self.profile = state.profile
        self.users.mark(state.marks)
        core_before = self._told().core
        core = None if state.core is None else list(state.core)
        people = sorted({user_id for _, _, user_id in state.people})
        self._facts, self.facts_blob = facts, b""
        self._aside = _Facts(state.marks, _NO_FACTS, people, core)
        self._take_moments(state, calendar)
        if core != core_before and self.features:
            self.new_usage = True
            self.take_usage()
        self.news = state

    def _take_moments(self, state: State, calendar: Calendar) -> None:
        self.moments = pack(state.moments, state.people, self.users.known.slots)
        self.ledger = ledger_of(self.facts(), calendar)
        self.new_moments, self._paired = True, len(self.users)

    def _told(self) -> _Facts:
        if self._aside is None:
            self._aside = _facts_decoder.decode(self.facts_blob) if self.facts_blob else _Facts({}, _NO_FACTS)
        return self._aside

    def details(self, calendar: Calendar) -> dict[str, Any]:
        """Names behind the profile, for evidence: champions, seats by subscription."""
        return derive(self.facts(), calendar).details


def merge_states(work: Sequence[tuple[AccountState, Activity, Sequence[Fact]]], calendar: Calendar) -> None:
    """Fold a batch into its accounts, each of which may come once."""
    new = merge_users([(state.users, activity.users) for state, activity, _ in work])
    using: list[tuple[AccountState, Activity]] = []
    for (state, activity, facts), new_users in zip(work, new, strict=True):
        if activity.users:
            state.take_activity(activity, new_users)
        if facts or new_users:
            state.take_facts(facts, calendar)
        if activity.features or activity.sessions:
            using.append((state, activity))
    if using:
        _merge_usage(using)


def _merge_usage(work: Sequence[tuple[AccountState, Activity]]) -> None:
    merge_uses(
        [
            Using(state.usage(), state.users.known.slots, activity.features, state.profile.last_day)
            for state, activity in work
            if activity.features
        ]
    )
    for state, activity in work:
        usage = state.usage()
        for day, milliseconds in activity.sessions.items():
            usage.spent(day, milliseconds)
        state.usage_blob, state.new_usage = b"", True
        state.take_usage()


def encode_ids(ids: Sequence[str]) -> bytes:
    """User ids as stored, in the order of their cells."""
    return _encoder.encode(ids)


def decode_ids(blob: bytes) -> list[str]:
    """From :func:`encode_ids`."""
    return _id_list_decoder.decode(blob) if blob else []
