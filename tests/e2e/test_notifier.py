"""The notifier against real receivers and a real database; only the clock is ours."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog
from standardwebhooks import Webhook

from alerts.delivery import SECOND_US, Delivery, DeliveryStatus, DestinationStatus, Outcome, address
from alerts.retry import WAITS_S
from alerts.webhook import WebhookChannel
from app.database.engine import Database
from app.database.outbox import SqlOutbox
from app.database.tables import metadata
from app.notifier import AT_ONCE, SAFE_PART, Notifier, real_clock
from app.notifier import LEASE_US as LEASE_IN_USE_US
from app.outbound import DEADLINE_S, HttpSender
from consumers.errors import StorageBusy
from tests.e2e.notifier_desk import SECRET, T0, Desk, chat, crm, in_turn, running, status, told
from tests.e2e.running import until
from tests.e2e.webhook_receiver import Exchange, listening

LEASE_US = 60 * SECOND_US


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    database = Database(f"sqlite:///{tmp_path / 'desk.db'}")
    metadata.create_all(database.engine)
    yield Desk(database)
    database.close()


# --- one message ----------------------------------------------------------------------------------------------


def test_a_webhook_gets_a_message_that_standard_webhooks_verify(desk: Desk) -> None:
    with listening() as receiver:
        notifier = desk.notifier(crm(receiver))
        desk.put("al_1", 1)
        assert notifier.run_once(real_clock()) == 1
        (request,) = receiver.requests
    message = Webhook(SECRET).verify(request.body, request.headers)
    assert (message["type"], message["data"]["id"]) == ("alert.firing", "al_1")
    assert request.headers["webhook-id"] == desk.only().webhook_id
    assert desk.only().status is DeliveryStatus.SENT


def test_slack_gets_a_card_and_must_say_ok(desk: Desk) -> None:
    with listening(in_turn(status(200, b"invalid_blocks"), status(200, b"ok"))) as receiver:
        notifier = desk.notifier(chat(receiver))
        desk.put("al_1", 1, to=("chat",))
        notifier.run_once(T0)
        assert desk.only().detail == "HTTP 200, not_ok"
        notifier.run_once(desk.only().next_at)
        assert json.loads(receiver.requests[1].body)["blocks"][0]["type"] == "header"
    assert desk.decisions(desk.only()) == ["retry", "sent"]


def test_a_receiver_that_fails_is_tried_by_the_schedule_and_then_parked_with_one_id(desk: Desk) -> None:
    with listening(status(500, b"oh no")) as receiver:
        notifier = desk.notifier(crm(receiver))
        desk.put("al_1", 1)
        now, times = T0, []
        while desk.only().status is DeliveryStatus.QUEUED:
            assert notifier.run_once(now - 1) == 0 or not times
            times.append(now)
            notifier.run_once(now)
            now = desk.only().next_at
        ids = {request.headers["webhook-id"] for request in receiver.requests}
        assert len(receiver.requests) == len(WAITS_S)
        assert ids == {desk.only().webhook_id}
        stamps = [int(request.headers["webhook-timestamp"]) for request in receiver.requests]
    assert [(each - T0) // SECOND_US for each in times] == [
        sum(WAITS_S[: no + 1]) for no in range(len(WAITS_S))
    ]
    assert [each - stamps[0] for each in stamps] == [sum(WAITS_S[: no + 1]) for no in range(len(WAITS_S))]
    assert desk.only().status is DeliveryStatus.PARKED
    assert desk.decisions(desk.only())[-2:] == ["retry", "parked"]


def test_retry_after_is_honoured_for_the_whole_destination(desk: Desk) -> None:
    with listening(in_turn(status(429, retry_after="120"), status(200))) as receiver:
        notifier = desk.notifier(crm(receiver))
        desk.put("al_1", 1)
        desk.put("al_2", 1)
        until = T0 + 120 * SECOND_US
        assert notifier.run_once(T0) == 1
        assert notifier.run_once(until - 1) == 0
        assert len(receiver.requests) == 1
        assert notifier.run_once(until) == 2
    assert {row.attempts for row in desk.rows()} == {1}


def test_410_disables_and_what_waits_is_told_in_order_when_somebody_enables(desk: Desk) -> None:
    with listening(in_turn(status(410), status(204))) as receiver:
        notifier = desk.notifier(crm(receiver))
        desk.put("al_1", 1, 2)
        assert notifier.run_once(T0) == 1
        assert notifier.run_once(T0 + 10**14) == 0
        assert [state.status for state in desk.outbox.destinations()] == [DestinationStatus.DISABLED]
        desk.outbox.enable("crm", T0)
        assert notifier.run_once(T0) == 2
    assert {row.status for row in desk.rows()} == {DeliveryStatus.SENT}


def test_a_redirect_is_a_failure_and_never_followed(desk: Desk) -> None:
    with listening() as second, listening(status(307, location=second.url)) as first:
        desk.put("al_1", 1)
        desk.notifier(crm(first)).run_once(T0)
        assert second.requests == []
    assert desk.only().detail == "HTTP 307"
    assert desk.only().status is DeliveryStatus.QUEUED


def test_a_private_address_is_refused_at_sending_and_nothing_of_it_is_written_down(desk: Desk) -> None:
    with listening() as receiver:
        desk.put("al_1", 1)
        desk.notifier(crm(receiver), sender=HttpSender()).run_once(T0)
        assert receiver.requests == []
    (attempt,) = desk.attempts(desk.only())
    assert (attempt.outcome, attempt.detail) == ("retry", "refused_address")


def test_a_payload_that_cannot_be_told_does_not_stop_those_behind_it(desk: Desk) -> None:
    with listening() as receiver:
        notifier = desk.notifier(chat(receiver))
        spoilt = address(
            ["chat"],
            kind="alert.firing",
            alert_id="al_0",
            account_id="",
            episode=1,
            seq=1,
            payload="{",
            now=T0 - 1,
        )
        with desk.database.write() as connection:
            desk.outbox.enqueue(connection, spoilt)
        desk.put("al_1", 1, to=("chat",))
        notifier.run_once(T0)
        notifier.run_once(T0 + SECOND_US)
        assert len(receiver.requests) == 1
    assert [row.detail for row in desk.rows()] == ["HTTP 200", "unrenderable"]


# --- order and outages ----------------------------------------------------------------------------------------


def test_while_one_alert_is_retried_the_others_go_on_and_its_own_order_is_kept(desk: Desk) -> None:
    def refuse_the_first_of_al_1(exchange: Exchange) -> None:
        body = json.loads(exchange.request.body)
        first = sum(1 for request in receiver.requests if b"al_1" in request.body) == 1
        exchange.answer(500 if body["data"]["id"] == "al_1" and first else 200)

    with listening(refuse_the_first_of_al_1) as receiver:
        notifier = desk.notifier(crm(receiver))
        desk.put("al_1", 1)
        desk.put("al_1", 2, kind="alert.resolved")
        desk.put("al_2", 1)
        notifier.run_once(T0)
        assert told(receiver) == [("al_1", "firing"), ("al_2", "firing")]
        notifier.run_once(T0 + 5 * SECOND_US)
        assert told(receiver)[2:] == [("al_1", "firing"), ("al_1", "resolved")]


def test_an_alert_that_opened_and_resolved_during_an_outage_is_told_as_both_in_order(desk: Desk) -> None:
    with listening(Exchange.hang_up) as receiver:
        notifier = desk.notifier(crm(receiver))
        desk.put("al_1", 1)
        notifier.run_once(T0)
        desk.put("al_1", 2, kind="alert.resolved", at=T0 + SECOND_US)
        notifier.run_once(T0 + SECOND_US)
        assert len(receiver.requests) == 1
        receiver.answer = status(200)
        notifier.run_once(T0 + 5 * SECOND_US)
        assert told(receiver)[1:] == [("al_1", "firing"), ("al_1", "resolved")]


def test_a_receiver_that_hangs_does_not_delay_another(desk: Desk) -> None:
    with listening(Exchange.say_nothing) as hanging, listening() as quick:
        notifier = desk.notifier(crm(hanging, "hanging"), crm(quick, "quick"), poll_s=0.01)
        for number in range(20):
            desk.put(f"al_{number}", 1, to=("hanging", "quick"))
        with running(notifier):
            hanging.wait_for(1)
            started = time.monotonic()
            quick.wait_for(20)
            assert time.monotonic() - started < 8.0  # the first attempt there is still under way
            assert len(hanging.requests) == 1
            hanging.close()


def test_a_flapping_receiver_gets_everything_in_order(desk: Desk) -> None:
    flips = iter(range(10**6))
    with listening(lambda exchange: exchange.answer(500 if next(flips) % 2 else 200)) as receiver:
        notifier = desk.notifier(crm(receiver))
        for number in range(10):
            desk.put(f"al_{number}", 1, 2, 3)
        now = T0
        while any(row.status is not DeliveryStatus.SENT for row in desk.rows()):
            notifier.run_once(now)
            now += 3600 * SECOND_US
        assert {row.status for row in desk.rows()} == {DeliveryStatus.SENT}
        order: dict[str, list[str]] = {}
        by_id = {row.webhook_id: row for row in desk.rows()}
        for request in receiver.requests:
            row = by_id[request.headers["webhook-id"]]
            order.setdefault(row.alert_id, []).append(str(row.seq))
    assert all(seqs == sorted(seqs) and set(seqs) == {"1", "2", "3"} for seqs in order.values())


# --- several notifiers, and dead ones -------------------------------------------------------------------------


class DyingSender:
    """Sends, and then is no more, as far as the others can tell: what it knows comes when it is too late."""

    def __init__(self, sender: HttpSender) -> None:
        self._sender = sender
        self.buried = threading.Event()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        outcome = self._sender.post(url, headers, body)
        self.buried.wait(20)
        return outcome


def test_what_a_killed_notifier_had_in_its_hands_is_told_again_under_the_same_id(desk: Desk) -> None:
    with listening() as receiver:
        channel = crm(receiver)
        desk.put("al_1", 1)
        desk.put("al_1", 2, kind="alert.resolved")
        sender = DyingSender(HttpSender(allow_private=True))
        dying = threading.Thread(target=desk.notifier(channel, sender=sender).run_once, args=(T0,))
        dying.start()
        receiver.wait_for(1)
        survivor = desk.notifier(channel)
        assert survivor.run_once(T0 + LEASE_US - 1) == 0
        assert survivor.run_once(T0 + LEASE_US) == 2
        sender.buried.set()
        dying.join()
        assert told(receiver) == [("al_1", "firing"), ("al_1", "firing"), ("al_1", "resolved")]
        first, again, _ = receiver.requests
        assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert [desk.decisions(row) for row in desk.rows()] == [["sent"], ["sent"]]


def test_six_notifiers_at_once_send_everything_exactly_once(desk: Desk) -> None:
    with listening() as receiver:
        notifiers = [desk.notifier(crm(receiver)) for _ in range(6)]
        for number in range(40):
            desk.put(f"al_{number}", 1, 2)
        threads = [threading.Thread(target=notifier.run_once, args=(T0,)) for notifier in notifiers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        notifiers[0].run_once(T0)  # what was blocked by an earlier one under way when a thread last looked
        ids = Counter(request.headers["webhook-id"] for request in receiver.requests)
    assert len(ids) == 80
    assert max(ids.values()) == 1


# --- the loop -------------------------------------------------------------------------------------------------


def test_a_ring_at_the_door_sends_at_once(desk: Desk) -> None:
    with listening() as receiver:
        notifier = desk.notifier(crm(receiver), poll_s=60.0)
        with running(notifier) as loop:
            desk.put("al_1", 1, at=real_clock())
            loop.doorbell.set()
            receiver.wait_for(1, timeout_s=10.0)


def test_slack_hears_no_more_than_one_message_a_second(desk: Desk) -> None:
    with listening() as receiver:
        notifier = desk.notifier(chat(receiver), poll_s=0.02)
        for number in range(3):
            desk.put(f"al_{number}", 1, to=("chat",))
        with running(notifier):
            times = [request.at for request in receiver.wait_for(3)]
    assert all(later - earlier >= 0.95 for earlier, later in pairwise(times))


class LockedAtFirst:
    """An outbox whose database is locked when it is first asked."""

    def __init__(self, outbox: SqlOutbox) -> None:
        self._outbox = outbox
        self._refusals = 1

    def due(self, now: int) -> Sequence[str]:
        if self._refusals:
            self._refusals -= 1
            raise StorageBusy("the database is locked by another process")
        return self._outbox.due(now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)


def test_a_database_that_is_away_for_a_moment_stops_nothing_for_good(desk: Desk) -> None:
    with listening() as receiver:
        channel = crm(receiver)
        desk.notifier(channel)
        desk.put("al_1", 1)
        outbox = LockedAtFirst(desk.outbox)
        notifier = Notifier(outbox, HttpSender(allow_private=True), {"crm": channel})
        with running(notifier) as loop:
            loop.doorbell.set()
            receiver.wait_for(1)


class RefusesNow:
    """An outbox whose database refuses what ``refused`` names."""

    def __init__(self, outbox: SqlOutbox) -> None:
        self._outbox = outbox
        self.refused = ""
        self.tried = threading.Semaphore(0)

    def __getattr__(self, name: str) -> Any:
        if name != self.refused:
            return getattr(self._outbox, name)
        self.tried.release()
        raise StorageBusy("the database is locked by another process")


def test_answers_that_come_while_the_database_is_away_are_written_down_when_it_is_back(desk: Desk) -> None:
    outbox = RefusesNow(desk.outbox)

    def answer(exchange: Exchange) -> None:
        if b"al_0" not in exchange.request.body:  # its answer makes the others go out all at once
            outbox.refused = "settle_and_claim"
        exchange.answer()

    with listening(answer) as receiver:
        for number in range(1 + AT_ONCE):
            desk.put(f"al_{number}", 1)
        with running(desk.notifier(crm(receiver), outbox=outbox, poll_s=0.02)) as loop:
            receiver.wait_for(1 + AT_ONCE)
            for _ in range(2):
                assert outbox.tried.acquire(timeout=10)
            outbox.refused = ""
            until(lambda: {row.status for row in desk.rows()} == {DeliveryStatus.SENT}, "all are settled")
            loop.doorbell.set()
        assert len(receiver.requests) == 1 + AT_ONCE


def test_what_is_out_is_heard_also_if_nothing_can_be_claimed_meanwhile(desk: Desk) -> None:
    outbox, let_go = RefusesNow(desk.outbox), threading.Event()

    def answer(exchange: Exchange) -> None:
        if b"al_1" in exchange.request.body:
            outbox.refused = "claim"
        if b"al_2" in exchange.request.body:
            let_go.wait(10)
        exchange.answer()

    def settled() -> int:
        return len([row for row in desk.rows() if row.settled_at])

    with listening(answer) as receiver:
        for number in range(3):
            desk.put(f"al_{number}", 1)
        with running(desk.notifier(crm(receiver), outbox=outbox, poll_s=0.02)):
            receiver.wait_for(3)
            until(lambda: settled() == 2, "what was answered is settled, and nothing else was due")
            desk.put("al_3", 1)
            assert outbox.tried.acquire(timeout=10)
            let_go.set()
            until(lambda: settled() >= 3, "what was out is settled")
            outbox.refused = ""
            receiver.wait_for(4)
        assert len(receiver.requests) == 4


def test_answers_are_given_up_when_their_leases_are_over(desk: Desk) -> None:
    outbox, ahead = RefusesNow(desk.outbox), [0]
    outbox.refused = "settle_and_claim"
    with listening() as receiver:
        desk.put("al_1", 1)
        notifier = desk.notifier(crm(receiver), outbox=outbox, clock=lambda: T0 + ahead[0], poll_s=0.02)
        with running(notifier):
            assert outbox.tried.acquire(timeout=10)
            ahead[0] = LEASE_US  # from here on it may be in other hands
            receiver.wait_for(2)
            outbox.refused = ""
            until(lambda: desk.only().status is DeliveryStatus.SENT, "the second is settled")
        assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


class StandsStill:
    """An outbox whose process is stopped just when it has claimed something, for ``for_us``, once."""

    def __init__(self, outbox: SqlOutbox, for_us: int) -> None:
        self._outbox = outbox
        self._for_us = for_us
        self.ahead = 0
        self.claimed = 0

    def claim(self, *arguments: Any) -> Sequence[Delivery]:
        found = self._outbox.claim(*arguments)
        self.ahead = max(self.ahead, self._for_us)
        self.claimed += len(found)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)


def test_what_must_be_left_of_a_lease_is_as_long_as_the_longest_attempt() -> None:
    assert LEASE_IN_USE_US // SAFE_PART >= DEADLINE_S * SECOND_US


@pytest.mark.parametrize("for_us", [LEASE_US * 3 // 4 + 1, LEASE_US, 10 * LEASE_US])
def test_a_notifier_that_stood_still_does_not_send_what_others_may_have_sent_since(
    desk: Desk, for_us: int
) -> None:
    outbox = StandsStill(desk.outbox, for_us)
    with listening() as receiver, structlog.testing.capture_logs() as lines:
        desk.put("al_1", 1)
        notifier = desk.notifier(crm(receiver), outbox=outbox, clock=lambda: T0 + outbox.ahead, poll_s=0.02)
        with running(notifier):
            until(lambda: "delivery_unsent" in [line["event"] for line in lines], "it is dropped")
            if for_us < LEASE_US:  # nobody may claim it yet
                assert (outbox.claimed, receiver.requests) == (1, [])
                outbox.ahead = LEASE_US
            receiver.wait_for(1)
            until(lambda: desk.only().status is DeliveryStatus.SENT, "it is sent")
        assert len(receiver.requests) == 1


def test_a_stop_waits_for_the_answer_that_is_still_out(desk: Desk) -> None:
    let_go = threading.Event()

    def slow(exchange: Exchange) -> None:
        let_go.wait(10)
        exchange.answer()

    with listening(slow) as receiver:
        desk.put("al_1", 1)
        with running(desk.notifier(crm(receiver))) as loop:
            receiver.wait_for(1)
            loop.stop.set()
            let_go.set()
        assert desk.only().status is DeliveryStatus.SENT


def test_a_reload_takes_new_channels_and_leaves_removed_ones_alone(desk: Desk) -> None:
    with listening() as old, listening() as new:
        notifier = desk.notifier(crm(old))
        notifier.use({"crm": crm(new)})
        desk.put("al_1", 1)
        notifier.run_once(T0)
        notifier.use({})
        desk.put("al_2", 1)
        assert notifier.run_once(T0) == 0
        assert (len(old.requests), len(new.requests)) == (0, 1)


def test_no_log_line_holds_an_address_or_a_secret(desk: Desk) -> None:
    with listening(status(500)) as receiver, structlog.testing.capture_logs() as lines:
        channel = WebhookChannel("crm", receiver.url + "/canary-path", (SECRET,))
        desk.put("al_1", 1)
        desk.notifier(channel).run_once(T0)
    (line,) = lines
    assert (line["event"], line["destination"], line["decision"]) == ("delivery_attempted", "crm", "retry")
    assert "canary" not in str(lines)
    assert SECRET[6:] not in str(lines)
    assert str(receiver.port) not in str(lines)
