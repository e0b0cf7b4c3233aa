"""What an outbox promises, asked of the one in memory and of the one in a database."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import replace

import pytest

from alerts.delivery import (
    SECOND_US,
    Decision,
    DeliveryStatus,
    DestinationStatus,
    ErrorKind,
    Outcome,
    Settlement,
    Verdict,
)
from alerts.retry import judge
from tests.contract.conftest import OpenDatabase
from tests.contract.memory_outbox import MemoryOutbox
from tests.contract.outbox_bench import BAD, LEASE, OK, T0, Bench, bench_on


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def bench(request: pytest.FixtureRequest, open_database: OpenDatabase) -> Bench:
    if request.param == "memory":
        memory = MemoryOutbox()
        return Bench(memory, None, memory.deliveries, memory.attempts)
    return bench_on(open_database(request.param))


# --- claiming -------------------------------------------------------------------------------------------------


def test_what_is_due_is_claimed_once_under_a_lease(bench: Bench) -> None:
    bench.put("al_1", 1)
    assert bench.outbox.due(T0) == ["crm"]
    (claimed,) = bench.claim()
    assert (claimed.status, claimed.lease_holder, claimed.lease_until) == (
        DeliveryStatus.SENDING,
        "one",
        T0 + LEASE,
    )
    assert (claimed.kind, claimed.account_id, claimed.payload) == ("alert.firing", "acme", "{}")
    assert bench.claim(holder="two") == []
    assert bench.outbox.due(T0) == []


def test_the_same_transition_written_twice_is_one_delivery(bench: Bench) -> None:
    bench.put("al_1", 1)
    bench.put("al_1", 1, 2)
    assert len(bench.rows()) == 2


def test_what_is_due_later_waits(bench: Bench) -> None:
    bench.put("al_1", 1, at=T0 + 1)
    assert bench.take(T0) == []
    assert bench.take(T0 + 1) == [("al_1", 1)]


def test_the_longest_due_goes_first_and_no_more_than_asked_for(bench: Bench) -> None:
    bench.put("al_1", 1, at=T0 - 1)
    bench.put("al_2", 1, at=T0 - 3)
    bench.put("al_3", 1, at=T0 - 2)
    assert [each.alert_id for each in bench.claim(limit=2)] == ["al_2", "al_3"]


def test_only_the_destinations_asked_for_are_claimed(bench: Bench) -> None:
    bench.put("al_1", 1, to=("crm", "chat"))
    assert [each.destination for each in bench.claim(only=("chat",))] == ["chat"]
    assert [each.destination for each in bench.claim()] == ["crm"]


def test_what_is_in_shadow_is_never_sent(bench: Bench) -> None:
    bench.put("al_1", 1, shadow=True)
    assert bench.outbox.due(T0) == []
    assert bench.take() == []
    assert [row.status for row in bench.rows()] == [DeliveryStatus.SHADOW]


def test_a_lease_that_ran_out_lets_another_claim_the_same_delivery(bench: Bench) -> None:
    bench.put("al_1", 1)
    (first,) = bench.claim(holder="killed")
    assert bench.claim(T0 + LEASE - 1, holder="other") == []
    (second,) = bench.claim(T0 + LEASE, holder="other")
    assert (second.id, second.webhook_id) == (first.id, first.webhook_id)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_a_process_with_a_clock_years_ahead_claimed_is_claimed_by_others(
    kind: str, open_database: OpenDatabase
) -> None:
    years = 10 * 365 * 86_400 * SECOND_US
    bench = bench_on(open_database(kind), paces_us={"webhook": SECOND_US})
    bench.put("al_1", 1)
    (lost,) = bench.claim(T0 + years, holder="ahead")

    assert bench.outbox.due(T0) == ["crm"]
    (claimed,) = bench.claim(T0, holder="other")

    assert claimed.id == lost.id
    assert not bench.outbox.settle([Settlement(lost, Verdict(Decision.SENT, "HTTP 200"), OK, T0)])
    assert bench.claim(T0 + LEASE - 1, holder="third") == []


def test_who_lost_the_lease_cannot_settle(bench: Bench) -> None:
    bench.put("al_1", 1)
    (stale,) = bench.claim(holder="slow")
    (fresh,) = bench.claim(T0 + LEASE, holder="slow")  # even under the same name
    assert not bench.outbox.settle([Settlement(stale, Verdict(Decision.SENT, "HTTP 200"), OK, T0 + LEASE)])
    assert not bench.attempts(stale.id)
    bench.settle(fresh, OK, T0 + LEASE)
    assert not bench.outbox.settle([Settlement(fresh, Verdict(Decision.PARKED, "late"), BAD, T0 + LEASE)])
    assert bench.row(fresh.id).status is DeliveryStatus.SENT


# --- order ----------------------------------------------------------------------------------------------------


def test_a_later_transition_waits_until_the_earlier_one_is_settled(bench: Bench) -> None:
    #   al_1   1 sending ──500──▶ retry ──200──▶ 2
    #   al_2   1 ─────────────────────────────────▶ goes on
    bench.put("al_1", 1, 2)
    bench.put("al_2", 1)
    first, other = bench.claim()
    assert [(first.alert_id, first.seq), (other.alert_id, other.seq)] == [("al_1", 1), ("al_2", 1)]
    again_at = bench.settle(first, BAD).at
    bench.settle(other, OK)
    assert again_at is not None
    assert bench.outbox.due(again_at - 1) == []
    assert bench.take(again_at - 1) == []
    (first,) = bench.claim(again_at)
    assert (first.alert_id, first.seq, first.attempts) == ("al_1", 1, 1)
    bench.settle(first, OK, again_at)
    assert bench.take(again_at) == [("al_1", 2)]


def test_order_is_kept_per_destination_not_across_them(bench: Bench) -> None:
    bench.put("al_1", 1, 2, to=("crm", "chat"))
    crm, chat = sorted(bench.claim(), key=lambda each: each.destination, reverse=True)
    bench.settle(chat, BAD)
    bench.settle(crm, OK)
    assert [(each.destination, each.seq) for each in bench.claim()] == [("crm", 2)]


def test_after_parking_later_transitions_go_on(bench: Bench) -> None:
    bench.put("al_1", 1, 2)
    parked, now = bench.fail_until_parked()
    assert bench.row(parked.id).status is DeliveryStatus.PARKED
    assert bench.row(parked.id).attempts == 10
    assert bench.take(now) == [("al_1", 2)]


# --- settling -------------------------------------------------------------------------------------------------


def test_every_attempt_is_written_down(bench: Bench) -> None:
    bench.put("al_1", 1)
    (delivery,) = bench.claim()
    again_at = bench.settle(delivery, BAD).at
    assert again_at is not None
    (delivery,) = bench.claim(again_at)
    bench.settle(delivery, OK, again_at)
    first, second = bench.attempts(delivery.id)
    assert (first.no, first.at, first.status_code, first.outcome, first.latency_ms) == (
        1,
        T0,
        500,
        "retry",
        3.0,
    )
    assert first.detail == "HTTP 500\noh no"
    assert (second.no, second.at, second.status_code, second.outcome) == (2, again_at, 200, "sent")
    row = bench.row(delivery.id)
    assert (row.status, row.attempts, row.settled_at, row.lease_holder) == (
        DeliveryStatus.SENT,
        2,
        again_at,
        None,
    )


def test_attempts_are_written_down_together_but_for_those_whose_lease_went_elsewhere(bench: Bench) -> None:
    for number in range(3):
        bench.put(f"al_{number}", 1)
    kept, failed, lost = bench.claim(holder="slow")
    retry = judge(BAD, 1, T0, 0.0)
    assert bench.outbox.settle([Settlement(failed, retry, BAD, T0)]) == {failed.id}
    (failed,) = bench.claim(retry.at or 0, holder="slow")
    stale = replace(lost, lease_until=T0)
    sent = Verdict(Decision.SENT, "HTTP 200")

    written = bench.outbox.settle(
        [Settlement(each, sent, OK, T0 + each.id) for each in (kept, failed, stale)]
    )

    assert set(written) == {kept.id, failed.id}
    assert [bench.row(each.id).status for each in (kept, failed, lost)] == ["sent", "sent", "sending"]
    assert [len(bench.attempts(each.id)) for each in (kept, failed, lost)] == [1, 2, 0]
    assert [bench.row(each.id).settled_at for each in (kept, failed)] == [T0 + kept.id, T0 + failed.id]
    assert bench.outbox.settle([]) == set()


def test_what_is_next_is_claimed_with_the_attempts_that_are_written_down(bench: Bench) -> None:
    bench.put("al_1", 1, 2)
    bench.put("al_2", 1, to=("chat",))
    bench.put("al_3", 1, 2, to=("chat",))
    (first,) = bench.claim(only=("crm",))
    (told,) = bench.claim(only=("chat",))
    sent = Verdict(Decision.SENT, "HTTP 200")

    written, claimed = bench.outbox.settle_and_claim(
        [Settlement(first, sent, OK, T0)], T0, "one", LEASE, limit=8
    )

    assert set(written) == {first.id}
    assert [(each.alert_id, each.seq, each.lease_until) for each in claimed] == [("al_1", 2, T0 + LEASE)]
    assert bench.row(claimed[0].id).status is DeliveryStatus.SENDING
    stale = replace(first, lease_until=T0)
    assert bench.outbox.settle_and_claim([Settlement(stale, sent, OK, T0)], T0, "one", LEASE, limit=8) == (
        set(),
        [],
    )
    # One that keeps a pace is left alone from the answer on.
    assert bench.outbox.settle_and_claim([Settlement(told, sent, OK, T0)], T0, "one", LEASE, limit=8) == (
        {told.id},
        [],
    )


def test_of_several_answers_that_ask_to_wait_the_longest_is_kept_and_410_disables(bench: Bench) -> None:
    for number in range(4):
        bench.put(f"al_{number}", 1)
    outcomes = [
        Outcome(1.0, status_code=429, retry_after="120"),
        Outcome(1.0, status_code=429, retry_after="60"),
        Outcome(1.0, status_code=410),
        OK,
    ]
    settlements = [
        Settlement(each, judge(outcome, 1, T0, 0.0), outcome, T0)
        for each, outcome in zip(bench.claim(), outcomes, strict=True)
    ]

    bench.outbox.settle(settlements)

    (crm,) = (state for state in bench.outbox.destinations() if state.name == "crm")
    assert (crm.status, crm.not_before) == (DestinationStatus.DISABLED, T0 + 120 * SECOND_US)
    assert bench.outbox.counts() == {("crm", DeliveryStatus.QUEUED): 3, ("crm", DeliveryStatus.SENT): 1}
    assert {row.attempts for row in bench.rows() if row.status is DeliveryStatus.QUEUED} == {0}


def test_an_attempt_without_an_answer_has_no_status_code(bench: Bench) -> None:
    bench.put("al_1", 1)
    (delivery,) = bench.claim()
    bench.settle(delivery, Outcome(15_000.0, error=ErrorKind.TIMEOUT))
    (attempt,) = bench.attempts(delivery.id)
    assert (attempt.status_code, attempt.detail) == (None, "timeout")


def test_a_throttled_destination_is_left_alone_until_then_and_the_attempt_is_free(bench: Bench) -> None:
    bench.put("al_1", 1)
    bench.put("al_2", 1)
    first, second = bench.claim()
    bench.settle(first, Outcome(1.0, status_code=429, retry_after="120"))
    bench.settle(second, OK)
    bench.put("al_3", 1)
    until = T0 + 120 * SECOND_US
    assert bench.outbox.due(until - 1) == []
    assert bench.take(until - 1) == []
    assert bench.row(first.id).attempts == 0
    assert sorted(bench.take(until)) == [("al_1", 1), ("al_3", 1)]


def test_not_now_said_again_and_again_is_counted_until_something_else_is_said(bench: Bench) -> None:
    bench.put("al_1", 1)
    now, seen = T0, []
    for code in (429, 429, 500, 429, 200):
        (delivery,) = bench.claim(now)
        seen.append((delivery.throttles, delivery.attempts))
        now = bench.settle(delivery, Outcome(1.0, status_code=code), now).at or now
    assert seen == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1)]


def test_410_disables_the_destination_and_holds_what_waits_for_it(bench: Bench) -> None:
    bench.put("al_1", 1, 2)
    (delivery,) = bench.claim()
    bench.settle(delivery, Outcome(1.0, status_code=410))
    (crm,) = (state for state in bench.outbox.destinations() if state.name == "crm")
    assert crm.status is DestinationStatus.DISABLED
    assert "410" in crm.reason
    assert bench.take(T0 + 10**15) == []
    assert bench.outbox.counts() == {("crm", DeliveryStatus.QUEUED): 2}
    bench.outbox.sync_destinations({"chat": "slack", "crm": "webhook"}, T0)
    assert bench.take() == []
    assert bench.outbox.enable("crm", T0)
    assert bench.take() == [("al_1", 1)]


def test_a_destination_that_said_410_is_enabled_when_it_goes_and_comes_back(bench: Bench) -> None:
    bench.put("al_1", 1)
    (delivery,) = bench.claim()
    bench.settle(delivery, Outcome(1.0, status_code=410))
    bench.outbox.sync_destinations({"chat": "slack"}, T0)
    bench.outbox.sync_destinations({"chat": "slack", "crm": "webhook"}, T0)
    assert {state.name: (state.status, state.reason) for state in bench.outbox.destinations()} == {
        "chat": (DestinationStatus.ENABLED, ""),
        "crm": (DestinationStatus.ENABLED, ""),
    }
    assert bench.take() == [("al_1", 1)]


def test_a_slack_destination_gets_one_message_a_second(bench: Bench) -> None:
    for number in range(3):
        bench.put(f"al_{number}", 1, to=("chat",))
    (first,) = bench.claim(limit=10)
    assert bench.claim(T0 + SECOND_US - 1, holder="two") == []
    answered = T0 + SECOND_US // 2
    bench.settle(first, OK, answered)
    assert bench.outbox.due(answered + SECOND_US - 1) == []
    assert len(bench.claim(answered + SECOND_US)) == 1


# --- operating ------------------------------------------------------------------------------------------------


def test_a_parked_delivery_is_replayed_from_the_start_under_its_own_id(bench: Bench) -> None:
    bench.put("al_1", 1)
    parked, now = bench.fail_until_parked()
    assert bench.outbox.replay(now, ids=[parked.id]) == 1
    (again,) = bench.claim(now)
    assert (again.id, again.webhook_id, again.attempts) == (parked.id, parked.webhook_id, 0)
    bench.settle(again, OK, now)
    assert [attempt.no for attempt in bench.attempts(parked.id)] == list(range(1, 12))


def test_only_what_was_sent_or_parked_is_replayed(bench: Bench) -> None:
    bench.put("al_1", 1)
    (sent,) = bench.claim()
    bench.settle(sent, OK)
    bench.put("al_2", 1)
    bench.put("al_3", 1, shadow=True)
    assert bench.outbox.replay(T0, ids=[row.id for row in bench.rows()]) == 1
    assert bench.outbox.replay(T0, ids=[sent.id, 10**6]) == 0
    assert bench.outbox.replay(T0, ids=[]) == 0
    assert sorted(bench.take()) == [("al_1", 1), ("al_2", 1)]


def test_a_removed_destination_holds_its_deliveries_until_it_comes_back(bench: Bench) -> None:
    bench.put("al_1", 1)
    bench.outbox.sync_destinations({"chat": "slack"}, T0)
    assert [(state.name, state.status) for state in bench.outbox.destinations()] == [
        ("chat", DestinationStatus.ENABLED),
        ("crm", DestinationStatus.REMOVED),
    ]
    assert bench.take() == []
    assert not bench.outbox.enable("crm", T0)
    assert not bench.outbox.enable("nobody", T0)
    bench.outbox.sync_destinations({"chat": "slack", "crm": "webhook"}, T0)
    assert bench.take() == [("al_1", 1)]


def test_deliveries_are_counted_by_destination_and_status(bench: Bench) -> None:
    bench.put("al_1", 1, 2, to=("crm", "chat"))
    bench.put("al_2", 1)
    assert bench.outbox.counts() == {("crm", DeliveryStatus.QUEUED): 3, ("chat", DeliveryStatus.QUEUED): 2}


# --- many at once (databases only: memory has one thread) -------------------------------------------------------


@pytest.mark.parametrize("bench", ["sqlite", "postgresql"], indirect=True)
def test_six_threads_that_claim_at_once_never_get_one_twice_nor_out_of_order(bench: Bench) -> None:
    alerts, seqs = 20, 3
    for number in range(alerts):
        bench.put(f"al_{number}", *range(1, seqs + 1))
    taken: list[tuple[str, int]] = []
    lock, start = threading.Lock(), threading.Barrier(6)

    def work(holder: str) -> None:
        dice = random.Random(holder)
        start.wait()
        while claimed := bench.claim(holder=holder, limit=dice.randint(1, 3)):
            with lock:
                taken.extend((each.alert_id, each.seq) for each in claimed)
            for each in claimed:
                bench.settle(each, OK)

    threads = [threading.Thread(target=work, args=(f"thread-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work_left = bench.claim(
        holder="last"
    )  # what a thread found nothing of while another held the earlier one
    while work_left:
        taken.extend((each.alert_id, each.seq) for each in work_left)
        for each in work_left:
            bench.settle(each, OK)
        work_left = bench.claim(holder="last")
    assert max(Counter(taken).values()) == 1
    assert len(taken) == alerts * seqs
    for number in range(alerts):
        assert [seq for alert, seq in taken if alert == f"al_{number}"] == list(range(1, seqs + 1))
