"""One message for a source that fell silent, and one when it flows again, instead of hundreds of alerts (METRICS 7)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from consumers.days import instant

_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Silence:
    """An incident of a source, as it is told. Instants and lengths of time are in microseconds.

    ``newest_at`` and ``expected_gap`` are None where only our own reader is late. ``closed_at`` None: it begins.
    """

    number: int
    source: str
    families: Collection[str]
    opened_at: int
    newest_at: int | None = None
    expected_gap: int | None = None
    closed_at: int | None = None

    @property
    def id(self) -> str:
        """The same for its beginning and its end, on every machine."""
        identity = "\x1f".join(("stale_source", self.source, str(self.number), str(self.opened_at)))
        return "si_" + hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:24]

    @property
    def seq(self) -> int:
        """1 for the beginning, 2 for the end, which waits until that has arrived."""
        return 1 if self.closed_at is None else 2

    @property
    def title(self) -> str:
        """In one line, for a person."""
        if self.closed_at is not None:
            return f"{self.source} is not silent any more"
        if self.newest_at is None:
            return f"{self.source} is read more than an hour late"
        return f"No activity from {self.source} since {_minute(self.newest_at)}"

    @property
    def detail(self) -> str:
        """What that means."""
        names = ", ".join(sorted(self.families)) or "nothing"
        if self.closed_at is not None:
            return "Accounts are judged by its activity again."
        why = (
            "what it holds was not read yet"
            if self.expected_gap is None
            else f"it may be silent for {_hours(self.expected_gap)}"
        )
        return f"{names}: {why}. Until it flows no alert opens or resolves by missing activity: the silence is ours."

    def payload(self, public_url: str) -> dict[str, Any]:
        """As a summary (alerts.webhook) of no alerts, with what happened beside it."""
        return {
            "id": self.id,
            "accounts": 0,
            "alerts": 0,
            "by_severity": {},
            "by_rule": {},
            "incident": {
                "kind": "stale_source",
                "status": "open" if self.closed_at is None else "closed",
                "source": self.source,
                "families": sorted(self.families),
                "title": self.title,
                "detail": self.detail,
                "newest_event_at": _text(self.newest_at),
                "expected_gap_s": None if self.expected_gap is None else self.expected_gap // 1_000_000,
                "opened_at": _text(self.opened_at),
                "closed_at": _text(self.closed_at),
            },
            "links": {"sources": f"{public_url.rstrip('/')}/v1/sources"},
        }


def _text(at: int | None) -> str | None:
    return None if at is None else instant(at).isoformat().replace("+00:00", "Z")


def _minute(at: int) -> str:
    return f"{instant(at):%Y-%m-%d %H:%M} UTC"


def _hours(length: int) -> str:
    return f"{length / _HOUR_US:.3g} h"
