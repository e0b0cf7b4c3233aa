"""A second opinion: every metric and the whole ledger, counted again from raw events by code that shares none.

Written from the definitions alone, with the standard library alone, as plainly as they read: sets of people
by day, facts in the order they happened, three-valued logic spelt out. What the package says must be what
this says.

Facts are read in ``recount_facts.py``, rules and the ledger in ``recount_rules.py``.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from datetime import UTC, datetime
from fractions import Fraction
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

from tests.recount_facts import Person, ordinal, say

FAMILIES = {
    "user.login": "logins",
    "feature.used": "features",
    "session.ended": "sessions",
    "seats.changed": "seats",
    "contact.updated": "contacts",
    "champion.changed": "contacts",
    "qbr.scheduled": "qbrs",
    "qbr.held": "qbrs",
    "qbr.cancelled": "qbrs",
    "subscription.changed": "subscriptions",
}
ACTIVITY = ("logins", "features", "sessions")

OK, SHORT, LOW, STALE, NONE, UNKNOWN = (
    "ok",
    "insufficient_history",
    "low_volume",
    "stale_source",
    "not_applicable",
    "unknown",
)

Reading = tuple[Any, str]


def told(value: Any, why_not: str | None) -> Reading:
    return (None, why_not) if why_not else (value, OK)


class Recount:
    """All events of a file: duplicates out, the rest by account."""

    def __init__(self, lines: list[bytes], zone: str = "UTC") -> None:
        self.zone = ZoneInfo(zone)
        standing: dict[tuple[str, str], tuple[datetime, bytes, dict[str, Any]]] = {}
        for line in lines:
            event = json.loads(line)
            at = datetime.fromisoformat(event["occurred_at"]).astimezone(UTC)
            key = (event.get("source") or "", event["id"])
            if key not in standing or (at, line) < standing[key][:2]:
                standing[key] = (at, line, event)
        self.accounts: dict[str, Account] = {}
        self.first_days: dict[str, int] = {}
        self.days: set[int] = set()
        for at, _, event in standing.values():
            day = ordinal(at.astimezone(self.zone).date())
            self.days.add(day)
            family = FAMILIES.get(event["type"])
            if family:
                self.first_days[family] = min(day, self.first_days.get(family, day))
            account = self.accounts.setdefault(event["account_id"], Account(self.zone))
            account.add(event, at, day)
        for account in self.accounts.values():
            account.settle()

    def metrics(self, account_id: str, as_of: int, today: int, stale: frozenset[str] = frozenset()) -> View:
        """One account's metrics, from the events up to and including ``today``."""
        fed = {family: first for family, first in self.first_days.items() if first <= today}
        return View(self.accounts[account_id], as_of, today, fed, stale & fed.keys())

    def churned(self, account_id: str, today: int) -> bool:
        return bool(self.accounts[account_id].state(today)["churned"])


class Account:
    """One account's events."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self.born = 10**9
        self.logins: Counter[int] = Counter()
        self.who: dict[int, set[str]] = defaultdict(set)  # active on a day
        self.who_logged_in: dict[int, set[str]] = defaultdict(set)
        self.facts: list[tuple[datetime, str, int, dict[str, Any]]] = []
        self.known: dict[int, dict[str, Any]] = {}  # number of facts → what they say

    def add(self, event: dict[str, Any], at: datetime, day: int) -> None:
        self.born = min(self.born, day)
        if event["type"] in ("user.login", "feature.used", "session.ended"):
            self.who[day].add(event["user_id"])
            if event["type"] == "user.login":
                self.logins[day] += 1
                self.who_logged_in[day].add(event["user_id"])
        else:
            self.facts.append((at, event["id"], day, event))

    def settle(self) -> None:
        self.facts.sort(key=lambda fact: fact[:2])
        self.fact_days = [day for _, _, day, _ in self.facts]
        self.active_days = sorted(self.who)
        if self.logins:
            self.origin = min(self.logins)
            span = range(self.origin, max(self.logins) + 1)
            self.running = [0, *accumulate(self.logins[day] for day in span)]
            self.totals = [
                self.login_total(end - 27, end) for end in range(self.origin, max(self.logins) + 28)
            ]
        self.days_of: dict[str, list[int]] = defaultdict(list)
        for day in self.active_days:
            for user in self.who[day]:
                self.days_of[user].append(day)

    def login_peak(self, first: int, last: int) -> int:
        """The largest total of 28 days that ends on one of these days."""
        if not self.logins:
            return 0
        begin = max(first - self.origin, 0)
        return max(self.totals[begin : max(last - self.origin + 1, 0)], default=0)

    def login_total(self, first: int, last: int) -> int:
        if not self.logins:
            return 0
        top = len(self.running) - 1
        low = min(max(first - self.origin, 0), top)
        high = min(max(last + 1 - self.origin, 0), top)
        return self.running[high] - self.running[low]

    def people(self, first: int, last: int, *, logins: bool = False) -> set[str]:
        by_day = self.who_logged_in if logins else self.who
        return {user for day in range(first, last + 1) if day in by_day for user in by_day[day]}

    def person_days(self, first: int, last: int) -> int:
        return sum(len(self.who[day]) for day in range(first, last + 1) if day in self.who)

    def state(self, today: int) -> dict[str, Any]:
        """What the facts up to the end of ``today`` say together."""
        count = bisect_right(self.fact_days, today)  # a day's facts are next to each other, in order
        if count not in self.known:
            self.known[count] = say(self.facts[:count], self.zone)
        return self.known[count]


class View:
    """One account at one moment: each metric counted when it is asked for."""

    def __init__(
        self, account: Account, as_of: int, today: int, fed: dict[str, int], stale: frozenset[str]
    ) -> None:
        self.account, self.D, self.today = account, as_of, today
        self.fed, self.stale = fed, stale
        self.state = account.state(today)
        count = bisect_right(account.active_days, today)
        self.first = account.active_days[0] if count else None
        self.last = account.active_days[count - 1] if count else None
        self.read: dict[str, Reading] = {}

    def __getitem__(self, name: str) -> Reading:
        """A metric's value (None unless it stands) and status."""
        if name not in self.read:
            rest = name.removeprefix("account.")
            count = getattr(self, name.replace(".", "_"), None)
            self.read[name] = self.attribute(rest) if count is None else count()
        return self.read[name]

    def since(self, day: int) -> int:
        return max(0, self.D - day)

    def doubt(self, families: tuple[str, ...], reach: int) -> str | None:
        """Why a count over a window that begins ``reach`` days before D would not stand, None if it does."""
        received = [self.fed[family] for family in families if family in self.fed]
        if not received or self.first is None:
            return UNKNOWN
        if self.stale.intersection(families):
            return STALE
        return SHORT if max(self.first, min(received)) > self.D - reach else None

    # 2.1

    def current(self) -> int:
        return self.account.login_total(self.D - 27, self.D)

    def previous(self) -> int:
        return self.account.login_total(self.D - 55, self.D - 28)

    def base(self) -> int:
        return len(self.account.people(self.D - 55, self.D, logins=True))

    def logins_change_28d(self) -> Reading:
        current, previous = self.current(), self.previous()
        why = self.doubt(("logins",), 55) or (LOW if previous < 20 else None)
        return (None, why) if why else (Fraction(current - previous, previous), OK)

    def logins_current_28d(self) -> Reading:
        return told(self.current(), self.doubt(("logins",), 27))

    def logins_previous_28d(self) -> Reading:
        return told(self.previous(), self.doubt(("logins",), 55))

    def logins_users_56d(self) -> Reading:
        return told(self.base(), self.doubt(("logins",), 55))

    def logins_per_user_current(self) -> Reading:
        return self.per_user(self.current())

    def logins_per_user_previous(self) -> Reading:
        return self.per_user(self.previous())

    def per_user(self, logins: int) -> Reading:
        base = self.base()
        why = self.doubt(("logins",), 55) or (NONE if base == 0 else None)
        return (None, why) if why else (Fraction(logins, base), OK)

    def logins_per_active_user_change_28d(self) -> Reading:
        now = len(self.account.people(self.D - 27, self.D, logins=True))
        then = len(self.account.people(self.D - 55, self.D - 28, logins=True))
        why = self.doubt(("logins",), 55)
        if not why and now == 0:
            why = NONE
        if not why and self.previous() < 20:
            why = LOW
        return (
            (None, why) if why else (Fraction(self.current(), now) / Fraction(self.previous(), then) - 1, OK)
        )

    def logins_drawdown_180d(self) -> Reading:
        current, peak = self.current(), self.account.login_peak(self.D - 179, self.D)
        why = self.doubt(("logins",), 55) or (LOW if peak < 20 else None)
        return (None, why) if why else (Fraction(current - peak, peak), OK)

    def activity_user_days_change_28d(self) -> Reading:
        current = self.account.person_days(self.D - 27, self.D)
        previous = self.account.person_days(self.D - 55, self.D - 28)
        why = self.doubt(ACTIVITY, 55) or (LOW if previous < 20 else None)
        return (None, why) if why else (Fraction(current - previous, previous), OK)

    # 2.2

    def activity_dormant_days(self) -> Reading:
        why = self.doubt(ACTIVITY, 55)
        return (None, why) if why else (self.since(self.last or 0), OK)

    def activity_users_before(self) -> Reading:
        if self.last is None:
            return None, UNKNOWN
        return len(self.account.people(self.last - 55, self.last)), OK

    # 2.3

    def no_ratio(self, reach: int) -> str | None:
        if "seats" not in self.fed or not self.fed.keys() & set(ACTIVITY):
            return UNKNOWN
        if self.state["seats"] == 0:
            return NONE
        return self.doubt(ACTIVITY, reach) or (SHORT if self.state["seats_first"] > self.D - 29 else None)

    def active(self) -> int:
        return len(self.account.people(self.D - 29, self.today) - self.state["people"].deactivated)

    def seats_utilization(self) -> Reading:
        why = self.no_ratio(29)
        return (None, why) if why else (Fraction(self.active(), self.state["seats"]), OK)

    def seats_purchased(self) -> Reading:
        seats = self.state["seats"]
        return told(seats, UNKNOWN if "seats" not in self.fed else NONE if seats == 0 else None)

    def seats_active(self) -> Reading:
        return told(self.active(), self.no_ratio(29))

    def seats_unused(self) -> Reading:
        return told(max(0, self.state["seats"] - self.active()), self.no_ratio(29))

    def seats_days_since_increase(self) -> Reading:
        rise = self.state["seats_rise"]
        if "seats" not in self.fed:
            return None, UNKNOWN
        return (None, NONE) if rise is None else (self.since(rise), OK)

    def seats_utilization_change_28d(self) -> Reading:
        # Who was deactivated since then still held a seat then.
        now = self.account.people(self.D - 29, self.D) - self.state["people"].deactivated
        then = self.account.people(self.D - 57, self.D - 28)
        why = self.no_ratio(57)
        return (None, why) if why else (Fraction(len(now) - len(then), self.state["seats"]), OK)

    # 2.4

    def engagement_dau_mau(self) -> Reading:
        if self.state["fields"].get("usage_cadence") in ("weekly", "monthly"):
            return None, NONE
        people = len(self.account.people(self.D - 29, self.D))
        days = self.account.person_days(self.D - 29, self.D)
        why = self.doubt(ACTIVITY, 29) or (NONE if people == 0 else LOW if people < 3 else None)
        return (None, why) if why else (Fraction(days, 30 * people), OK)

    # 2.7

    def champion_word(self) -> str:
        people = self.state["people"]
        words = {self.word_of(person) for person in people.champions()}
        for word in ("active", "silent"):
            if word in words:
                return word
        return "departed" if people.anybody else "unmapped"

    def word_of(self, person: Person) -> str:
        days = self.account.days_of.get(person.user or "", [])
        days = days[: bisect_right(days, self.today)]
        if not days or days[-1] >= self.D - 29:
            return "active"
        busy = sum(1 for day in days[-28:] if day > days[-1] - 28)
        return "silent" if busy >= 4 else "active"

    def champion_status(self) -> Reading:
        if "contacts" not in self.fed:
            return None, UNKNOWN
        champions = self.state["people"].champions()
        by_activity = champions and all(person.user for person in champions)
        if by_activity and self.stale.intersection(ACTIVITY):
            return None, STALE
        return self.champion_word(), OK

    def champion_departed(self) -> Reading:
        return told(self.champion_word() == "departed", None if "contacts" in self.fed else UNKNOWN)

    def champion_days_since_change(self) -> Reading:
        if "contacts" not in self.fed:
            return None, UNKNOWN
        changed = self.state["people"].changed
        return (None, NONE) if changed is None else (self.since(changed), OK)

    # 2.8 and 2.9

    def renewal_left(self) -> int | None:
        """Days to the renewal, below 0 when it is past; None without one."""
        if self.state["renewal"] is None or self.state["fields"].get("term_months", 12) < 6:
            return None
        return int(self.state["renewal"]) - self.today

    def renewal_days_to(self) -> Reading:
        left = self.renewal_left()
        return (None, NONE) if left is None or left < 0 else (left, OK)

    def renewal_overdue_days(self) -> Reading:
        left = self.renewal_left()
        return (None, NONE) if left is None else (max(0, -left), OK)

    def renewal_decision_days_to(self) -> Reading:
        left = self.renewal_left()
        notice = self.state["fields"].get("notice_days", 0)
        return (None, NONE) if left is None or left < 0 else (left - notice, OK)

    def qbr_missing(self) -> Reading:
        left, state = self.renewal_left(), self.state
        if left is None or not 0 <= left <= 90 or state["fields"].get("touch") == "tech":
            return None, NONE
        if "qbrs" not in self.fed:
            return None, UNKNOWN
        planned = any(self.today <= day <= state["renewal"] for day in state["booked"])
        held = state["held"] is not None and state["held"] >= state["renewal"] - 120
        return not planned and not held, OK

    # 2.12

    def attribute(self, name: str) -> Reading:
        value = self.state["mrr"] if name == "mrr" else self.state["fields"].get(name)
        return (None, UNKNOWN) if value is None or value == "" else (value, OK)


METRICS = (
    "logins.change_28d",
    "logins.current_28d",
    "logins.previous_28d",
    "logins.users_56d",
    "logins.per_user_current",
    "logins.per_user_previous",
    "logins.per_active_user_change_28d",
    "activity.user_days_change_28d",
    "logins.drawdown_180d",
    "activity.dormant_days",
    "activity.users_before",
    "seats.utilization",
    "seats.purchased",
    "seats.active",
    "seats.unused",
    "seats.days_since_increase",
    "seats.utilization_change_28d",
    "engagement.dau_mau",
    "champion.status",
    "champion.departed",
    "champion.days_since_change",
    "renewal.days_to",
    "renewal.overdue_days",
    "renewal.decision_days_to",
    "qbr.missing",
    "account.size",
    "account.tier",
    "account.channel",
    "account.use_case",
    "account.touch",
    "account.lifecycle",
    "account.usage_cadence",
    "account.term_months",
    "account.owner",
    "account.mrr",
)
