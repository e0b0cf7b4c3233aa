"""How an account stands by its facts, as the rows of files compare with it, at one instant after another.

Things of an account are told apart by (group, key): the account itself, a contact, a subscription, a review. Of what
``account.updated`` and ``user.updated`` say only the newest is kept, so of these only that is known; but for HISTORY.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from consumers.champions import Champions
from consumers.facts import Fact, merge_facts

Place = tuple[int, str]
"""An instant and an event id: where a fact stands among others."""
CHAMPION = "champion"
ROLES = ("champion", "economic_buyer", "member")
# Of these older words are kept too: when a user left, what segment an account was in when.
_PEOPLE = frozenset({"contact.updated", "champion.changed", "user.updated"})


class Telling(Enum):
    """How facts of one type add up."""

    NEWEST = "newest"  # the newest word on each field; older ones are not kept
    FIELDS = "fields"  # each field stays until another word on it
    STATUS = "status"  # the type is what it says
    REPEATS = "repeats"  # each is something that happened


@dataclass(frozen=True, slots=True)
class Group:
    """What a type of event tells of: ``key`` are the fields that tell one such thing from another."""

    name: str
    telling: Telling
    key: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()  # of STATUS: the fields that make it another one beside the type


_QBR = Group("qbr", Telling.STATUS, ("qbr_id",), ("scheduled_for",))
_ESCALATION = Group("escalation", Telling.STATUS, ("escalation_id",))
_TICKET = Group("ticket", Telling.STATUS, ("ticket_id",))
_INTEGRATION = Group("integration", Telling.STATUS, ("integration",))
GROUPS: Mapping[str, Group] = {
    "account.updated": Group("account", Telling.NEWEST),
    "user.updated": Group("user", Telling.NEWEST, ("user_id",)),
    "contact.updated": Group("contact", Telling.FIELDS, ("contact_id",)),
    "subscription.changed": Group("subscription", Telling.FIELDS, ("subscription_id",)),
    "seats.changed": Group("seats", Telling.FIELDS, ("subscription_id",)),
    "champion.changed": Group("champion", Telling.REPEATS),
    "qbr.scheduled": _QBR,
    "qbr.held": _QBR,
    "qbr.cancelled": _QBR,
    "escalation.opened": _ESCALATION,
    "escalation.resolved": _ESCALATION,
    "ticket.opened": _TICKET,
    "ticket.closed": _TICKET,
    "sentiment.rated": Group("sentiment", Telling.REPEATS),
    "survey.answered": Group("survey", Telling.REPEATS, ("user_id",)),
    "touchpoint.logged": Group("touchpoint", Telling.REPEATS),
    "milestone.reached": Group("milestone", Telling.STATUS, ("milestone",)),
    "integration.connected": _INTEGRATION,
    "integration.disconnected": _INTEGRATION,
    "integration.synced": Group("sync", Telling.REPEATS, ("integration",)),
}


@dataclass(slots=True)
class Thing:
    """One thing of an account: what is known of it, by which fact each field was told, and the newest fact."""

    fields: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    type: str = ""
    said: Mapping[str, Any] = field(default_factory=dict)  # by the newest fact alone
    last: Place | None = None
    then: dict[str, Any] = field(default_factory=dict)  # of HISTORY: the values at the instant reached
    then_places: dict[str, Place] = field(default_factory=dict)  # by which fact each of these was told
    told_roles: Sequence[str] | None = None  # of a contact, as told last; ``fields`` has those in effect


class Standing:
    """One account's facts, folded up to an instant that only moves on."""

    def __init__(self, facts: Sequence[Fact] = (), *, known: bool = True, until: int = 0) -> None:
        """``facts`` in their order; ``known`` says whether there is such an account.

        ``until`` is how far it will be told, in epoch microseconds: what nothing will keep by then counts no more.
        """
        self.known = known
        self.newest = max((fact.at for fact in facts), default=0)
        if until > self.newest:
            self.newest = until
            facts = _outliving(facts, until)
        self._facts = list(facts)
        self._next = 0
        self._things: dict[tuple[str, ...], Thing] = {}
        self._happened: list[Fact] = []
        self._champions = Champions()
        self._told: dict[str, Place] = {}  # of people: the newest fact of each type
        self._described: Sequence[Mapping[str, Any]] | None = None
        for fact in facts:
            group = GROUPS.get(fact.kind)
            if group is not None and group.telling is Telling.NEWEST:
                self._tell(group, fact)
            elif group is not None and group.telling is Telling.REPEATS:
                self._happened.append(fact)

    def told_until(self, until: int) -> Standing:
        """The same, of an account of which something will be told that happens at ``until``; before any advance."""
        return Standing(self._facts, known=self.known, until=until)

    def advance(self, until: int | None) -> None:
        """Fold what happened up to and at ``until``, in epoch microseconds; None: everything."""
        while self._next < len(self._facts):
            fact = self._facts[self._next]
            if until is not None and fact.at > until:
                break
            self._next += 1
            self._fold(fact, again=True)

    def say(self, fact: Fact) -> None:
        """Take in what a row says, at the instant reached."""
        self.known = True
        group = GROUPS[fact.kind]
        if group.telling is Telling.REPEATS:
            self._happened.append(fact)
        self._fold(fact, again=False)

    def thing(self, group: Group, key: Sequence[str]) -> Thing:
        """What is known of one thing; of a contact, with the roles in effect."""
        found = self._things.get((group.name, *key), Thing())
        return self._contact(found, key[0]) if group.name == "contact" else found

    def happened(self, fact: Fact) -> bool:
        """Whether just that is known to have happened then."""
        return any(
            (each.kind, each.at, each.user_id, each.data) == (fact.kind, fact.at, fact.user_id, fact.data)
            for each in self._happened
        )

    def beside(self, kind: str, at: int) -> list[Place]:
        """Facts of other things at that very instant whose order with one of ``kind`` decides who is champion."""
        others = {"contact.updated": {"champion.changed"}, "champion.changed": _PEOPLE - {"champion.changed"}}
        return [
            self._told[each]
            for each in sorted(others.get(kind, ()))
            if self._told.get(each, (0, ""))[0] == at
        ]

    def too_old(self, fact: Fact) -> bool:
        """Whether it happened so long before others that it would not be kept."""
        others = [each for each in self._happened if each.kind == fact.kind]
        return all(each is not fact for each in _outliving([*others, fact], self.newest))

    # --- what an export writes

    def contacts(self) -> Iterator[tuple[str, Thing]]:
        """Every contact by id, and champions who are known only as users, under the user's id."""
        told = {key[1] for key in self._things if key[0] == "contact"}
        loose = {str(each["user_id"]) for each in self._people() if _only_a_user(each, each["user_id"])}
        for contact_id in sorted(told | loose):
            yield contact_id, self.thing(GROUPS["contact.updated"], (contact_id,))

    def subscriptions(self) -> Iterator[tuple[str, Thing, Thing]]:
        """Every subscription by id: its money, its seats."""
        ids = {key[1] for key in self._things if key[0] in ("subscription", "seats")}
        for each in sorted(ids):
            money = self.thing(GROUPS["subscription.changed"], (each,))
            yield each, money, self.thing(GROUPS["seats.changed"], (each,))

    # --- folding

    def _fold(self, fact: Fact, *, again: bool) -> None:
        """``again``: what needs no order was taken in at the beginning."""
        group = GROUPS.get(fact.kind)
        if group is not None and not (again and group.telling is Telling.NEWEST):
            self._tell(group, fact)
        if group is not None and group.telling is Telling.NEWEST:
            thing = self._things[group.name, *key_of(group, fact)]
            thing.then.update(fact.data)
            thing.then_places.update(dict.fromkeys(fact.data, (fact.at, fact.id)))
        if fact.kind in _PEOPLE:
            self._champions.fold(fact.kind, fact.user_id, fact.data, 0)
            self._told[fact.kind] = (fact.at, fact.id)
            self._described = None

    def _tell(self, group: Group, fact: Fact) -> None:
        thing = self._things.setdefault((group.name, *key_of(group, fact)), Thing())
        place = (fact.at, fact.id)
        for name, value in fact.data.items():
            if name not in group.key and place >= thing.places.get(name, place):
                thing.fields[name] = value
                thing.places[name] = place
        thing.type, thing.said, thing.last = fact.kind, fact.data, place

    def _contact(self, thing: Thing, contact_id: str) -> Thing:
        user_id = thing.fields.get("user_id")
        if thing.last is None and any(_only_a_user(each, contact_id) for each in self._people()):
            user_id = contact_id
        known = [
            each["status"]
            for each in self._people()
            if each["contact_id"] == contact_id or (user_id is not None and each["user_id"] == user_id)
        ]
        fields = dict(thing.fields) if user_id is None else {**thing.fields, "user_id": user_id}
        # Nobody becomes a champion, or ceases to be one, by what is said of somebody who is not active.
        if known and fields.get("active") is not False:
            roles = {*fields.get("roles", ())} - {CHAMPION} | ({CHAMPION} if "current" in known else set())
            fields["roles"] = [role for role in ROLES if role in roles]
        told_roles = thing.fields.get("roles")
        return Thing(fields, thing.places, thing.type, thing.said, thing.last, told_roles=told_roles)

    def _people(self) -> Sequence[Mapping[str, Any]]:
        if self._described is None:
            self._described = self._champions.describe()["people"]
        return self._described


def _only_a_user(person: Mapping[str, Any], user_id: str) -> bool:
    """Whether this is a current champion of whom no contact is known."""
    return person["contact_id"] is None and person["user_id"] == user_id and person["status"] == "current"


def _outliving(facts: Sequence[Fact], until: int) -> list[Fact]:
    """Those that are kept when something happens at ``until``."""
    last = Fact(until, "", "seats.changed", "", {})
    return [fact for fact in merge_facts([last], facts) if fact is not last]


def key_of(group: Group, fact: Fact) -> tuple[str, ...]:
    """Which of the things of its group a fact is about."""
    said = {"user_id": fact.user_id, "subscription_id": "default", **fact.data}
    return tuple(str(said[name]) for name in group.key)
