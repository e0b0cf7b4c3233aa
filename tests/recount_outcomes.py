"""Outcomes recounted from raw events, account by account and event by event, sharing no code with the product.

Slow on purpose: for every day asked, all events until its close are read again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

ZERO = date(1970, 1, 1)
DIMENSIONS = ("size", "channel", "tier", "use_case")


def twelve_months_before(day: date) -> date:
    """The same date a year earlier; from a month's last day to a month's last day."""
    tomorrow = day + timedelta(days=1)
    if tomorrow.day == 1:
        return date(tomorrow.year - 1, tomorrow.month, 1) - timedelta(days=1)
    return date(day.year - 1, day.month, day.day)


@dataclass
class Sums:
    """What a cohort went through, in units of money."""

    accounts: int = 0
    kept: int = 0
    start: Decimal = Decimal(0)
    up: Decimal = Decimal(0)
    down: Decimal = Decimal(0)
    gone: Decimal = Decimal(0)
    new_accounts: int = 0
    new: Decimal = Decimal(0)
    smaller: Decimal = Decimal(0)  # of start and end, summed

    def rate(self, money: Decimal) -> Fraction | None:
        return Fraction(money) / Fraction(self.start) if self.start else None


class OutcomeRecount:
    """``lines`` are raw events; ids may repeat."""

    def __init__(self, lines: Iterable[bytes], zone: str = "UTC", currency: str | None = None) -> None:
        events: dict[str, dict[str, Any]] = {}
        for line in lines:
            event = json.loads(line)
            events.setdefault(event["id"], event)
        for event in events.values():
            event["at"] = datetime.fromisoformat(event["occurred_at"])
            event["day"] = event["at"].astimezone(ZoneInfo(zone)).date()
        self.events = sorted(events.values(), key=lambda event: (event["at"], event["id"]))
        self.accounts = sorted({event["account_id"] for event in self.events})
        self.currency = currency or self._usual()

    def subscriptions(self, account: str, day: date) -> dict[str, dict[str, Any]]:
        """What was last told of each subscription by the close of ``day``."""
        found: dict[str, dict[str, Any]] = {}
        for event in self.events:
            if (event["account_id"], event["type"]) == (account, "subscription.changed") and event[
                "day"
            ] <= day:
                told = {name: value for name, value in event["data"].items() if value is not None}
                found.setdefault(told.get("subscription_id", "default"), {}).update(told)
        return found

    def mrr(self, account: str, day: date) -> Decimal:
        total = Decimal(0)
        for each in self.subscriptions(account, day).values():
            if each.get("currency") in {None, self.currency}:
                total += money(each["mrr"])
        return total

    def others(self, account: str, day: date) -> set[str]:
        """The other currencies in which the account had MRR at the close of ``day``."""
        return {
            each["currency"]
            for each in self.subscriptions(account, day).values()
            if each.get("currency") not in {None, self.currency} and money(each["mrr"]) > 0
        }

    def foreign(self, days: Iterable[date]) -> dict[str, int]:
        """Accounts that had MRR in each other currency at the close of any of ``days``."""
        counts: Counter[str] = Counter()
        wanted = set(days)
        for account in self.accounts:
            counts.update({code for day in wanted for code in self.others(account, day)})
        return dict(counts)

    def segment(self, account: str, name: str, day: date) -> str | None:
        value = None
        for event in self.events:
            if (event["account_id"], event["type"]) == (account, "account.updated") and event["day"] <= day:
                value = event["data"].get(name) or value
        return value

    def sums(self, start: date, end: date, split: str | None = None) -> dict[str | None, Sums]:
        """The endpoint method, over everybody (under None) or by a segment as it was at the start.

        Who has MRR in another currency at either end is in no cohort and no new account.
        """
        found: dict[str | None, Sums] = {} if split else {None: Sums()}
        for account in self.accounts:
            if self.others(account, start) or self.others(account, end):
                continue
            before, after = self.mrr(account, start), self.mrr(account, end)
            if not before and not after:
                continue
            sums = found.setdefault(self.segment(account, split, start) if split else None, Sums())
            if not before:
                sums.new_accounts += 1
                sums.new += after
                continue
            sums.accounts += 1
            sums.start += before
            sums.smaller += min(before, after)
            sums.kept += after > 0
            if after == 0:
                sums.gone += before
            elif after < before:
                sums.down += before - after
            else:
                sums.up += after - before
        return found

    def status(self, start: date, sums: Sums) -> str:
        told = [event["day"] for event in self.events if event["type"] == "subscription.changed"]
        if not told:
            return "unknown"
        if min(told) > start:
            return "insufficient_history"
        return "ok" if sums.start else "not_applicable"

    def _usual(self) -> str | None:
        """The currency that most accounts ever paid in."""
        accounts: Counter[str] = Counter()
        for account in self.accounts:
            paid = set()
            for event in self.events:
                if event["account_id"] == account and event["type"] == "subscription.changed":
                    paid |= {
                        each["currency"]
                        for each in self.subscriptions(account, event["day"]).values()
                        if each.get("currency") and money(each["mrr"]) > 0
                    }
            accounts.update(paid)
        return min(accounts, key=lambda code: (-accounts[code], code), default=None)


def money(amount: Any) -> Decimal:
    return Decimal(str(amount)).quantize(Decimal("0.01"), ROUND_HALF_UP)
