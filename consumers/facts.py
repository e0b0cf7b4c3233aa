"""State that goes by ``occurred_at``: seats, renewal, champion, QBRs, money, and what an account is called.

A fact is one state event. An account's facts are a set, ordered by (instant, event id), so any order of arrival gives
the same state (METRICS section 1); :func:`derive` reads the whole set and says what is in effect.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from consumers.champions import Champions
from consumers.days import DAY_US, Calendar
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
    ("told", "<i2"),  # bit 0: seats, bit 1: a subscription
]
PROFILE = struct.Struct("<qq" + "i" * 11 + "h" * 6)


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

    def blob(self) -> bytes:
        """As stored."""
        return PROFILE.pack(*(getattr(self, name) for name, _ in PROFILE_FIELDS))

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
    details: dict[str, Any] = field(
        default_factory=dict
    )  # for evidence: names of champions, QBRs, subscriptions


# What happened, rather than how things stand: only as long as windows look back, or it would pile up for ever.
_PASSING = frozenset(
    {
        "ticket.opened",
        "ticket.closed",
        "survey.answered",
        "touchpoint.logged",
        "integration.synced",
    }
)
_PER_FIELD = {"account.updated": "", "user.updated": "user_id"}


def merge_facts(known: Sequence[Fact], new: Iterable[Fact]) -> list[Fact]:
    """The union of two sets of facts, in order; of superseded fields of ``*.updated`` only the newest is kept, of what
    passes only the kept days before the newest fact.

    But for ``deactivated``: when a champion left is history, not state.
    """
    by_key = {_place(fact): fact for fact in known}
    for fact in new:
        by_key.setdefault(_place(fact), fact)
    kept: list[Fact] = []
    seen: set[tuple[str, str, str]] = set()
    oldest = max((at for at, *_ in by_key), default=0) - KEPT_DAYS * DAY_US
    for key in sorted(by_key, reverse=True):
        fact = by_key[key]
        if fact.kind in _PER_FIELD:
            fresh = {
                name: value
                for name, value in fact.data.items()
                if (fact.kind, fact.user_id, name) not in seen
            }
            # A departure keeps its day, also when it is told again every night or taken back later.
            seen.update((fact.kind, fact.user_id, name) for name in fresh if name != "deactivated")
            if not fresh:
                continue
            if len(fresh) < len(fact.data):
                fact = msgspec.structs.replace(fact, data=fresh)
        elif fact.kind in _PASSING and fact.at <= oldest:
            continue
        kept.append(fact)
    kept.reverse()
    return kept


def _place(fact: Fact) -> tuple[int, str, str, str]:
    """Where a fact stands among an account's: by instant, then by event id, then by who sent it."""
    return fact.at, fact.id, fact.source, fact.kind


def derive(facts: Sequence[Fact], calendar: Calendar) -> State:
    """What is in effect after all of ``facts``, in their order (docs/metrics.md sections 1, 2.3, 2.7 to 2.9)."""
    profile = Profile()
    fields: dict[str, Any] = {}
    seats = _Seats()
    champions = Champions()
    qbrs: dict[str, Fact] = {}
    subscriptions: dict[str, dict[str, Any]] = {}
    for fact in facts:
        match fact.kind:
            case "account.updated":
                fields.update(fact.data)
            case "seats.changed":
                seats.change(fact, calendar.day_of_us(fact.at))
            case "subscription.changed":
                subscriptions.setdefault(fact.data.get("subscription_id", "default"), {}).update(fact.data)
                _money(profile, subscriptions)
            case "qbr.scheduled" | "qbr.held" | "qbr.cancelled":
                if fact.kind == "qbr.held":
                    profile.qbr_held_day = max(profile.qbr_held_day, calendar.day_of_us(fact.at))
                qbrs[fact.data["qbr_id"]] = fact
            case "contact.updated" | "champion.changed" | "user.updated":
                champions.fold(fact.kind, fact.user_id, fact.data, calendar.day_of_us(fact.at))
            case _:
                pass
    profile.seats, profile.seats_first_day, profile.seats_increase_day = (
        seats.total,
        seats.first_day,
        seats.increase_day,
    )
    profile.told |= 1 if seats.held else 0
    profile.renewal_day = _renewal_day(fields, subscriptions, calendar)
    booked = [
        calendar.parse_day(fact.data["scheduled_for"])
        for fact in qbrs.values()
        if fact.kind == "qbr.scheduled"
    ]
    before = [day for day in booked if profile.renewal_day == NEVER or day <= profile.renewal_day]
    profile.qbr_booked_day = max(before, default=NEVER)
    profile.term_months = fields.get("term_months", -1)
    profile.notice_days = fields.get("notice_days", -1)
    profile.touch = TOUCHES.index(fields.get("touch", ""))
    profile.cadence = CADENCES.index(fields.get("usage_cadence", ""))
    if fields.get("lifecycle") == "churned":
        profile.churned = 1
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
        details={"champions": champions.describe(), "seats": dict(seats.held)},
    )


@dataclass(slots=True)
class _Seats:
    """Seats over subscriptions, as a series: the total, when first bought, when last risen."""

    held: dict[str, int] = field(default_factory=dict)
    total: int = 0
    first_day: int = NEVER
    increase_day: int = NEVER

    def change(self, fact: Fact, day: int) -> None:
        first = not self.held
        self.held[fact.data.get("subscription_id", "default")] = fact.data["purchased"]
        total = sum(self.held.values())
        if total > 0 and self.first_day == NEVER:
            self.first_day = day
        if total > self.total and not first:
            self.increase_day = day
        self.total = total


def _money(profile: Profile, subscriptions: dict[str, dict[str, Any]]) -> None:
    currency = _currency(subscriptions)
    told = [sub for sub in subscriptions.values() if "mrr" in sub and sub.get("currency", "") == currency]
    total = sum((cents(sub["mrr"]) for sub in told), 0)
    if told:
        profile.churned = int(total == 0 and (profile.mrr_cents > 0 or bool(profile.churned)))
        profile.mrr_cents = total
    profile.told |= 2


def _currency(subscriptions: dict[str, dict[str, Any]]) -> str:
    """The reporting currency of an account: that of its largest subscription; others are left out."""
    told = [(cents(sub["mrr"]), sub.get("currency", "")) for sub in subscriptions.values() if "mrr" in sub]
    return max(told)[1] if told else ""


def cents(amount: str | int | float | Decimal) -> int:
    """Money as whole cents, exactly."""
    return int((Decimal(str(amount)) * 100).to_integral_value())


def _renewal_day(fields: dict[str, Any], subscriptions: dict[str, dict[str, Any]], calendar: Calendar) -> int:
    """The earliest renewal among subscriptions in effect; without one, the account's own date."""
    dates = [
        sub["renewal_date"]
        for sub in subscriptions.values()
        if "renewal_date" in sub and ("mrr" not in sub or cents(sub["mrr"]) > 0)
    ]
    if not dates and "renewal_date" in fields:
        dates = [fields["renewal_date"]]
    return min(map(calendar.parse_day, dates), default=NEVER)
