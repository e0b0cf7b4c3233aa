"""Which topic an event travels in: six for events and one for what was rejected, all under one prefix.

The topic says nothing that the event does not say itself: ``type`` decides, wherever an event is found. Several topics
let what is rare and matters, such as a champion who leaves, be read beside millions of logins and not behind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from consumers.errors import SourceError
from consumers.events import Event

_TYPES: Mapping[str, tuple[str, ...]] = {
    "logins": ("user.login", "session.ended"),
    "seats": ("seats.changed",),
    "features": ("feature.used", "integration.synced"),
    "accounts": (
        "account.updated",
        "user.updated",
        "milestone.reached",
        "integration.connected",
        "integration.disconnected",
    ),
    "relationships": (
        "contact.updated",
        "champion.changed",
        "qbr.scheduled",
        "qbr.held",
        "qbr.cancelled",
        "escalation.opened",
        "escalation.resolved",
        "ticket.opened",
        "ticket.closed",
        "survey.answered",
        "sentiment.rated",
        "touchpoint.logged",
    ),
    "billing": ("subscription.changed",),
}
TOPIC_OF_TYPE: Mapping[str, str] = MappingProxyType(
    {kind: topic for topic, kinds in _TYPES.items() for kind in kinds}
)
"""The topic of each type of event, without the prefix."""


class LogUnavailable(SourceError):
    """Kafka does not take events: what was not acknowledged may be sent again, ids make it count once."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one deployment. ``prefix`` is BELLWETHER_TOPIC_PREFIX."""

    prefix: str

    @property
    def events(self) -> tuple[str, ...]:
        """The six that carry events."""
        return tuple(f"{self.prefix}{topic}" for topic in _TYPES)

    @property
    def activity(self) -> tuple[str, ...]:
        """Those of what happens all day long; the others carry state, which is kept for ever."""
        return tuple(f"{self.prefix}{topic}" for topic in ("logins", "features"))

    @property
    def dead_letters(self) -> str:
        """The one that takes what was rejected."""
        return f"{self.prefix}dead-letters"

    @property
    def all(self) -> tuple[str, ...]:
        """All seven."""
        return (*self.events, self.dead_letters)

    def of(self, event: Event) -> str:
        """Where an event belongs."""
        return f"{self.prefix}{TOPIC_OF_TYPE[str(type(event).__struct_config__.tag)]}"
