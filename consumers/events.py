"""What can happen: one frozen type per event of docs/events.md, which msgspec fills from JSON.

The types carry what each event needs and the range of every value, so a decoded event is valid. ``user.login`` is the
hot path: five fields, its ``data`` never looked at. An absent optional field is None. Three kinds of value are put into
one form when an event is built:

    dates     ``YYYY-MM-DD``, or an instant as ``datetime.isoformat`` writes it: ``Calendar.parse_day`` reads both
    amounts   Decimal in whole cents, rounded half up
    currency  three capital letters
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Literal, dataclass_transform, final

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

from consumers.days import parse_moment

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Instant = Annotated[datetime, Meta(tz=True)]
Text = Annotated[str, Meta(max_length=1024)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]  # what a fingerprint, and a database, has room for

_THE_SUBSCRIPTION = "default"
_CENT = Decimal("0.01")
# In cents it fits 64 bits with room for sums, and it is exact as a JSON float.
_MOST_MONEY = Decimal("9999999999999.99")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class _Value(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Frozen, built by keyword, and (``gc=False``) free of cycles, so that the collector need not look at millions."""


class _Data(_Value):
    """What an event says beside its envelope."""


class FeatureUse(_Data):
    feature: Id


class Session(_Data):
    duration_s: Annotated[float, Meta(ge=0, le=366 * 86_400)]


class UserChange(_Data):
    name: Text | None = None
    email: Text | None = None
    deactivated: bool | None = None


class Seats(_Data):
    purchased: Count
    subscription_id: Id = _THE_SUBSCRIPTION

    def __post_init__(self) -> None:
        _settle_subscription(self, self.subscription_id)


class AccountChange(_Data):
    name: Text | None = None
    owner: Text | None = None
    owner_email: Text | None = None
    size: Text | None = None
    channel: Text | None = None
    tier: Text | None = None
    use_case: Text | None = None
    touch: Literal["high", "low", "tech"] | None = None
    lifecycle: Literal["trial", "onboarding", "active", "notice_given", "churned"] | None = None
    usage_cadence: Literal["daily", "weekly", "monthly"] | None = None
    country: Text | None = None
    parent_id: Id | None = None
    contract_start: str | None = None
    renewal_date: str | None = None
    term_months: Annotated[int, Meta(ge=0, le=1200)] | None = None
    notice_days: Annotated[int, Meta(ge=0, le=36_500)] | None = None
    onboarding_completed_on: str | None = None
    success_milestone: Id | None = None
    core_features: tuple[Id, ...] | None = None
    external_ids: dict[str, str | Number] | None = None

    def __post_init__(self) -> None:
        _settle_date(self, "contract_start", self.contract_start)
        _settle_date(self, "renewal_date", self.renewal_date)
        _settle_date(self, "onboarding_completed_on", self.onboarding_completed_on)


class Contact(_Data):
    contact_id: Id
    user_id: Id | None = None
    name: Text | None = None
    email: Text | None = None
    roles: tuple[Literal["champion", "economic_buyer", "member"], ...] | None = None
    active: bool | None = None


class ChampionChange(_Data):
    kind: Literal["left_company", "role_change", "deactivated", "replaced"] = "replaced"
    previous_user_id: Id | None = None
    user_id: Id | None = None
    effective_at: str | None = None

    def __post_init__(self) -> None:
        _settle_date(self, "effective_at", self.effective_at)


class QbrPlan(_Data):
    qbr_id: Id
    scheduled_for: str

    def __post_init__(self) -> None:
        _settle_date(self, "scheduled_for", self.scheduled_for)


class Qbr(_Data):
    qbr_id: Id


class Escalation(_Data):
    escalation_id: Id
    severity: Text | None = None


class Ticket(_Data):
    ticket_id: Id
    priority: Text | None = None


class Answer(_Data):
    kind: Literal["nps", "csat"]
    score: int

    def __post_init__(self) -> None:
        least, most = (0, 10) if self.kind == "nps" else (1, 5)
        if not least <= self.score <= most:
            raise ValueError(f"score: {self.kind} goes from {least} to {most}")


class Sentiment(_Data):
    rating: Literal["red", "yellow", "green"]
    by: Text | None = None
    note: str | None = None


class Integration(_Data):
    integration: Id


class Milestone(_Data):
    milestone: Id


class Touchpoint(_Data):
    channel: Text | None = None
    contact_id: Id | None = None
    note: str | None = None


class Subscription(_Data):
    mrr: Decimal
    currency: Annotated[str, Meta(pattern="^[A-Za-z]{3}$")] | None = None
    subscription_id: Id = _THE_SUBSCRIPTION
    renewal_date: str | None = None

    def __post_init__(self) -> None:
        if not self.mrr.is_finite() or not 0 <= self.mrr <= _MOST_MONEY:
            raise ValueError(f"mrr: {str(self.mrr)[:40]} is not between 0 and {_MOST_MONEY}")
        force_setattr(self, "mrr", abs(self.mrr.quantize(_CENT, ROUND_HALF_UP)))
        if self.currency is not None:
            force_setattr(self, "currency", self.currency.upper())
        _settle_subscription(self, self.subscription_id)
        _settle_date(self, "renewal_date", self.renewal_date)


def _settle_date(data: _Data, name: str, text: str | None) -> None:
    if text is None:
        return
    try:
        moment: date = parse_moment(text)
    except ValueError as error:
        raise ValueError(f"{name}: {text[:40]!r} is {error}") from None
    force_setattr(data, name, moment.isoformat())


def _settle_subscription(data: _Data, subscription_id: str) -> None:
    # Told or not, the default says the same; an encoder leaves it out only when it is this very object.
    if subscription_id == _THE_SUBSCRIPTION:
        force_setattr(data, "subscription_id", _THE_SUBSCRIPTION)


class Envelope(_Value, kw_only=True, tag_field="type"):
    """What every event carries. ``source`` and ``id`` are its identity; no field is kept for ``received_at``."""

    id: Id
    account_id: Id
    occurred_at: Instant
    source: Text = ""


class _OfUser(Envelope, kw_only=True):
    """An event that needs a user."""

    user_id: Id


class _OfAccount(Envelope, kw_only=True):
    """An event of an account; a user may be named and means nothing."""

    user_id: Id | None = None


@final
class UserLogin(_OfUser, tag="user.login"):
    """A user logged in."""


@final
class FeatureUsed(_OfUser, tag="feature.used"):
    """A user used a feature."""

    data: FeatureUse


@final
class SessionEnded(_OfUser, tag="session.ended"):
    """A user's session ended after so many seconds."""

    data: Session


class UserUpdated(_OfUser, tag="user.updated"):
    """Something about a user is so from now on."""

    data: UserChange = field(default_factory=UserChange)


class SeatsChanged(_OfAccount, tag="seats.changed"):
    """The number of seats purchased, per subscription."""

    data: Seats


class AccountUpdated(_OfAccount, tag="account.updated"):
    """Something about the account is so from now on; the newest word on each field wins."""

    data: AccountChange = field(default_factory=AccountChange)


class ContactUpdated(_OfAccount, tag="contact.updated"):
    """Who somebody at the customer is, and what part they play."""

    data: Contact


class ChampionChanged(_OfAccount, tag="champion.changed"):
    """A champion has gone, a successor has come, or both."""

    data: ChampionChange = field(default_factory=ChampionChange)


class QbrScheduled(_OfAccount, tag="qbr.scheduled"):
    """A quarterly business review is on the calendar."""

    data: QbrPlan


class QbrHeld(_OfAccount, tag="qbr.held"):
    """It took place."""

    data: Qbr


class QbrCancelled(_OfAccount, tag="qbr.cancelled"):
    """It was called off."""

    data: Qbr


class EscalationOpened(_OfAccount, tag="escalation.opened"):
    """The customer escalated."""

    data: Escalation


class EscalationResolved(_OfAccount, tag="escalation.resolved"):
    """An escalation is over."""

    data: Escalation


class TicketOpened(_OfAccount, tag="ticket.opened"):
    """A support ticket was opened."""

    data: Ticket


class TicketClosed(_OfAccount, tag="ticket.closed"):
    """A support ticket was closed."""

    data: Ticket


class SurveyAnswered(_OfAccount, tag="survey.answered"):
    """Somebody answered an NPS or CSAT survey."""

    data: Answer


class SentimentRated(_OfAccount, tag="sentiment.rated"):
    """A CSM said how the account feels."""

    data: Sentiment


class IntegrationConnected(_OfAccount, tag="integration.connected"):
    """An integration was set up."""

    data: Integration


class IntegrationSynced(_OfAccount, tag="integration.synced"):
    """An integration did its work."""

    data: Integration


class IntegrationDisconnected(_OfAccount, tag="integration.disconnected"):
    """An integration was taken away."""

    data: Integration


class MilestoneReached(_OfAccount, tag="milestone.reached"):
    """The customer got to a milestone, such as ``first_value``."""

    data: Milestone


class TouchpointLogged(_OfAccount, tag="touchpoint.logged"):
    """Somebody of ours spoke with the customer."""

    data: Touchpoint


class SubscriptionChanged(_OfAccount, tag="subscription.changed"):
    """What a subscription brings in a month; 0 ends it."""

    data: Subscription


StateEvent = (
    UserUpdated
    | SeatsChanged
    | AccountUpdated
    | ContactUpdated
    | ChampionChanged
    | QbrScheduled
    | QbrHeld
    | QbrCancelled
    | EscalationOpened
    | EscalationResolved
    | TicketOpened
    | TicketClosed
    | SurveyAnswered
    | SentimentRated
    | IntegrationConnected
    | IntegrationSynced
    | IntegrationDisconnected
    | MilestoneReached
    | TouchpointLogged
    | SubscriptionChanged
)
"""What says that something is so from then on, or happened once: all that is not a user's activity."""

Event = UserLogin | FeatureUsed | SessionEnded | StateEvent

FAMILY: dict[type[Envelope], str | None] = {
    UserLogin: "logins",
    FeatureUsed: "features",
    SessionEnded: "sessions",
    UserUpdated: None,
    SeatsChanged: "seats",
    AccountUpdated: None,
    ContactUpdated: "contacts",
    ChampionChanged: "contacts",
    QbrScheduled: "qbrs",
    QbrHeld: "qbrs",
    QbrCancelled: "qbrs",
    EscalationOpened: "escalations",
    EscalationResolved: "escalations",
    TicketOpened: "tickets",
    TicketClosed: "tickets",
    SurveyAnswered: "surveys",
    SentimentRated: None,
    IntegrationConnected: "integrations",
    IntegrationSynced: "integrations",
    IntegrationDisconnected: "integrations",
    MilestoneReached: "milestones",
    TouchpointLogged: None,
    SubscriptionChanged: "subscriptions",
}
"""The family of each type: what the whole portfolio never received is unknown, not absent (docs/metrics.md)."""

ACTIVITY = frozenset((UserLogin, FeatureUsed, SessionEnded))
"""What counts as a user being active (METRICS section 1)."""

TYPES: dict[str, type[Envelope]] = {str(kind.__struct_config__.tag): kind for kind in FAMILY}
"""Every event type by the name that docs/events.md gives it."""
