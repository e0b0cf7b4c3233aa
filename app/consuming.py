"""What the consumer role reads: Kafka where it is configured, and always the journal.

With Kafka nothing is written to the journal any more, but what HTTP took in before the switch is still in it, and was
told to be durable. So it is read on beside Kafka, by a loop of its own, and costs a look every quarter of a second.
Both loops of all processes may run at once: positions move by compare-and-set.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from app.bootstrap import House, kafka_source
from app.database.journal import Doorbell, JournalSource
from consumers.loop import ConsumerLoop, Handled

if TYPE_CHECKING:
    from consumers.kafka.log import DeadLetterTopic
    from consumers.kafka.source import KafkaSource

JOURNAL, KAFKA = "consumer", "kafka"
"""The names of the loops, of their threads, and of their parts in /readyz."""
WATCHDOG = "watchdog"
_AGAIN_S = 1.0
_LOOK_S = 5.0
_HUNG_LOOKS = 60  # five minutes; whatever a turn waits for is given up long before
HUNG = 70
"""The code with which a process ends whose loop hangs: an error inside, as sysexits.h has it."""

log = structlog.get_logger(__name__)


class Consuming:
    """The loops of one process's consumer role. Each runs on a thread of its own until told to stop."""

    def __init__(
        self,
        house: House,
        bell: Doorbell,
        *,
        heard: Callable[[Handled], None],
        complain: Callable[[str, Exception], None],
        turned: Callable[[str], None],
        end: Callable[[int], object] = os._exit,
    ) -> None:
        """``complain`` takes a loop's name and what is wrong, ``turned`` the name of a loop that goes on; ``end`` ends
        the process with a code, at once and whatever its threads do."""
        self._house = house
        self._bell = bell
        self._heard = heard
        self._complain = complain
        self._turned = turned
        self._watchdog = Watchdog(end)
        self._source: KafkaSource | None = None
        self._loops: dict[str, ConsumerLoop] = {}

    def loops(self) -> Mapping[str, Callable[[threading.Event], None]]:
        """What to run, by name."""
        loops: dict[str, Callable[[threading.Event], None]] = {JOURNAL: self._follow_journal}
        if self._house.settings.kafka:
            loops[KAFKA] = self._follow_kafka
        return {**loops, WATCHDOG: self._watchdog.run}

    def refused(self, name: str) -> str | None:
        """Why nothing, or not all, that the loop of that name reads is taken in; None if it is."""
        loop = self._loops.get(name)
        return None if loop is None else loop.refused

    def kafka_trouble(self) -> str | None:
        """Why Kafka gives nothing to this process, in a few words; None if it does."""
        source = self._source
        if source is None:
            return "not connected yet"
        said = source.trouble
        return None if said is None else str(said).splitlines()[0]

    def _follow_journal(self, stop: threading.Event) -> None:
        self._keep_going(JOURNAL, self._of_journal, stop)

    def _follow_kafka(self, stop: threading.Event) -> None:
        self._keep_going(KAFKA, self._of_kafka, stop)

    def _of_journal(self, _kept: contextlib.ExitStack) -> ConsumerLoop:
        return self._house.consumer(
            JournalSource(self._house.database, self._bell),
            heard=self._heard,
            trouble=lambda error: self._complain(JOURNAL, error),
            polled=lambda: self._turn(JOURNAL),
        )

    def _of_kafka(self, kept: contextlib.ExitStack) -> ConsumerLoop:
        with contextlib.ExitStack() as made:
            dead_letters = self._house.dead_letter_topic()
            made.callback(_close, dead_letters)
            source = kafka_source(self._house.settings, said=_say)
            made.callback(_close, source)
            loop = self._house.consumer(
                source,
                heard=self._heard,
                trouble=lambda error: self._complain(KAFKA, error),
                polled=lambda: self._turn(KAFKA),
                dead_letters=dead_letters,
            )
            kept.callback(made.pop_all().close)
        self._source = source
        return loop

    def _turn(self, name: str) -> None:
        self._watchdog.turned(name)
        self._turned(name)

    def _keep_going(
        self, name: str, make: Callable[[contextlib.ExitStack], ConsumerLoop], stop: threading.Event
    ) -> None:
        """What is read is opened here, once that works, and closed here: no other thread may touch it."""
        with contextlib.ExitStack() as kept:
            loop: ConsumerLoop | None = None
            while not stop.is_set():
                self._watchdog.turned(
                    name
                )  # it may be in trouble, which is said elsewhere, and does not hang
                try:
                    if loop is None:
                        self._loops[name] = loop = make(kept)
                    loop.run(stop)
                except Exception as error:  # a consumer that ended would be silence of our own making
                    self._complain(name, error)
                    stop.wait(_AGAIN_S)


class Watchdog:
    """Ends a process of which a loop hangs: nothing in it can mend that, and whoever started it starts it anew.

    It counts its own looks, not seconds: a process that was stopped for a while, or whose machine slept, has not hung.
    """

    def __init__(self, end: Callable[[int], object]) -> None:
        self._end = end
        self._looks: dict[str, int] = {}  # since a loop turned last

    def turned(self, name: str) -> None:
        """The loop of that name goes on; from its first turn on it is watched."""
        self._looks[name] = 0

    def run(self, stop: threading.Event) -> None:
        """Look every five seconds until ``stop`` is set."""
        while not stop.wait(_LOOK_S):
            self.look()

    def look(self) -> None:
        """Once: who has not turned for sixty looks hangs."""
        for name in list(self._looks):
            self._looks[name] += 1
            if self._looks[name] == _HUNG_LOOKS:
                log.critical(f"{name} hangs: this process ends, to be started anew", code=HUNG)
                sys.stderr.flush()
                self._end(HUNG)


def _close(opened: KafkaSource | DeadLetterTopic) -> None:
    with contextlib.suppress(Exception):  # the process ends; the group will find out by itself
        opened.close()


def _say(line: str) -> None:
    log.info("kafka", note=line)
