"""Who may wait for a server that may hang: everybody while it answers, some while it is slow, one after it did not.

Whoever waits holds a thread, and the threads of a web server are few. So those who would have to wait in vain are
turned away at once.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class TurnedAway(Exception):
    """Nobody may wait now; the text says why, in a line."""


class Turnstile:
    """Thread-safe. ``most`` may wait at once; further ones only as long as those before get through."""

    def __init__(self, most: int, *, slow_s: float, away_s: float, clock: Callable[[], float]) -> None:
        """With ``most`` inside, one of whom waits for ``slow_s`` already, nobody else comes in. After a failure nobody
        does for ``away_s``, then one at a time until one gets through. ``clock`` counts seconds, never back."""
        self._most = most
        self._slow_s = slow_s
        self._away_s = away_s
        self._clock = clock
        self._changed = threading.Condition()
        self._inside: dict[object, float] = {}  # who waits, since when; the first came first
        self._failure = ""
        self._again_at = 0.0
        self._trying = False

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """For the length of a block, which gets through unless it raises. Raises TurnedAway."""
        me = object()
        with self._changed:
            trying = self._admit()
            self._inside[me] = self._clock()
        through = False
        try:
            yield
            through = True
        finally:
            with self._changed:
                del self._inside[me]
                if trying:
                    self._trying = False
                    self._failure = "" if through else self._failure
                self._changed.notify_all()

    def failed(self, why: str) -> None:
        """The server did not answer in time, and is left alone for a while; called from within the block."""
        with self._changed:
            self._failure = why
            self._again_at = self._clock() + self._away_s
            self._changed.notify_all()

    @property
    def away(self) -> str:
        """Why nobody may come in for now; empty if one may, or all."""
        with self._changed:
            return self._failure if self._clock() < self._again_at else ""

    def _admit(self) -> bool:
        """Come in, as the one who tries it again or as one of many. Raises TurnedAway."""
        while not self._failure and len(self._inside) >= self._most:
            left = next(iter(self._inside.values())) + self._slow_s - self._clock()
            if left <= 0:
                raise TurnedAway(f"{len(self._inside)} requests wait for Kafka already, and it is slow")
            self._changed.wait(left)
        if not self._failure:
            return False
        if self._trying or self._clock() < self._again_at:
            raise TurnedAway(self._failure)
        self._trying = True
        return True
