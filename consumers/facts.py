"""State that goes by ``occurred_at``: seats, renewal, champion, QBRs, money, and what an account is called.

A fact is one state event. An account's facts are a set, ordered by (instant, event id), so any order of arrival gives
the same state (METRICS section 1); :func:`derive` reads the whole set and says what is in effect.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec

from consumers.champions import Champions
from consumers.days import DAY_US, Calendar
from consumers.moments import Moments, Person, Record
from consumers.windows import CHAMPION, DEACTIVATED, KEPT_DAYS, NEVER

ATTRIBUTES = (
    "name",
    "owner",
    "owner_email",
    "size",
    "channel",
    "tier",
    "use_case",
    "touch",
    "lifecycle",
    "usage_cadence",
    "country",
)
TOUCHES = ("", "high", "low", "tech")
CADENCES = ("", "daily", "weekly", "monthly")
RATINGS = ("", "red", "yellow", "green")
FIRST_VALUE = "first_value"  # the milestone that counts, unless the account names another

# Fixed-size numbers that the sweep reads; days are NEVER where the thing has not happened.
PROFILE_FIELDS = [
    ("seats", "<i8"),  # purchased and in effect, over all subscriptions
    ("mrr_cents", "<i8"),  # -1: never told
    ("first_day", "<i4"),  # of any activity
    ("last_day", "<i4"),
    ("ring_day", "<i4"),  # newest day of the daily login counts
    ("seats_first_day", "<i4"),  # on which seats were first bought
    ("seats_increase_day", "<i4"),  # on which the number in effect last rose above the one before
    ("champion_change_day", "<i4"),  # newest departure or replacement
    ("renewal_day", "<i4"),
    ("notice_days", "<i4"),  # -1: never told
    ("term_months", "<i4"),  # -1: never told
    ("qbr_booked_day", "<i4"),  # the latest QBR on the calendar that is not after the renewal
    ("qbr_held_day", "<i4"),
    ("champion", "<i2"),  # UNMAPPED, PRESENT, DEPARTED or PEOPLE of consumers.champions
    ("champions", "<i2"),  # how many current champions have a user id
    ("touch", "<i2"),
    ("cadence", "<i2"),
    ("churned", "<i2"),
    ("told", "<i2"),  # bits of TOLD
    ("escalations_open", "<i4"),
    ("escalation_oldest_day", "<i4"),  # of those that are open
    ("sentiment_day", "<i4"),  # of the newest rating
    ("first_value_day", "<i4"),  # on which the milestone that counts was first reached
    ("value_start_day", "<i4"),  # from which the way there is counted
    ("core_own", "<i4"),  # entries in the account's own list of core features; -1: it has none
    ("sentiment", "<i2"),  # in RATINGS
    ("sentiment_previous", "<i2"),  # the rating before the newest, whatever it was
    ("sponsors", "<i2"),  # current contacts who are economic buyers
    ("sponsors_mapped", "<i2"),  # of them with a user id
]
PROFILE = struct.Struct("<qq" + "i" * 11 + "h" * 6 + "i" * 6 + "h" * 4)
TOLD = {  # what was ever heard of the account, by the first word of the event's type
    "seats": 1,
    "subscription": 2,
    "milestone": 4,
    "contact": 8,
    "champion": 8,
    "qbr": 16,
    "escalation": 32,
    "integration": 64,
    "sentiment": 128,
    "touchpoint": 256,
    "ticket": 512,  # within the kept days
    "survey": 1024,  # the same
}
_MOST = 2**15 - 1  # people
_numbers = operator.attrgetter(*(name for name, _ in PROFILE_FIELDS))


@dataclass(slots=True)
class Profile:
    """The numbers of PROFILE_FIELDS, in their order."""

    seats: int = 0
    mrr_cents: int = -1
    first_day: int = NEVER
    last_day: int = NEVER
    ring_day: int = NEVER
    seats_first_day: int = NEVER
    seats_increase_day: int = NEVER
    champion_change_day: int = NEVER
    renewal_day: int = NEVER
    notice_days: int = -1
    term_months: int = -1
    qbr_booked_day: int = NEVER
    qbr_held_day: int = NEVER
    champion: int = 0
    champions: int = 0
    touch: int = 0
    cadence: int = 0
    churned: int = 0
    told: int = 0
    escalations_open: int = 0
    escalation_oldest_day: int = NEVER
    sentiment_day: int = NEVER
    first_value_day: int = NEVER
    value_start_day: int = NEVER
    core_own: int = -1
    sentiment: int = 0
    sentiment_previous: int = 0
    sponsors: int = 0
    sponsors_mapped: int = 0

    def blob(self) -> bytes:
        """As stored."""
        return PROFILE.pack(*_numbers(self))

    @classmethod
    def load(cls, blob: bytes) -> Profile:
        """From :meth:`blob`."""
        return cls(*PROFILE.unpack(blob))


class Fact(msgspec.Struct, frozen=True, array_like=True, order=False):
    """One state event: when it happened (epoch microseconds), its id, its type, what it says, and who sent it."""

    at: int
    id: str
    kind: str
    user_id: str
    data: dict[str, Any]
    source: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What an account's facts say together."""

    profile: Profile
    attributes: dict[str, str]
    currency: str
    marks: dict[str, int]  # user id → flags of its cell
    moments: list[Record] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)  # more moments, whose values are users' slots
    core: tuple[str, ...] | None = None  # its own core features, each once; None: it has no such list
    details: dict[str, Any] = field(
        default_factory=dict
    )  # for evidence: names of champions, QBRs, subscriptions


# What happened, rather than how things stand: only as long as windows look back, or it would pile up for ever.
PASSING = frozenset(
    {
        "ticket.opened",
        "ticket.closed",
        "survey.answered",
        "touchpoint.logged",
    }
)
_PER_FIELD = frozenset({"account.updated", "user.updated"})
_SYNC = "integration.synced"
_NEWEST = frozenset({_SYNC, "touchpoint.logged"})  # the newest is state
# When a champion left, and what segment an account was in when, is history, not state.
HISTORY = frozenset({"deactivated", "size", "channel", "tier", "use_case", "lifecycle"})


def merge_facts(known: Sequence[Fact], new: Iterable[Fact]) -> list[Fact]:
    """The union of two sets of facts, in order; of superseded fields of ``*.updated`` only the newest is kept, but for
    those whose history counts; of syncs the first and the newest of each integration, of what passes only the kept days
    before the newest fact, and the newest touchpoint.
    """
    by_key = {place(fact): fact for fact in known}
    for fact in new:
        if fact.data or fact.kind not in _PER_FIELD:  # what says nothing is no fact
            by_key.setdefault(place(fact), fact)
    kept: list[Fact] = []
    seen: set[tuple[str, str, str]] = set()
    oldest = max((at for at, *_ in by_key), default=0) - KEPT_DAYS * DAY_US
    order = sorted(by_key, reverse=True)
    # The last to be entered stays: an integration's first sync, which says since when it is there.
    first_syncs = {by_key[key].data["integration"]: key for key in order if by_key[key].kind == _SYNC}
    for key in order:
        fact = by_key[key]
        if fact.kind in _PER_FIELD:
            fresh = {
                name: value
                for name, value in fact.data.items()
                if (fact.kind, fact.user_id, name) not in seen
            }
            # A departure keeps its day, also when it is told again every night or taken back later.
            seen.update((fact.kind, fact.user_id, name) for name in fresh if name not in HISTORY)
            if not fresh:
                continue
            if len(fresh) < len(fact.data):
                fact = msgspec.structs.replace(fact, data=fresh)
        elif fact.kind in _NEWEST:
            subject = (fact.kind, "", fact.data.get("integration", ""))
            kept_too = fact.at > oldest if fact.kind in PASSING else first_syncs[subject[2]] == key
            if subject in seen and not kept_too:
                continue
            seen.add(subject)
        elif fact.kind in PASSING and fact.at <= oldest:
            continue
        kept.append(fact)
    kept.reverse()
    return kept


def place(fact: Fact) -> tuple[int, str, str, str]:
    """Where a fact stands among an account's: by instant, then by event id, then by who sent it."""
    return fact.at, fact.id, fact.source, fact.kind


def derive(facts: Sequence[Fact], calendar: Calendar) -> State:
    """What is in effect after all of ``facts``, in their order (docs/metrics.md sections 1, 2.3, 2.6 to 2.11, 3.3)."""
    story = Story(calendar)
    for fact in facts:
        story.fold(fact)
    state = story.state()
    state.details.update(story.details())
    return state


class Story:
    """Folds facts, given in their order; at any time it can say what is in effect."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._profile = Profile()
        self._fields: dict[str, Any] = {}
        self._seats = _Seats()
        self._champions = Champions()
        self._moments = Moments()
        self._milestones: dict[str, int] = {}
        self._subscriptions: dict[str, dict[str, Any]] = {}

    def fold(self, fact: Fact) -> None:
        """Take in the next fact."""
        calendar, profile = self._calendar, self._profile
        day = calendar.day_of_us(fact.at)
        profile.told |= TOLD.get(fact.kind.partition(".")[0], 0)
        match fact.kind:
            case "account.updated":
                self._fields.update(fact.data)
            case "seats.changed":
                self._seats.change(fact, day)
            case "subscription.changed":
                name = fact.data.get("subscription_id", "default")
                subscription = self._subscriptions.setdefault(name, {})
                subscription.update(fact.data)
                self._seats.end(name, _ended(subscription), day)
                _money(profile, self._subscriptions)
            case "qbr.scheduled":
                self._moments.book(fact.data["qbr_id"], calendar.parse_day(fact.data["scheduled_for"]))
            case "contact.updated":
                self._champions.fold(fact.kind, fact.user_id, fact.data, day)
                self._moments.fold(fact.kind, fact.data, day)
            case "champion.changed" | "user.updated":
                self._champions.fold(fact.kind, fact.user_id, fact.data, day)
            case "sentiment.rated":
                profile.sentiment_previous = profile.sentiment
                profile.sentiment, profile.sentiment_day = RATINGS.index(fact.data["rating"]), day
            case "milestone.reached":
                name = fact.data["milestone"]
                self._milestones[name] = min(day, self._milestones.get(name, day))
            case _:
                self._moments.fold(fact.kind, fact.data, day)

    def state(self) -> State:
        """What is in effect now, without the details."""
        profile, seats = Profile.load(self._profile.blob()), self._seats
        champions, moments = self._champions, self._moments
        fields, subscriptions = self._fields, self._subscriptions
        profile.seats, profile.seats_first_day, profile.seats_increase_day = (
            seats.total,
            seats.first_day,
            seats.increase_day,
        )
        profile.renewal_day = _renewal_day(fields, subscriptions, self._calendar)
        _settle_moments(profile, moments)
        core = _settle_fields(profile, fields, self._milestones, self._calendar)
        profile.champion, profile.champions = champions.state()
        profile.champion_change_day = champions.change_day
        marks = dict.fromkeys(champions.deactivated, DEACTIVATED)
        for user_id in champions.current_users():
            marks[user_id] = marks.get(user_id, 0) | CHAMPION
        return State(
            profile=profile,
            attributes={name: str(fields[name]) for name in ATTRIBUTES if name in fields},
            currency=_currency(subscriptions),
            marks=marks,
            moments=moments.records(),
            people=moments.people(),
            core=core,
        )

    def details(self) -> dict[str, Any]:
        """Names of champions, QBRs and subscriptions, for evidence."""
        return {
            "champions": self._champions.describe(),
            "seats": self._seats.in_effect(),
            **self._moments.describe(),
        }


def _settle_moments(profile: Profile, moments: Moments) -> None:
    """What the profile says of QBRs, escalations and sponsors."""
    before = [
        day for day in moments.booked.values() if profile.renewal_day == NEVER or day <= profile.renewal_day
    ]
    profile.qbr_booked_day = max(before, default=NEVER)
    profile.qbr_held_day = max((day for day, _ in moments.held), default=NEVER)
    profile.escalations_open = len(moments.escalations.open)
    profile.escalation_oldest_day = min(moments.escalations.open.values(), default=NEVER)
    sponsors, mapped = moments.sponsors()
    profile.sponsors, profile.sponsors_mapped = min(sponsors, _MOST), min(mapped, _MOST)


def _settle_fields(
    profile: Profile, fields: dict[str, Any], milestones: dict[str, int], calendar: Calendar
) -> tuple[str, ...] | None:
    """What the profile says of the account's own fields. Returns its own core features.

    A list of none is how somebody takes the account's own list back, since a null says nothing.
    """
    profile.term_months = fields.get("term_months", -1)
    profile.notice_days = fields.get("notice_days", -1)
    profile.touch = TOUCHES.index(fields.get("touch", ""))
    profile.cadence = CADENCES.index(fields.get("usage_cadence", ""))
    if fields.get("lifecycle") == "churned":
        profile.churned = 1
    profile.first_value_day = milestones.get(fields.get("success_milestone", FIRST_VALUE), NEVER)
    start = fields.get("onboarding_completed_on", fields.get("contract_start"))
    if start is not None:
        profile.value_start_day = calendar.parse_day(start)
    core = tuple(dict.fromkeys(fields.get("core_features", ()))) or None
    profile.core_own = -1 if core is None else len(core)
    return core


@dataclass(slots=True)
class _Seats:
    """Seats over the subscriptions that have not ended: the total, when first bought, and the total as days closed."""

    held: dict[str, int] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    total: int = 0
    first_day: int = NEVER
    closes: list[tuple[int, int]] = field(default_factory=list)  # (day, total from its close on)

    def change(self, fact: Fact, day: int) -> None:
        self.held[fact.data.get("subscription_id", "default")] = fact.data["purchased"]
        self._count(day)

    def end(self, subscription_id: str, ended: bool, day: int) -> None:
        """A subscription has ended, or is in effect (again)."""
        (self.ended.add if ended else self.ended.discard)(subscription_id)
        if self.held:
            self._count(day)

    def in_effect(self) -> dict[str, int]:
        return {name: seats for name, seats in self.held.items() if name not in self.ended}

    @property
    def increase_day(self) -> int:
        """The newest day that closed with more seats than the one before it; moved within a day they are as many."""
        rises = [day for (_, before), (day, after) in pairwise(self.closes) if after > before]
        return max(rises, default=NEVER)

    def _count(self, day: int) -> None:
        self.total = sum(self.in_effect().values())
        if self.total > 0 and self.first_day == NEVER:
            self.first_day = day
        # Where clocks go back over midnight, a later instant may lie on an earlier day.
        while self.closes and self.closes[-1][0] >= day:
            self.closes.pop()
        if not self.closes or self.closes[-1][1] != self.total:
            self.closes.append((day, self.total))


def _ended(subscription: dict[str, Any]) -> bool:
    return "mrr" in subscription and cents(subscription["mrr"]) == 0


def _money(profile: Profile, subscriptions: dict[str, dict[str, Any]]) -> None:
    """The sum of what was told in the reporting currency, or in none."""
    counted = {_currency(subscriptions), ""}
    told = [sub for sub in subscriptions.values() if "mrr" in sub and sub.get("currency", "") in counted]
    total = sum((cents(sub["mrr"]) for sub in told), 0)
    if told:
        profile.churned = int(total == 0 and (profile.mrr_cents > 0 or bool(profile.churned)))
        profile.mrr_cents = total


def _currency(subscriptions: dict[str, dict[str, Any]]) -> str:
    """The reporting currency of an account: that of the largest subscription told with one; others are left out."""
    told = [
        (cents(sub["mrr"]), sub["currency"])
        for sub in subscriptions.values()
        if "mrr" in sub and sub.get("currency")
    ]
    return max(told)[1] if told else ""


def cents(amount: str | int | float | Decimal) -> int:
    """Money as whole cents, exactly."""
    return int((Decimal(str(amount)) * 100).to_integral_value())


def _renewal_day(fields: dict[str, Any], subscriptions: dict[str, dict[str, Any]], calendar: Calendar) -> int:
    """The earliest renewal among subscriptions in effect; without one, the account's own date."""
    dates = [
        sub["renewal_date"] for sub in subscriptions.values() if "renewal_date" in sub and not _ended(sub)
    ]
    if not dates and "renewal_date" in fields:
        dates = [fields["renewal_date"]]
    return min(map(calendar.parse_day, dates), default=NEVER)
