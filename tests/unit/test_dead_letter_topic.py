"""What goes to the topic of dead letters: each record once by this process, also when an offset is given again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import pytest

from consumers.errors import DeadLettersUnwritable
from consumers.kafka.log import DeadLetterTopic, EventLog, Record, RecordTooLarge
from consumers.rejection import Rejection, RejectionReason
from consumers.source import Chunk
from consumers.store import Rejected
from consumers.topics import LogUnavailable, Topics

WHY = Rejection(RejectionReason.NOT_JSON, "it is not")


class Log:
    """Keeps what it is sent; larger records than it takes are refused, everything while it is away."""

    def __init__(self, most: int = 100) -> None:
        self.most = most
        self.away = False
        self.kept: list[bytes] = []

    def send(self, records: Iterable[Record]) -> None:
        if self.away:
            raise LogUnavailable("away")
        for record in list(records):
            if len(record.value) > self.most:
                raise RecordTooLarge("too large")
            self.kept.append(record.value)


def topic(log: Log) -> DeadLetterTopic:
    return DeadLetterTopic(cast(EventLog, log), Topics("bellwether."))


def rejected(*bodies: bytes, first: int = 0) -> list[Rejected]:
    return [Rejected(first + index, WHY, body) for index, body in enumerate(bodies)]


def chunk(start: int, after: int, log: str = "c/1") -> Chunk:
    return Chunk("logins/0", start, after, [], [], log=log)


def test_what_comes_back_after_a_failure_is_not_sent_again_however_it_is_cut() -> None:
    log = Log()
    letters = topic(log)
    for start, after in ((0, 4), (0, 4), (0, 2), (2, 4)):
        letters.send(chunk(start, after), rejected(b"a", b"b", b"c", b"d")[start:after])
    assert log.kept == [b"a", b"b", b"c", b"d"]


def test_another_record_at_an_offset_that_was_sent_is_sent() -> None:
    """Its log was cut below it, and grew again."""
    log = Log()
    letters = topic(log)
    letters.send(chunk(0, 10), rejected(b"old", b"same", b"gone"))
    letters.send(chunk(0, 10), rejected(b"new", b"same"))
    letters.send(chunk(0, 10, log="c/2"), rejected(b"new"))
    assert log.kept == [b"old", b"same", b"gone", b"new", b"new"]


def test_of_many_only_what_may_come_back_is_remembered() -> None:
    log = Log()
    letters = topic(log)
    many = rejected(*(b"%d" % number for number in range(12_000)))
    letters.send(chunk(0, 12_000), many)
    letters.send(chunk(0, 12_000), many)
    assert len(log.kept) == 12_000
    letters.send(
        chunk(11_990, 12_010), rejected(*(b"%d" % number for number in range(11_990, 12_010)), first=11_990)
    )
    assert len(log.kept) == 12_010
    assert sum(map(len, letters._sent.values())) == 20


def test_a_record_that_is_too_large_goes_alone_and_none_goes_twice() -> None:
    log = Log(most=1_000_000)
    letters = topic(log)
    letters.send(chunk(0, 3), rejected(b"a", b"x" * 1_000_001, b"c"))
    letters.send(chunk(0, 3), rejected(b"a", b"x" * 1_000_001, b"c"))
    assert sorted(set(map(len, log.kept))) == [1, 1_000_000]
    assert log.kept[-1] == b"c"


def test_what_could_not_be_sent_is_sent_the_next_time() -> None:
    log = Log()
    letters = topic(log)
    log.away = True
    with pytest.raises(DeadLettersUnwritable):
        letters.send(chunk(0, 1), rejected(b"a"))
    log.away = False
    letters.send(chunk(0, 1), rejected(b"a"))
    assert log.kept == [b"a"]
