"""A desk for tests of the notifier: an outbox in a file, notifiers for it, and how receivers answer."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

from alerts.delivery import Channel, Delivery, address
from alerts.slack import SlackChannel
from alerts.webhook import WebhookChannel
from app.database.engine import Database
from app.database.outbox import SqlOutbox
from app.notifier import Notifier, real_clock
from app.outbound import HttpSender
from tests.contract.kept_deliveries import Attempt, attempts, deliveries
from tests.e2e.webhook_receiver import Exchange, Receiver

SECRET = "whsec_" + base64.b64encode(b"a key of twenty-four byt").decode()
T0 = real_clock()


class Desk:
    """An outbox in a file, and notifiers for it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.outbox = SqlOutbox(database)

    def put(
        self, alert: str, *seqs: int, to: Sequence[str] = ("crm",), kind: str = "alert.firing", at: int = T0
    ) -> None:
        payload = json.dumps({"id": alert, "title": f"{alert} moved", "rule": "r", "account": {"id": "acme"}})
        with self.database.write() as connection:
            for seq in seqs:
                self.outbox.enqueue(
                    connection,
                    address(
                        to,
                        kind=kind,
                        alert_id=alert,
                        account_id="acme",
                        episode=1,
                        seq=seq,
                        payload=payload,
                        now=at,
                    ),
                )

    def notifier(self, *channels: Channel, deadline_s: float = 5.0, **settings: Any) -> Notifier:
        self.outbox.sync_destinations({channel.name: channel.kind for channel in channels}, T0)
        sender = settings.pop("sender", None) or HttpSender(allow_private=True, deadline_s=deadline_s)
        by_name = {channel.name: channel for channel in channels}
        outbox = settings.pop("outbox", None) or self.outbox
        return Notifier(outbox, sender, by_name, jitter=lambda: 0.0, **settings)

    def rows(self) -> list[Delivery]:
        return deliveries(self.database)

    def attempts(self, delivery: Delivery) -> list[Attempt]:
        return attempts(self.database, delivery.id)

    def only(self) -> Delivery:
        (delivery,) = self.rows()
        return delivery

    def decisions(self, delivery: Delivery) -> list[str]:
        return [attempt.outcome for attempt in self.attempts(delivery)]


def crm(receiver: Receiver, name: str = "crm") -> WebhookChannel:
    return WebhookChannel(name, receiver.url, (SECRET,))


def chat(receiver: Receiver, name: str = "chat") -> SlackChannel:
    return SlackChannel(name, receiver.url)


def in_turn(*answers: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    """Each request gets the next answer, the last one for ever."""
    left = list(answers)

    def answer(exchange: Exchange) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(exchange)

    return answer


def status(code: int, body: bytes = b"", **headers: str) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.answer(code, body, **headers)


def told(receiver: Receiver) -> list[tuple[str, str]]:
    bodies = [json.loads(request.body) for request in receiver.requests]
    return [(body["data"]["id"], body["type"].removeprefix("alert.")) for body in bodies]


class running:  # noqa: N801 - reads as a verb: `with running(notifier)`
    """The notifier's loop in a thread, stopped and joined at the end."""

    def __init__(self, notifier: Notifier) -> None:
        self.stop, self.doorbell = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=notifier.run, args=(self.stop, self.doorbell))

    def __enter__(self) -> running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.doorbell.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
