"""An outbox on a bench: two destinations, and shorthand for what tests do with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from alerts.delivery import SECOND_US, Delivery, Outbox, Outcome, Settlement, Verdict, address
from alerts.retry import judge
from app.database.engine import Database
from app.database.outbox import SqlOutbox
from tests.contract.kept_deliveries import Attempt, attempts, deliveries

T0 = 1_795_341_600 * SECOND_US
LEASE = 60 * SECOND_US
OK = Outcome(12.5, status_code=200, body="ok")
BAD = Outcome(3.0, status_code=500, body="oh no")


class Bench:
    """The outbox, and what it holds."""

    def __init__(
        self,
        outbox: Outbox[Any],
        database: Database | None,
        rows: Callable[[], Sequence[Delivery]],
        attempts: Callable[[int], Sequence[Attempt]],
    ) -> None:
        self.outbox = outbox
        self.rows = rows
        self.attempts = attempts
        self._database = database
        self.outbox.sync_destinations({"chat": "slack", "crm": "webhook"}, T0)

    def put(
        self, alert: str, *seqs: int, to: Sequence[str] = ("crm",), at: int = T0, shadow: bool = False
    ) -> None:
        rows = [
            each
            for seq in seqs
            for each in address(
                to,
                kind="alert.firing",
                alert_id=alert,
                account_id="acme",
                episode=1,
                seq=seq,
                payload="{}",
                now=at,
                shadow=shadow,
            )
        ]
        if self._database is None:
            self.outbox.enqueue(None, rows)
        else:
            with self._database.write() as connection:
                self.outbox.enqueue(connection, rows)

    def claim(
        self, now: int = T0, limit: int = 100, holder: str = "one", only: Sequence[str] | None = None
    ) -> list[Delivery]:
        return list(self.outbox.claim(now, holder, LEASE, limit, only))

    def take(self, now: int = T0) -> list[tuple[str, int]]:
        return [(each.alert_id, each.seq) for each in self.claim(now)]

    def settle(self, delivery: Delivery, outcome: Outcome, now: int = T0) -> Verdict:
        verdict = judge(outcome, delivery.attempts + 1, now, 0.0, delivery.throttles)
        assert self.outbox.settle([Settlement(delivery, verdict, outcome, now)]) == {delivery.id}
        return verdict

    def row(self, delivery_id: int) -> Delivery:
        (found,) = (row for row in self.rows() if row.id == delivery_id)
        return found

    def fail_until_parked(self, now: int = T0) -> tuple[Delivery, int]:
        while True:
            (delivery,) = self.claim(now)
            verdict = self.settle(delivery, BAD, now)
            if verdict.at is None:
                return delivery, now
            now = verdict.at


def bench_on(database: Database, **settings: Any) -> Bench:
    """A bench with an outbox in a database."""
    outbox = SqlOutbox(database, **settings)
    return Bench(outbox, database, partial(deliveries, database), partial(attempts, database))
