"""What moves each metric, in the words of those who can move it: logins, active seats, a review, a successor.

A lever says what would change the value *as it is counted now*: the windows roll on by tomorrow, and what moves one
metric may move others. Metrics that nothing moves any more, or that only describe the account, have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import IntEnum
from types import MappingProxyType

from alerts.rules.reading import Reading
from consumers.days import EPOCH
from consumers.facts import RATINGS
from consumers.windows import NEVER

MOST = 10**9  # further off than so many units nothing is worth saying

_To = Callable[[Reading, int], tuple[int, int]]
_Most = Callable[[Reading], int]


class Sort(IntEnum):
    """Which change is told when several would do, the first first."""

    WORK = 0  # somebody can do it
    TIME = 1  # it comes by itself
    TERMS = 2  # another contract
    LOSS = 3  # nobody should want it: fewer logins


@dataclass(frozen=True, slots=True)
class Move:
    """By whole units, 1 or more.

    ``to(reading, k)`` is the value after ``k`` of them, as numerator and denominator; it moves one way only as ``k``
    grows. ``most`` is how many there can be. ``part`` is the count that grows by ``step``, 1 or -1, with each.
    Moves of one ``text`` and ``many`` are one and the same change, whatever metrics it moves.
    """

    text: str
    one: str
    many: str
    to: _To
    most: _Most | None = None
    part: str = ""
    step: int = 1
    sort: Sort = Sort.WORK

    def after(self, reading: Reading, units: int) -> Reading:
        """The reading with ``units`` more of it."""
        numerator, denominator = self.to(reading, units)
        parts = reading.parts
        if self.part in parts:
            parts = {**parts, self.part: parts[self.part] + units * self.step}
        return Reading(numerator, denominator, reading.status, reading.text, parts)

    def limit(self, reading: Reading) -> int:
        """How many units there can be at most."""
        return MOST if self.most is None else min(self.most(reading), MOST)

    def told(self, units: int) -> str:
        """``31 more logins``."""
        return self.text.format(n=f"{units:,}", unit=self.one if units == 1 else self.many)


@dataclass(frozen=True, slots=True)
class Turn:
    """By one act, after which the value is ``becomes``; ``word`` is the text that it starts from, None any."""

    text: str | Callable[[Reading], str]
    becomes: int | str | Callable[[Reading], str]
    word: str | None = None
    sort: Sort = Sort.WORK

    def after(self, reading: Reading) -> Reading:
        """The reading once it is done."""
        if isinstance(self.becomes, int):
            return replace(reading, numerator=self.becomes * reading.denominator)
        text = self.becomes if isinstance(self.becomes, str) else self.becomes(reading)
        return replace(reading, text=text)

    def told(self, reading: Reading) -> str:
        """``name a successor``."""
        return self.text if isinstance(self.text, str) else self.text(reading)


Option = Move | Turn


def _plus(step: int) -> _To:
    return lambda reading, units: (reading.numerator + units * step, reading.denominator)


def _to_nothing(reading: Reading) -> int:
    """How far it is from the value to 0."""
    return abs(reading.numerator)


def _to_all(reading: Reading) -> int:
    """How far it is from the value to 1, in units of the numerator."""
    return reading.denominator - reading.numerator


def _part(name: str) -> _Most:
    return lambda reading: reading.parts.get(name, 0)


def _all_but_one(name: str) -> _Most:
    """Without any seat there is nothing left to tell of."""
    return lambda reading: reading.parts.get(name, 1) - 1


_UP, _DOWN = _plus(1), _plus(-1)


def _more(one: str, many: str = "", *, to: _To = _UP, part: str = "", most: _Most | None = None) -> Move:
    return Move("{n} more {unit}", one, many or f"{one}s", to, most, part)


def _fewer(one: str, many: str = "", *, to: _To = _DOWN, part: str = "", most: _Most = _to_nothing) -> Move:
    return Move("{n} fewer {unit}", one, many or f"{one}s", to, most, part, -1, Sort.LOSS)


def _undone(text: str, one: str) -> Move:
    """Work that takes one from a count of what is wrong."""
    return Move(text, one, f"{one}s", _DOWN, _to_nothing)


def _by_users_before(step: int) -> _To:
    """A login more or less of people who are active anyway: each window is divided by its own users."""
    return lambda reading, units: (
        reading.numerator + step * units * reading.parts.get("users_previous", 0),
        reading.denominator,
    )


def _bought(step: int) -> _To:
    return lambda reading, units: (reading.numerator, reading.denominator + step * units)


def _unused(active: int = 0, bought: int = 0) -> _To:
    def to(reading: Reading, units: int) -> tuple[int, int]:
        parts = reading.parts  # more people may be active than seats were bought
        unused = parts["purchased"] - parts["active"] if "active" in parts else reading.numerator
        return max(unused + (bought - active) * units, 0), 1

    return to


def _points(reading: Reading, units: int) -> tuple[int, int]:
    return reading.numerator + units * reading.denominator, reading.denominator


def _points_left(reading: Reading) -> int:
    return (100 * reading.denominator - reading.numerator) // reading.denominator


def _review(reading: Reading) -> str:
    day = reading.parts.get("renewal_day", NEVER)
    if day == NEVER:
        return "book a QBR before the renewal"
    return f"book a QBR by {date.fromordinal(day + EPOCH).isoformat()}"  # on the day itself is still before it ends


def _newest_rating(reading: Reading) -> str:
    """What the rating before the newest is once there is another."""
    return RATINGS[reading.parts["rating_code"]]


_MORE_LOGINS, _FEWER_LOGINS = _more("login"), _fewer("login")
_ACTIVE_SEATS = _more("active seat")
_USER_DAYS = ("user-day of activity", "user-days of activity")
_CORE = ("core feature in use", "core features in use")
_SELL = replace(_more("seat bought", "seats bought"), sort=Sort.TERMS)
_SELL_BACK = replace(_fewer("seat bought", "seats bought"), sort=Sort.TERMS)
_LOSE_SEATS = _fewer("active seat")
_LEAVE_ONE = replace(_SELL_BACK, to=_bought(-1), most=lambda reading: reading.denominator - 1)
_WAIT = Move("wait {n} {unit}", "day", "days", _UP, sort=Sort.TIME)
_UNTIL_RENEWAL = (
    Move("a renewal {n} {unit} later", "day", "days", _UP, sort=Sort.TERMS),
    replace(_WAIT, to=_DOWN, most=_to_nothing),
)
_NEXT_RATING = (
    Turn("a yellow rating", "yellow", "red"),
    Turn("a green rating", "green", "red"),
    Turn("a green rating", "green", "yellow"),
)


def _band(what: str) -> tuple[Option, ...]:
    return tuple(
        Turn(f"{what} back in the {better} band", better, worse)
        for worse, better in (("red", "yellow"), ("red", "green"), ("yellow", "green"))
    )


LEVERS: Mapping[str, tuple[Option, ...]] = MappingProxyType(
    {
        "logins.change_28d": (
            replace(_MORE_LOGINS, part="current"),
            _fewer("login", part="current", most=_part("current")),
        ),
        "logins.current_28d": (_MORE_LOGINS, _FEWER_LOGINS),
        "logins.previous_28d": (),  # what is past
        "logins.users_56d": (_more("user who logs in", "users who log in"),),
        "logins.per_user_current": (_MORE_LOGINS, _FEWER_LOGINS),
        "logins.per_user_previous": (),
        "logins.per_active_user_change_28d": (
            _more("login", to=_by_users_before(1), part="current"),
            _fewer("login", to=_by_users_before(-1), part="current", most=_part("current")),
        ),
        "activity.user_days_change_28d": (
            _more(*_USER_DAYS, part="current"),
            _fewer(*_USER_DAYS, part="current", most=_part("current")),
        ),
        "logins.change_28d_adjusted": (),  # every business day and every other account is in it
        "logins.drawdown_180d": (
            _more("login", part="current", most=_to_nothing),
            _fewer("login", part="current", most=_part("current")),
        ),
        "activity.dormant_days": (Turn("a login, a used feature or a session of anybody", 0), _WAIT),
        "activity.users_before": (),
        "seats.utilization": (_ACTIVE_SEATS, replace(_SELL, to=_bought(1)), _LEAVE_ONE, _LOSE_SEATS),
        "seats.purchased": (_SELL, replace(_SELL_BACK, most=lambda reading: reading.numerator - 1)),
        "seats.active": (_ACTIVE_SEATS, _LOSE_SEATS),
        "seats.unused": (
            replace(_ACTIVE_SEATS, to=_unused(active=1), part="active"),
            replace(_SELL, to=_unused(bought=1), part="purchased"),
            replace(_SELL_BACK, to=_unused(bought=-1), part="purchased", most=_all_but_one("purchased")),
            replace(_LOSE_SEATS, to=_unused(active=-1), part="active", most=_part("active")),
        ),
        "seats.days_since_increase": (Turn("more seats bought", 0, sort=Sort.TERMS), _WAIT),
        "seats.utilization_change_28d": (
            *(_ACTIVE_SEATS, replace(_SELL, to=_bought(1)), _LEAVE_ONE),
            replace(_LOSE_SEATS, most=_part("current")),
        ),
        "engagement.dau_mau": (_more(*_USER_DAYS, most=_to_all),),
        "engagement.score": (Move("{n} more {unit}", "point", "points", _points, _points_left),),
        "engagement.band": _band("engagement"),
        "features.breadth": (_more(*_CORE, most=_to_all),),
        "features.active_count": (_more(*_CORE),),
        "features.core_count": (),
        "features.abandoned_count": (_undone("{n} {unit} used again", "abandoned core feature"),),
        "sponsor.days_since_login": (Turn("a login by the sponsor", 0), _WAIT),
        "sponsor.unmapped": (Turn("name a sponsor with a user id", 0),),
        "champion.status": (
            Turn("a login by the champion", "active", "silent"),
            Turn("name a successor", "active", "departed"),
            Turn("name a champion", "active", "unmapped"),
        ),
        "champion.departed": (Turn("name a successor", 0),),
        "champion.days_since_change": (_WAIT,),
        "renewal.days_to": _UNTIL_RENEWAL,
        "renewal.overdue_days": (Turn("close the renewal, or give it a new date", 0),),
        "renewal.decision_days_to": _UNTIL_RENEWAL,
        "qbr.missing": (Turn(_review, 0),),
        "escalations.open": (_undone("resolve {n} {unit}", "escalation"),),
        "escalations.oldest_open_days": (Turn("resolve the escalations open that long", 0), _WAIT),
        "escalations.opened_90d": (),
        "sentiment.rating": _NEXT_RATING,
        "sentiment.previous": (Turn("a new rating", _newest_rating),),
        "sentiment.overdue": (Turn("a new rating", 0),),
        "sentiment.age_days": (Turn("a new rating", 0), _WAIT),
        # Days that went by until first value do not come back (METRICS 3.3).
        "ttfv.days": (_WAIT,),
        "integrations.active": (_more("integration that syncs", "integrations that sync"),),
        "integrations.lost": (_undone("reconnect or replace {n} {unit}", "integration"),),
        "tickets.opened_28d": (
            Move("{n} fewer {unit}", "new ticket", "new tickets", _DOWN, _to_nothing, sort=Sort.TIME),
        ),
        "tickets.median_28d": (),
        "health.score": (Move("{n} more {unit}", "point", "points", _points, _points_left),),
        "health.band": _band("health"),
        "health.days_in_band": (Turn("a change of band", 0, sort=Sort.TIME), _WAIT),
        **dict.fromkeys(
            (
                "health.coverage",
                "health.product",
                "health.support",
                "health.relationship",
                "health.satisfaction",
            ),
            (),
        ),
        **dict.fromkeys(
            (
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
            ),
            (),
        ),
    }
)
