"""Whose turn it is to write, among the threads of one process: first come, first served.

SQLite lets one transaction write at a time, and whoever finds it taken sleeps, up to a tenth of a second at a time,
while others that came later may be first. So the threads of a process line up here before they ask SQLite. Those of
other processes still meet its own waiting.
"""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """A lock that is handed on in order. Thread-safe; not for a thread that holds it already."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Event] = deque()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def take(self, timeout_s: float) -> bool:
        """Wait for a turn, which lasts until :meth:`give`. False if none came in time."""
        with self._lock:
            if not self._held:
                self._held = True
                return True
            mine = threading.Event()
            self._waiting.append(mine)
        if mine.wait(timeout_s):
            return True
        with self._lock:
            if mine.is_set():  # it came just now
                return True
            self._waiting.remove(mine)
            return False

    def give(self) -> None:
        """The turn is over: the first of those who wait has it."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._held = False
