"""A second opinion on adoption, sponsors, escalations, ratings and the rest of METRICS 2.5 to 3.3, and on the login
change per business day: from raw events, by code that shares none of the product.

Read from the definitions alone: what happened in a row, in the order in which it happened, and sets of days and users.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from tests.recount import ACTIVITY, LOW, NONE, OK, SHORT, STALE, UNKNOWN, Reading, told
from tests.recount_health import WEIGHTS, AccountHealth, Scored

FAMILIES = {
    "user.login": "logins",
    "feature.used": "features",
    "session.ended": "sessions",
    "contact.updated": "contacts",
    "champion.changed": "contacts",
    "escalation.opened": "escalations",
    "escalation.resolved": "escalations",
    "ticket.opened": "tickets",
    "ticket.closed": "tickets",
    "integration.connected": "integrations",
    "integration.synced": "integrations",
    "integration.disconnected": "integrations",
    "milestone.reached": "milestones",
}
METRICS = (
    "logins.change_28d_adjusted",
    "features.breadth",
    "features.active_count",
    "features.core_count",
    "features.abandoned_count",
    "sponsor.days_since_login",
    "sponsor.unmapped",
    "escalations.open",
    "escalations.oldest_open_days",
    "escalations.opened_90d",
    "sentiment.rating",
    "sentiment.previous",
    "sentiment.age_days",
    "sentiment.overdue",
    "ttfv.days",
    "integrations.active",
    "integrations.lost",
    "tickets.opened_28d",
    "tickets.median_28d",
)
HEALTH = (
    "engagement.score",
    "engagement.band",
    "health.score",
    "health.band",
    "health.days_in_band",
    "health.coverage",
    "health.product",
    "health.support",
    "health.relationship",
    "health.satisfaction",
)
# Public holidays from October 2025 to June 2026, from the calendars on the wall.
HOLIDAYS = {
    "DE": "2025-10-03 2025-12-25 2025-12-26 2026-01-01 2026-04-03 2026-04-06 2026-05-01 2026-05-14 2026-05-25",
    "DE-BY": "2025-10-03 2025-11-01 2025-12-25 2025-12-26 2026-01-01 2026-01-06 2026-04-03 2026-04-06 2026-05-01"
    " 2026-05-14 2026-05-25 2026-06-04",
    "GB-ENG": "2025-12-25 2025-12-26 2026-01-01 2026-04-03 2026-04-06 2026-05-04 2026-05-25",
    # Good Friday is one by the law on time limits (Algemene termijnenwet).
    "NL": "2025-12-25 2025-12-26 2026-01-01 2026-04-03 2026-04-05 2026-04-06 2026-04-27 2026-05-14 2026-05-24"
    " 2026-05-25",
}
HOLIDAYS["NL-NH"] = HOLIDAYS["NL"]  # a province without holidays of its own

Happened = tuple[datetime, str, int, dict[str, Any]]  # instant, id, day, event


def first_health(account: AccountHealth) -> dict[str, Reading]:
    """What ``recount_health.py`` says, under the names of the metrics, as an account's first day closes."""
    components = account.components()
    engagement, score = account.engagement(), account.first_score()
    deaf = STALE in [status for _, status in components.values()]
    weight = sum(WEIGHTS[name] for name, (points, _) in components.items() if points is not None)
    return {
        **{f"health.{name}": exactly(points) for name, points in components.items()},
        "engagement.score": exactly(engagement),
        "engagement.band": (band(engagement[0]), engagement[1]),
        "health.score": exactly(score),
        "health.band": (band(score[0]), score[1]),
        "health.days_in_band": (None if score[0] is None else 0, score[1]),
        "health.coverage": (None, STALE) if deaf else (Fraction(weight, 100), OK),
    }


def exactly(points: Scored) -> Reading:
    return None if points[0] is None else Fraction(points[0]), points[1]


def band(points: Decimal | None) -> str | None:
    if points is None:
        return None
    return "green" if points > 70 else "red" if points < 40 else "yellow"


def number(day: date) -> int:
    return day.toordinal() - date(1970, 1, 1).toordinal()


def works(day: int, country: str | None) -> bool:
    on = date(1970, 1, 1) + timedelta(days=day)
    return on.weekday() < 5 and on.isoformat() not in HOLIDAYS.get(country or "", "").split()


class FrameworkRecount:
    """All events of a file: duplicates out, the rest by account, in the order in which they happened."""

    def __init__(
        self,
        lines: list[bytes],
        zone: str = "UTC",
        core: tuple[str, ...] = (),
        country: str | None = None,
    ) -> None:
        self.zone, self.core, self.country = ZoneInfo(zone), set(core), country
        first: dict[tuple[str, str], tuple[datetime, bytes, dict[str, Any]]] = {}
        for line in lines:
            event = json.loads(line)
            at = datetime.fromisoformat(event["occurred_at"]).astimezone(UTC)
            key = (event.get("source") or "", event["id"])
            if key not in first or (at, line) < first[key][:2]:
                first[key] = (at, line, event)
        self.accounts: dict[str, list[Happened]] = defaultdict(list)
        self.family_days: dict[str, int] = {}
        for at, _, event in first.values():
            day = number(at.astimezone(self.zone).date())
            event["data"] = {name: it for name, it in (event.get("data") or {}).items() if it is not None}
            self.accounts[event["account_id"]].append((at, event["id"], day, event))
            family = FAMILIES.get(event["type"])
            if family is not None:
                self.family_days[family] = min(day, self.family_days.get(family, day))
        for happened in self.accounts.values():
            happened.sort(key=lambda each: each[:2])

    def view(self, account: str, as_of: int, today: int, stale: frozenset[str] = frozenset()) -> View:
        """One account as it is seen on ``today``."""
        return View(self, account, as_of, today, stale)

    def usual(self, as_of: int, today: int, stale: frozenset[str] = frozenset()) -> Fraction:
        """The portfolio's own change per business day at the close of ``as_of``; 0 from fewer than 20 accounts."""
        changes = []
        for account in self.accounts:
            change, status = self.view(account, as_of, today, stale).per_business_day()
            if status == OK:
                changes.append(change)
        return Fraction(median(changes)) if len(changes) >= 20 else Fraction(0)


class View:
    """One account at one moment."""

    def __init__(
        self, of: FrameworkRecount, account: str, as_of: int, today: int, stale: frozenset[str]
    ) -> None:
        self.of, self.D, self.today = of, as_of, today
        self.happened = [each for each in of.accounts[account] if each[2] <= today]
        self.fed = {family: day for family, day in of.family_days.items() if day <= today}
        self.stale = stale & self.fed.keys()
        self.active_on: dict[str, set[int]] = defaultdict(set)  # user → days
        self.used: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.fields: dict[str, Any] = {}
        for _, _, day, event in self.happened:
            if FAMILIES.get(event["type"]) in ACTIVITY:
                self.active_on[event["user_id"]].add(day)
            if event["type"] == "feature.used":
                self.used[event["data"]["feature"]][day].add(event["user_id"])
            if event["type"] == "account.updated":
                self.fields.update(event["data"])
        self.first = min((min(days) for days in self.active_on.values()), default=None)

    def __getitem__(self, name: str) -> Reading:
        reading: Reading = getattr(self, name.replace(".", "_"))()
        return reading

    def all(self, *kinds: str) -> list[tuple[int, dict[str, Any]]]:
        return [
            (day, {**event["data"], "type": event["type"]})
            for _, _, day, event in self.happened
            if event["type"] in kinds
        ]

    def since(self, day: int) -> int:
        return max(0, self.D - day)

    def civil(self, text: str) -> int:
        if len(text) == 10:
            return number(date.fromisoformat(text))
        return number(datetime.fromisoformat(text).astimezone(self.of.zone).date())

    # 2.1

    def per_business_day(self) -> Reading:
        if "logins" not in self.fed or self.first is None:
            return None, UNKNOWN
        if "logins" in self.stale:
            return None, STALE
        if max(self.first, self.fed["logins"]) > self.D - 55:
            return None, SHORT
        days = [day for day, _ in self.all("user.login")]
        later = sum(1 for day in days if self.D - 27 <= day <= self.D)
        before = sum(1 for day in days if self.D - 55 <= day <= self.D - 28)
        if before < 20:
            return None, LOW
        country = self.fields.get("country") or self.of.country
        worked = sum(works(day, country) for day in range(self.D - 27, self.D + 1))
        worked_before = sum(works(day, country) for day in range(self.D - 55, self.D - 27))
        return Fraction(later, worked) / Fraction(before, worked_before) - 1, OK

    def logins_change_28d_adjusted(self) -> Reading:
        change, status = self.per_business_day()
        if status != OK:
            return change, status
        return change - self.of.usual(self.D, self.today, self.stale), OK

    # 2.5

    def core(self) -> set[str]:
        return set(self.fields.get("core_features") or ()) or self.of.core

    def in_use(self) -> int:
        """Used on two distinct days of the last 28, today so far included."""
        window = range(self.D - 27, self.today + 1)
        return sum(1 for name in self.core() if sum(1 for day in window if self.used[name][day]) >= 2)

    def no_adoption(self, first_day: int) -> str | None:
        if "features" not in self.fed:
            return UNKNOWN
        if not self.core():
            return NONE
        if self.first is None:
            return UNKNOWN
        if "features" in self.stale:
            return STALE
        return SHORT if max(self.first, self.fed["features"]) > first_day else None

    def features_breadth(self) -> Reading:
        why = self.no_adoption(self.D - 27)
        return told(None if why else Fraction(self.in_use(), len(self.core())), why)

    def features_active_count(self) -> Reading:
        return told(self.in_use(), self.no_adoption(self.D - 27))

    def features_core_count(self) -> Reading:
        return told(len(self.core()), None if self.core() else NONE)

    def features_abandoned_count(self) -> Reading:
        return told(len(self.abandoned()), self.no_adoption(self.D - 55))

    def abandoned(self) -> set[str]:
        def users(name: str, first: int, last: int) -> set[str]:
            return {user for day in range(first, last + 1) for user in self.used[name][day]}

        return {
            name
            for name in self.core()
            if len(users(name, self.D - 55, self.D - 28)) >= 2 and not users(name, self.D - 27, self.D)
        }

    # 2.6

    def sponsors(self) -> list[dict[str, Any]]:
        """Current economic buyers, each with the day since when he has been one without a break."""
        contacts: dict[str, dict[str, Any]] = {}
        since: dict[str, int] = {}
        for day, data in self.all("contact.updated"):
            name = data["contact_id"]
            contact = contacts.setdefault(name, {})
            contact.update(data)
            if contact.get("active", True) and "economic_buyer" in contact.get("roles", ()):
                since.setdefault(name, day)
            else:
                since.pop(name, None)
        return [{**contacts[name], "since": day} for name, day in since.items()]

    def sponsor_days_since_login(self) -> Reading:
        mapped = [each for each in self.sponsors() if "user_id" in each]
        received = [self.fed[family] for family in ACTIVITY if family in self.fed]
        if "contacts" not in self.fed or not received or not mapped:
            return None, UNKNOWN
        if self.stale.intersection(ACTIVITY):
            return None, STALE
        days = [day for each in mapped for day in self.active_on.get(each["user_id"], ())]
        if not days:  # absence counts from when it could have been seen
            earliest = self.fed.get("logins", min(received))
            days = [max(each["since"], earliest) for each in mapped]
        return self.since(max(days)), OK

    def sponsor_unmapped(self) -> Reading:
        nobody = not any("user_id" in each for each in self.sponsors())
        return told(nobody, None if "contacts" in self.fed else UNKNOWN)

    # 2.10

    def opened(self, what: str, end: str) -> tuple[dict[str, int], list[int]]:
        """What is open, by name, and every day on which one was opened that was not open already."""
        still: dict[str, int] = {}
        days = []
        for day, data in self.all(f"{what}.opened", f"{what}.{end}"):
            name = data[f"{what}_id"]
            if data["type"] == f"{what}.{end}":
                still.pop(name, None)
            elif name not in still:
                still[name] = day
                days.append(day)
        return still, days

    def escalations_open(self) -> Reading:
        still, _ = self.opened("escalation", "resolved")
        return told(len(still), None if "escalations" in self.fed else UNKNOWN)

    def escalations_oldest_open_days(self) -> Reading:
        still, _ = self.opened("escalation", "resolved")
        if "escalations" not in self.fed:
            return None, UNKNOWN
        return (self.since(min(still.values())), OK) if still else (None, NONE)

    def escalations_opened_90d(self) -> Reading:
        _, days = self.opened("escalation", "resolved")
        if "escalations" not in self.fed:
            return None, UNKNOWN
        count = sum(1 for day in days if self.D - 89 <= day <= self.today)
        return told(count, SHORT if self.fed["escalations"] > self.D - 89 else None)

    # 2.11

    def ratings(self) -> list[tuple[int, str]]:
        return [(day, data["rating"]) for day, data in self.all("sentiment.rated")]

    def sentiment_rating(self) -> Reading:
        said = self.ratings()
        return (said[-1][1], OK) if said else (None, UNKNOWN)

    def sentiment_previous(self) -> Reading:
        said = self.ratings()
        return (said[-2][1], OK) if len(said) > 1 else (None, NONE if said else UNKNOWN)

    def sentiment_age_days(self) -> Reading:
        said = self.ratings()
        return (self.since(said[-1][0]), OK) if said else (None, UNKNOWN)

    def sentiment_overdue(self) -> Reading:
        said = self.ratings()
        if not said:
            return None, UNKNOWN
        touched = [day for day, _ in self.all("touchpoint.logged")]
        behind = self.fields.get("size") == "enterprise" and any(day > said[-1][0] for day in touched)
        return self.since(said[-1][0]) > 7 or behind, OK

    # 3.3

    def ttfv_days(self) -> Reading:
        begun = self.fields.get("onboarding_completed_on") or self.fields.get("contract_start")
        if "milestones" not in self.fed or begun is None:
            return None, UNKNOWN
        start, wanted = self.civil(begun), self.fields.get("success_milestone", "first_value")
        days = [day for day, data in self.all("milestone.reached") if data["milestone"] == wanted]
        if days:
            return max(0, min(days) - start), OK
        return told(self.since(start), SHORT if self.fed["milestones"] > start else None)

    def integrations(self) -> tuple[dict[str, dict[str, Any]], list[tuple[int, str]]]:
        """What is known of each, and when each was set up for the first time."""
        known: dict[str, dict[str, Any]] = {}
        set_up: list[tuple[int, str]] = []
        for day, data in self.all("integration.connected", "integration.synced", "integration.disconnected"):
            name = data["integration"]
            one = known.setdefault(name, {"gone": None, "synced": None})
            if data["type"] == "integration.disconnected":
                one["gone"] = day if one["gone"] is None else one["gone"]
                continue
            one["gone"] = None
            if data["type"] == "integration.synced":
                one["synced"] = day
            if name not in [before for _, before in set_up]:
                set_up.append((day, name))
        return known, set_up

    def integrations_active(self) -> Reading:
        known, _ = self.integrations()
        if "integrations" not in self.fed:
            return None, UNKNOWN
        if not known:
            return None, NONE
        if "integrations" in self.stale:
            return None, STALE
        running = [
            one["synced"] for one in known.values() if one["gone"] is None and one["synced"] is not None
        ]
        count = sum(1 for day in running if day >= self.D - 29)
        return told(count, SHORT if self.fed["integrations"] > self.D - 29 else None)

    def lost(self) -> list[tuple[int, str]]:
        """What went away and neither came back nor was replaced: one newcomer replaces one, the newest before it."""
        known, set_up = self.integrations()
        gone = [(one["gone"], name) for name, one in known.items() if one["gone"] is not None]
        for day, newcomer in sorted(set_up):
            before = [each for each in gone if each[0] <= day and each[1] != newcomer]
            if before:
                gone.remove(max(before))
        return gone

    def integrations_lost(self) -> Reading:
        if "integrations" not in self.fed:
            return None, UNKNOWN
        count = sum(1 for day, _ in self.lost() if day >= self.D - 29)
        return (count, OK) if self.integrations()[0] else (None, NONE)

    def tickets(self, last: int) -> int:
        _, days = self.opened("ticket", "closed")
        return sum(1 for day in days if last - 27 <= day <= last)

    def tickets_opened_28d(self) -> Reading:
        if "tickets" not in self.fed:
            return None, UNKNOWN
        return told(self.tickets(self.D), SHORT if self.fed["tickets"] > self.D - 27 else None)

    def tickets_median_28d(self) -> Reading:
        if "tickets" not in self.fed or self.first is None:
            return None, UNKNOWN
        short = max(self.fed["tickets"], self.first) > self.D - 139
        windows = [self.tickets(self.D - 28 * back) for back in (1, 2, 3, 4)]
        return told(Fraction(median(map(Fraction, windows))), SHORT if short else None)
