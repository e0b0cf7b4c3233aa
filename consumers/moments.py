"""What happened to an account, and when, as small records that many accounts' worth of can be counted at once.

A moment is a kind, a day and a value: so many tickets opened on a day, an answer to a survey with its score, a QBR on
the calendar. What state events say together of tickets, escalations, contacts, QBRs and integrations is folded here, in
the order it happened; :func:`consumers.facts.derive` gives it the events.

Readings, where the definitions are silent:

- A ticket or an escalation told open again while it is open is the same one; opened again after it was closed, it
  counts anew.
- Whoever leaves (``active`` false) or loses a role has it no longer; the day on which he has it from begins again when
  both are back. Contacts with one user id are one person.
- An integration that syncs is connected, whatever was said before. Lost is what was disconnected and did not come back;
  each integration that is connected for the first time, or first heard of by a sync, on the day of a loss or later,
  replaces the newest such loss of another one.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from consumers.windows import NEVER

TICKET_OPENED = 1  # value: how many that day
ESCALATION_OPENED = 2  # value: how many that day
NPS = 3  # value: the score
CSAT = 4
SPONSOR = (
    5  # a current economic buyer with a user id; value: the user's slot or -1; day: since when he is one
)
CONTACT = 6  # a current contact with a user id; value: the user's slot or -1
QBR_BOOKED = 7  # on the calendar; day: the one it is planned for
QBR_HELD = 8
INTEGRATION_SYNC = 9  # of an integration that is connected now: its newest sync
INTEGRATION_LOST = 10  # day: on which it was disconnected
TOUCHPOINT = 11  # the newest one

MOMENT = struct.Struct("<HHq")  # day, kind, value
MOMENT_FIELDS = [("day", "<u2"), ("kind", "<u2"), ("value", "<i8")]
LAST_DAY = 2**16 - 1  # in the year 2149; what is planned for later counts as planned for then

_SPONSOR_ROLE = "economic_buyer"

Record = tuple[int, int, int]
"""(kind, day, value)"""
Person = tuple[int, int, str]
"""SPONSOR or CONTACT, the day, and the user id, whose slot becomes the value."""


def pack(records: Iterable[Record], people: Iterable[Person], slots: Mapping[str, int]) -> bytes:
    """Records as stored, sorted by kind, day and value; of people with their users' slots, -1 for those never seen."""
    rows = sorted([*records, *((kind, day, slots.get(user_id, -1)) for kind, day, user_id in people)])
    return b"".join([MOMENT.pack(min(day, LAST_DAY), kind, value) for kind, day, value in rows])


@dataclass(slots=True)
class _Openings:
    """What is opened and closed by an id."""

    open: dict[str, int] = field(default_factory=dict)  # id → day
    days: Counter[int] = field(default_factory=Counter)  # how many were opened

    def opened(self, name: str, day: int) -> None:
        if name not in self.open:
            self.open[name] = day
            self.days[day] += 1

    def closed(self, name: str) -> None:
        self.open.pop(name, None)


@dataclass(slots=True)
class _Contact:
    """One contact as the newest word on each of its fields has it."""

    user_id: str = ""
    active: bool = True
    buyer: bool = False
    current_day: int = NEVER  # since when he is a contact without a break
    sponsor_day: int = NEVER  # since when he is that with the role

    @property
    def sponsor(self) -> bool:
        return self.active and self.buyer

    def update(self, data: Mapping[str, Any], day: int) -> None:
        was_current, was_sponsor = self.active and self.current_day != NEVER, self.sponsor
        self.user_id = data.get("user_id", self.user_id)
        self.active = data.get("active", self.active)
        if "roles" in data:
            self.buyer = _SPONSOR_ROLE in data["roles"]
        if self.active and not was_current:
            self.current_day = day
        if self.sponsor and not was_sponsor:
            self.sponsor_day = day


@dataclass(slots=True)
class _Integrations:
    """Which integrations are connected, when they last synced, and which are gone."""

    synced: dict[str, int] = field(default_factory=dict)  # newest day
    gone: dict[str, int] = field(default_factory=dict)  # day of the disconnection
    first_connected: dict[str, int] = field(default_factory=dict)

    def fold(self, kind: str, name: str, day: int) -> None:
        if kind == "integration.disconnected":
            self.gone.setdefault(name, day)
            return
        self.gone.pop(name, None)
        self.first_connected.setdefault(name, day)
        if kind == "integration.synced":
            self.synced[name] = max(day, self.synced.get(name, day))

    def syncs(self) -> list[int]:
        return [day for name, day in self.synced.items() if name not in self.gone]

    def lost(self) -> list[tuple[int, str]]:
        """Those that are gone for good, each with the day on which it went."""
        left = sorted(((day, name) for name, day in self.gone.items()), reverse=True)
        for connected, newcomer in sorted((day, name) for name, day in self.first_connected.items()):
            replaced = next((each for each in left if each[0] <= connected and each[1] != newcomer), None)
            if replaced is not None:
                left.remove(replaced)
        return left


@dataclass(slots=True)
class Moments:
    """Folds facts, given in the order they happened."""

    tickets: _Openings = field(default_factory=_Openings)
    escalations: _Openings = field(default_factory=_Openings)
    answers: list[Record] = field(default_factory=list)
    contacts: dict[str, _Contact] = field(default_factory=dict)
    booked: dict[str, int] = field(default_factory=dict)  # QBR → planned day
    held: set[tuple[int, str]] = field(default_factory=set)
    integrations: _Integrations = field(default_factory=_Integrations)
    touchpoint_day: int = NEVER

    def fold(self, kind: str, data: Mapping[str, Any], day: int) -> None:
        """Take in one fact of ``kind`` that happened on ``day``; a kind that leaves no moment is passed over."""
        match kind:
            case "ticket.opened":
                self.tickets.opened(data["ticket_id"], day)
            case "ticket.closed":
                self.tickets.closed(data["ticket_id"])
            case "escalation.opened":
                self.escalations.opened(data["escalation_id"], day)
            case "escalation.resolved":
                self.escalations.closed(data["escalation_id"])
            case "survey.answered":
                self.answers.append((NPS if data["kind"] == "nps" else CSAT, day, data["score"]))
            case "contact.updated":
                self.contacts.setdefault(data["contact_id"], _Contact()).update(data, day)
            case "qbr.held":
                self.held.add((day, data["qbr_id"]))
                self.booked.pop(data["qbr_id"], None)
            case "qbr.cancelled":
                self.booked.pop(data["qbr_id"], None)
            case "integration.connected" | "integration.synced" | "integration.disconnected":
                self.integrations.fold(kind, data["integration"], day)
            case "touchpoint.logged":
                self.touchpoint_day = max(self.touchpoint_day, day)
            case _:
                pass

    def book(self, qbr_id: str, planned_day: int) -> None:
        """A QBR is on the calendar for ``planned_day``."""
        self.booked[qbr_id] = planned_day

    def records(self) -> list[Record]:
        """All moments but those of people."""
        found = [
            *((TICKET_OPENED, day, count) for day, count in self.tickets.days.items()),
            *((ESCALATION_OPENED, day, count) for day, count in self.escalations.days.items()),
            *self.answers,
            *((QBR_BOOKED, day, 0) for day in self.booked.values()),
            *((QBR_HELD, day, 0) for day, _ in self.held),
            *((INTEGRATION_SYNC, day, 0) for day in self.integrations.syncs()),
            *((INTEGRATION_LOST, day, 0) for day, _ in self.integrations.lost()),
        ]
        if self.touchpoint_day != NEVER:
            found.append((TOUCHPOINT, self.touchpoint_day, 0))
        return found

    def people(self) -> list[Person]:
        """Current sponsors and contacts with a user id; a person is one contact, whatever he is called there."""
        current = [each for each in self.contacts.values() if each.active and each.user_id]
        sponsors = [(SPONSOR, each.sponsor_day, each.user_id) for each in current if each.sponsor]
        known = {
            each.user_id: each.current_day for each in sorted(current, key=lambda each: -each.current_day)
        }
        return [*sponsors, *((CONTACT, day, user_id) for user_id, day in known.items())]

    def sponsors(self) -> tuple[int, int]:
        """How many current economic buyers there are, and how many of them have a user id."""
        found = [each for each in self.contacts.values() if each.sponsor]
        return len(found), sum(1 for each in found if each.user_id)

    def describe(self) -> dict[str, Any]:
        """For evidence: who the sponsors are, which escalations are open since when, which integrations are gone."""
        return {
            "sponsors": [
                {"contact_id": name, "user_id": each.user_id or None, "since_day": each.sponsor_day}
                for name, each in self.contacts.items()
                if each.sponsor
            ],
            "escalations": [
                {"escalation_id": name, "opened_day": day} for name, day in self.escalations.open.items()
            ],
            "integrations": [
                {"integration": name, "lost_day": day} for day, name in self.integrations.lost()
            ],
        }
