"""Writing down events: one account after the other, each event with an id, an instant and its data."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from app.demo.companies import Company

Event = dict[str, Any]
FEATURES = ("reports", "approvals", "exports", "dashboards", "automations")
_OPENS_S, _WORKS_S = 7 * 3600, 11 * 3600  # when people work, in seconds of the day


@dataclass(slots=True)
class Script:
    """Collects the events of one demo. ``midnight`` is where today begins; days are told as days ago, 1: yesterday."""

    midnight: datetime
    dice: random.Random
    events: list[Event] = field(default_factory=list)
    _count: int = 0
    _days: dict[int, date] = field(default_factory=dict)
    _prefix: str = field(init=False)

    def __post_init__(self) -> None:
        self._prefix = f"demo-{self.midnight:%Y%m%d}"

    def day(self, ago: int) -> date:
        """The date so many days ago; below 0 it lies ahead."""
        if ago not in self._days:
            self._days[ago] = (self.midnight - timedelta(days=ago)).date()
        return self._days[ago]

    def say(self, company: Company, kind: str, ago: int, user: str | None = None, /, **data: Any) -> Event:
        """One event at some time of working hours on a day before today."""
        minutes, second = divmod(int(_OPENS_S + self.dice.random() * _WORKS_S), 60)
        at = f"{self.day(ago)}T{minutes // 60:02}:{minutes % 60:02}:{second:02}Z"
        return self._write(company, kind, at, user, data)

    def say_at(
        self, company: Company, kind: str, at: datetime, user: str | None = None, /, **data: Any
    ) -> Event:
        """One event at an instant."""
        return self._write(company, kind, at.strftime("%Y-%m-%dT%H:%M:%SZ"), user, data)

    def work(
        self,
        company: Company,
        users: Iterable[int],
        days: Sequence[int],
        plan: Callable[[int, int], bool] | None = None,
        features: Sequence[str] = FEATURES,
    ) -> None:
        """Logins of users on days (as days ago), with some of ``features`` and sessions.

        ``plan(user, ago)`` says who comes when; by default each user has three or four working days of the week.
        """
        comes = plan or self.weekly
        for user in users:
            for ago in days:
                if comes(user, ago):
                    self.visit(company, user, ago, features)

    def visit(self, company: Company, user: int, ago: int, features: Sequence[str] = FEATURES) -> None:
        """One user's day: a login, and perhaps what came of it."""
        who, luck = company.user(user), self.dice.random()
        self.say(company, "user.login", ago, who)
        if luck < 0.30:
            feature = features[(user + ago) % len(features)]
            self.say(company, "feature.used", ago, who, feature=feature)
        elif luck < 0.50:
            self.say(company, "session.ended", ago, who, duration_s=60 * self.dice.randrange(3, 55))

    def weekly(self, user: int, ago: int) -> bool:
        """A steady habit: the same working days every week, now and then one left out."""
        weekday = self.day(ago).weekday()
        return weekday < 5 and (weekday + user) % 5 not in _ABSENT[user % 2] and self.dice.random() > 0.04

    def _write(self, company: Company, kind: str, at: str, user: str | None, data: dict[str, Any]) -> Event:
        self._count += 1
        event: Event = {
            "id": f"{self._prefix}-{self._count:06}",
            "type": kind,
            "account_id": company.account_id,
            "occurred_at": at,
        }
        if user is not None:
            event["user_id"] = user
        if data:
            event["data"] = data
        self.events.append(event)
        return event


_ABSENT = ((0,), (0, 2))  # of five working days: some take one off, some two
