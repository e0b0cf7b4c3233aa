"""What must have happened, from the produced events alone: the independent recount, asked at the end of every phase."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence

from tests.recount import Recount
from tests.recount_facts import ordinal
from tests.recount_rules import RULES, judged
from tests.stored_windows import Windows, recounted
from tests.torture.books import Transition
from tests.torture.stream import NOW

WATCHED = ("champion-departed", "login-decline")
CONFIGURATION = """
rules:
  - id: champion-departed
    when: champion.departed
    severity: critical
    title: "The champion left"
  - id: login-decline
    when: logins.change_28d <= -0.20
    severity: high
    title: "Logins fell"
"""
TODAY = ordinal(NOW.date())

State = dict[tuple[str, str], int]


class Expectation:
    """The good events of each phase, in which nothing crosses a threshold twice; the first is the baseline."""

    def __init__(self, zone: str = "UTC") -> None:
        self._zone = zone
        self._phases: list[list[bytes]] = []

    def phase(self, bodies: Sequence[bytes]) -> None:
        """One more phase; copies may be among them."""
        self._phases.append(list(bodies))

    @property
    def bodies(self) -> list[bytes]:
        """Everything good, copies included."""
        return [body for phase in self._phases for body in phase]

    def recount(self) -> Recount:
        """All phases together."""
        return Recount(self.bodies, self._zone)

    def windows(self) -> dict[str, Windows]:
        """The windows that the database must hold."""
        return recounted(self.recount())

    def transitions(self) -> list[Transition]:
        """What must have been told since the first phase, sorted by account and rule, in the order of time."""
        open_: State = {}
        moves: list[Transition] = []
        known: dict[str, list[bytes]] = defaultdict(list)
        for number, phase in enumerate(self._phases):
            touched = set()
            for body in phase:
                account = json.loads(body)["account_id"]
                known[account].append(body)
                touched.add(account)
            before = set(open_)
            self._judge(Recount([body for account in touched for body in known[account]], self._zone), open_)
            if number:
                moves += _moves(before, set(open_))
        return sorted(
            moves, key=lambda move: move[:2]
        )  # stable: an account's and rule's phases keep their order

    def baseline(self) -> set[tuple[str, str]]:
        """(account, rule) of what is true at the end of the first phase."""
        open_: State = {}
        self._judge(Recount(self._phases[0], self._zone), open_)
        return set(open_)

    def _judge(self, recount: Recount, open_: State) -> None:
        for account in recount.accounts:
            metrics = recount.metrics(account, TODAY - 1, TODAY)
            for rule in WATCHED:
                judged(open_, (account, rule), RULES[rule][1](metrics), recount.churned(account, TODAY))


def _moves(before: set[tuple[str, str]], after: set[tuple[str, str]]) -> Iterable[Transition]:
    yield from (Transition(*key, "firing") for key in after - before)
    yield from (Transition(*key, "resolved") for key in before - after)
