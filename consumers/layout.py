"""Windows of an older layout made anew: what facts say from the facts, the rest from what was kept.

Layout 1, of the first release, had neither ``active_days`` nor ``moments``, ``features``, ``sessions`` and ``ledger``;
its profile ended earlier, and usage was one map of features and users and one of session days. On which days anybody
was active is taken from logins, users' maps, features and sessions: of activity that was no login and lies more than 64
days before the user's last one, only sessions are known. Of an account's segments only the newest words were kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from consumers.active_days import enter
from consumers.days import Calendar
from consumers.moments import MOMENT
from consumers.state import AccountState, decode_ids
from consumers.usage import USE, Using, merge_uses
from consumers.windows import CELL, KEPT_DAYS, MAP_DAYS, NEVER, DayCounts, UserIds, Users

_WINDOW_DAYS = struct.Struct("<iii")  # first_day, last_day, ring_day: in every layout at the same place
_AT = 16


@dataclass(frozen=True, slots=True)
class Stored:
    """An account as some layout has it; ``active_days`` and ``sessions`` are empty where it has none."""

    account_id: str
    no: int
    profile: bytes
    days: bytes
    users: bytes
    login_maps: bytes
    active_days: bytes
    sessions: bytes
    user_ids: bytes
    usage: bytes
    facts: bytes


def renewed(stored: Stored, calendar: Calendar) -> AccountState:
    """The account in this version's layout; all of it is to be stored but days, login maps and user ids."""
    state = AccountState(stored.account_id, no=stored.no, facts_blob=stored.facts)
    first, last, newest = _WINDOW_DAYS.unpack_from(stored.profile, _AT)
    state.days = DayCounts(newest, stored.days)
    state.users = Users(UserIds(decode_ids(stored.user_ids)), stored.users, stored.login_maps)
    profile = state.profile
    profile.first_day, profile.last_day, profile.ring_day = first, last, newest
    state.renew_facts(calendar)
    uses, spent = _usage(stored)
    if uses or spent:
        _renew_usage(state, uses, spent)
    if stored.active_days:
        state.active_days = bytearray(stored.active_days)
    else:
        days = {day for day in _days_of(state, uses) if first <= day <= last} | {*spent}
        enter(state.active_days, NEVER, sorted(days))
    return state


_Uses = dict[tuple[str, int], tuple[int, int]]  # (feature, slot) → (last day, map)


def _usage(stored: Stored) -> tuple[_Uses, dict[int, int]]:
    """Who used what, and milliseconds of sessions by day."""
    if not stored.usage:
        return {}, {}
    told: Any = msgspec.msgpack.decode(stored.usage, strict=False)
    if isinstance(told[0], dict):
        features, sessions = told
        uses = {
            (feature, int(slot)): (last, days)
            for feature, users in features.items()
            for slot, (last, days) in users.items()
        }
        return uses, {int(day): spent for day, spent in sessions.items()}
    names, blob = told
    uses = {(names[number], slot): (last, days) for number, slot, last, days in USE.iter_unpack(blob)}
    return uses, {day: spent for day, _, spent in MOMENT.iter_unpack(stored.sessions)}


def _renew_usage(state: AccountState, uses: _Uses, spent: dict[int, int]) -> None:
    usage, known = state.usage(), state.users.known
    coming = {(known.ids[slot], feature): cell for (feature, slot), cell in uses.items()}
    if coming:
        merge_uses([Using(usage, known.slots, coming, state.profile.last_day)])
    for day, milliseconds in sorted(spent.items()):
        usage.spent(day, milliseconds)
    state.take_usage()


def _days_of(state: AccountState, uses: _Uses) -> Iterator[int]:
    """Days of activity that maps and counts know of."""
    newest = state.days.newest
    yield from (
        day for day in range(newest - KEPT_DAYS + 1, newest + 1) if newest != NEVER and state.days[day]
    )
    cells = [(last, days) for last, _, days in CELL.iter_unpack(state.users.cells)]
    for last, days in [*cells, *uses.values()]:
        yield from (last - back for back in range(MAP_DAYS) if days >> back & 1)
