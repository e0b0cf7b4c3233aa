"""Events of small made-up accounts, and the settings of a service that tells one receiver of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ONE_RULE = """
rules:
  - id: champion-departed
    when: champion.departed
    severity: critical
    title: "The champion left"
"""


def iso(moment: datetime) -> str:
    """As events and settings write it."""
    return moment.isoformat().replace("+00:00", "Z")


def event(id_: str, type_: str, account: str, at: datetime, user: str = "", **data: Any) -> dict[str, Any]:
    """One event."""
    whose = {"user_id": user} if user else {}
    return {"id": id_, "type": type_, "account_id": account, "occurred_at": iso(at), **whose, "data": data}


def champion_arrives(account: str, at: datetime, user: str = "ada") -> dict[str, Any]:
    """The account has a champion."""
    return event(f"{account}-{user}-arrives", "champion.changed", account, at, user_id=user)


def champion_leaves(account: str, at: datetime, user: str = "ada") -> dict[str, Any]:
    """The champion has left, and nobody follows."""
    return event(
        f"{account}-{user}-leaves",
        "champion.changed",
        account,
        at,
        kind="left_company",
        previous_user_id=user,
    )


def logins(account: str, last: datetime, days: int, users: int = 4) -> list[dict[str, Any]]:
    """Everybody logs in once a day, ``days`` days in a row up to ``last``."""
    return [
        event(f"{account}-{day}-{user}", "user.login", account, last - timedelta(days=day), f"u{user}")
        for day in reversed(range(days))
        for user in range(users)
    ]


def telling(folder: Path, url: str, rules: str = "") -> dict[str, str]:
    """Settings that send every alert to ``url``, signed."""
    config = folder / "config.yaml"
    destination = {"name": "crm", "type": "webhook", "url": url, "secret": SECRET}
    config.write_text(f"{rules}\ndestinations: [{json.dumps(destination)}]\n")
    return {"config": str(config), "allow_private_destinations": "true"}


def ndjson(events: list[dict[str, Any]]) -> list[bytes]:
    """As lines of a file."""
    return [json.dumps(each).encode() for each in events]
