"""The schedule, Retry-After and the judgement of an attempt: pure, so properties cover them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery import SECOND_US, Decision, DeliveryStatus, ErrorKind, Outcome, address, webhook_id
from alerts.retry import JITTER, MAX_RETRY_AFTER_S, WAITS_S, judge, retry_after_s, wait_before

NOW = 1_795_341_600 * SECOND_US  # 2026-11-22T10:00:00Z
HOUR_S = 3600
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

jitters = st.floats(-1, 1)
instants = st.integers(0, 4_000_000_000).map(lambda second: second * SECOND_US)
failures = st.one_of(
    st.sampled_from(ErrorKind).map(lambda kind: Outcome(1.0, error=kind)),
    st.integers(100, 599)
    .filter(lambda code: not 200 <= code < 300 and code not in {410, 429})
    .map(lambda code: Outcome(1.0, status_code=code)),
)


def http_date(seconds_from_now: int) -> str:
    return format_datetime(
        EPOCH + timedelta(microseconds=NOW) + timedelta(seconds=seconds_from_now), usegmt=True
    )


def test_the_schedule_is_the_one_of_standard_webhooks() -> None:
    hours = [wait * HOUR_S for wait in (2, 5, 10, 14, 20, 24)]
    assert (0, 5, 5 * 60, 30 * 60, *hours) == WAITS_S
    assert sum(WAITS_S) / HOUR_S == pytest.approx(75.6, abs=0.1)


@given(failures, st.integers(1, len(WAITS_S) - 1), instants, jitters)
def test_a_failure_is_tried_again_after_the_next_wait_give_or_take_a_fifth(
    outcome: Outcome, attempt_no: int, now: int, jitter: float
) -> None:
    verdict = judge(outcome, attempt_no, now, jitter)
    wait = WAITS_S[attempt_no] * SECOND_US
    assert verdict.decision is Decision.RETRY
    assert verdict.status is DeliveryStatus.QUEUED
    assert verdict.costs_an_attempt
    assert verdict.hold_until is None
    assert verdict.at is not None
    assert wait * (1 - JITTER) - 1 <= verdict.at - now <= wait * (1 + JITTER) + 1
    assert verdict.at > now


@given(failures, st.integers(len(WAITS_S), 1000), instants, jitters)
def test_after_the_last_attempt_a_failure_is_parked(
    outcome: Outcome, attempt_no: int, now: int, jitter: float
) -> None:
    verdict = judge(outcome, attempt_no, now, jitter)
    assert verdict.decision is Decision.PARKED
    assert verdict.status is DeliveryStatus.PARKED
    assert verdict.at is None


@given(jitters)
def test_a_later_wait_is_never_shorter_under_the_same_dice(jitter: float) -> None:
    waits = [wait_before(attempt_no, jitter) for attempt_no in range(1, len(WAITS_S) + 3)]
    assert waits == sorted(waits)


@given(st.floats(allow_nan=False))
def test_dice_beyond_their_range_do_not_stretch_a_wait(jitter: float) -> None:
    assert 4 * SECOND_US <= wait_before(2, jitter) <= 6 * SECOND_US


def test_a_receiver_that_fails_for_76_hours_sees_ten_attempts_at_the_times_of_the_schedule() -> None:
    at, times, attempt_no = NOW, [NOW], 1
    while (verdict := judge(Outcome(1.0, status_code=500), attempt_no, at, 0.0)).decision is Decision.RETRY:
        assert verdict.at is not None
        at, attempt_no = verdict.at, attempt_no + 1
        times.append(at)
    waits = [(later - earlier) // SECOND_US for earlier, later in itertools.pairwise(times)]
    assert (0, *waits) == WAITS_S


@given(st.integers(200, 299), st.integers(1, 20), instants, jitters)
def test_every_2xx_is_success(code: int, attempt_no: int, now: int, jitter: float) -> None:
    verdict = judge(Outcome(1.0, status_code=code), attempt_no, now, jitter)
    assert (verdict.decision, verdict.at) == (Decision.SENT, None)


def test_a_2xx_whose_body_says_no_is_a_failure() -> None:
    verdict = judge(Outcome(1.0, status_code=200, error=ErrorKind.NOT_OK), 1, NOW, 0.0)
    assert (verdict.decision, verdict.reason) == (Decision.RETRY, "HTTP 200, not_ok")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure(code: int) -> None:
    assert judge(Outcome(1.0, status_code=code), 1, NOW, 0.0).decision is Decision.RETRY


@pytest.mark.parametrize("attempt_no", [1, 5, 10, 11])
def test_410_disables_the_destination_and_holds_the_delivery(attempt_no: int) -> None:
    verdict = judge(Outcome(1.0, status_code=410), attempt_no, NOW, 0.0)
    assert (verdict.decision, verdict.status) == (Decision.DISABLED, DeliveryStatus.QUEUED)
    assert not verdict.costs_an_attempt


@given(st.sampled_from([429, 503]), st.integers(1, 20), st.integers(1, 10**12), jitters)
def test_retry_after_seconds_are_honoured_up_to_a_day_and_cost_no_attempt(
    code: int, attempt_no: int, seconds: int, jitter: float
) -> None:
    verdict = judge(Outcome(1.0, status_code=code, retry_after=str(seconds)), attempt_no, NOW, jitter)
    assert verdict.decision is Decision.THROTTLED
    assert verdict.at == verdict.hold_until == NOW + min(seconds, MAX_RETRY_AFTER_S) * SECOND_US
    assert not verdict.costs_an_attempt


@given(st.integers(1, 10**9))
def test_retry_after_may_be_an_http_date(seconds: int) -> None:
    assert retry_after_s(http_date(seconds), NOW) == min(seconds, MAX_RETRY_AFTER_S)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "soon",
        "-5",
        "0",
        "000",
        "1.5",
        "5 s",
        "1e3",
        "٣",
        "+7",
        "Sun, 99 Nov 2026 10:00:00 GMT",
        http_date(-60),
        http_date(0),
    ],
)
def test_junk_zero_and_the_past_are_no_retry_after(header: str) -> None:
    assert retry_after_s(header, NOW) is None


@pytest.mark.parametrize(("throttles", "wait_s"), [(0, 5), (1, 300), (2, 1800), (20, 86_400)])
def test_429_without_a_usable_retry_after_waits_by_the_schedule_and_costs_no_attempt(
    throttles: int, wait_s: int
) -> None:
    verdict = judge(Outcome(1.0, status_code=429, retry_after="soon"), 1, NOW, 0.0, throttles)
    assert verdict.decision is Decision.THROTTLED
    assert not verdict.costs_an_attempt
    assert verdict.at == NOW + wait_s * SECOND_US
    assert verdict.hold_until == NOW + min(wait_s, 60) * SECOND_US


def test_503_without_a_usable_retry_after_is_an_ordinary_failure() -> None:
    for header in (None, "soon", "-1"):
        assert (
            judge(Outcome(1.0, status_code=503, retry_after=header), 1, NOW, 0.0).decision is Decision.RETRY
        )


@given(st.text(max_size=80), instants)
def test_no_header_can_make_the_wait_raise_or_leave_its_bounds(header: str, now: int) -> None:
    seconds = retry_after_s(header, now)
    assert seconds is None or 1 <= seconds <= MAX_RETRY_AFTER_S


@given(st.text(), st.text(), st.integers(0, 99), st.integers(0, 99))
def test_a_webhook_id_is_the_same_each_time_and_fits_its_column(
    destination: str, alert: str, episode: int, seq: int
) -> None:
    made = webhook_id(destination, alert, episode, seq)
    assert made == webhook_id(destination, alert, episode, seq)
    assert made.isascii()
    assert len(made) <= 64
    assert made != webhook_id(destination, alert, episode, seq + 1)
    assert made != webhook_id(destination, alert, episode + 1, seq)
    assert made != webhook_id(destination + "x", alert, episode, seq)


def test_a_transition_is_addressed_once_to_each_destination_and_in_shadow_only_recorded() -> None:
    def told(shadow: bool) -> list[tuple[str, DeliveryStatus]]:
        made = address(
            ["crm", "slack"], kind="alert.firing", alert_id="al_1", account_id="acme", episode=1, seq=1,
            payload="{}", now=NOW, shadow=shadow,
        )  # fmt: skip
        assert len({each.webhook_id for each in made}) == 2
        return [(each.destination, each.status) for each in made]

    assert told(False) == [("crm", DeliveryStatus.QUEUED), ("slack", DeliveryStatus.QUEUED)]
    assert told(True) == [("crm", DeliveryStatus.SHADOW), ("slack", DeliveryStatus.SHADOW)]
