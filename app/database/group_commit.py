"""Small writes of many threads in one transaction: a flush to disk takes as long for fifty events as for one.

Whoever comes first leads: it does its own work and that of all who wait, commits once, and hands the lead to the
first of those who came meanwhile. Nobody's call returns before its own work is committed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

from sqlalchemy import Connection

from app.database.engine import Database
from consumers.errors import StorageError

T = TypeVar("T")
_MOST = (
    64  # works in one transaction: more than threads ever wait, and a bound on how long it holds the database
)


class _Job(Generic[T]):
    __slots__ = ("awake", "error", "result", "settled", "work")

    def __init__(self, work: Callable[[Connection], T]) -> None:
        self.work = work
        self.awake = threading.Event()
        self.settled = False
        self.result: T | None = None
        self.error: BaseException | None = None


class GroupCommit:
    """Runs small pieces of writing work. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waiting: list[_Job[object]] = []
        self._led = False

    def run(self, work: Callable[[Connection], T]) -> T:
        """The result of ``work``, committed. It may run twice, so it must do nothing outside its connection.

        Raises what ``work`` raised, with nothing of it kept, or StorageError.
        """
        job = cast("_Job[object]", _Job(work))
        with self._lock:
            self._waiting.append(job)
            leads = not self._led
            self._led = True
        if not leads:
            job.awake.wait()
        if not job.settled:
            self._lead()
        if job.error is not None:
            raise job.error
        return cast("T", job.result)

    def _lead(self) -> None:
        with self._lock:
            batch = self._waiting[:_MOST]
            del self._waiting[:_MOST]
        try:
            self._commit(batch)
        finally:
            with self._lock:
                heir = self._waiting[0] if self._waiting else None
                self._led = heir is not None
            for job in batch:
                job.settled = True
                job.awake.set()
            if heir is not None:
                heir.awake.set()

    def _commit(self, batch: Sequence[_Job[object]]) -> None:
        try:
            with self._database.write() as connection:
                results = [job.work(connection) for job in batch]
        except (
            StorageError
        ) as error:  # alone or together, the database says no: trying one by one only adds waits
            for job in batch:
                job.error = type(error)(*error.args)
        except BaseException as error:
            if len(batch) == 1:
                batch[0].error = error
            else:  # one bad work must not cost the others theirs
                for job in batch:
                    self._commit([job])
        else:
            for job, result in zip(batch, results, strict=True):
                job.result = result
