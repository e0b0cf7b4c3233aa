"""The notifier: claims what is due, sends it with no transaction open, settles it. May die at any line.

Each destination has a lane, one message at a time, in a thread of its own while there is something to send: a receiver
that hangs delays nobody else. A lease outlives the longest attempt, so what a killed notifier had in its hands is
claimed again when the lease runs out, and told again under the same id.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog

from alerts.delivery import SECOND_US, Channel, Delivery, ErrorKind, Outbox, Outcome
from alerts.retry import judge
from app.database.leases import new_holder
from consumers.errors import StorageError

LEASE_US = 60 * SECOND_US  # four times the longest attempt
POLL_S = 0.25  # a due time passes without ringing; two index look-ups are cheap
MAX_LANES = 32
TURN = 50  # messages that a lane sends before others may have its thread
GRACE_S = 8.0  # how long a stop waits for answers that are still out
TROUBLE_PAUSE_S = 1.0
QUIET_S = 60.0  # the same trouble is told once in so long

log = structlog.get_logger("bellwether.notifier")


class Sender(Protocol):
    """What carries a message there and an outcome back."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """One attempt. Ends within a deadline, and never raises for what a receiver does."""


def real_clock() -> int:
    """UTC epoch microseconds."""
    return time.time_ns() // 1000


class Notifier:
    """Sends what the outbox holds for the channels it was given."""

    def __init__(
        self,
        outbox: Outbox[Any],
        sender: Sender,
        channels: Mapping[str, Channel],
        *,
        clock: Callable[[], int] = real_clock,
        jitter: Callable[[], float] = lambda: random.uniform(-1.0, 1.0),  # noqa: S311 - spreads load, hides nothing
        holder: str | None = None,
        lease_us: int = LEASE_US,
        poll_s: float = POLL_S,
        grace_s: float = GRACE_S,
    ) -> None:
        """``channels`` by destination name; ``clock`` dates leases, retries and signatures."""
        self._outbox = outbox
        self._sender = sender
        self._channels = dict(channels)
        self._clock = clock
        self._jitter = jitter
        self._holder = holder or new_holder()
        self._lease_us = lease_us
        self._poll_s = poll_s
        self._grace_s = grace_s
        self._troubles: dict[str, tuple[str, float]] = {}
        self._lanes: dict[str, threading.Thread] = {}
        self._turns: dict[str, int] = {}  # when each destination last had a lane, in turns

    def use(self, channels: Mapping[str, Channel]) -> None:
        """Go on with other channels, as after a reload; an attempt under way ends as it began."""
        self._channels = dict(channels)

    def run(
        self, stop: threading.Event, doorbell: threading.Event, polled: Callable[[], None] = lambda: None
    ) -> None:
        """Send until ``stop`` is set, looking again when ``doorbell`` rings or after a moment.

        ``polled`` is called at every turn. At the end waits a little for answers that are still out; what does not come
        is sent again by whoever is next.
        """
        while not stop.is_set():
            doorbell.clear()
            polled()
            pause_s = self._poll_s
            try:
                self._dispatch(stop, doorbell)
            except Exception as error:  # a notifier that ended would be silence of our own making
                self._complain(error)
                pause_s = TROUBLE_PAUSE_S
            doorbell.wait(pause_s)
        last = time.monotonic() + self._grace_s
        for lane in self._lanes.values():
            lane.join(max(0.0, last - time.monotonic()))

    def run_once(self, now: int) -> int:
        """Send everything that is due at ``now``, each destination in a lane of its own; the number of attempts."""
        sent: dict[str, int] = {}
        never = threading.Event()

        def drain(name: str) -> None:
            sent[name] = self._drain(name, lambda: now, never, None)

        lanes = [threading.Thread(target=drain, args=(name,), daemon=True) for name in self._due(now)]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        return sum(sent.values())

    def _due(self, now: int) -> list[str]:
        return [name for name in self._outbox.due(now) if name in self._channels]

    def _dispatch(self, stop: threading.Event, doorbell: threading.Event) -> None:
        """Start a lane for every destination that has something due and none running."""
        self._lanes = {name: lane for name, lane in self._lanes.items() if lane.is_alive()}
        waiting = [name for name in self._due(self._clock()) if name not in self._lanes]
        # Those who had their turn longest ago go first, should there be more than lanes.
        for name in sorted(waiting, key=lambda name: self._turns.get(name, 0)):
            if len(self._lanes) >= MAX_LANES:
                break
            self._turns[name] = max(self._turns.values(), default=0) + 1
            lane = threading.Thread(
                target=self._take_turn, args=(name, stop, doorbell), name=f"notifier-{name}", daemon=True
            )
            self._lanes[name] = lane
            lane.start()

    def _take_turn(self, name: str, stop: threading.Event, doorbell: threading.Event) -> None:
        if self._drain(name, self._clock, stop, TURN) == TURN:
            doorbell.set()  # there may be more

    def _drain(self, name: str, clock: Callable[[], int], stop: threading.Event, turn: int | None) -> int:
        """Send what is due for one destination, one after the other; the number of attempts."""
        attempts = 0
        try:
            while attempts != turn and not stop.is_set():
                claimed = self._outbox.claim(clock(), self._holder, self._lease_us, 1, (name,))
                if not claimed:
                    break
                self._deliver(claimed[0], clock)
                attempts += 1
        except Exception as error:  # the lane ends, the lease runs out, and another lane tries again
            self._complain(error, name)
        return attempts

    def _complain(self, error: Exception, destination: str = "") -> None:
        said, at = self._troubles.get(destination, ("", 0.0))
        if repr(error) == said and time.monotonic() - at < QUIET_S:
            return
        self._troubles[destination] = (repr(error), time.monotonic())
        where = {"destination": destination} if destination else {}
        if isinstance(error, StorageError):
            log.warning("outbox_unavailable", error=str(error), **where)
        else:
            log.error("notifier_failed", error=repr(error), exc_info=error, **where)

    def _deliver(self, delivery: Delivery, clock: Callable[[], int]) -> None:
        outcome = self._attempt(delivery, clock())
        now = clock()
        verdict = judge(outcome, delivery.attempts + 1, now, self._jitter(), delivery.throttles)
        settled = self._outbox.settle(delivery, verdict, outcome, now)
        log.info(
            "delivery_attempted",
            destination=delivery.destination,
            delivery=delivery.id,
            alert=delivery.alert_id,
            seq=delivery.seq,
            attempt=delivery.attempts + 1,
            decision=verdict.decision.value,
            outcome=outcome.word,
            latency_ms=round(outcome.latency_ms, 1),
            settled=settled,
        )

    def _attempt(self, delivery: Delivery, now: int) -> Outcome:
        channel = self._channels.get(delivery.destination)
        try:
            if channel is None:  # removed by a reload since it was claimed
                return Outcome(0.0, error=ErrorKind.UNRENDERABLE)
            message = channel.compose(delivery, now)
        except Exception as error:  # a payload that cannot be told must not stop those behind it
            log.error("delivery_unrenderable", delivery=delivery.id, error=type(error).__name__)
            return Outcome(0.0, error=ErrorKind.UNRENDERABLE)
        return channel.read(self._sender.post(message.url, message.headers, message.body))
