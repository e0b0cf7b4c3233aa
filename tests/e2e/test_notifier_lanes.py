"""How the notifier sends many messages at once, and what one that is slow, refused or late costs the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from alerts.delivery import SECOND_US, Delivery, DeliveryStatus, DestinationStatus, Settlement
from app.database.engine import Database
from app.database.outbox import SqlOutbox
from app.database.tables import metadata
from app.notifier import AT_ONCE, MAX_LANES, real_clock
from tests.e2e.notifier_desk import T0, Desk, crm, in_turn, running, status
from tests.e2e.webhook_receiver import Exchange, listening, say_ok


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    database = Database(f"sqlite:///{tmp_path / 'desk.db'}")
    metadata.create_all(database.engine)
    yield Desk(database)
    database.close()


class Crowd:
    """Answers once so many requests are out at the same time; notes the most there ever were."""

    def __init__(self, size: int, then: Callable[[Exchange], None]) -> None:
        self._met = threading.Barrier(size)
        self._then = then
        self._lock = threading.Lock()
        self._out = self.most = 0

    def __call__(self, exchange: Exchange) -> None:
        with self._lock:
            self._out += 1
            self.most = max(self.most, self._out)
        self._met.wait(10)
        with self._lock:
            self._out -= 1
        self._then(exchange)


class WatchedOutbox:
    """The outbox, and word of what was settled."""

    def __init__(self, outbox: SqlOutbox) -> None:
        self._outbox = outbox
        self._news = threading.Condition()
        self._settled = 0

    def settle(self, settlements: Sequence[Settlement]) -> Collection[int]:
        return self._told(self._outbox.settle(settlements))

    def settle_and_claim(self, *arguments: Any) -> tuple[Collection[int], Sequence[Delivery]]:
        written, claimed = self._outbox.settle_and_claim(*arguments)
        return self._told(written), claimed

    def _told(self, written: Collection[int]) -> Collection[int]:
        with self._news:
            self._settled += len(written)
            self._news.notify_all()
        return written

    def wait_for(self, count: int) -> None:
        with self._news:
            assert self._news.wait_for(lambda: self._settled >= count, 20), f"{self._settled} of {count}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)


def test_a_destination_that_answers_well_gets_several_messages_at_once_and_no_more(desk: Desk) -> None:
    crowd = Crowd(AT_ONCE, say_ok)
    with listening(in_turn(say_ok, crowd)) as receiver:
        for number in range(1 + 3 * AT_ONCE):
            desk.put(f"al_{number}", 1)
        assert desk.notifier(crm(receiver)).run_once(T0) == 1 + 3 * AT_ONCE
    assert crowd.most == AT_ONCE
    assert {row.status for row in desk.rows()} == {DeliveryStatus.SENT}


def test_after_an_answer_that_is_not_good_messages_go_one_at_a_time(desk: Desk) -> None:
    alone = Crowd(1, status(500))
    with listening(in_turn(say_ok, *[Crowd(AT_ONCE, status(500))] * AT_ONCE, alone)) as receiver:
        for number in range(1 + AT_ONCE + 5):
            desk.put(f"al_{number}", 1)
        assert desk.notifier(crm(receiver)).run_once(T0) == 1 + AT_ONCE + 5
    assert alone.most == 1


@pytest.mark.parametrize("answer", [status(410), status(429, retry_after="120")])
def test_what_was_not_out_when_the_receiver_wants_no_more_is_not_sent_and_loses_no_attempt(
    desk: Desk, answer: Callable[[Exchange], None]
) -> None:
    with listening(in_turn(say_ok, Crowd(AT_ONCE, answer))) as receiver:
        for number in range(20):
            desk.put(f"al_{number}", 1)
        assert desk.notifier(crm(receiver)).run_once(T0) == 1 + AT_ONCE
        assert len(receiver.requests) == 1 + AT_ONCE
    left = [row for row in desk.rows() if row.status is not DeliveryStatus.SENT]
    assert {(row.status, row.attempts, row.lease_until) for row in left} == {(DeliveryStatus.QUEUED, 0, None)}
    assert len(left) == 19
    (crm_state,) = desk.outbox.destinations()
    assert crm_state.status is DestinationStatus.DISABLED or crm_state.not_before > T0 + 110 * SECOND_US


def test_a_slow_answer_delays_neither_the_others_nor_their_being_written_down(desk: Desk) -> None:
    let_go = threading.Event()

    def answer(exchange: Exchange) -> None:
        if b"slow" in exchange.request.body:
            let_go.wait(20)
        exchange.answer()

    outbox = WatchedOutbox(desk.outbox)
    with listening(answer) as receiver:
        notifier = desk.notifier(crm(receiver), outbox=outbox, deadline_s=30.0, poll_s=60.0)
        desk.put("first", 1)
        for number in range(20):
            desk.put("slow" if number == 5 else f"al_{number}", 1, 2)
        with running(notifier) as loop:
            outbox.wait_for(1 + 2 * 19)
            desk.put("later", 1, at=real_clock())
            loop.doorbell.set()
            outbox.wait_for(1 + 2 * 19 + 1)
            assert {row.alert_id for row in desk.rows() if row.status is not DeliveryStatus.SENT} == {"slow"}
            let_go.set()
            outbox.wait_for(1 + 2 * 20 + 1)


def test_a_stop_begins_nothing_new_and_leaves_nothing_leased(desk: Desk) -> None:
    let_go = threading.Event()

    def hold(exchange: Exchange) -> None:
        let_go.wait(20)
        exchange.answer()

    with listening(in_turn(say_ok, hold)) as receiver:
        for number in range(30):
            desk.put(f"al_{number}", 1)
        with running(desk.notifier(crm(receiver), deadline_s=30.0)) as loop:
            receiver.wait_for(1 + AT_ONCE)
            loop.stop.set()
            let_go.set()
        assert len(receiver.requests) == 1 + AT_ONCE
    assert desk.outbox.counts() == {
        ("crm", DeliveryStatus.SENT): 1 + AT_ONCE,
        ("crm", DeliveryStatus.QUEUED): 29 - AT_ONCE,
    }


class LateNews:
    """An outbox in which something happens just after a lane has looked for the last time.

    Whoever looks for the third time from outside a lane finds nothing.
    """

    def __init__(self, outbox: SqlOutbox, happen: Callable[[], None]) -> None:
        self._outbox = outbox
        self._happen = happen
        self._happened = False
        self.looks = threading.Semaphore(0)
        self._looked = 0

    def due(self, now: int) -> Sequence[str]:
        if threading.current_thread().name != "notifier-crm":
            self._looked += 1
            self.looks.release()
        return self._outbox.due(now) if self._looked < 3 else []

    def claim(self, *arguments: Any) -> Sequence[Delivery]:
        return self._looked_for(self._outbox.claim(*arguments))

    def settle_and_claim(self, *arguments: Any) -> tuple[Collection[int], Sequence[Delivery]]:
        written, claimed = self._outbox.settle_and_claim(*arguments)
        return written, self._looked_for(claimed)

    def _looked_for(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        if not claimed and not self._happened:
            self._happened = True
            self._happen()
        return claimed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)


def test_a_ring_that_comes_while_a_lane_ends_is_not_missed(desk: Desk) -> None:
    def happen() -> None:
        desk.put("al_2", 1, at=real_clock())
        for _ in range(2):  # with the third look begun, the second has told whom it had to
            loop.doorbell.set()
            assert outbox.looks.acquire(timeout=10)

    with listening() as receiver:
        outbox = LateNews(desk.outbox, happen)
        desk.put("al_1", 1)
        with running(desk.notifier(crm(receiver), outbox=outbox, poll_s=60.0)) as loop:
            assert outbox.looks.acquire(timeout=10)
            receiver.wait_for(2)


def test_destinations_that_wait_for_a_lane_get_the_next_that_is_free(desk: Desk) -> None:
    with listening() as receiver:
        names = [f"crm-{number}" for number in range(MAX_LANES + 8)]
        notifier = desk.notifier(*(crm(receiver, name) for name in names), poll_s=60.0)
        desk.put("al_1", 1, to=names)
        with running(notifier):
            receiver.wait_for(len(names))


def test_a_crash_within_one_attempt_costs_the_others_nothing(desk: Desk) -> None:
    class Faulty:
        """A channel that cannot read one of its answers."""

        def __init__(self, channel: Any) -> None:
            self._channel = channel

        def read(self, outcome: Any) -> Any:
            if outcome.status_code == 202:
                raise LookupError("nobody foresaw this")
            return outcome

        def __getattr__(self, name: str) -> Any:
            return getattr(self._channel, name)

    with listening(in_turn(say_ok, status(202), say_ok)) as receiver:
        for number in range(5):
            desk.put(f"al_{number}", 1)
        assert desk.notifier(Faulty(crm(receiver))).run_once(T0) == 5
    assert desk.outbox.counts() == {("crm", DeliveryStatus.SENT): 4, ("crm", DeliveryStatus.SENDING): 1}
