"""The notifier: claims what is due, sends it with no transaction open, settles it. May die at any line.

Each destination has a lane, a thread that claims and settles while there is something to send, and a thread for each
message that is out: a receiver that hangs delays nobody else, and a slow answer only itself. What a lane claims it
sends at once, so a lease need outlive one attempt only, and no more than AT_ONCE messages are out or answered and not
yet written down. Those of a killed notifier are claimed again when the lease runs out, and told again under the same
ids. One that stood still for so long drops what it had claimed, unsent; while the database is away answers are kept, to
be written down when it is back, if their leases last until then.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import structlog

from alerts.delivery import SECOND_US, Channel, Decision, Delivery, ErrorKind, Outbox, Outcome, Settlement
from alerts.retry import judge
from app.database.leases import new_holder
from consumers.errors import StorageError

LEASE_US = 60 * SECOND_US
SAFE_PART = 4  # of a lease as long as the longest attempt: none begins with less left, as another may soon make it too
POLL_S = 0.2  # what other processes write, and a due time that passes, ring no bell
MAX_LANES = 32
# Messages under way to a destination that answers well, else one: few enough for a small receiver, and at 100 ms for
# claiming, sending and settling on a busy machine still eighty a second.
AT_ONCE = 8
GATHER_S = 0.02  # an answer waits so long for others, to be settled with them: eight threads take it to send
TURN = 50  # messages that a lane sends before others may have its thread
GRACE_S = 8.0  # how long a stop waits for answers that are still out
TROUBLE_PAUSE_S = 1.0
AGAIN_S = 0.5  # between two tries to write answers down
QUIET_S = 60.0  # the same trouble is told once in so long

log = structlog.get_logger("bellwether.notifier")


class Sender(Protocol):
    """What carries a message there and an outcome back."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """One attempt. Ends within a deadline, and never raises for what a receiver does."""


def real_clock() -> int:
    """UTC epoch microseconds."""
    return time.time_ns() // 1000


class _Unsent(Exception):
    """An attempt that was not made: its lease is all but over, so another may be making it."""


class _Lane:
    """What is under way to one destination. Belongs to its thread; others may only fill the inbox."""

    def __init__(
        self, name: str, clock: Callable[[], int], stop: threading.Event, work: Callable[[_Lane], None]
    ) -> None:
        self.name = name
        self.clock = clock
        self.stop = stop
        self.thread = threading.Thread(target=work, args=(self,), name=f"notifier-{name}", daemon=True)
        self.inbox: queue.SimpleQueue[Settlement | BaseException | None] = queue.SimpleQueue()
        self.out = 0
        self.answers: list[Settlement] = []  # to be written down
        self.attempts = 0

    def send(self, delivery: Delivery, attempt: Callable[[Delivery, Callable[[], int]], Settlement]) -> None:
        """Make an attempt in a thread of its own; what comes of it arrives in the inbox."""

        def work() -> None:
            try:
                self.inbox.put(attempt(delivery, self.clock))
            except BaseException as error:  # the lane must not wait for ever
                self.inbox.put(error)

        self.out += 1
        self.attempts += 1
        threading.Thread(target=work, name=f"sending-{self.name}", daemon=True).start()

    def gather(self, patience_s: float | None) -> list[Settlement | BaseException | None]:
        """Wait for an answer, or None for a word that more is due; then a moment for others. Empty if none came."""
        try:
            told = [self.inbox.get(timeout=patience_s)]
        except queue.Empty:
            return []
        last = time.monotonic() + GATHER_S
        while len(told) < self.out:
            try:
                told.append(self.inbox.get(timeout=max(0.0, last - time.monotonic())))
            except queue.Empty:
                break
        return told


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
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}  # under the lock: one that is not in here hears nothing any more
        self._crowded = False  # destinations wait for a lane
        self._turns: dict[str, int] = {}  # when each destination last had a lane, in turns
        self._well: set[str] = set()  # destinations whose last answer was good

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
        with self._lock:
            lanes = list(self._lanes.values())
        for lane in lanes:
            lane.thread.join(max(0.0, last - time.monotonic()))

    def run_once(self, now: int) -> int:
        """Send everything that is due at ``now``, each destination in a lane of its own; the number of attempts."""
        never, unheard = threading.Event(), threading.Event()
        lanes = [self._start(name, lambda: now, never, unheard) for name in self._due(now)]
        for lane in lanes:
            lane.thread.join()
        return sum(lane.attempts for lane in lanes)

    def _due(self, now: int) -> list[str]:
        return [name for name in self._outbox.due(now) if name in self._channels]

    # --- lanes

    def _dispatch(self, stop: threading.Event, doorbell: threading.Event) -> None:
        """Start a lane for every destination that has something due, and tell those that run."""
        due = self._due(self._clock())
        with self._lock:
            for name in due:
                if name in self._lanes:
                    self._lanes[name].inbox.put(None)
            waiting = [name for name in due if name not in self._lanes]
            free = max(0, MAX_LANES - len(self._lanes))
            self._crowded = len(waiting) > free
        # Those who had their turn longest ago go first, should there be more than lanes.
        for name in sorted(waiting, key=lambda name: self._turns.get(name, 0))[:free]:
            self._turns[name] = max(self._turns.values(), default=0) + 1
            self._start(name, self._clock, stop, doorbell)

    def _start(
        self, name: str, clock: Callable[[], int], stop: threading.Event, doorbell: threading.Event
    ) -> _Lane:
        lane = _Lane(name, clock, stop, lambda lane: self._run(lane, doorbell))
        with self._lock:
            self._lanes[name] = lane
        lane.thread.start()
        return lane

    def _run(self, lane: _Lane, doorbell: threading.Event) -> None:
        try:
            self._drain(lane)
        except Exception as error:  # the lane ends, its leases run out, and another lane tries again
            self._complain(error, lane.name)
        finally:
            with self._lock:
                if self._lanes.get(lane.name) is lane:
                    del self._lanes[lane.name]
        if self._crowded:
            doorbell.set()  # a lane is free

    def _drain(self, lane: _Lane) -> None:
        """Send what is due for one destination, until nothing is due, out or to be written down."""
        more = True
        while True:
            try:
                # What is settled makes way for the next of its alert.
                if lane.answers:
                    more = self._settle(lane)
                elif more and (room := self._room(lane)) > 0:
                    more = self._claim(lane, room)
            except StorageError as error:
                self._complain(error, lane.name)
                more = True  # of what is out and answered nothing is forgotten; whether there is more is not known
                self._forget_late(lane)
            if lane.out or lane.answers:
                more = self._hear(lane) or more
            elif self._leave(lane):
                return
            else:
                more = True

    def _claim(self, lane: _Lane, room: int) -> bool:
        """Send what is claimed; whether there may be more."""
        claimed = self._outbox.claim(lane.clock(), self._holder, self._lease_us, room, (lane.name,))
        return self._send(lane, claimed, room)

    def _send(self, lane: _Lane, claimed: Sequence[Delivery], room: int) -> bool:
        for delivery in claimed:
            lane.send(delivery, self._attempt)
        return len(claimed) == room

    def _room(self, lane: _Lane) -> int:
        """How many messages a lane may claim."""
        return 0 if self._is_over(lane) else (AT_ONCE if lane.name in self._well else 1) - lane.out

    def _hear(self, lane: _Lane) -> bool:
        """Take in what came of some attempts; whether more is due."""
        told = lane.gather(AGAIN_S if lane.answers else None)
        for each in told:
            if isinstance(each, Settlement):
                lane.answers.append(each)
            elif each is not None:
                self._complain(each, lane.name)
        lane.out -= len(told) - told.count(None)
        return None in told

    def _is_over(self, lane: _Lane) -> bool:
        """Whether a lane claims no more: the service stops, or others wait for its thread."""
        return lane.stop.is_set() or (self._crowded and lane.attempts >= TURN)

    def _leave(self, lane: _Lane) -> bool:
        """End a lane that has nothing out, unless it was told of more just now."""
        with self._lock:
            if not self._is_over(lane) and not lane.inbox.empty():
                lane.inbox = queue.SimpleQueue()
                return False
            del self._lanes[lane.name]
            return True

    def _complain(self, error: BaseException, destination: str = "") -> None:
        said, at = self._troubles.get(destination, ("", 0.0))
        if repr(error) == said and time.monotonic() - at < QUIET_S:
            return
        self._troubles[destination] = (repr(error), time.monotonic())
        where = {"destination": destination} if destination else {}
        if isinstance(error, _Unsent):
            log.warning(
                "delivery_unsent", delivery=error.args[0], error="its lease was all but over", **where
            )
        elif isinstance(error, StorageError):
            log.warning("outbox_unavailable", error=str(error), **where)
        else:
            log.error("notifier_failed", error=repr(error), exc_info=error, **where)

    # --- messages

    def _settle(self, lane: _Lane) -> bool:
        """Write down what came of some attempts and send what is next, in one transaction: each waits for its turn to
        write. Whether there may be more. Raises StorageError: then it is still to be done.
        """
        if all(each.verdict.decision is Decision.SENT for each in lane.answers):
            self._well.add(lane.name)
        else:
            self._well.discard(lane.name)
        more = True
        if (room := self._room(lane)) > 0:
            written, claimed = self._outbox.settle_and_claim(
                lane.answers, lane.clock(), self._holder, self._lease_us, room
            )
            more = self._send(lane, claimed, room)
        else:
            written = self._outbox.settle(lane.answers)
        answers, lane.answers = lane.answers, []
        _tell(answers, written)
        return more

    def _forget_late(self, lane: _Lane) -> None:
        """Give up answers that others may have by now: their leases are over."""
        now = lane.clock()
        late = [each for each in lane.answers if _lease_left(each.delivery, now) <= 0]
        lane.answers = [each for each in lane.answers if each not in late]
        _tell(late, ())

    def _attempt(self, delivery: Delivery, clock: Callable[[], int]) -> Settlement:
        """Raises _Unsent for a delivery that was claimed long ago, as by a process that stood still since."""
        now = clock()
        if _lease_left(delivery, now) < self._lease_us // SAFE_PART:
            raise _Unsent(delivery.id)
        outcome = self._post(delivery, now)
        at = clock()
        verdict = judge(outcome, delivery.attempts + 1, at, self._jitter(), delivery.throttles)
        return Settlement(delivery, verdict, outcome, at)

    def _post(self, delivery: Delivery, now: int) -> Outcome:
        channel = self._channels.get(delivery.destination)
        try:
            if channel is None:  # removed by a reload since it was claimed
                return Outcome(0.0, error=ErrorKind.UNRENDERABLE)
            message = channel.compose(delivery, now)
        except Exception as error:  # a payload that cannot be told must not stop those behind it
            log.error("delivery_unrenderable", delivery=delivery.id, error=type(error).__name__)
            return Outcome(0.0, error=ErrorKind.UNRENDERABLE)
        return channel.read(self._sender.post(message.url, message.headers, message.body))


def _lease_left(delivery: Delivery, now: int) -> int:
    """Microseconds."""
    return (delivery.lease_until or 0) - now


def _tell(answers: Sequence[Settlement], written: Collection[int]) -> None:
    for each in answers:
        log.info(
            "delivery_attempted",
            destination=each.delivery.destination,
            delivery=each.delivery.id,
            alert=each.delivery.alert_id,
            seq=each.delivery.seq,
            attempt=each.delivery.attempts + 1,
            decision=each.verdict.decision.value,
            outcome=each.outcome.word,
            latency_ms=round(each.outcome.latency_ms, 1),
            settled=each.delivery.id in written,
        )
