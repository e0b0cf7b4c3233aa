"""This process's word in the database, every ten seconds: that it is there, and what is wrong with it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from app.database import processes
from app.database.engine import Database
from app.database.leases import new_holder
from consumers.errors import StorageError

BEAT_S = 10.0


class Heartbeat:
    """One process's beat. ``run`` it on a thread of its own."""

    def __init__(
        self, database: Database, role: str, trouble: Callable[[], str], real_us: Callable[[], int]
    ) -> None:
        """``trouble`` says in a line what is wrong, empty if nothing is."""
        self._database = database
        self._role = role
        self._trouble = trouble
        self._real_us = real_us
        self._id = new_holder()[:64]

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set; then the process is no longer counted."""
        while not stop.is_set():
            self._write()
            stop.wait(BEAT_S)
        try:
            with self._database.write() as connection:
                processes.leave(connection, self._id)
        except StorageError:
            return  # it grows old by itself

    def _write(self) -> None:
        trouble = self._trouble()[:1_000]
        try:
            with self._database.write() as connection:
                processes.beat(connection, self._id, self._role, trouble, self._real_us())
        except StorageError:
            return  # whoever cannot write is not counted, which is the truth
