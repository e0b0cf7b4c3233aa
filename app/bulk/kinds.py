"""The kinds of CSV file: their columns, and the event that each row of one is."""

from __future__ import annotations

import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from alerts.rules.nearest import nearest, unknown
from consumers.errors import ConfigurationError
from consumers.table import kinds_of

ACCOUNT, WHEN, STATUS = "account_id", "occurred_at", "status"
AS_OF = "as_of"  # another name of WHEN, for what has been so since
_ENVELOPE = (ACCOUNT, "user_id")
_DATES = frozenset(
    {"contract_start", "renewal_date", "onboarding_completed_on", "scheduled_for", "effective_at", WHEN}
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file. ``types`` are its events by the word in its column ``status``, or by "" where it has none.

    ``columns`` come between ``account_id`` and ``occurred_at``. A file of this kind has those that are ``needed``, and
    one of ``telling`` where there are any.
    """

    name: str
    summary: str
    columns: tuple[str, ...]
    types: Mapping[str, str]
    needed: tuple[str, ...] = ()
    status: str = ""  # the word where the cell is empty
    telling: tuple[str, ...] = ()
    seats: bool = False  # ``purchased`` is an event of its own

    @property
    def header(self) -> tuple[str, ...]:
        """Every column, in order."""
        return (ACCOUNT, *self.columns, WHEN)

    def says(self, told: Mapping[str, Any]) -> Sequence[tuple[str, dict[str, Any]]]:
        """The events of one row: (type, its columns). ``told`` are the cells that say anything but when.

        Raises ValueError for a status that is none.
        """
        rest = {name: value for name, value in told.items() if name not in (ACCOUNT, STATUS)}
        if self.seats:
            seats = {name: value for name, value in rest.items() if name in ("purchased", "subscription_id")}
            money = {name: value for name, value in rest.items() if name != "purchased"}
            both = (("subscription.changed", money), ("seats.changed", seats))
            return [(name, data) for name, data in both if data.keys() - {"subscription_id"}]
        word = str(told.get(STATUS, self.status)).strip().lower()
        if word not in self.types:
            raise ValueError(f"{word[:40]!r} (expected one of {', '.join(self.types)})")
        return [(self.types[word], rest)]

    def type_of(self, column: str) -> Any:
        """The type of a column's values, as ``consumers.events`` has it."""
        if column in _ENVELOPE:
            return str
        return next((kinds[column] for kinds in map(kinds_of, self._types) if column in kinds), str)

    def means(self, column: str) -> str:
        """What goes into a column, in a few words."""
        if column == STATUS:
            return " or ".join(self.types)
        kind = self.type_of(column)
        words = list(_words(kind))
        several = _holds(kind, tuple)
        if words:
            return f"{'any of ' if several else ''}{', '.join(words)}{', with semicolons' if several else ''}"
        if several:
            return "a list with semicolons"
        if column in _DATES:
            return "a date as 2026-12-31, or an instant with its offset"
        if column == "mrr":
            return "an amount as 1200.00; 0 where it has ended"
        return next((means for of, means in _MEANS if _holds(kind, of)), "text")

    @property
    def _types(self) -> tuple[str, ...]:
        return (*self.types.values(), *(("seats.changed",) if self.seats else ()))


_MEANS = (
    (bool, "true or false"),
    (int, "a whole number"),
    (dict, 'an object: {"crm": "42"}'),
    (str, "text"),
)
ADVICE = (
    (bool, "write true or false"),
    (int, "write a whole number without separators, such as 12"),
    (dict, 'write JSON, such as {"crm": "42"}'),
)


def advice(kind: Kind, column: str) -> str:
    """What to write instead of a value that was refused; empty where the refusal says it."""
    if column in _DATES:
        return "write it as 2026-12-31"
    if column == "mrr":
        return "write it as 1200.00"
    of_column = kind.type_of(column)
    return next((text for of, text in ADVICE if _holds(of_column, of)), "")


def _holds(kind: Any, wanted: type) -> bool:
    """Whether a type is ``wanted``, or holds it beside None or behind limits."""
    if kind is wanted or typing.get_origin(kind) is wanted:
        return True
    if typing.get_origin(kind) in (tuple, dict, Literal):
        return False
    return any(_holds(part, wanted) for part in typing.get_args(kind))


def _words(kind: Any) -> Sequence[str]:
    if typing.get_origin(kind) is Literal:
        return [str(word) for word in typing.get_args(kind)]
    return [word for part in typing.get_args(kind) for word in _words(part)]


def _one(
    name: str, summary: str, kind: str, *columns: str, needed: tuple[str, ...] = (), **more: Any
) -> Kind:
    return Kind(name, summary, columns, {"": kind}, needed, **more)


_SUBSCRIPTION = ("subscription_id", "mrr", "currency", "renewal_date", "purchased")
_ALL = (
    _one("accounts", "what is known of an account", "account.updated", *kinds_of("account.updated")),
    _one(
        "contacts",
        "people at the customer and their roles",
        "contact.updated",
        *kinds_of("contact.updated"),
        needed=("contact_id",),
    ),
    _one(
        "subscriptions",
        "what each subscription brings in a month, its renewal, its seats",
        "subscription.changed",
        *_SUBSCRIPTION,
        telling=_SUBSCRIPTION[:3] + _SUBSCRIPTION[4:],  # a renewal date alone is the account's
        seats=True,
    ),
    _one(
        "seats",
        "seats purchased",
        "seats.changed",
        *("subscription_id", "purchased"),
        needed=("purchased",),
    ),
    _one(
        "users",
        "users, and who was deactivated",
        "user.updated",
        *("user_id", *kinds_of("user.updated")),
        needed=("user_id",),
    ),
    _one(
        "champions",
        "champions who left, and who follows",
        "champion.changed",
        *kinds_of("champion.changed"),
        needed=("previous_user_id",),
    ),
    Kind(
        "qbrs",
        "business reviews",
        ("qbr_id", STATUS, "scheduled_for"),
        {"scheduled": "qbr.scheduled", "held": "qbr.held", "cancelled": "qbr.cancelled"},
        ("qbr_id",),
        "scheduled",
    ),
    Kind(
        "escalations",
        "escalations",
        ("escalation_id", STATUS, "severity"),
        {"opened": "escalation.opened", "resolved": "escalation.resolved"},
        ("escalation_id",),
        "opened",
    ),
    Kind(
        "tickets",
        "support tickets",
        ("ticket_id", STATUS, "priority"),
        {"opened": "ticket.opened", "closed": "ticket.closed"},
        ("ticket_id",),
        "opened",
    ),
    _one(
        "ratings",
        "how a CSM rates an account",
        "sentiment.rated",
        *kinds_of("sentiment.rated"),
        needed=("rating",),
    ),
    _one(
        "surveys",
        "answers to NPS and CSAT surveys",
        "survey.answered",
        *("user_id", "kind", "score"),
        needed=("kind", "score"),
    ),
    _one("milestones", "milestones reached", "milestone.reached", "milestone", needed=("milestone",)),
    _one(
        "touchpoints",
        "conversations with the customer",
        "touchpoint.logged",
        *kinds_of("touchpoint.logged"),
        needed=("channel",),
    ),
    Kind(
        "integrations",
        "integrations",
        ("integration", STATUS),
        {
            "connected": "integration.connected",
            "synced": "integration.synced",
            "disconnected": "integration.disconnected",
        },
        ("integration",),
        "connected",
    ),
)
KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _ALL})
"""By name."""
EXPORTED = ("accounts", "contacts", "subscriptions")


def column_named(name: str) -> str:
    """The column that a name of the first line means."""
    return WHEN if name == AS_OF else name


def kind_named(name: str) -> Kind:
    """Raises ConfigurationError for a name that is none."""
    kind = KINDS.get(name)
    if kind is None:
        raise ConfigurationError(f"{unknown('kind', name, KINDS)}\nthere are: {', '.join(KINDS)}")
    return kind


def kind_of(header: Collection[str], place: str) -> Kind:
    """The one kind of file that a first line can belong to. Raises ConfigurationError; ``place`` is FILE:LINE."""
    names = [column_named(name) for name in header if name]
    fitting = [kind for kind in _ALL if _fits(kind, names)]
    # Seats are a part of subscriptions: the same columns mean the same.
    if len(fitting) == 1 or {kind.name for kind in fitting} == {"subscriptions", "seats"}:
        return fitting[0]
    if fitting:
        could = " or ".join(kind.name for kind in fitting)
        raise ConfigurationError(f"{place}: the columns could be those of {could}\nsay which with --kind")
    if ACCOUNT not in names:
        raise ConfigurationError(
            f"{place}: there is no column account_id\n"
            "the first line names the columns: see bellwether import --template KIND"
        )
    near = max(_ALL, key=lambda kind: _likeness(kind, names))
    check_header(near, header, place)
    raise AssertionError(f"{place}: {near.name} fits and was not found")


def check_header(kind: Kind, header: Collection[str], place: str) -> None:
    """Raises ConfigurationError for a first line with columns that ``kind`` has not, or without those it needs."""
    names = [column_named(name) for name in header if name]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"{place}: the column {twice[0]} is there twice\nkeep one of them")
    others = [name for name in header if name and column_named(name) not in kind.header]
    if others:
        told = "; ".join(unknown("column", name, (*kind.header, AS_OF)) for name in others)
        raise ConfigurationError(
            f"{place}: {told}\n{kind.name} have {', '.join(kind.header)}; leave a column out with --skip"
        )
    missing = [name for name in (ACCOUNT, *kind.needed) if name not in names]
    if not missing and kind.telling and not set(kind.telling).intersection(names):
        missing = [" or ".join(kind.telling)]
    if missing:
        raise ConfigurationError(
            f"{place}: there is no column {', '.join(missing)}, which {kind.name} need\n"
            f"see: bellwether import --template {kind.name}"
        )


def _fits(kind: Kind, names: Collection[str]) -> bool:
    telling = not kind.telling or not set(kind.telling).isdisjoint(names)
    return telling and {ACCOUNT, *kind.needed}.issubset(names) and set(names).issubset(kind.header)


def _likeness(kind: Kind, names: Collection[str]) -> int:
    """How much a header looks like this kind's; a column that only it needs says most."""
    alike = sum(2 if name in kind.header else nearest(name, kind.header) is not None for name in names)
    return alike + 6 * len(set(names) & set(kind.needed))
