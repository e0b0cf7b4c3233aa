"""Who may wait for a server that may hang."""

from __future__ import annotations

import contextlib

import pytest

from consumers.turnstile import TurnedAway, Turnstile


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def turnstile(hand: Hand, most: int = 2) -> Turnstile:
    """Slow after a second, away for three."""
    return Turnstile(most, slow_s=1.0, away_s=3.0, clock=hand)


def test_with_all_places_taken_for_long_nobody_else_waits() -> None:
    hand = Hand()
    door = turnstile(hand)
    with door.inside(), contextlib.ExitStack() as second:
        second.enter_context(door.inside())
        hand.now += 1.0
        refused(door)
        second.close()
        with door.inside():
            pass


def test_after_a_failure_nobody_comes_in_for_a_while_and_then_one_at_a_time_until_one_gets_through() -> None:
    hand = Hand()
    door = turnstile(hand, most=9)
    with door.inside():
        door.failed("no answer")
        assert door.away == "no answer"
    refused(door)

    hand.now += 3.0
    assert door.away == ""
    with contextlib.suppress(ValueError), door.inside():
        refused(door)
        raise ValueError  # for a reason of its own: the next may try at once
    with door.inside():
        refused(door)
    with door.inside(), door.inside():
        pass


def refused(door: Turnstile) -> None:
    """Nobody comes in."""
    with pytest.raises(TurnedAway), door.inside():
        pytest.fail("came in")
