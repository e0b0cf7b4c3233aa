"""What facts say of all accounts of a history, day by day: beside :mod:`alerts.past_windows`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from alerts.columns import PROFILE_DTYPE
from alerts.past_windows import Windows
from consumers.days import Calendar
from consumers.facts import Fact, State
from consumers.history import History
from consumers.moments import pack
from consumers.telling import Telling
from consumers.usage import CORE, feature_hash

_Marked = tuple[Mapping[str, int], tuple[str, ...] | None]
"""Which users have which flags, and the account's own core features."""

_NOTHING: _Marked = ({}, None)
_OF_WINDOWS = ("first_day", "last_day", "ring_day")


class Told:
    """Moments and attributes as of the last day that was folded in; profiles and flags go into the windows."""

    def __init__(self, history: History, calendar: Calendar, windows: Windows) -> None:
        self._history, self._calendar, self._windows = history, calendar, windows
        self._places = places = windows.places
        self._tellings: dict[int, Telling] = {}
        self._slots: dict[int, dict[str, int]] = {}
        self._before: dict[int, _Marked] = {}
        self.moments: list[bytes] = [b""] * len(places.account_ids)
        self.attributes: list[Mapping[str, str]] = [{}] * len(places.account_ids)

    def fold(self, day: int) -> None:
        """Take in the facts of ``day``."""
        new: dict[int, list[Fact]] = {}
        for number, fact in self._history.facts.get(day, ()):
            new.setdefault(number, []).append(fact)
        for number, facts in new.items():
            account = int(self._places.of_account[number])
            telling = self._tellings.get(account)
            if telling is None:
                telling = self._tellings[account] = Telling(self._calendar)
            self._take(account, telling.tell(facts))

    def _take(self, account: int, state: State) -> None:
        slots = self._slots.get(account)
        if slots is None:
            slots = self._slots[account] = self._places.slots(account)
        windows = self._windows
        profile = np.frombuffer(state.profile.blob(), dtype=PROFILE_DTYPE).copy()
        for name in _OF_WINDOWS:
            profile[name] = windows.profile[name][account]
        windows.profile[account] = profile[0]
        before = self._before.get(account, _NOTHING)
        if state.marks != before[0]:
            flags = windows.cells["flags"][self._places.users(account)]
            flags[:] = 0
            for user_id, mark in state.marks.items():
                if user_id in slots:
                    flags[slots[user_id]] = mark
        if state.core != before[1]:
            windows.uses.mark(account, dict.fromkeys(map(feature_hash, state.core or ()), CORE))
        self._before[account] = state.marks, state.core
        self.moments[account] = pack(state.moments, state.people, slots)
        self.attributes[account] = state.attributes
