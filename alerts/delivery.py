"""The nouns of telling somebody: a delivery, what became of an attempt, and the outbox that keeps both.

A delivery is one transition of one alert for one destination. It is written with the alert, claimed with a lease,
sent with no transaction open and settled by a :class:`Verdict`. Instants are UTC epoch microseconds.

    queued ──claim──▶ sending ──▶ sent
      ▲                 │ ├─────▶ parked      the schedule is exhausted; later transitions go on
      │                 │ └─────▶ queued      retry, throttled, or held because the destination said 410
      └────replay───────┴── of what is sent or parked, with the same webhook id
    shadow: decided and recorded, never sent
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeVar

SECOND_US = 1_000_000

# The least time between two messages of one destination. Slack takes one a second and may switch an app off that
# does not keep to it.
PACES_US: Mapping[str, int] = {"slack": SECOND_US}


class Telling(StrEnum):
    """What becomes of a decision to tell somebody: nothing, a record that is never sent, or a delivery."""

    OFF = "off"
    SHADOW = "shadow"
    LIVE = "live"


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    PARKED = "parked"
    SHADOW = "shadow"


UNSETTLED = (DeliveryStatus.QUEUED, DeliveryStatus.SENDING)
REPLAYABLE = (DeliveryStatus.SENT, DeliveryStatus.PARKED)


class DestinationStatus(StrEnum):
    """Whether a destination is sent to. What waits for one that is not enabled is held, never dropped."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    REMOVED = "removed"


class ErrorKind(StrEnum):
    """Why an attempt brought no usable answer; closed, so that it can label a metric."""

    DNS = "dns"
    REFUSED_ADDRESS = "refused_address"  # private, reserved or otherwise not to be reached
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"  # nothing came within the time
    TOO_SLOW = "too_slow"  # something came, but not all within the time
    PROTOCOL = "protocol"
    NOT_OK = "not_ok"  # HTTP said success and the body said otherwise
    UNRENDERABLE = "unrenderable"  # the stored payload could not be made into a message


@dataclass(frozen=True, slots=True)
class Delivery:
    """One transition for one destination, as the outbox keeps it.

    ``payload`` is the JSON of the alert as it was. ``attempts`` counts those that used up a step of the schedule,
    ``throttles`` the answers "not now" since the last of them. ``id`` is 0 until stored.
    """

    destination: str
    kind: str
    alert_id: str
    account_id: str
    seq: int
    webhook_id: str
    payload: str
    created_at: int
    next_at: int
    status: DeliveryStatus = DeliveryStatus.QUEUED
    attempts: int = 0
    throttles: int = 0
    lease_until: int | None = None
    lease_holder: str | None = None
    settled_at: int | None = None
    detail: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """What one attempt sends: an HTTP POST."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt: a status code, or the kind of error, or both when a body belies its status.

    ``retry_after`` is the header as it came; ``body`` is the reply's beginning, at most 4 KB of text.
    """

    latency_ms: float
    status_code: int | None = None
    error: ErrorKind | None = None
    retry_after: str | None = None
    body: str = ""

    @property
    def word(self) -> str:
        """The outcome in a word or two, fit for a list: ``HTTP 500``, ``timeout``."""
        parts = [f"HTTP {self.status_code}"] if self.status_code is not None else []
        if self.error is not None:
            parts.append(self.error.value)
        return ", ".join(parts) or "no answer"


class Decision(StrEnum):
    """What an attempt means for its delivery."""

    SENT = "sent"
    RETRY = "retry"
    THROTTLED = "throttled"
    PARKED = "parked"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of an attempt. ``at`` is when the delivery is due again, ``hold_until`` when its destination is."""

    decision: Decision
    reason: str
    at: int | None = None
    hold_until: int | None = None

    @property
    def costs_an_attempt(self) -> bool:
        """Whether a step of the schedule is used up."""
        return self.decision in {Decision.SENT, Decision.RETRY, Decision.PARKED}

    @property
    def status(self) -> DeliveryStatus:
        """Where the delivery stands afterwards."""
        match self.decision:
            case Decision.SENT:
                return DeliveryStatus.SENT
            case Decision.PARKED:
                return DeliveryStatus.PARKED
            case _:
                return DeliveryStatus.QUEUED


@dataclass(frozen=True, slots=True)
class Settlement:
    """An attempt to be written down: the delivery as it was claimed, what came, what follows, and when it ended."""

    delivery: Delivery
    verdict: Verdict
    outcome: Outcome
    at: int


@dataclass(frozen=True, slots=True)
class DestinationState:
    """What is known of a destination beside its configuration. ``not_before`` is 0 or when it may be sent to again."""

    name: str
    kind: str
    status: DestinationStatus
    reason: str
    not_before: int
    updated_at: int


class Channel(Protocol):
    """A destination that can be spoken to: how a delivery becomes a message, and how its answer reads."""

    @property
    def name(self) -> str:
        """The destination's name in the configuration."""

    @property
    def kind(self) -> str:
        """``slack``, ``webhook``, …"""

    def compose(self, delivery: Delivery, now: int) -> Message:
        """The message to send at ``now``; the same delivery gives the same body at every attempt."""

    def read(self, outcome: Outcome) -> Outcome:
        """The outcome as this kind of receiver means it: a success may be none."""


Unit_contra = TypeVar("Unit_contra", contravariant=True)  # the transaction that a delivery is written in


class Outbox(Protocol[Unit_contra]):
    """Deliveries, durable. Every method but :meth:`enqueue` is a unit of work of its own; all raise StorageError."""

    def enqueue(self, unit: Unit_contra, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries within the transaction that moved their alert; known webhook ids are left alone."""

    def due(self, now: int) -> Sequence[str]:
        """The destinations for which :meth:`claim` would find something. Reads only."""

    def claim(
        self, now: int, holder: str, lease_us: int, limit: int, only: Collection[str] | None = None
    ) -> Sequence[Delivery]:
        """Lease up to ``limit`` deliveries until ``now + lease_us``, of the destinations ``only`` or of all.

        Claimable is what is queued and due, or was being sent under a lease that ran out, for a destination that is
        enabled and not held back, if nothing earlier of the same alert and destination is unsettled.
        """

    def settle(self, settlements: Sequence[Settlement]) -> Collection[int]:
        """Write down attempts at one destination, all or none, and what follows from them.

        Returns the ids that were written; of the others the lease went elsewhere, and nothing of them is.
        """

    def settle_and_claim(
        self, settlements: Sequence[Settlement], now: int, holder: str, lease_us: int, limit: int
    ) -> tuple[Collection[int], Sequence[Delivery]]:
        """:meth:`settle` one attempt or more, then :meth:`claim` of the same destination, in one unit of work."""

    def replay(self, now: int, ids: Collection[int]) -> int:
        """Queue again those of ``ids`` that were sent or parked, under the same webhook ids. Returns how many."""

    def sync_destinations(self, configured: Mapping[str, str], now: int) -> None:
        """Bring the known destinations in line with the configuration, a kind under each name.

        One that is new or comes back is enabled; one that said 410 and is still there stays disabled.
        """

    def enable(self, name: str, now: int) -> bool:
        """Send to a disabled destination again, what was held first; False if there is no such destination."""

    def destinations(self) -> Sequence[DestinationState]:
        """Every destination ever configured, by name."""

    def counts(self) -> Mapping[tuple[str, DeliveryStatus], int]:
        """How many deliveries each destination has in each status."""


def webhook_id(destination: str, alert_id: str, episode: int, seq: int) -> str:
    """The id of one transition for one destination: the same over retries, replays and a restored backup."""
    identity = "\x1f".join((destination, alert_id, str(episode), str(seq)))
    return "msg_" + hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def address(
    destinations: Sequence[str],
    *,
    kind: str,
    alert_id: str,
    account_id: str,
    episode: int,
    seq: int,
    payload: str,
    now: int,
    shadow: bool = False,
) -> list[Delivery]:
    """One delivery of a transition (or summary) for each destination, due at once; in shadow, recorded only."""
    return [
        Delivery(
            destination=destination,
            kind=kind,
            alert_id=alert_id,
            account_id=account_id,
            seq=seq,
            webhook_id=webhook_id(destination, alert_id, episode, seq),
            payload=payload,
            created_at=now,
            next_at=now,
            status=DeliveryStatus.SHADOW if shadow else DeliveryStatus.QUEUED,
        )
        for destination in destinations
    ]
