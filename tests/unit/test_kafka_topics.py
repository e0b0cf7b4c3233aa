"""The topics' keeper waits for no answer for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from consumers.kafka.topics import TopicKeeper
from consumers.topics import LogUnavailable, Topics


class Mute:
    """An admin client whose broker took the request and never answers."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __getattr__(self, _name: str) -> Callable[..., object]:
        return lambda *_args, **_options: self.over.wait(60)


@pytest.mark.parametrize(
    "question",
    [
        lambda keeper: keeper.brokers(),
        lambda keeper: keeper.look(["logins"]),
        lambda keeper: keeper.create(Topics("t"), 1, 1),
        lambda keeper: keeper.offsets(["logins/0"], 0),
    ],
    ids=["brokers", "look", "create", "offsets"],
)
def test_a_broker_that_never_answers_is_given_up(question: Callable[[TopicKeeper], object]) -> None:
    mute = Mute()
    began = time.monotonic()
    try:
        with pytest.raises(LogUnavailable, match=r"no answer within 0\.1 s"):
            question(TopicKeeper(mute, deadline_s=0.1))
        assert time.monotonic() - began < 5
    finally:
        mute.over.set()
