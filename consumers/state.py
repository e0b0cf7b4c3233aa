"""Everything kept of one account, and how it changes: windows by merging activity, profile by deriving from facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from consumers.days import Calendar
from consumers.facts import Fact, Profile, State, derive, merge_facts
from consumers.windows import KEPT_DAYS, NEVER, Activity, DayCounts, Users, merge_users, union


class _Usage(msgspec.Struct, array_like=True):
    """Who used which feature, and how long sessions were: read by feature metrics, not by the sweep."""

    features: dict[str, dict[int, tuple[int, int]]] = {}  # feature → user slot → (last day, map)
    sessions: dict[int, int] = {}  # day → milliseconds


class _Facts(msgspec.Struct, array_like=True):
    """The facts, and the flags they give to users; the latter readable without decoding the former."""

    marks: dict[str, int]
    facts: msgspec.Raw


_usage_decoder = msgspec.msgpack.Decoder(_Usage)
_facts_decoder = msgspec.msgpack.Decoder(_Facts)
_fact_list_decoder = msgspec.msgpack.Decoder(list[Fact])
_id_list_decoder = msgspec.msgpack.Decoder(list[str])
_encoder = msgspec.msgpack.Encoder()


@dataclass(slots=True)
class AccountState:
    """One account's windows, facts and profile.

    ``no`` is the database's number, None until stored. ``news`` holds what facts say when they changed in this batch,
    so that the directory row is written only then.
    """

    account_id: str
    no: int | None = None
    profile: Profile = field(default_factory=Profile)
    days: DayCounts = field(default_factory=DayCounts)
    users: Users = field(default_factory=Users)
    usage_blob: bytes = b""
    facts_blob: bytes = b""
    news: State | None = None
    new_users: bool = False
    new_usage: bool = False

    @property
    def detail_changed(self) -> bool:
        """Whether anything beside the windows and the profile changed: user ids, usage or facts."""
        return self.new_users or self.new_usage or self.news is not None

    def settle(self) -> None:
        """Everything is stored: nothing is new any more."""
        self.news, self.new_users, self.new_usage = None, False, False

    def merge(self, activity: Activity, facts: Sequence[Fact], calendar: Calendar) -> None:
        """Fold one batch's activity and facts in."""
        merge_states([(self, activity, facts)], calendar)

    def take_in(self, activity: Activity, facts: Sequence[Fact], new_users: bool, calendar: Calendar) -> None:
        """Fold in all but the users' days, which :func:`merge_states` has folded in already."""
        self.new_users |= new_users
        if activity.users:
            self._merge_activity(activity)
        if activity.features or activity.sessions:
            self._merge_usage(activity)
        if facts:
            self._merge_facts(facts, calendar)
        elif new_users and self.facts_blob:
            marks = _facts_decoder.decode(self.facts_blob).marks
            if marks:
                self.users.mark(marks)

    def facts(self) -> list[Fact]:
        """All facts kept, in order."""
        if not self.facts_blob:
            return []
        return _fact_list_decoder.decode(_facts_decoder.decode(self.facts_blob).facts)

    def _merge_activity(self, activity: Activity) -> None:
        profile = self.profile
        for day, count in activity.logins.items():
            self.days.add(day, count)
        profile.ring_day = self.days.newest
        profile.last_day = max(profile.last_day, *(cell[0] for cell in activity.users.values()))
        if profile.first_day == NEVER or activity.first_day < profile.first_day:
            profile.first_day = activity.first_day

    def _merge_usage(self, activity: Activity) -> None:
        usage = _usage_decoder.decode(self.usage_blob) if self.usage_blob else _Usage({}, {})
        for (user_id, feature), (last, days) in activity.features.items():
            slot = self.users.known.slots[user_id]
            users = usage.features.setdefault(feature, {})
            known = users.get(slot)
            users[slot] = (last, days) if known is None else (max(known[0], last), union(*known, last, days))
        for day, spent in activity.sessions.items():
            usage.sessions[day] = usage.sessions.get(day, 0) + spent
        oldest = self.profile.last_day - KEPT_DAYS
        usage.sessions = {day: spent for day, spent in usage.sessions.items() if day > oldest}
        for feature, users in list(usage.features.items()):
            usage.features[feature] = {slot: seen for slot, seen in users.items() if seen[0] > oldest}
            if not usage.features[feature]:
                del usage.features[feature]
        self.usage_blob = _encoder.encode(usage)
        self.new_usage = True

    def _merge_facts(self, new: Sequence[Fact], calendar: Calendar) -> None:
        facts = merge_facts(self.facts(), new)
        state = derive(facts, calendar)
        windows = self.profile
        state.profile.first_day, state.profile.last_day = windows.first_day, windows.last_day
        state.profile.ring_day = windows.ring_day
        self.profile = state.profile
        self.users.mark(state.marks)
        self.facts_blob = _encoder.encode([state.marks, facts])
        self.news = state

    def details(self, calendar: Calendar) -> dict[str, Any]:
        """Names behind the profile, for evidence: champions, seats by subscription."""
        return derive(self.facts(), calendar).details


def merge_states(work: Sequence[tuple[AccountState, Activity, Sequence[Fact]]], calendar: Calendar) -> None:
    """Fold a batch into its accounts, each of which may come once."""
    new = merge_users([(state.users, activity.users) for state, activity, _ in work])
    for (state, activity, facts), new_users in zip(work, new, strict=True):
        state.take_in(activity, facts, new_users, calendar)


def encode_ids(ids: Sequence[str]) -> bytes:
    """User ids as stored, in the order of their cells."""
    return _encoder.encode(ids)


def decode_ids(blob: bytes) -> list[str]:
    """From :func:`encode_ids`."""
    return _id_list_decoder.decode(blob) if blob else []
