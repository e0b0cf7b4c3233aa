"""The generic webhook: an alert as JSON under 20 KB, signed as Standard Webhooks says.

A delivery's payload is built here too, when its alert moves, so that a late delivery tells the alert as it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

from standardwebhooks import Webhook

from alerts.alert import Alert, Severity
from alerts.delivery import SECOND_US, Delivery, Message, Outcome
from alerts.destination import decode_key
from alerts.store import AccountCard

MAX_BODY_BYTES = 20_000  # under 20 KB, whichever of the two kilobytes is meant

# What evidence is cut down to, step by step, until the body fits: items of a list or object, characters of a text.
_TRIMS = ((50, 500), (10, 200), (5, 80))
_THIN_TEXT = 300


@dataclass(frozen=True, slots=True)
class RuleCard:
    """What a message says of the rule beside its id: the action to take, when it is due in words, and labels."""

    action: str = ""
    due: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def alert_payload(
    alert: Alert, account: AccountCard, rule: RuleCard, *, today: int, public_url: str
) -> dict[str, Any]:
    """The alert as destinations and REST tell it. ``today`` is the organisation's day, for the days to the renewal."""
    base = public_url.rstrip("/")
    renewal = account.renewal_day
    return {
        "id": alert.id,
        "rule": alert.rule,
        "rule_version": alert.rule_version,
        "account": {
            "id": account.account_id,
            "name": account.name,
            "owner": account.owner,
            "renewal_date": None if renewal is None else _iso_day(renewal),
            "renewal_in_days": None if renewal is None else renewal - today,
            "mrr": None if account.mrr_cents is None else _decimal(account.mrr_cents),
        },
        "severity": alert.severity.value,
        "status": alert.status.value,
        "title": alert.title,
        "reason": None if alert.reason is None else alert.reason.value,
        "label": alert.label,
        "episode": alert.episode,
        "seq": alert.seq,
        "baseline": alert.baseline,
        "fired_at": _iso(alert.fired_at),
        "resolved_at": _iso(alert.resolved_at),
        "due_at": _iso(alert.due_at),
        "outcome": None if alert.outcome is None else alert.outcome.value,
        "outcome_by": alert.outcome_by,
        "outcome_note": alert.outcome_note,
        "playbook": {"action": rule.action, "due": rule.due} if rule.action else None,
        "labels": dict(rule.labels),
        "evidence": dict(alert.evidence),
        "links": {
            "account": f"{base}/v1/accounts/{quote(account.account_id, safe='', errors='replace')}/risk",
            "alert": f"{base}/v1/alerts/{quote(alert.id, safe='')}",
        },
    }


def summary_payload(
    summary_id: str,
    *,
    accounts: int,
    by_severity: Mapping[Severity, int],
    by_rule: Mapping[str, int],
    public_url: str,
) -> dict[str, Any]:
    """What was already true when ``accounts`` were judged for the first time, in one message."""
    return {
        "id": summary_id,
        "accounts": accounts,
        "alerts": sum(by_severity.values()),
        "by_severity": {
            severity.value: by_severity[severity] for severity in Severity if by_severity.get(severity)
        },
        "by_rule": dict(sorted(by_rule.items(), key=lambda item: (-item[1], item[0]))),
        "links": {"alerts": f"{public_url.rstrip('/')}/v1/alerts"},
    }


def dump(payload: Mapping[str, Any]) -> str:
    """A payload as the outbox stores it. JSON knows no infinity, so what is not finite becomes null."""
    try:
        return json.dumps(payload, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(payload), separators=(",", ":"), allow_nan=False)


def body(kind: str, at: int, data: Mapping[str, Any]) -> bytes:
    """The JSON that is posted, at most MAX_BODY_BYTES: in need evidence is cut, then all but the essentials.

    What was cut says so: ``{"truncated": …}`` in the evidence, ``"truncated": true`` in a thin body.
    """
    full = _encode(kind, at, data)
    if len(full) <= MAX_BODY_BYTES:
        return full
    if isinstance(data.get("evidence"), dict):
        for items, characters in _TRIMS:
            trimmed = _trim(data["evidence"], items, characters)
            candidate = _encode(kind, at, {**data, "evidence": {**trimmed, "truncated": True}})
            if len(candidate) <= MAX_BODY_BYTES:
                return candidate
        candidate = _encode(kind, at, {**data, "evidence": {"truncated": True}})
        if len(candidate) <= MAX_BODY_BYTES:
            return candidate
    return _encode(kind, at, _thin(data))


def signing_key(secret: str) -> Webhook:
    """The signer of a secret. Raises ConfigurationError, which does not repeat the secret."""
    return Webhook(decode_key(secret))


def sign(keys: Sequence[Webhook], message_id: str, now: int, content: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks. Several keys give several signatures: while a secret rotates, either fits."""
    at = now // SECOND_US
    headers = {"webhook-id": message_id, "webhook-timestamp": str(at)}
    if keys:
        when, text = datetime.fromtimestamp(at, UTC), content.decode()
        headers["webhook-signature"] = " ".join(key.sign(message_id, when, text) for key in keys)
    return headers


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """A receiver of signed JSON. Raises ConfigurationError for a secret that is none; without secrets, unsigned."""

    name: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    kind: str = "webhook"
    _keys: tuple[Webhook, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", tuple(signing_key(secret) for secret in self.secrets))

    def compose(self, delivery: Delivery, now: int) -> Message:
        """The same body at every attempt, under a fresh timestamp and signature."""
        content = body(delivery.kind, delivery.created_at, json.loads(delivery.payload))
        headers = {"content-type": "application/json", **sign(self._keys, delivery.webhook_id, now, content)}
        return Message(self.url, headers, content)

    def read(self, outcome: Outcome) -> Outcome:
        """The status says it all."""
        return outcome


def _encode(kind: str, at: int, data: Mapping[str, Any]) -> bytes:
    envelope = {"type": kind, "timestamp": _iso(at), "data": data}
    # A lone surrogate in a customer's text has no UTF-8; a question mark stands for it.
    return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _thin(data: Mapping[str, Any]) -> dict[str, Any]:
    account = data.get("account") or {}
    keys = (
        "id",
        "rule",
        "rule_version",
        "severity",
        "status",
        "title",
        "reason",
        "episode",
        "seq",
        "baseline",
        "outcome",
        "outcome_by",
        "outcome_note",
    )
    times = ("fired_at", "resolved_at", "due_at")
    counts = ("accounts", "alerts", "by_severity", "links")
    thin = {key: _trim(data[key], 10, _THIN_TEXT) for key in (*keys, *times, *counts) if key in data}
    if account:
        thin["account"] = {key: _trim(value, 0, _THIN_TEXT) for key, value in account.items()}
    if "links" in data:  # a link is of use whole or not at all
        thin["links"] = {name: link for name, link in data["links"].items() if len(link) <= 2_000}
    return {**thin, "truncated": True}


def _trim(value: Any, items: int, characters: int) -> Any:
    """The value with long texts cut and long lists shortened, each saying so."""
    if isinstance(value, str):
        return value if len(value) <= characters else value[:characters] + "…"
    if isinstance(value, Mapping):
        kept = {
            str(key)[:characters]: _trim(inner, items, characters)
            for key, inner in list(value.items())[:items]
        }
        return kept if len(value) <= items else {**kept, "truncated": f"and {len(value) - items} more"}
    if isinstance(value, list | tuple):
        shown = [_trim(inner, items, characters) for inner in value[:items]]
        return shown if len(value) <= items else [*shown, f"…and {len(value) - items} more"]
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def _iso(at: int | None) -> str | None:
    if at is None:
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
    return moment.isoformat().replace("+00:00", "Z")


def _iso_day(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def _decimal(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"
