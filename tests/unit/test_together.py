"""Questions of one loop that are answered in one go: one call, each its own answer, and no shared misfortune."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from app.http.together import MOST, Together
from consumers.errors import StorageError


class Oracle:
    """Answers in capitals, knows nothing of ``who``, breaks on ``bad``, and has no database for ``away``."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, questions: Sequence[str]) -> dict[str, str]:
        self.calls.append(list(questions))
        if "bad" in questions:
            raise ValueError("bad")
        if "away" in questions:
            raise StorageError("the database is away")
        return {each: each.upper() for each in questions if each != "who"}


async def all_of(together: Together[str], *questions: str) -> list[str | BaseException | None]:
    return await asyncio.gather(*map(together.get, questions), return_exceptions=True)


def test_what_is_asked_at_once_is_asked_once() -> None:
    oracle = Oracle()
    assert asyncio.run(all_of(Together(oracle), "a", "who", "a", "b")) == ["A", None, "A", "B"]
    assert oracle.calls == [["a", "who", "a", "b"]]


def test_one_after_the_other_is_asked_anew() -> None:
    oracle = Oracle()
    together = Together(oracle)
    for _ in range(2):  # a loop each: what one left behind keeps no other waiting
        assert asyncio.run(together.get("a")) == "A"
    assert oracle.calls == [["a"], ["a"]]


def test_many_are_asked_in_turns() -> None:
    oracle = Oracle()
    names = [f"a{number}" for number in range(2 * MOST + 1)]
    assert asyncio.run(all_of(Together(oracle), *names)) == [name.upper() for name in names]
    assert [len(call) for call in oracle.calls] == [MOST, MOST, 1]


def test_a_question_that_breaks_breaks_alone() -> None:
    first, bad, last = asyncio.run(all_of(Together(Oracle()), "a", "bad", "b"))
    assert (first, last) == ("A", "B")
    assert isinstance(bad, ValueError)


def test_what_is_no_questions_doing_is_told_to_all_at_once() -> None:
    oracle = Oracle()
    told = asyncio.run(all_of(Together(oracle), "a", "away", "b"))
    assert [type(each) for each in told] == [StorageError] * 3
    assert len(oracle.calls) == 1


def test_who_went_away_takes_no_answer_from_the_others() -> None:
    async def ask() -> str | None:
        together = Together(Oracle())
        gone, waits = (asyncio.create_task(together.get(name)) for name in ("a", "b"))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await waits

    assert asyncio.run(ask()) == "B"
