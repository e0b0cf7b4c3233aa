"""The pure fold: a batch of events becomes what it adds to each account.

Deltas of two batches may be merged in either order, and a delta may be merged twice without harm but for login counts,
which de-duplication protects.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from consumers.days import Calendar, micros
from consumers.events import FAMILY, Event, FeatureUsed, SessionEnded, StateEvent, UserLogin
from consumers.facts import Fact
from consumers.windows import Activity


class Delta(NamedTuple):
    """What one batch adds to one account."""

    activity: Activity
    facts: list[Fact]


@dataclass(frozen=True, slots=True)
class Folded:
    """One batch: deltas by account id, the first day seen of each family of events, and the newest day of all."""

    deltas: dict[str, Delta]
    first_days: dict[str, int]
    newest_day: int


def fold(events: Iterable[Event], calendar: Calendar) -> Folded:
    """Fold events, already de-duplicated, into deltas. Days are civil days of ``calendar``'s zone."""
    deltas: dict[str, Delta] = {}
    first_days: dict[str, int] = {}
    newest = 0
    day_of = calendar.day
    for event in events:
        try:
            delta = deltas[event.account_id]
        except KeyError:
            delta = deltas[event.account_id] = Delta(Activity(), [])
        day = day_of(event.occurred_at)
        if type(event) is UserLogin:  # nearly all events: settled here without another call
            activity = delta.activity
            activity.logins[day] += 1
            cell = activity.users.get(event.user_id)
            if cell is None:
                activity.users[event.user_id] = [day, 1, 1]
            elif cell[0] == day:
                cell[1] |= 1
            else:
                activity.saw(event.user_id, day, 1)
            continue
        newest = max(newest, day)
        _fold_other(delta, event, day)
        family = FAMILY[type(event)]
        if family is not None:
            first_days[family] = min(day, first_days.get(family, day))
    for activity, _ in deltas.values():
        if activity.logins:
            first = min(activity.logins)
            activity.first_day = min(activity.first_day, first)
            newest = max(newest, *activity.logins)
            first_days["logins"] = min(first, first_days.get("logins", first))
    return Folded(deltas, first_days, newest)


def _fold_other(delta: Delta, event: FeatureUsed | SessionEnded | StateEvent, day: int) -> None:
    activity = delta.activity
    if isinstance(event, FeatureUsed | SessionEnded):
        activity.first_day = min(activity.first_day, day)
        activity.others.add(day)
    if isinstance(event, FeatureUsed):
        activity.saw(event.user_id, day, 0)
        activity.used(event.user_id, event.data.feature, day)
    elif isinstance(event, SessionEnded):
        activity.saw(event.user_id, day, 0)
        activity.sessions[day] = activity.sessions.get(day, 0) + whole_milliseconds(event.data.duration_s)
    else:
        delta.facts.append(fact_of(event))


def whole_milliseconds(duration_s: float) -> int:
    """A session's length; of a length between two the even one, as IEEE rounds."""
    return round(duration_s * 1000)


def fact_of(event: StateEvent) -> Fact:
    """A state event as the fact that is kept of it: its null fields are absent."""
    said: dict[str, Any] = msgspec.to_builtins(event.data)
    return Fact(
        at=micros(event.occurred_at),
        id=event.id,
        kind=str(event.__struct_config__.tag),
        user_id=getattr(event, "user_id", None) or "",
        data={name: value for name, value in said.items() if value is not None},
        source=event.source,
    )
