"""The consumer's loop: poll, handle, ring; and wait, without losing its place, while the database cannot take more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from consumers.errors import LostPosition, StorageError
from consumers.pipeline import Pipeline, Totals
from consumers.source import Source
from consumers.store import WindowStore

# Idle, a batch is whatever has come; behind, larger batches rewrite each account's windows less often.
LIVE_BATCH = 2_000
BEHIND_BATCH = 50_000
_POLL_S = 0.5
_BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Handled:
    """One batch as listeners hear of it."""

    partition: str
    totals: Totals
    behind: bool


class ConsumerLoop:
    """Moves every partition of one source on, until told to stop. One thread runs it."""

    def __init__(
        self,
        source: Source,
        pipeline: Pipeline,
        store: WindowStore,
        *,
        now: Callable[[], int],
        heard: Callable[[Handled], None] = lambda _handled: None,
        trouble: Callable[[StorageError], None] = lambda _error: None,
        polled: Callable[[], None] = lambda: None,
        live_batch: int = LIVE_BATCH,
        behind_batch: int = BEHIND_BATCH,
        held: bool = False,
    ) -> None:
        """``now`` is the moment of judgement in epoch microseconds; ``heard`` is called after each commit, ``trouble``
        when the database refuses, ``polled`` at every turn. ``held`` says that more is to come after this source, so
        what it touches must wait even when it is read to its end."""
        self._source = source
        self._pipeline = pipeline
        self._store = store
        self._now = now
        self._heard = heard
        self._trouble = trouble
        self._polled = polled
        self._live_batch = live_batch
        self._behind_batch = behind_batch
        self._held = held

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set. Storage failures are waited out: no position moves, nothing is dropped."""
        failures = 0
        started = False
        limit = self._live_batch
        while not stop.is_set():
            try:
                if not started:
                    self._seek_all()
                    started = True
                behind = self.step(limit)
            except StorageError as error:
                self._trouble(error)
                started = False
                stop.wait(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1
                continue
            failures = 0
            limit = self._behind_batch if behind else self._live_batch

    def drain(self) -> None:
        """Everything the source holds now, then return: for files and tests."""
        self._seek_all()
        while self.step(self._behind_batch, timeout_s=0.0) is not None:
            pass

    def step(self, limit: int, timeout_s: float = _POLL_S) -> bool | None:
        """One batch. Returns whether the source holds more, None if there was nothing to read."""
        self._polled()
        chunk = self._source.poll(limit, timeout_s)
        if chunk is None:
            return None
        try:
            kept = replace(chunk, end=max(chunk.end or 0, chunk.next + 1)) if self._held else chunk
            totals = self._pipeline.handle(kept, self._source.origin, self._now())
        except LostPosition:
            self._source.seek(chunk.partition, self._store.position(chunk.partition))
            return True
        except StorageError:
            self._source.seek(chunk.partition, chunk.start)
            raise
        self._heard(Handled(chunk.partition, totals, chunk.behind))
        return chunk.behind

    def _seek_all(self) -> None:
        for partition in self._source.partitions():
            self._source.seek(partition, self._store.position(partition))
