"""When to try again: the schedule of Standard Webhooks, ``Retry-After``, and the judgement of an attempt."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from alerts.delivery import SECOND_US, Decision, Outcome, Verdict

# Seconds before the first attempt, before the second, and so on: 75.6 hours, long enough for a weekend's outage.
WAITS_S = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
JITTER = 0.2
MAX_RETRY_AFTER_S = 86_400
# A receiver that says "not now" without saying when holds back its own message, and the others no longer than this.
MAX_UNSAID_HOLD_US = 60 * SECOND_US

_TOO_MANY_REQUESTS = 429
_UNAVAILABLE = 503
_GONE = 410


def judge(outcome: Outcome, attempt_no: int, now: int, jitter: float, throttles: int = 0) -> Verdict:
    """What the ``attempt_no``-th attempt (from 1) means, at ``now``.

    ``jitter`` in [-1, 1] is the caller's throw of the dice; ``throttles`` how often in a row the receiver has said
    "not now" before. A status of 2xx is success unless the outcome carries an error.
    """
    code = outcome.status_code
    if code is not None and outcome.error is None and 200 <= code < 300:
        return Verdict(Decision.SENT, outcome.word)
    if code == _GONE:
        return Verdict(Decision.DISABLED, f"{outcome.word}: the receiver wants no more", at=now)
    if code in {_TOO_MANY_REQUESTS, _UNAVAILABLE}:
        asked_s = retry_after_s(outcome.retry_after, now)
        if asked_s is not None:
            until = now + asked_s * SECOND_US
            return Verdict(
                Decision.THROTTLED, f"{outcome.word}, asked to wait {asked_s} s", at=until, hold_until=until
            )
    if code == _TOO_MANY_REQUESTS:
        wait_us = wait_before(attempt_no + throttles + 1, jitter)
        hold_us = min(wait_us, MAX_UNSAID_HOLD_US)
        return Verdict(Decision.THROTTLED, outcome.word, at=now + wait_us, hold_until=now + hold_us)
    if attempt_no >= len(WAITS_S):
        return Verdict(Decision.PARKED, f"{outcome.word}, after {attempt_no} attempts")
    return Verdict(Decision.RETRY, outcome.word, at=now + wait_before(attempt_no + 1, jitter))


def wait_before(attempt_no: int, jitter: float) -> int:
    """Microseconds between the attempt before and the ``attempt_no``-th (from 1); past the schedule, its last wait."""
    step = WAITS_S[min(attempt_no, len(WAITS_S)) - 1]
    return round(step * SECOND_US * (1 + JITTER * max(-1.0, min(1.0, jitter))))


def retry_after_s(header: str | None, now: int) -> int | None:
    """Seconds that a ``Retry-After`` asks for, at most a day; None for junk, zero, the past and no header at all."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        # Ten digits are 300 years already, and int() refuses thousands of them.
        seconds = MAX_RETRY_AFTER_S if len(text.lstrip("0")) > 9 else int(text)
    else:
        seconds = _seconds_until(text, now)
    return min(seconds, MAX_RETRY_AFTER_S) if seconds > 0 else None


def _seconds_until(http_date: str, now: int) -> int:
    try:
        date = parsedate_to_datetime(http_date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0
    if date.tzinfo is None:  # "-0000", and what RFC 9110 calls a date without a zone
        date = date.replace(tzinfo=UTC)
    try:
        then = date - datetime(1970, 1, 1, tzinfo=UTC)
    except OverflowError:
        return 0
    # Rounded up: never a request before the instant asked for.
    return -((now - round(then.total_seconds()) * SECOND_US) // SECOND_US)
