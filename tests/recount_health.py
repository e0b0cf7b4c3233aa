"""A second opinion on health (METRICS section 3), from raw events by code that shares none: as plainly as it reads.

Fractions until something is rounded, sets of people by day, windows as ranges. What 2.1, 2.3 and 2.7 say comes from
``recount.py``, which is such an opinion too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from tests.recount import ACTIVITY, LOW, NONE, OK, SHORT, STALE, UNKNOWN, Recount, View
from tests.recount_facts import civil, ordinal

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
    "escalation.opened": "escalations",
    "escalation.resolved": "escalations",
    "ticket.opened": "tickets",
    "ticket.closed": "tickets",
    "survey.answered": "surveys",
}
WEIGHTS = {"product": 40, "support": 20, "relationship": 25, "satisfaction": 15}
TARGETS = {"logins": Fraction(5), "breadth": Fraction(4, 5), "depth": Fraction(20), "seats": Fraction(4, 5)}

Scored = tuple[Decimal | None, str]


def half_up(exact: Fraction) -> Decimal:
    """To the hundredth."""
    return Decimal((exact * 100 + Fraction(1, 2)).__floor__()) / 100


class HealthRecount:
    """All events of a file."""

    def __init__(self, lines: list[bytes], zone: str = "UTC", core: tuple[str, ...] = ()) -> None:
        self.rest = Recount(lines, zone)
        self.zone, self.core = ZoneInfo(zone), core
        standing: dict[str, tuple[datetime, bytes, dict[str, Any]]] = {}
        for line in lines:
            event = json.loads(line)
            at = datetime.fromisoformat(event["occurred_at"]).astimezone(UTC)
            known = standing.get(event["id"])
            if known is None or (at, line) < known[:2]:
                standing[event["id"]] = (at, line, event)
        self.events: dict[str, list[tuple[datetime, str, int, dict[str, Any]]]] = defaultdict(list)
        self.first_days: dict[str, int] = {}
        for at, _, event in standing.values():
            day = ordinal(at.astimezone(self.zone).date())
            self.events[event["account_id"]].append((at, event["id"], day, event))
            family = FAMILIES.get(event["type"])
            if family:
                self.first_days[family] = min(day, self.first_days.get(family, day))
        for events in self.events.values():
            events.sort(key=lambda each: each[:2])

    def account(
        self, account_id: str, as_of: int, today: int, stale: frozenset[str] = frozenset()
    ) -> AccountHealth:
        """One account at one moment."""
        first_days = {family: day for family, day in self.first_days.items() if day <= today}
        events = [each for each in self.events[account_id] if each[2] <= today]
        view = self.rest.metrics(account_id, as_of, today, stale)
        return AccountHealth(view, events, first_days, stale & first_days.keys(), self.zone, self.core)


class AccountHealth:
    """Each part, each component and the score, counted when asked for."""

    def __init__(
        self,
        view: View,
        events: list[tuple[datetime, str, int, dict[str, Any]]],
        first_days: dict[str, int],
        stale: frozenset[str],
        zone: ZoneInfo,
        core: tuple[str, ...],
    ) -> None:
        self.view, self.first_days, self.stale, self.zone = view, first_days, stale, zone
        self.D, self.today = view.D, view.today
        self.told = [
            (day, event, {k: v for k, v in (event.get("data") or {}).items() if v is not None})
            for _, _, day, event in events
        ]
        own = [data["core_features"] for _, event, data in self.told if "core_features" in data]
        self.core = set(own[-1]) if own and own[-1] else set(core)

    def of(self, *kinds: str) -> list[tuple[int, dict[str, Any], dict[str, Any]]]:
        return [each for each in self.told if each[1]["type"] in kinds]

    def received_by(self, families: tuple[str, ...], day: int) -> bool:
        return any(self.first_days.get(family, day + 1) <= day for family in families)

    # 3.1

    def parts(self) -> dict[str, tuple[Fraction | None, str]]:
        """The ratio of each part."""
        window = range(self.D - 27, self.D + 1)
        logins = sum(1 for day, _, _ in self.of("user.login") if day in window)
        users = len(self.view.account.people(self.D - 27, self.D))
        user_days = self.view.account.person_days(self.D - 27, self.D)
        minutes = Fraction(
            sum(
                round(data["duration_s"] * 1000) for day, _, data in self.of("session.ended") if day in window
            ),
            60_000,
        )
        used: dict[str, set[int]] = defaultdict(set)
        for day, _, data in self.of("feature.used"):
            if self.D - 27 <= day <= self.today:
                used[data["feature"]].add(day)
        in_use = sum(1 for name in self.core if len(used[name]) >= 2)
        utilization, why_not = self.view["seats.utilization"]
        return {
            "logins": self.ratio(Fraction(logins, 4 * users) if users else Fraction(0), "logins", ACTIVITY),
            "breadth": self.ratio(
                Fraction(in_use, len(self.core)) if self.core else None, "features", ("features",)
            ),
            "depth": self.ratio(minutes / user_days if user_days else Fraction(0), "sessions", ACTIVITY),
            "seats": (utilization, why_not),
        }

    def ratio(
        self, value: Fraction | None, family: str, silence: tuple[str, ...]
    ) -> tuple[Fraction | None, str]:
        first = self.view.first
        if family not in self.first_days:
            return None, UNKNOWN
        if value is None:
            return None, NONE
        if first is None:
            return None, UNKNOWN
        if self.stale.intersection(silence):
            return None, STALE
        if first > self.D - 27 or self.first_days[family] > self.D - 27:
            return None, SHORT
        return value, OK

    def engagement(self) -> Scored:
        parts = self.parts()
        said = [status for _, status in parts.values()]
        if STALE in said:
            return None, STALE
        points = [
            half_up(min(Fraction(100), value / TARGETS[name] * 100))
            for name, (value, _) in parts.items()
            if value is not None
        ]
        if points:
            return half_up(Fraction(sum(points)) / len(points)), OK
        return None, next(word for word in (SHORT, UNKNOWN, LOW, NONE) if word in said)

    # 3.2

    def product(self) -> Scored:
        points, status = self.engagement()
        if points is None:
            return None, status
        change, _ = self.view["logins.change_28d"]
        seats, _ = self.view["seats.utilization"]
        if change is not None and change <= Fraction(-1, 5):
            points = max(Decimal(0), points - 25)
        if seats is not None and seats < Fraction(2, 5):
            points = max(Decimal(0), points - 25)
        return points, OK

    def support(self) -> Scored:
        open_now = self.opened("escalation")[0]
        points = Decimal(100)
        if "escalations" in self.first_days:
            points -= min(50, 25 * len(open_now))
        oldest = self.D - 139
        counted = self.received_by(("tickets",), oldest)
        counted = counted and self.view.first is not None and self.view.first <= oldest
        if counted:
            days = self.opened("ticket")[1]
            totals = [
                sum(1 for day in days if end - 27 <= day <= end) for end in range(self.D, self.D - 139, -28)
            ]
            assert len(totals) == 5
            above = max(Fraction(0), Fraction(totals[0]) - Fraction(median(totals[1:])))
            points -= min(Decimal(50), Decimal(int(above * 20)) / 2)
        if counted or "escalations" in self.first_days:
            return points, OK
        return None, SHORT if "tickets" in self.first_days else UNKNOWN

    def opened(self, what: str) -> tuple[set[str], list[int]]:
        """What is open now, and the day of each opening."""
        open_now: set[str] = set()
        days = []
        for day, event, data in self.of(f"{what}.opened", f"{what}.closed", f"{what}.resolved"):
            name = data[f"{what}_id"]
            if not event["type"].endswith("opened"):
                open_now.discard(name)
            elif name not in open_now:
                open_now.add(name)
                days.append(day)
        return open_now, days

    def contacts(self) -> dict[str, dict[str, Any]]:
        """Each contact's user, whether he is here, and since which day he is the sponsor, if he is."""
        people: dict[str, dict[str, Any]] = {}
        for day, _, data in self.of("contact.updated"):
            person = people.setdefault(
                data["contact_id"], {"user": None, "here": True, "buyer": False, "since": None}
            )
            person["user"] = data.get("user_id", person["user"])
            person["here"] = data.get("active", person["here"])
            if "roles" in data:
                person["buyer"] = "economic_buyer" in data["roles"]
            if not (person["here"] and person["buyer"]):
                person["since"] = None
            elif person["since"] is None:
                person["since"] = day
        return people

    def last_seen(self, user: str) -> int | None:
        days = [
            day
            for day, event, _ in self.of("user.login", "feature.used", "session.ended")
            if event["user_id"] == user
        ]
        return max(days, default=None)

    def relationship(self) -> Scored:
        counted: list[tuple[int, bool]] = []
        knows = "contacts" in self.first_days
        if knows and self.stale.intersection(ACTIVITY):
            return None, STALE
        if knows:
            counted.append((30, self.view["champion.status"][0] == "active"))
            sponsors = [each for each in self.contacts().values() if each["since"] and each["user"]]
            last_days = [self.last_seen(each["user"]) for each in sponsors]
            seen = [day for day in last_days if day is not None]
            if not seen:
                received = [self.first_days[name] for name in ACTIVITY if name in self.first_days]
                heard = self.first_days.get("logins", min(received, default=0))
                seen = [max(each["since"], heard) for each in sponsors]
            counted.append((25, bool(seen) and self.D - max(seen) < 60))
        if "qbrs" in self.first_days:
            met = self.meets()
            if met or self.received_by(("qbrs",), self.D - 89):
                counted.append((25, met))
        if knows:
            users = {
                person["user"] for person in self.contacts().values() if person["here"] and person["user"]
            }
            last_days = [self.last_seen(user) for user in users]
            busy = sum(1 for day in last_days if day is not None and day >= self.D - 89) >= 3
            if busy or self.received_by(ACTIVITY, self.D - 89):
                counted.append((20, busy))
        if not counted:
            return None, UNKNOWN
        achieved = sum(weight for weight, yes in counted if yes)
        points = half_up(Fraction(100 * achieved, sum(weight for weight, _ in counted)))
        ratings = self.of("sentiment.rated")
        if ratings and ratings[-1][2]["rating"] == "red" and self.D - ratings[-1][0] <= 30:
            points = min(points, Decimal(40))
        return points, OK

    def meets(self) -> bool:
        """Whether they met in the last 90 days, or will in the next."""
        booked: dict[str, int] = {}
        met = False
        for day, event, data in self.of("qbr.scheduled", "qbr.held", "qbr.cancelled"):
            if event["type"] == "qbr.scheduled":
                booked[data["qbr_id"]] = civil(data["scheduled_for"], self.zone)
            else:
                booked.pop(data["qbr_id"], None)
                met = met or (event["type"] == "qbr.held" and day >= self.D - 89)
        return met or any(self.today <= day <= self.D + 90 for day in booked.values())

    def satisfaction(self) -> Scored:
        if "surveys" not in self.first_days:
            return None, UNKNOWN
        now, before = (
            [
                Fraction(data["score"]) * 10 if data["kind"] == "nps" else Fraction(data["score"] - 1) * 25
                for day, _, data in self.of("survey.answered")
                if last - 179 <= day <= last
            ]
            for last in (self.D, self.D - 180)
        )
        means = [sum(each) / len(each) for each in (now, before) if len(each) >= 3]
        if not means:
            return None, LOW
        if len(means) == 1:
            return half_up(means[0]), OK
        return half_up(min(Fraction(100), max(Fraction(0), 50 + means[0] - means[1]))), OK

    def components(self) -> dict[str, Scored]:
        """The four inputs."""
        return {
            "product": self.product(),
            "support": self.support(),
            "relationship": self.relationship(),
            "satisfaction": self.satisfaction(),
        }

    def first_score(self) -> Scored:
        """The score of an account of which nothing is remembered."""
        found = self.components()
        if STALE in [status for _, status in found.values()]:
            return None, STALE
        present = {name: points for name, (points, _) in found.items() if points is not None}
        weight = sum(WEIGHTS[name] for name in present)
        if weight < 60 or "product" not in present:
            return None, UNKNOWN
        return half_up(sum(Fraction(present[name]) * WEIGHTS[name] for name in present) / weight), OK
