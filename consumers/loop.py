"""The consumer's loop: poll, handle, ring; and wait, without losing its place, while the database cannot take more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from consumers.errors import (
    BellwetherError,
    DeadLettersUnwritable,
    LostPosition,
    PartitionStopped,
    StorageError,
)
from consumers.pipeline import Pipeline, Totals
from consumers.rejection import ECHO, Rejection, RejectionReason
from consumers.source import Chunk, Position, Source
from consumers.store import STOPS, WindowStore

# Idle, a batch is whatever has come; behind, larger batches rewrite each account's windows less often.
LIVE_BATCH = 2_000
BEHIND_BATCH = 50_000
REST_S = 5.0  # a partition that waits, for its dead letters or for a person, is looked at again so often
_POLL_S = 0.5
_BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0)
_IDLE_S = 0.5
# It looks up after five seconds of silence, or so many batches: one partition may be silent, and its position moved by
# a person, while others are busy.
_LOOK_AGAIN = 100
_SILENT_TURN = 10
UNWRITABLE = "dead_letters_unwritable"  # the kind of incident


@dataclass(frozen=True, slots=True)
class Handled:
    """One batch as listeners hear of it."""

    chunks: Sequence[Chunk]
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
        trouble: Callable[[Exception], None] = lambda _error: None,
        polled: Callable[[], None] = lambda: None,
        live_batch: int = LIVE_BATCH,
        behind_batch: int = BEHIND_BATCH,
        held: bool = False,
    ) -> None:
        """``now`` is the moment of judgement in epoch microseconds; ``heard`` is called after each commit, ``trouble``
        when the database refuses, a partition stops or a record cannot be handled, ``polled`` at every turn. ``held``
        says that more is to come after this source, so what it touches must wait even when it is read to its end."""
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
        self.refused: str | None = None  # why nothing, or not all, was taken in at the last turn, in a line
        self._stuck = False  # a batch could not be handled, and none has been since
        self._unwritable: set[str] = set()  # an incident says so, of whoever: over with the next commit
        self._unwritten: dict[str, PartitionStopped] = {}  # incidents that the database has not taken yet
        # Stored positions as this loop knows them: they may not begin again.
        self._reached: dict[str, int] = {}
        self._turns = 0  # since it last looked up
        # Partitions that were read to their end, since they are ours.
        self._current: frozenset[str] = frozenset()

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set. Storage failures are waited out: no position moves, nothing is dropped."""
        failures = 0
        started = False
        limit = self._live_batch
        while not stop.is_set():
            try:
                if not started:
                    self._seek(self._source.partitions())
                    started = True
                behind = self.step(limit)
            except StorageError as error:
                self.refused = str(error).splitlines()[0]
                self._trouble(error)
                started = False
                self._wait(stop, _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1
                continue
            except Exception as error:  # for whoever runs this to try again
                self.refused = f"a batch cannot be handled: {_said(error)}"
                raise
            failures = 0
            if not self._stuck:
                self.refused = None
            limit = self._behind_batch if behind else self._live_batch

    def drain(self) -> None:
        """Everything the source holds now, then return: for files and tests."""
        self._seek(self._source.partitions())
        while self.step(self._behind_batch, timeout_s=0.0) is not None:
            pass
        self._look_up()

    def step(self, limit: int, timeout_s: float = _POLL_S) -> bool | None:
        """One batch. Returns whether the source holds more, None if there was nothing to read."""
        self._polled()
        self._pipeline.let_go()
        came = self._source.waiting()
        if came:
            self._stuck = False  # what it met may be somebody else's now
            self._seek(came)
            self._pipeline.forget_all_but(self._source.partitions())
        try:
            chunks = self._source.poll(limit, timeout_s)
        except PartitionStopped as stopped:
            self._stopped(stopped)
            return False
        behind = self._handle(chunks) if chunks else None
        self._turns += 1 if chunks else _SILENT_TURN
        if self._turns >= _LOOK_AGAIN or (not chunks and not self._current.issuperset(self._reached)):
            self._look_up()
        return behind

    def _handle(self, chunks: Sequence[Chunk]) -> bool:
        """Commit what a poll gave. Returns whether the source holds more."""
        marked = [self._marked(chunk) for chunk in chunks]
        try:
            behind = self._take(marked)
        except BellwetherError:  # the database's or a rival's doing, no record's
            raise
        except Exception as error:
            behind = self._take_apart(marked, error)
        self._stuck, self.refused = False, None
        return behind

    def _take_apart(self, chunks: Sequence[Chunk], error: Exception) -> bool:
        """Take in what a batch that cannot be handled holds beside the records that are to blame, and those as dead
        letters: a record is given up when it failed again alone. Returns whether the source holds more.
        """
        self._stuck = True
        self.refused = f"looking for a record that cannot be handled: {_said(error)}"
        self._trouble(error)
        behind = False
        for chunk in chunks:
            parts = [chunk]
            while parts:
                part = parts.pop()
                self._polled()
                try:
                    behind |= self._take([part])
                except BellwetherError:
                    raise
                except Exception as its:
                    if len(part.bodies) > 1:
                        parts += reversed(_halves(part))
                        continue
                    if not part.bodies or isinstance(its, MemoryError | OSError):  # this machine's doing
                        raise
                    self._trouble(its)
                    behind |= self._take([part], unfit=its)
                if self._reached.get(part.partition) != part.next:
                    break  # somebody else's, or it waits: what is left of it comes again
        return behind

    def _take(self, chunks: Sequence[Chunk], unfit: Exception | None = None) -> bool:
        """One transaction; where something is ``unfit``, every record in it is rejected. Returns whether the source
        holds more.
        """
        origin, now = self._source.origin, self._now()
        try:
            if unfit is None:
                batch = self._pipeline.handle(chunks, origin, now)
            else:
                why = Rejection(RejectionReason.BAD_VALUE, f"it cannot be counted: {_said(unfit)}")
                batch = self._pipeline.refuse(chunks[0], why, origin, now)
        except LostPosition:
            self._seek([chunk.partition for chunk in chunks])
            return True
        except StorageError:
            self._give_back(chunks)
            raise
        taken = [chunk for chunk in chunks if chunk.partition not in batch.left]
        self._give_back([chunk for chunk in chunks if chunk.partition in batch.left])
        for partition, error in batch.left.items():
            self._rest(partition, error)
        self._reached.update((chunk.partition, chunk.next) for chunk in taken)
        for partition in self._unwritable.intersection(chunk.partition for chunk in taken):
            self._store.recovered(UNWRITABLE, partition)
            self._unwritable.discard(partition)
        behind = any(chunk.behind for chunk in taken)
        if taken:
            self._source.done(taken)
            self._heard(Handled(taken, batch.totals, behind))
        return behind

    def _marked(self, chunk: Chunk) -> Chunk:
        """With what the source does not know of it."""
        end = max(chunk.end or 0, chunk.next + 1) if self._held else chunk.end
        return replace(chunk, end=end, resumes=chunk.partition in self._reached)

    def _look_up(self) -> None:
        """Say which partitions are read to their ends, and see what others wrote down of which no record tells:
        a position that was moved (`positions reset`, `db rebuild`), trouble."""
        self._turns = 0
        owned = [partition for partition in self._source.partitions() if partition in self._reached]
        self._reached = {partition: self._reached[partition] for partition in owned}
        if not owned:
            return
        self._note(self._store.troubles(owned))
        stored = self._store.positions(owned)
        moved = [each for each in owned if each not in stored or stored[each].next != self._reached[each]]
        if moved:
            self._seek(moved)
        current = [each for each in self._source.current() if each in stored and each not in moved]
        if current:
            self._store.current({each: self._reached[each] for each in current}, self._now())
        self._current = self._current.intersection(owned).union(current)

    def _seek(self, partitions: Sequence[str]) -> None:
        """Read on from where the database says; not at all where it says that a person is to decide that."""
        self._write_down()
        # In this order: who moves a position ends the trouble with it, so none is taken for a new one's.
        troubles = self._store.troubles(partitions) if partitions else {}
        stored = self._store.positions(partitions) if partitions else {}
        self._note(troubles)
        self._current = self._current.difference(partitions)
        for partition in partitions:
            self._reached.pop(partition, None)
        self._reached.update((partition, known.next) for partition, known in stored.items())
        owned = set(self._source.partitions())
        for partition in filter(owned.__contains__, partitions):
            if not set(STOPS).isdisjoint(troubles.get(partition, ())):
                self._reached.pop(partition, None)
                self._source.rest(partition, REST_S)
                continue
            try:
                self._source.seek(partition, stored.get(partition))
            except PartitionStopped as stopped:
                self._stopped(stopped)

    def _note(self, troubles: Mapping[str, Collection[str]]) -> None:
        self._unwritable.update(each for each, kinds in troubles.items() if UNWRITABLE in kinds)

    def _give_back(self, chunks: Sequence[Chunk]) -> None:
        """Let them come again; what is somebody else's by now comes to him."""
        owned = set(self._source.partitions())
        for chunk in chunks:
            if chunk.partition in owned:
                self._source.seek(chunk.partition, Position(chunk.start, chunk.log))

    def _stopped(self, stopped: PartitionStopped) -> None:
        """Only what is in the database keeps the partition from being read later, here and by others."""
        self._unwritten[stopped.partition] = stopped
        self._reached.pop(stopped.partition, None)
        self._trouble(stopped)
        self._write_down()

    def _write_down(self) -> None:
        """Open the incidents that are not in the database yet; known ones are kept as they are."""
        for partition, stopped in list(self._unwritten.items()):
            self._store.incident(stopped.kind, partition, str(stopped))
            del self._unwritten[partition]

    def _rest(self, partition: str, error: DeadLettersUnwritable) -> None:
        """Stop one partition, not skip what it could not put aside; the others go on."""
        self._source.rest(partition, REST_S)
        self._unwritable.add(partition)
        self._trouble(error)
        self._store.incident(UNWRITABLE, partition, str(error))

    def _wait(self, stop: threading.Event, for_s: float) -> None:
        """Let time pass without losing what is owned."""
        for _ in range(max(1, round(for_s / _IDLE_S))):
            if stop.wait(min(for_s, _IDLE_S)):
                return
            self._polled()
            self._source.idle()


def _halves(chunk: Chunk) -> tuple[Chunk, Chunk]:
    """The same records in two chunks, the first of which is behind."""
    count = len(chunk.bodies) // 2
    cut = chunk.offsets[count]
    first = replace(
        chunk,
        next=cut,
        bodies=chunk.bodies[:count],
        offsets=chunk.offsets[:count],
        senders=chunk.senders[:count],
        end=max(chunk.end or 0, chunk.next),
    )
    second = replace(
        chunk,
        start=cut,
        bodies=chunk.bodies[count:],
        offsets=chunk.offsets[count:],
        senders=chunk.senders[count:],
        lost=0,
        damaged="",
        resumes=True,
    )
    return first, second


def _said(error: Exception) -> str:
    """An error in a line that a database can hold and that echoes no more of a record than a rejection does."""
    text = str(error)[:ECHO]
    return f"{type(error).__name__}: {text!a}" if text else type(error).__name__
