"""Turns are handed on in the order in which they were asked for."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from app.database.turns import Turns


def test_a_free_turn_is_had_at_once_and_again_once_it_was_given_back() -> None:
    turns = Turns()
    for _ in range(2):
        assert turns.take(0.0)
        turns.give()


def test_who_came_first_is_first() -> None:
    turns, order = Turns(), list[int]()

    def work(number: int) -> None:
        assert turns.take(10.0)
        order.append(number)
        turns.give()

    assert turns.take(0.0)
    with ThreadPoolExecutor(8) as pool:
        for number in range(8):
            pool.submit(work, number)
            while len(turns) <= number:
                threading.Event().wait(0.001)
        turns.give()
    assert order == list(range(8))


def test_who_waited_in_vain_is_out_of_the_line() -> None:
    turns = Turns()
    assert turns.take(0.0)
    assert not turns.take(0.01)
    assert len(turns) == 0
    turns.give()
    assert turns.take(0.0)
