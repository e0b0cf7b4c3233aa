"""What the demo prints: what it did in numbers, the alerts, where to look, and one command to try."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from alerts.alert import Severity
from alerts.metrics.catalogue import CATALOGUE
from alerts.rules.title import formatted
from app.demo.companies import Company
from app.demo.feed import Feed

MOST_ROWS = 24
COLUMNS = ("severity", "account", "rule", ">number", "owner", "renewal")
_ORDER = [severity.value for severity in Severity]
_SIGNS = {"<=": "≤", ">=": "≥", "==": "=", "!=": "≠"}
_LONGEST_NAME = 28

Row = tuple[str, str, str, str, str, str]


def rows(feed: Feed, today: date) -> tuple[list[Row], int]:
    """The firing alerts, worst first, at most MOST_ROWS of them, and how many there are."""
    alerts = list(feed.walk("/v1/alerts", status="firing"))
    renewals = {each["account_id"]: each["renewal_date"] for each in feed.walk("/v1/accounts")}
    # What changed today comes before what was so from the start.
    alerts.sort(key=lambda alert: (_ORDER.index(alert["severity"]), alert["baseline"], alert["account_id"]))
    shown = []
    for alert in alerts[:MOST_ROWS]:
        detail = feed.get(f"/v1/alerts/{alert['id']}")
        shown.append(
            (
                alert["severity"],
                _short(alert["account_name"] or alert["account_id"]),
                alert["rule"],
                number(detail["evidence"]),
                alert["owner"] or "",
                renewal(renewals.get(alert["account_id"]), today),
            )
        )
    return shown, len(alerts)


def number(evidence: Mapping[str, Any]) -> str:
    """The rule's first comparison: the number and what it is held against, or the word that decides."""
    leaf = next(iter(evidence.get("conditions", ())), None)
    if leaf is None:
        return ""
    metric = CATALOGUE[leaf["metric"]]
    value = formatted(metric.kind, leaf["value"])
    if isinstance(leaf["value"], bool | str):
        return value
    threshold = formatted(metric.kind, leaf["threshold"])
    if threshold.endswith(" days"):  # said once
        value = value.removesuffix(" days").removesuffix(" day")
    return f"{value} {_SIGNS.get(leaf['op'], leaf['op'])} {threshold}"


def renewal(day: str | None, today: date) -> str:
    """How far off it is."""
    if day is None:
        return "none"
    days = (date.fromisoformat(day) - today).days
    return f"in {days} d" if days >= 0 else f"{-days} d ago"


def command(url: str, company: Company, now: datetime, *, proxied: bool) -> list[str]:
    """One curl command, in lines that fit a terminal, by which the champion of ``company`` leaves.

    Its id is written out: pasted twice it is the same event, and counts once. ``proxied``: the shell would send it
    through a proxy.
    """
    moment = now.astimezone(UTC)
    event = {
        "id": f"pasted-{moment:%Y%m%dT%H%M%S}",
        "type": "champion.changed",
        "account_id": company.account_id,
        "occurred_at": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "data": {"kind": "left_company", "previous_user_id": company.user(0)},
    }
    direct = " --noproxy '*'" if proxied else ""
    words = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in event.items()]
    return [
        f"curl -sS{direct} {url}/v1/events -H 'content-type: application/json' -d '{{",
        f"  {', '.join(words[:2])},",
        f"  {', '.join(words[2:4])},",
        f"  {words[4]}}}'",
    ]


def counted(number: int, noun: str) -> str:
    """``1 alert``, ``2,000 alerts``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def told(numbers: Mapping[str, int], names: Sequence[str]) -> str:
    """The named numbers that are not 0, in words."""
    return " · ".join(f"{numbers[name]:,} {name}" for name in names if numbers.get(name))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
