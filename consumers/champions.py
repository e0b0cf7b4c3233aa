"""Who the champions of an account are, who left, and when that last changed (METRICS section 2.7).

A provider that tells all contacts every night says nothing new: only where what is told of a contact changes does he
get or lose the role by it. Nobody is named while his user is deactivated; he is when the user is active again, unless
the role was taken away by then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from consumers.windows import NEVER

# What facts alone say of an account's champions; silence is for the windows to tell.
UNMAPPED = 0  # nobody ever was one
PRESENT = 1  # a current champion without a user id: active until somebody says otherwise
DEPARTED = 2  # all have gone, nobody followed
PEOPLE = 3  # every current champion has a user id, whose activity decides


@dataclass(slots=True)
class _Person:
    """One person, known by a contact id, a user id or both."""

    contact_id: str = ""
    user_id: str = ""
    name: str = ""
    champion: bool = False
    departed: bool = False  # was a champion, and left, changed role, was deactivated or lost the role
    suspended: bool = False  # a champion again as soon as his user is active again


@dataclass(slots=True)
class Champions:
    """Folds contact, champion and user facts, given in the order they happened."""

    people: list[_Person] = field(default_factory=list)
    # By contact id, as last told: whether active, and whether with the role; None: his roles were never told.
    told: dict[str, tuple[bool, bool | None]] = field(default_factory=dict)
    deactivated: set[str] = field(default_factory=set)
    change_day: int = NEVER
    ever: bool = False
    effective_at: str = ""

    def fold(self, kind: str, user_id: str, data: dict[str, Any], day: int) -> None:
        """Take in one fact of ``kind`` that happened on ``day``."""
        if kind == "contact.updated":
            self._contact(data, day)
        elif kind == "champion.changed":
            self._changed(user_id, data, day)
        elif "deactivated" in data:
            self._deactivated(user_id, bool(data["deactivated"]), day)

    def state(self) -> tuple[int, int]:
        """(UNMAPPED, PRESENT, DEPARTED or PEOPLE; the number of current champions with a user id)."""
        current = [person for person in self.people if person.champion]
        if any(not person.user_id for person in current):
            return PRESENT, 0
        if current:
            return PEOPLE, len(current)
        return (DEPARTED, 0) if self.ever else (UNMAPPED, 0)

    def current_users(self) -> list[str]:
        """The user ids of current champions."""
        return [person.user_id for person in self.people if person.champion and person.user_id]

    def describe(self) -> dict[str, Any]:
        """For evidence: every current and departed champion, and the day that the newest ``champion.changed`` names as
        the one on which it takes effect, which may lie ahead."""
        people = [
            {
                "contact_id": person.contact_id or None,
                "user_id": person.user_id or None,
                "name": person.name or None,
                "status": "current" if person.champion else "departed",
            }
            for person in self.people
            if person.champion or person.departed
        ]
        return {"people": people, "effective_at": self.effective_at or None}

    def _contact(self, data: dict[str, Any], day: int) -> None:
        contact_id = data.get("contact_id", "")
        person = self._find(contact_id, data.get("user_id", ""))
        person.name = data.get("name", person.name)
        active, champion = self.told.get(contact_id, (True, None))
        before = active and champion
        active = data.get("active", active)
        if "roles" in data:
            champion = "champion" in data["roles"]
        self.told[contact_id] = active, champion
        after = active and champion
        if after is before:
            return
        if after and person.user_id in self.deactivated:
            person.suspended = True
        elif after:
            self._name(person)
        elif after is False:
            person.suspended = False
            if person.champion:
                self._depart(person, day)

    def _changed(self, subject: str, data: dict[str, Any], day: int) -> None:
        successor = data.get("user_id", "") or ""
        previous = data.get("previous_user_id", "") or ""
        if not successor and not previous:
            previous = subject
        self.effective_at = data.get("effective_at", "")
        if previous and previous != successor:
            person = self._find("", previous)
            # Told a second time, by another provider, one departure stays one; but a successor named later is a
            # replacement of its own. Of somebody nobody had named, it still says that a champion has gone.
            if person.champion or not person.departed:
                self._depart(person, day)
            elif successor and not self._find("", successor).champion:
                self.change_day = max(self.change_day, day)
        elif not previous:
            gone = [person for person in self.people if person.champion and person.user_id != successor]
            for person in gone:
                self._depart(person, day)
            if not gone and not successor and not self.ever:
                self.ever = True  # the one who left was never named to us
                self.change_day = max(self.change_day, day)
        if successor:
            self._name(self._find("", successor))

    def _deactivated(self, user_id: str, deactivated: bool, day: int) -> None:
        if deactivated:
            self.deactivated.add(user_id)
        else:
            self.deactivated.discard(user_id)
        for person in self.people:
            if person.user_id != user_id:
                continue
            if deactivated and person.champion:
                self._depart(person, day)
                person.suspended = True
            elif not deactivated and person.suspended:
                self._name(person)  # back at his desk: the role was never taken away

    def _depart(self, person: _Person, day: int) -> None:
        person.champion = False
        person.departed = True
        self.ever = True
        self.change_day = max(self.change_day, day)

    def _name(self, person: _Person) -> None:
        person.champion = True
        person.departed = False
        person.suspended = False
        self.ever = True

    def _find(self, contact_id: str, user_id: str) -> _Person:
        """The person of either id, made or joined where the two were known apart."""
        by_contact = next((p for p in self.people if contact_id and p.contact_id == contact_id), None)
        by_user = next((p for p in self.people if user_id and p.user_id == user_id), None)
        if by_contact is not None and by_user is not None and by_contact is not by_user:
            by_contact.champion |= by_user.champion
            by_contact.departed |= by_user.departed
            by_contact.suspended |= by_user.suspended
            self.people.remove(by_user)
            by_contact.user_id = user_id
            return by_contact
        person = by_contact or by_user
        if person is None:
            person = _Person()
            self.people.append(person)
        person.contact_id = person.contact_id or contact_id
        person.user_id = user_id or person.user_id
        return person
