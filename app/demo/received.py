"""One message as the demo's inbox keeps it and shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class To(StrEnum):
    """Whom a message is for."""

    WEBHOOK = "webhook"
    SLACK = "slack"


@dataclass(frozen=True, slots=True)
class Received:
    """One message as it came. ``repeat``: its webhook-id was seen before, so a receiver does nothing."""

    number: int
    to: To
    at: datetime
    headers: Mapping[str, str] = field(repr=False)
    body: Any = field(repr=False)
    size: int
    verified: bool
    repeat: bool = False

    @property
    def kind(self) -> str:
        """``alert.firing`` and the like; empty for Slack, whose cards carry none, and for what nobody has signed."""
        return str(self.body["type"]) if self.to is To.WEBHOOK and self.verified else ""

    @property
    def alert(self) -> tuple[str, str, str]:
        """(account, firing or resolved, rule) of a webhook message about an alert."""
        data = self.body["data"] if self.kind else {}
        account = data.get("account") or {}
        return str(account.get("id", "")), self.kind.removeprefix("alert."), str(data.get("rule", ""))

    def view(self) -> dict[str, Any]:
        """As JSON, for programs."""
        return {
            "number": self.number,
            "to": self.to.value,
            "received_at": self.at.isoformat().replace("+00:00", "Z"),
            "verified": self.verified,
            "repeat": self.repeat,
            "headers": dict(self.headers),
            "body": self.body,
        }
