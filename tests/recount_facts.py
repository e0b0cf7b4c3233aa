"""What an account's facts say together, for the second opinion of ``recount.py``: read in the order they happened."""

from __future__ import annotations

from datetime import date, datetime
from fractions import Fraction
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo


def ordinal(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - date(1970, 1, 1).toordinal()


def civil(text: str, zone: ZoneInfo) -> int:
    """The day of a date or of an instant."""
    if len(text) == 10:
        return ordinal(date.fromisoformat(text))
    return ordinal(datetime.fromisoformat(text).astimezone(zone).date())


def say(facts: list[tuple[datetime, str, int, dict[str, Any]]], zone: ZoneInfo) -> dict[str, Any]:
    """State from facts in the order they happened."""
    fields: dict[str, Any] = {}
    seats: dict[str, int] = {}
    totals: list[tuple[int, int]] = []  # (day, seats in effect from then on)
    subscriptions: dict[str, dict[str, Any]] = {}

    def bought() -> None:
        gone = {name for name, each in subscriptions.items() if Fraction(str(each["mrr"])) == 0}
        totals.append((day, sum(count for name, count in seats.items() if name not in gone)))

    mrrs: list[Fraction] = []
    qbrs: dict[str, dict[str, Any]] = {}
    held: list[int] = []
    people = People()
    for _, _, day, event in facts:
        data = {name: value for name, value in (event.get("data") or {}).items() if value is not None}
        kind = event["type"]
        if kind == "account.updated":
            fields.update(data)
        elif kind == "seats.changed":
            seats[data.get("subscription_id", "default")] = data["purchased"]
            bought()
        elif kind == "subscription.changed":
            subscriptions.setdefault(data.get("subscription_id", "default"), {}).update(data)
            mrrs.append(revenue(list(subscriptions.values())))
            if seats:
                bought()
        elif kind.startswith("qbr."):
            qbrs[data["qbr_id"]] = event
            if kind == "qbr.held":
                held.append(day)
        else:
            people.hear(kind, event.get("user_id"), data, day)
    closes = sorted(dict(totals).items())  # of each day its last total
    rises = [day for (_, before), (day, after) in pairwise(closes) if after > before]
    renewals = [
        each["renewal_date"]
        for each in subscriptions.values()
        if "renewal_date" in each and Fraction(str(each["mrr"])) > 0
    ]
    if not renewals and "renewal_date" in fields:
        renewals = [fields["renewal_date"]]
    fell = False
    for before, after in zip([Fraction(0), *mrrs], mrrs, strict=False):
        fell = after == 0 and (before > 0 or fell)
    return {
        "fields": fields,
        "seats": totals[-1][1] if totals else 0,
        "seats_first": min((day for day, total in totals if total > 0), default=None),
        "seats_rise": max(rises, default=None),
        "mrr": mrrs[-1] if mrrs else None,
        "churned": fell or fields.get("lifecycle") == "churned",
        "renewal": min((civil(text, zone) for text in renewals), default=None),
        "booked": [
            civil(event["data"]["scheduled_for"], zone)
            for event in qbrs.values()
            if event["type"] == "qbr.scheduled"
        ],
        "held": max(held, default=None),
        "people": people,
    }


def revenue(subscriptions: list[dict[str, Any]]) -> Fraction:
    """What they pay together in the currency of the largest that has one; without a currency counts with it."""
    amounts = [(Fraction(str(each["mrr"])), each.get("currency")) for each in subscriptions]
    named = [each for each in amounts if each[1] is not None]
    main = max(named)[1] if named else None
    return sum((amount for amount, currency in amounts if currency in (main, None)), Fraction(0))


class Person:
    def __init__(self) -> None:
        self.contact: str | None = None
        self.user: str | None = None
        self.champion = False
        self.left = False
        self.sent_away = False  # champion, were his user not deactivated


class People:
    """Champions, past and present."""

    def __init__(self) -> None:
        self.all: list[Person] = []
        self.contacts: dict[str, dict[str, Any]] = {}  # by id: what was last said of each
        self.deactivated: set[str] = set()
        self.anybody = False
        self.changed: int | None = None

    def champions(self) -> list[Person]:
        return [person for person in self.all if person.champion]

    def hear(self, kind: str, user: str | None, data: dict[str, Any], day: int) -> None:
        if kind == "contact.updated":
            person = self.person(data["contact_id"], data.get("user_id"))
            contact = self.contacts.setdefault(data["contact_id"], {})
            before = self.part(contact)
            contact.update(data)
            part = self.part(contact)
            if part == before:
                return  # the same again is no news
            if part == "champion" and person.user in self.deactivated:
                person.sent_away = True
            elif part == "champion":
                self.name(person)
            elif part == "none":
                person.sent_away = False
                if person.champion:
                    self.go(person, day)
        elif kind == "champion.changed":
            self.change(user, data, day)
        elif kind == "user.updated" and "deactivated" in data:
            assert user is not None
            (self.deactivated.add if data["deactivated"] else self.deactivated.discard)(user)
            for person in self.all:
                if person.user == user and data["deactivated"] and person.champion:
                    self.go(person, day)
                    person.sent_away = True
                elif person.user == user and not data["deactivated"] and person.sent_away:
                    self.name(person)

    @staticmethod
    def part(contact: dict[str, Any]) -> str:
        """Which part somebody has by what is said of him as a contact."""
        if not contact.get("active", True):
            return "none"
        if "roles" not in contact:
            return "unsaid"
        return "champion" if "champion" in contact["roles"] else "none"

    def change(self, user: str | None, data: dict[str, Any], day: int) -> None:
        new, old = data.get("user_id"), data.get("previous_user_id")
        if new is None and old is None:
            old = user
        if old is not None and old != new:
            leaver = self.person(None, old)
            told_before = leaver.left and not leaver.champion
            if not told_before:
                self.go(leaver, day)
            elif new is not None and not self.person(None, new).champion:
                self.changed = day
        elif old is None:
            leavers = [person for person in self.champions() if person.user != new]
            for person in leavers:
                self.go(person, day)
            if not leavers and new is None and not self.anybody:
                self.anybody, self.changed = True, day
        if new is not None:
            self.name(self.person(None, new))

    def go(self, person: Person, day: int) -> None:
        person.champion, person.left = False, True
        self.anybody, self.changed = True, day

    def name(self, person: Person) -> None:
        person.champion, person.left, person.sent_away = True, False, False
        self.anybody = True

    def person(self, contact: str | None, user: str | None) -> Person:
        """One person has one contact id and one user id; either finds him, both together join two."""
        same_contact = [each for each in self.all if contact is not None and each.contact == contact]
        same_user = [each for each in self.all if user is not None and each.user == user]
        if same_contact and same_user and same_contact[0] is not same_user[0]:
            kept, other = same_contact[0], same_user[0]
            self.all.remove(other)
            kept.champion, kept.left = kept.champion or other.champion, kept.left or other.left
            kept.sent_away = kept.sent_away or other.sent_away
            kept.user = user
            return kept
        if same_contact or same_user:
            person = (same_contact or same_user)[0]
        else:
            person = Person()
            self.all.append(person)
        person.contact = person.contact or contact
        person.user = user or person.user
        return person
