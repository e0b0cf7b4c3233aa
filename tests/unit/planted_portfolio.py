"""Portfolios in which it is known what keeps a customer, for tests of fitted weights."""

from __future__ import annotations

import random
from datetime import date

from alerts.model import PARTS, Model
from tests.unit.metric_streams import Stream

CORE = ("reports", "exports", "boards", "alerts")
MODEL = Model(core_features=CORE)


def day_number(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


FIRST, SECOND = day_number("2023-06-30"), day_number("2024-06-30")
START, END = FIRST - 40, day_number("2025-06-30")
LEVELS = 4  # of each part: a score of 0, 25, 50 or 75

Levels = dict[str, int]


class Planted:
    """Accounts of one user and four seats each, who pay from the start on.

    Only the 28 days before a cohort's are filled, with as much as each part's level asks for.
    """

    def __init__(self) -> None:
        self.stream = Stream()
        self.stream.add("ticket.opened", "a house of its own", END, ticket_id="end")  # so far the data go

    @property
    def lines(self) -> list[bytes]:
        return self.stream.lines

    def joins(self, account: str) -> None:
        """The events without which a part would not be known yet."""
        self.stream.add("subscription.changed", account, START, mrr=100, currency="EUR")
        self.stream.add("seats.changed", account, START, purchased=5)
        for user in range(3):
            self.stream.add("user.login", account, START, f"u{user}")
        self.stream.add("feature.used", account, START, "u0", feature="reports")
        self.stream.add("session.ended", account, START, "u0", duration_s=60)

    def works(self, account: str, day: int, levels: Levels) -> None:
        """One to three users, so that seats score 25, 50 or 75; the other parts are per user or day."""
        users = [f"u{number}" for number in range(max(levels["seats"], 1))]
        for user in users:
            self.stream.add("session.ended", account, day - 3, user, duration_s=300 * levels["depth"])
            for number in range(5 * levels["logins"]):
                self.stream.add("user.login", account, day - 3, user, second=40_000 + number)
        for feature in CORE[: levels["breadth"]]:
            for back in (3, 4):
                self.stream.add("feature.used", account, day - back, users[0], feature=feature)

    def leaves(self, account: str, day: int) -> None:
        """Pays no more."""
        self.stream.add("subscription.changed", account, day, mrr=0, currency="EUR")


def drawn(chance: random.Random) -> Levels:
    return {part: chance.randrange(LEVELS) for part in PARTS}


def portfolio(predictor: str | None, accounts: int = 400, seed: int = 4) -> Planted:
    """Levels drawn by lot for each cohort; who leaves is drawn too, the lower the predictor's level the likelier.

    Without a predictor there are twins with the same levels, of whom one leaves and one stays.
    """
    chance, planted = random.Random(seed), Planted()
    names = [f"account {number}" for number in range(accounts)]
    for name in names:
        planted.joins(name)
    for day in (FIRST, SECOND):
        left = set()
        for number, name in enumerate(names):
            if predictor is not None or number % 2 == 0:
                levels = drawn(chance)
            planted.works(name, day, levels)
            goes = (
                number % 2 == 0
                if predictor is None
                else chance.random() < (0.75, 0.35, 0.12, 0.03)[levels[predictor]]
            )
            if goes:
                left.add(name)
                planted.leaves(name, day + 100)
        names = [name for name in names if name not in left]
    return planted
