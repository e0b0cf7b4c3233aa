"""What every peer must come to: logins of 28 days, of the 28 before, and users of 30 days, per account, and a digest.

Days are UTC, counted back from the newest day of the stream, that day included. Standard library alone, since each
peer imports this from an environment of its own. ``python -m benchmarks.peers.answer FILE`` reads NDJSON, does the
job in a plain loop and prints the digest the peers are held to.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple

Days = Mapping[int, int]  # the day as an ordinal -> logins of that day
Users = Mapping[str, int]  # user id -> the last day with a login, as an ordinal


class Row(NamedTuple):
    """The answer for one account."""

    account: str
    last28: int
    previous28: int
    users30: int


class DayNumbers(dict[str, int]):
    """The ordinal of a day written ``2026-01-31``. Each is worked out once: a stream has few days and many events."""

    def __missing__(self, text: str) -> int:
        number = self[text] = date.fromisoformat(text).toordinal()
        return number


def rows(days: Mapping[str, Days], users: Mapping[str, Users]) -> list[Row]:
    """The answer for all accounts, by their ids, from the state kept per account."""
    newest = max(day for each in days.values() for day in each)
    answer = []
    for account in sorted(days):
        logins = days[account]
        last = sum(count for day, count in logins.items() if 0 <= newest - day < 28)
        previous = sum(count for day, count in logins.items() if 28 <= newest - day < 56)
        active = sum(newest - day < 30 for day in users[account].values())
        answer.append(Row(account, last, previous, active))
    return answer


def digest(answer: Iterable[Row]) -> str:
    """SHA-256 over ``account last28 previous28 users30``, one line an account, sorted; the first 16 hex digits."""
    text = "".join(f"{row.account} {row.last28} {row.previous28} {row.users30}\n" for row in sorted(answer))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def report(
    peer: str, events: int, seconds: float, days: Mapping[str, Days], users: Mapping[str, Users]
) -> None:
    """Print the one line a peer answers with. ``seconds``: first record in hand to all state durable."""
    counted = sum(sum(each.values()) for each in days.values())
    if counted != events:
        raise SystemExit(f"{peer} counted {counted:,} logins; {events:,} were asked for")
    answer = rows(days, users)
    result = {
        "peer": peer,
        "events": events,
        "seconds": round(seconds, 3),
        "events_per_s": round(events / seconds),
        "accounts": len(answer),
        "check": digest(answer),
    }
    print(json.dumps(result), flush=True)


def plain(lines: Iterable[bytes]) -> list[Row]:
    """The job in a plain loop over the events' JSON: what is right, with nothing durable and nothing clever."""
    days: defaultdict[str, Counter[int]] = defaultdict(Counter)
    users: defaultdict[str, dict[str, int]] = defaultdict(dict)
    number = DayNumbers()
    for line in lines:
        login = json.loads(line)
        account, user, day = login["account_id"], login["user_id"], number[login["occurred_at"][:10]]
        days[account][day] += 1
        users[account][user] = max(day, users[account].get(user, 0))
    return rows(days, users)


def main() -> None:
    """The digest of a file."""
    with Path(sys.argv[1]).open("rb") as lines:
        answer = plain(lines)
    print(json.dumps({"accounts": len(answer), "check": digest(answer)}))


if __name__ == "__main__":
    main()
