"""What is kept of an account beside its logins, counted again from raw events by code that shares none of the product.

Sets of people by day and lists of what happened, as plainly as the definitions read; duplicates out first.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

Told = tuple[datetime, str, int, dict[str, Any]]  # instant, id, day, event
ACTIVITY = ("user.login", "feature.used", "session.ended")


def civil(text: str, zone: ZoneInfo) -> int:
    when = (
        date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text).astimezone(zone).date()
    )
    return when.toordinal() - date(1970, 1, 1).toordinal()


class Kept:
    """All events up to and including ``until``, by account."""

    def __init__(self, lines: list[bytes], zone: str, until: int) -> None:
        self.zone = ZoneInfo(zone)
        standing: dict[str, tuple[datetime, dict[str, Any]]] = {}
        for line in lines:
            event = json.loads(line)
            at = datetime.fromisoformat(event["occurred_at"]).astimezone(UTC)
            if event["id"] not in standing or at < standing[event["id"]][0]:
                standing[event["id"]] = (at, event)
        told = sorted(
            (
                (at, name, civil(event["occurred_at"], self.zone), event)
                for name, (at, event) in standing.items()
            ),
            key=lambda each: each[:2],
        )
        told = [each for each in told if each[2] <= until]
        logins = [day for *_, day, event in told if event["type"] == "user.login"]
        others = [day for *_, day, event in told if event["type"] in ACTIVITY]
        self.heard_since = min(logins or others, default=0)  # of what users do
        self.accounts: dict[str, Account] = {}
        for each in told:
            name = each[3]["account_id"]
            self.accounts.setdefault(name, Account(self.zone)).add(each)


class Account:
    """One account's events, in the order they happened."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self.days_of: dict[str, set[int]] = defaultdict(set)  # user → days of any activity
        self.used: dict[str, dict[int, set[str]]] = defaultdict(
            lambda: defaultdict(set)
        )  # feature → day → users
        self.milliseconds: Counter[int] = Counter()
        self.told: dict[str, list[Told]] = defaultdict(list)

    def add(self, told: Told) -> None:
        _, _, day, event = told
        kind = event["type"]
        if kind in ACTIVITY:
            self.days_of[event["user_id"]].add(day)
        if kind == "feature.used":
            self.used[event["data"]["feature"]][day].add(event["user_id"])
        elif kind == "session.ended":
            self.milliseconds[day] += int(event["data"]["duration_s"] * 1000)
        elif kind not in ACTIVITY:
            self.told[kind].append(told)

    def active(self, first: int, last: int) -> bool:
        return any(first <= day <= last for days in self.days_of.values() for day in days)

    def last_day_of(self, user: str) -> int | None:
        return max(self.days_of[user], default=None) if user in self.days_of else None

    # --- fields

    def field(self, name: str) -> Any:
        said = [
            event["data"][name] for *_, event in self.told["account.updated"] if name in event.get("data", {})
        ]
        return said[-1] if said else None

    def start(self) -> int | None:
        text = self.field("onboarding_completed_on") or self.field("contract_start")
        return civil(text, self.zone) if text else None

    def first_value(self) -> int | None:
        wanted = self.field("success_milestone") or "first_value"
        return min(
            (
                day
                for *_, day, event in self.told["milestone.reached"]
                if event["data"]["milestone"] == wanted
            ),
            default=None,
        )

    def ratings(self) -> list[tuple[str, int]]:
        return [(event["data"]["rating"], day) for *_, day, event in self.told["sentiment.rated"]]

    # --- features and sessions

    def own_core(self) -> set[str] | None:
        return set(self.field("core_features") or ()) or None

    def core(self, common: set[str]) -> set[str]:
        own = self.own_core()
        return common if own is None else own

    def in_use(self, common: set[str], first: int, last: int, days: int) -> int:
        return sum(
            1
            for feature in self.core(common)
            if sum(1 for day in range(first, last + 1) if self.used.get(feature, {}).get(day)) >= days
        )

    def abandoned(self, common: set[str], last_complete: int) -> set[str]:
        found = set()
        for feature in self.core(common):
            by_day = self.used.get(feature, {})

            def people(first: int, last: int, by_day: Any = by_day) -> set[str]:
                return {user for day in range(first, last + 1) for user in by_day.get(day, ())}

            before = people(last_complete - 55, last_complete - 28)
            if len(before) >= 2 and not people(last_complete - 27, last_complete):
                found.add(feature)
        return found

    # --- what is opened and closed

    def openings(self, what: str, ends: str, name: str) -> tuple[list[int], dict[str, int]]:
        """The days on which one was opened, and those open now with theirs."""
        days: list[int] = []
        still: dict[str, int] = {}
        for _, _, day, event in sorted(self.told[what] + self.told[ends], key=lambda each: each[:2]):
            subject = event["data"][name]
            if event["type"] == ends:
                still.pop(subject, None)
            elif subject not in still:
                days.append(day)
                still[subject] = day
        return days, still

    def tickets(self) -> list[int]:
        return self.openings("ticket.opened", "ticket.closed", "ticket_id")[0]

    def escalations(self) -> tuple[list[int], dict[str, int]]:
        return self.openings("escalation.opened", "escalation.resolved", "escalation_id")

    def answers(self, kind: str) -> list[tuple[int, int]]:
        return [
            (day, event["data"]["score"])
            for *_, day, event in self.told["survey.answered"]
            if event["data"]["kind"] == kind
        ]

    # --- people

    def contacts(self) -> dict[str, dict[str, Any]]:
        """Contact id → user, whether here, and since when an economic buyer (None: he is none now)."""
        found: dict[str, dict[str, Any]] = {}
        for _, _, day, event in self.told["contact.updated"]:
            data = {key: value for key, value in event["data"].items() if value is not None}
            contact = found.setdefault(
                data["contact_id"], {"user": None, "here": True, "roles": [], "since": None}
            )
            contact["user"] = data.get("user_id", contact["user"])
            contact["here"] = data.get("active", contact["here"])
            contact["roles"] = data.get("roles", contact["roles"])
            if not contact["here"] or "economic_buyer" not in contact["roles"]:
                contact["since"] = None
            elif contact["since"] is None:
                contact["since"] = day
        return found

    def sponsors(self) -> list[dict[str, Any]]:
        return [each for each in self.contacts().values() if each["since"] is not None]

    def sponsor_day(self, heard_since: int) -> int | None:
        mapped = [each for each in self.sponsors() if each["user"] is not None]
        last_days = [self.last_day_of(each["user"]) for each in mapped]
        seen = [day for day in last_days if day is not None]
        return max(seen or [max(each["since"], heard_since) for each in mapped], default=None)

    def contacts_active(self, first: int, last: int) -> int:
        users = {each["user"] for each in self.contacts().values() if each["here"] and each["user"]}
        days = [self.last_day_of(user) for user in users]
        return sum(1 for day in days if day is not None and first <= day <= last)

    # --- QBRs, integrations, touchpoints

    def qbrs_held(self) -> list[int]:
        return [
            day for day, _ in {(day, event["data"]["qbr_id"]) for *_, day, event in self.told["qbr.held"]}
        ]

    def qbrs_booked(self) -> list[int]:
        newest: dict[str, dict[str, Any]] = {}
        everything = self.told["qbr.scheduled"] + self.told["qbr.held"] + self.told["qbr.cancelled"]
        for *_, event in sorted(everything, key=lambda each: each[:2]):
            newest[event["data"]["qbr_id"]] = event
        return [
            civil(event["data"]["scheduled_for"], self.zone)
            for event in newest.values()
            if event["type"] == "qbr.scheduled"
        ]

    def integrations(self) -> tuple[list[int], list[int]]:
        """The newest sync of each that is connected, and the days of the losses."""
        kinds = ("integration.connected", "integration.synced", "integration.disconnected")
        everything = sorted((each for kind in kinds for each in self.told[kind]), key=lambda each: each[:2])
        names = {event["data"]["integration"] for *_, event in everything}
        syncs, losses, newcomers = [], [], []
        for name in names:
            mine = [each for each in everything if each[3]["data"]["integration"] == name]
            alive = [index for index, each in enumerate(mine) if each[3]["type"] != kinds[2]]
            ended = mine[(alive[-1] + 1 if alive else 0) :]
            synced = [each[2] for each in mine if each[3]["type"] == kinds[1]]
            connected = [mine[index][2] for index in alive]
            if ended:
                losses.append((ended[0][2], name))
            elif synced:
                syncs.append(max(synced))
            if connected:
                newcomers.append((connected[0], name))
        for day, name in sorted(newcomers):
            candidates = [each for each in losses if each[0] <= day and each[1] != name]
            if candidates:
                losses.remove(max(candidates))
        return syncs, [day for day, _ in losses]

    def touchpoint(self) -> int | None:
        return max((day for *_, day, _ in self.told["touchpoint.logged"]), default=None)
