"""A seeded stream of events with a known end: accounts whose champions leave and whose logins fall, phase by phase.

Within a phase no account crosses a threshold twice, so what has happened by its end does not depend on when anybody
looked. Which transitions that makes is not said here: ``expected.py`` finds it out from the events alone.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # today's logins count in no trend until the day closes
TODAY = NOW.replace(hour=0)
HISTORY_DAYS = 70
LOGINS, PEOPLE = "logins", "relationships"


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it is produced. ``reason``: why it must be rejected, empty for a good one."""

    topic: str
    key: bytes
    body: bytes | None
    reason: str = ""
    headers: tuple[tuple[str, bytes], ...] = ()

    def lane(self, partitions: int) -> int:
        """The partition: the same for all events of one account."""
        return crc32(self.key) % partitions


class Stream:
    """Makes events of ``accounts`` accounts, the same for the same seed."""

    def __init__(self, seed: int, accounts: int = 60) -> None:
        self.dice = random.Random(seed)
        self.accounts = [f"account-{number:04}" for number in range(accounts)]
        self._number = 0
        self._champion = dict.fromkeys(self.accounts, 0)  # how many each has had
        self._led = dict.fromkeys(self.accounts, True)
        self._fallen = dict.fromkeys(self.accounts, False)

    def history(self, days: int = HISTORY_DAYS) -> list[Record]:
        """A champion of each account, and ``days`` of steady use by two people."""
        records = [self._champion_arrives(account, NOW - timedelta(days=60)) for account in self.accounts]
        for back in range(days, 0, -1):
            for account in self.accounts:
                for user in ("u1", "u2"):
                    records.append(
                        self._login(account, TODAY - timedelta(days=back) + timedelta(hours=9), user)
                    )
        return records

    def history_of(self, accounts: Sequence[str], days_back: Mapping[int, int]) -> list[Record]:
        """Logins of other accounts: how many so many days before today."""
        return [
            self._login(account, TODAY - timedelta(days=back) + timedelta(hours=9), f"u{number}")
            for account in accounts
            for back, count in days_back.items()
            for number in range(count)
        ]

    def seats(self, account: str, at: datetime, purchased: int) -> Record:
        """So many seats from then on."""
        return self._event("seats", account, "seats.changed", at, purchased=purchased)

    def noise(self, count: int) -> list[Record]:
        """Logins of today: they count, and move no trend."""
        return [self._noise() for _ in range(count)]

    def phase(self, noise: int, share: float = 0.3) -> list[Record]:
        """``noise``, and among it the crossings of a ``share`` of the accounts, in random places."""
        records = self.noise(noise)
        crossings = []
        for account in self.dice.sample(self.accounts, max(1, int(len(self.accounts) * share))):
            crossings.append(
                self._champion_moves(account) if self.dice.random() < 0.6 else self._logins_move(account)
            )
        for crossing in crossings:  # the records of one crossing keep their order
            places = sorted(self.dice.randrange(len(records) + 1) for _ in crossing)
            for place, record in zip(reversed(places), reversed(crossing), strict=True):
                records.insert(place, record)
        return records

    def _noise(self) -> Record:
        account = self.dice.choice(self.accounts)
        at = TODAY + timedelta(seconds=self.dice.randrange(11 * 3600))
        return self._login(account, at, f"u{self.dice.randrange(40)}")

    def login(self, account: str, at: datetime, user: str = "u1") -> Record:
        """One login."""
        return self._login(account, at, user)

    def champion_leaves(self, account: str) -> list[Record]:
        """The account's champion leaves: a crossing of its own, outside any phase."""
        assert self._led[account]
        return self._champion_moves(account)

    def champion_follows(self, account: str) -> list[Record]:
        """A successor is named."""
        assert not self._led[account]
        return self._champion_moves(account)

    def _champion_moves(self, account: str) -> list[Record]:
        at = NOW - timedelta(hours=1) + timedelta(milliseconds=self._number)
        self._led[account] = not self._led[account]
        if self._led[account]:
            return [self._champion_arrives(account, at)]
        who = f"boss-{self._champion[account]}"
        return [
            self._event(PEOPLE, account, "champion.changed", at, kind="left_company", previous_user_id=who)
        ]

    def _champion_arrives(self, account: str, at: datetime) -> Record:
        self._champion[account] += 1
        return self._event(PEOPLE, account, "champion.changed", at, user_id=f"boss-{self._champion[account]}")

    def _logins_move(self, account: str) -> list[Record]:
        """Late logins: of the window before, so that the change falls; or, the next time, of the last 28 days."""
        self._fallen[account] = not self._fallen[account]
        first, last = (28, 54) if self._fallen[account] else (1, 26)
        return [
            self._login(
                account, TODAY - timedelta(days=self.dice.randint(first, last) + 1) + timedelta(hours=8), "u1"
            )
            for _ in range(40)
        ]

    def _login(self, account: str, at: datetime, user: str) -> Record:
        return self._event(LOGINS, account, "user.login", at, user)

    def _event(
        self, topic: str, account: str, type_: str, at: datetime, user: str = "", **data: Any
    ) -> Record:
        self._number += 1
        event = {
            "id": f"e{self._number:08}",
            "type": type_,
            "account_id": account,
            "occurred_at": at.isoformat().replace("+00:00", "Z"),
            **({"user_id": user} if user else {}),
            **({"data": data} if data else {}),
        }
        return Record(topic, account.encode(), json.dumps(event).encode())


def doubled(records: Sequence[Record], dice: random.Random, share: float = 0.3) -> list[Record]:
    """The same with 1 to 5 further copies of a ``share`` of them, each somewhere later."""
    placed = [(float(place), record) for place, record in enumerate(records)]
    for place, record in enumerate(records):
        if dice.random() < share:
            placed += [(place + dice.uniform(0, len(records) / 5), record) for _ in range(dice.randint(1, 5))]
    return [record for _, record in sorted(placed, key=lambda each: each[0])]


def shuffled(records: Sequence[Record], dice: random.Random, reach: int) -> list[Record]:
    """The same out of order: each moves at most ``reach`` places."""
    return [
        record for _, record in sorted(enumerate(records), key=lambda each: each[0] + dice.uniform(0, reach))
    ]


def good(records: Iterable[Record]) -> list[bytes]:
    """The bodies of those that must count."""
    return [record.body for record in records if not record.reason and record.body is not None]


def moved_to(record: Record, topic: str) -> Record:
    """The same record in another topic."""
    return replace(record, topic=topic)
