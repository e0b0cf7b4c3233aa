"""What the routes need of the rest of the house, put together by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from prometheus_client import CollectorRegistry
from sqlalchemy import Connection

from alerts.alert import Alert, Outcome
from alerts.configuration import Configuration
from app.database.engine import Database
from app.database.keys import KeyRing
from app.database.outbox import SqlOutbox
from app.intake import Intake
from consumers.feeds import SourceState

Probe = Callable[[], str | None]
"""Looks at one part of the service: None when it is ready, else what is wrong, in a few words."""


class RiskReader(Protocol):
    """Says how an account stands, in the shapes that /openapi.json describes."""

    def risks(self, account_ids: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
        """What ``app.http.accounts.Risk`` holds, by account; nothing of unknown ones."""

    def metrics(self, account_id: str) -> Mapping[str, Any] | None:
        """What ``app.http.accounts.Metrics`` holds; None for an unknown account."""


class Desk(Protocol):
    """What people do to alerts, within one transaction. All raise UnknownAlert, AlertMoved."""

    def find(self, alert_id: str) -> Alert:
        """The alert, held until the end."""

    def acknowledge(self, alert_id: str, actor: str, now: int) -> Alert:
        """``actor`` has it. Raises AlertClosed if it does not fire."""

    def snooze(self, alert_id: str, until: int, actor: str, now: int) -> Alert:
        """Snoozed until an instant or until it gets worse. Raises AlertClosed if it does not fire."""

    def resolve(
        self, alert_id: str, actor: str, now: int, outcome: Outcome | None = None, note: str = ""
    ) -> Alert:
        """Closed by hand, with what came of it."""

    def comment(self, alert_id: str, actor: str, now: int) -> Alert:
        """``actor`` said something, which the caller adds to the history's newest entry."""

    def feedback(
        self, alert_id: str, actor: str, now: int, outcome: Outcome | None = None, note: str = ""
    ) -> Alert:
        """``actor`` said whether it was useful, which the caller adds likewise, or what came of it.

        Raises AlertOpen for an outcome of an open one.
        """


@dataclass(frozen=True, slots=True)
class Services:
    """Everything behind the routes. Callables must be thread-safe.

    ``now`` is the moment of judgement, ``wall`` the real time, both in epoch microseconds; ``today`` is the day in the
    organisation's zone. ``intake`` makes events durable. ``desk`` makes the desk of one transaction. ``reload`` reads
    the configuration again, all or nothing, and raises ConfigurationError. ``loopback`` says that only this machine
    can reach the service. ``probes`` are asked by /readyz, by name; ``remarks`` too, but what they say keeps nothing
    from being ready. ``sources`` says how the sources of activity stand. The routes' own counters go into
    ``registry``: one for each application.
    """

    database: Database
    keys: KeyRing
    now: Callable[[], int]
    wall: Callable[[], int]
    today: Callable[[], int]
    intake: Intake
    risk: RiskReader
    desk: Callable[[Connection], Desk]
    outbox: SqlOutbox
    configuration: Callable[[], Configuration]
    reload: Callable[[], Configuration]
    loopback: bool
    metrics_token: str | None = None
    sources: Callable[[], Sequence[SourceState]] = lambda: ()
    probes: Mapping[str, Probe] = field(default_factory=dict)
    remarks: Mapping[str, Probe] = field(default_factory=dict)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
