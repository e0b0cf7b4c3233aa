"""Events from Kafka: the group says which partitions are ours, the database says from where they are read.

Offsets committed to Kafka are for lag tools; nothing is ever read from them. A partition that comes gives no records
until :meth:`KafkaSource.seek` has compared what is stored with the log that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition
from kafka.errors import (
    AuthorizationError,
    KafkaError,
    LogTruncationError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)

from consumers.errors import SourceError
from consumers.kafka.batches import Damage, collect, damage_of
from consumers.kafka.client import KafkaClient
from consumers.kafka.commits import Commits
from consumers.kafka.connection import Connection
from consumers.kafka.damage import Interrupted, behind, told
from consumers.kafka.edges import Edges
from consumers.kafka.link import Link, in_a_line
from consumers.kafka.places import LogState, Place, place
from consumers.source import Chunk, Position

_SLICE_S = 0.1  # a poll looks up so often, to say at once that partitions came
_GATHER_S = 0.5  # far behind, a chunk grows for so long: larger ones are cheaper to store
_FAR = 2_000  # records; what is nearer is read with the next poll, and what was found is late enough
_LATER_S = 1.0  # until a partition is asked about again that gave no answer
_RECHECK_S = 5.0  # until one is whose position does not fit its log: somebody may have reset it
_SILENT_S = (
    10.0  # without an answer of its leader for so long, nobody knows whether a partition is read to its end
)
_REFUSED_S = 30.0  # until a partition is tried again that we may not read, or lack the codec for
_NAMED = 8  # partitions in a line
_NOW = float("-inf")

Found = dict[TopicPartition, tuple[list[bytes], list[int]]]


@dataclass(slots=True)
class _Reading:
    """A partition that gives records: the log it is read in, and how far it was given."""

    log: str
    beginning: int
    next: int
    lost: int = 0


class KafkaSource:
    """Topics of one cluster, shared with the other members of the group; implements :class:`consumers.source.Source`.

    Neither making one nor polling fails because a broker is away: ``poll`` returns nothing, :attr:`trouble` says why.
    Not thread-safe; the thread that polls owns it.
    """

    def __init__(
        self,
        client: KafkaClient,
        topics: Sequence[str],
        *,
        clock: Callable[[], float],
        fast: bool = False,
        said: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """``clock`` counts seconds and never goes back. ``fast`` reads values straight from the batches. ``said``
        hears, in one line, what an operator may want to know. Connects with the first poll."""
        self._origin = client.origin
        self._clock = clock
        self._said = said
        self._link = Link(client, tuple(topics), clock, fast=fast, said=said)
        self._edges = Edges(clock)
        self._seen: tuple[Connection | None, int] = (None, 0)  # the membership as of which all this holds
        self._reading: dict[TopicPartition, _Reading] = {}
        self._waiting: dict[TopicPartition, float] = {}  # until when it need not be asked for
        self._stopped: set[TopicPartition] = set()  # those of them that wait for a person
        self._resting: dict[TopicPartition, float] = {}
        self._damaged: dict[TopicPartition, Damage] = {}
        self._commits = Commits(clock)
        self._unasked: dict[
            TopicPartition, float
        ] = {}  # since when nobody says where its log begins and ends
        self._unanswered: str | None = None

    # --- what it is --------------------------------------------------------------------------------------------

    @property
    def origin(self) -> str:
        """The servers."""
        return self._origin

    @property
    def connected(self) -> bool:
        """Whether the cluster answers."""
        return self._link.alive

    @property
    def trouble(self) -> str | None:
        """What keeps it from reading, in a line; None if nothing does."""
        return self._link.trouble or self._unanswered

    def partitions(self) -> Sequence[str]:
        """What the group gave us, as ``topic/number``."""
        return sorted(map(_name, self._owned()))

    def waiting(self) -> Sequence[str]:
        """Those of them that are to be sought; one that gave no answer or was refused is named again later."""
        self._follow()
        return [
            _name(each) for each in sorted(self._due(), key=lambda it: (self._edges.unanswered_at(it), it))
        ]

    # --- from where --------------------------------------------------------------------------------------------

    def seek(self, partition: str, position: Position | None) -> None:
        """Read on from ``position``. Raises SourceError, or PartitionStopped if it does not fit; then, or if the log
        cannot be asked now, the partition stays among those that wait.
        """
        self._follow()
        which, connection = _partition(partition), self._link.connection
        if which is None or connection is None or which not in self._owned():
            raise SourceError(f"{self._origin} has not given us partition {partition!r}")
        reading = self._reading.get(which)
        if reading is not None and position is not None and position.log in ("", reading.log):
            if position.next == reading.next:
                return
            if reading.beginning <= position.next < reading.next:
                state = LogState(reading.log, reading.beginning, reading.next)
                self._begin(connection, which, Place(position.next), state)
                return
        self._stop_reading(connection, which)
        state_now = self._state(connection, which)
        if state_now is None:
            return
        verdict = place(partition, position, state_now)
        if isinstance(verdict, Place):
            self._edges.agreed(which)
            self._begin(connection, which, verdict, state_now)
            return
        self._stopped.add(which)
        self._waiting[which] = self._clock() + _RECHECK_S
        raise verdict

    def _begin(self, connection: Connection, which: TopicPartition, where: Place, state: LogState) -> None:
        connection.seek(which, where.first)
        self._waiting.pop(which, None)
        self._unasked.pop(which, None)
        self._stopped.discard(which)
        self._damaged.pop(which, None)
        self._reading[which] = _Reading(state.log, state.beginning, where.next, where.lost)

    def _stop_reading(self, connection: Connection, which: TopicPartition) -> None:
        """It gives nothing until it is sought."""
        self._reading.pop(which, None)
        self._damaged.pop(which, None)
        self._waiting[which] = _NOW
        connection.pause([which])

    def _state(self, connection: Connection, which: TopicPartition) -> LogState | None:
        """The log of a partition as it is now; None if nobody can say, then it is asked for later."""
        try:
            state = self._edges.state(connection, which, self._due())
        except KafkaError as error:
            self._link.problem = (
                f"{self._origin} does not say where {_name(which)} begins and ends: {in_a_line(error)}"
            )
            state = None
        if state is None:
            self._waiting[which] = self._clock() + _LATER_S
            self._unasked.setdefault(which, self._clock())
        return state

    # --- reading -----------------------------------------------------------------------------------------------

    def poll(self, limit: int, timeout_s: float) -> Sequence[Chunk]:
        """The next records, at most ``limit``; as soon as there are any, or partitions to be sought."""
        end = self._clock() + timeout_s
        connection = self._ready(timeout_s)
        if connection is None:
            return []
        self._watch(connection)
        self._wake(connection)
        if self._damaged and (mended := self._behind_damage(connection)):
            return mended
        found: Found = {}
        count = self._take(connection, found, limit, max(0.0, min(_SLICE_S, end - self._clock())))
        while not count and not self._disturbed() and (left := end - self._clock()) > 0:
            count = self._take(connection, found, limit, min(_SLICE_S, left))
        until = self._clock() + _GATHER_S
        while 0 < count < limit and not self._disturbed() and self._clock() < until:
            if sum(map(connection.left, found)) <= _FAR:
                break
            came = self._take(connection, found, limit - count, _GATHER_S / 2)
            if not came:
                break
            count += came
        self._unanswered = self._without_answer(connection)
        return self._chunks(connection, found)

    def _take(self, connection: Connection, found: Found, limit: int, timeout_s: float) -> int:
        """One poll of the library, added to what was found. Returns how many records it gave."""
        return sum(
            collect(records, *found.setdefault(which, ([], [])))
            for which, records in self._polled(connection, limit, timeout_s).items()
        )

    def _polled(
        self, connection: Connection, limit: int, timeout_s: float
    ) -> Mapping[TopicPartition, Sequence[Any]]:
        """The library's poll; what it raises becomes what is done about it."""
        records: Mapping[TopicPartition, Sequence[Any]] = {}
        try:
            records = connection.poll(limit, timeout_s)
        except OffsetOutOfRangeError as error:
            self._ask_again(connection, error.args[0] if error.args else self._reading)
        except LogTruncationError as error:
            for which, where in error.divergent_offsets.items():
                self._edges.diverges(which, where.offset if where is not None else 0)
            self._ask_again(connection, error.divergent_offsets)
        except Exception as error:  # what decompressing raises is the codec's; none of it may end the reading
            self._failed(connection, error)
        else:
            self._link.worked()
            if records:
                self._link.heard()
        self._follow()
        return records

    def _failed(self, connection: Connection, error: Exception) -> None:
        """Say what is wrong and leave it alone; a batch that cannot be read is looked behind with the next poll."""
        damage = damage_of(error)
        if damage and isinstance(error, UnsupportedCodecError):
            where = _name(damage.partition)
            self._link.problem = f"{where} is packed with a codec that is missing here: {in_a_line(error)}"
            self.rest(where, _REFUSED_S)
        elif damage:
            if damage.partition in self._reading:
                self._damaged[damage.partition] = damage
                connection.pause([damage.partition])
        elif isinstance(error, TopicAuthorizationFailedError):
            refused = error.args[0] if error.args and isinstance(error.args[0], set) else set()
            self._link.problem = (
                f"{self._origin} does not let us read {', '.join(sorted(refused)) or 'a topic'}"
            )
            for each in self._reading:
                if each.topic in refused:
                    self.rest(_name(each), _REFUSED_S)
            self._link.failed(self._link.problem)
        else:
            what = "does not let us in" if isinstance(error, AuthorizationError) else "cannot be read"
            self._link.failed(f"{self._origin} {what}: {in_a_line(error)}")

    def _chunks(self, connection: Connection, found: Found) -> list[Chunk]:
        """What was found, and what the log skipped: aborted and compacted records move a position on as well."""
        chunks = []
        for which, reading in list(self._reading.items()):
            if connection.log_of(which.topic) != reading.log:
                self._stop_reading(connection, which)  # what came may be from another log
                continue
            reached = connection.position(which)
            # Less than where it was put: the group has just put it back to 0, and the epoch is about to tell.
            if reached is None or reached < reading.next + reading.lost or reached == reading.next:
                continue
            bodies, offsets = found.get(which, ([], []))
            known = connection.end(which)
            end = None if known is None else max(known, reached)
            chunks.append(
                Chunk(
                    *(_name(which), reading.next, reached, bodies, offsets, end),
                    log=reading.log,
                    lost=reading.lost,
                )
            )
            reading.next, reading.lost = reached, 0
        # What was read while the group shared out anew may be another's place: it is sought and comes again.
        return [] if self._follow() else chunks

    def _behind_damage(self, connection: Connection) -> list[Chunk]:
        """One chunk for a stretch that cannot be read, with a body that says so; none if that must be tried again."""
        which, damage = next(iter(self._damaged.items()))
        start = after = self._reading[which].next
        try:
            after, end = behind(connection, damage, start, self._clock)
        except (KafkaError, Interrupted) as error:
            self._link.failed(f"{_name(which)} cannot be read at {start}: {in_a_line(error)}")
        else:
            del self._damaged[which]
        self._follow()
        reading = self._reading.get(which)
        if reading is None:
            return []
        connection.seek(which, after)
        if after == start:
            return []
        reading.next = after
        self._said(f"{_name(which)}: offsets {start} to {after - 1} are damaged, reading on behind them")
        return [told(_name(which), reading.log, start, after, end)]

    # --- keeping the place -------------------------------------------------------------------------------------

    def idle(self) -> None:
        """Take nothing but stay a member of the group."""
        connection = self._ready(0.0)
        if connection is not None:
            connection.only([])
            self._polled(connection, 1, _SLICE_S)
            self._watch(connection)

    def current(self) -> Sequence[str]:
        """Those that the cluster, which answers, has nothing more of, by the word of the brokers that lead them."""
        connection = self._link.connection
        if connection is None or not self._link.alive:
            return ()
        ends = {
            which: connection.end(which)
            for which in self._reading
            if which not in self._resting and connection.answers.age_s(which) < _SILENT_S
        }
        return [
            _name(which)
            for which, end in ends.items()
            if end is not None and self._reading[which].next >= end
        ]

    def rest(self, partition: str, for_s: float) -> None:
        """Leave one partition alone for a while; the others go on. One that waits to be sought goes on waiting."""
        which, connection = _partition(partition), self._link.connection
        if which in self._waiting:
            self._waiting[which] = self._clock() + for_s
            self._stopped.add(which)
        elif which is not None and connection is not None:
            self._resting[which] = self._clock() + for_s
            connection.pause([which])

    def done(self, chunks: Sequence[Chunk]) -> None:
        """Tell the group, once a second; whether that works matters to nobody's data."""
        reached = {_partition(chunk.partition): chunk.next for chunk in chunks}
        told = ((which, offset) for which, offset in reached.items() if which is not None)
        self._commits.tell(self._link.connection, told)

    def close(self) -> None:
        """Leave the group; within two seconds, whether a broker answers or not."""
        connection = self._link.close()
        if connection is not None:
            connection.close(self._commits.untold)
        self._follow()

    def _without_answer(self, connection: Connection) -> str | None:
        """Which partitions' leaders do not answer, in a line; the others are read."""
        now = self._clock()
        unread = {which: now - since for which, since in self._unasked.items()}
        unheard = {
            which: for_s for which, for_s in connection.answers.silent_s().items() if which in self._reading
        }
        silent = {which: for_s for which, for_s in (unread | unheard).items() if for_s > _SILENT_S}
        if not silent:
            return None
        names = sorted(map(_name, silent))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return (
            f"{self._origin}: nobody has answered for {', '.join(names[:_NAMED])}{more} "
            f"for {max(silent.values()):.0f} s"
        )

    def _ready(self, timeout_s: float) -> Connection | None:
        connection = self._link.ready(timeout_s)
        self._follow()
        return connection

    def _owned(self) -> frozenset[TopicPartition]:
        connection = self._link.connection
        return connection.membership.owned if connection else frozenset()

    def _follow(self) -> bool:
        """Take over what the group decided since: whatever is ours must be sought anew. Returns whether it did."""
        connection = self._link.connection
        seen = (connection, connection.membership.epoch if connection else 0)
        if seen == self._seen:
            return False
        self._seen = seen
        self._edges.forget()
        self._commits.forget()
        for each in (self._reading, self._damaged, self._resting, self._stopped):
            each.clear()
        self._waiting = dict.fromkeys(self._owned(), _NOW)
        self._unasked = {which: since for which, since in self._unasked.items() if which in self._waiting}
        return True

    def _due(self) -> list[TopicPartition]:
        """Those that are to be sought now."""
        now = self._clock()
        return [each for each, until in self._waiting.items() if until <= now]

    def _disturbed(self) -> bool:
        """Whether a poll should return with what it has: something else is to be done first."""
        return bool(self._due() or self._damaged) or self._link.backs_off

    def _ask_again(self, connection: Connection, partitions: Iterable[TopicPartition]) -> None:
        """Their place is to be decided anew."""
        self._follow()
        for which in list(partitions):
            if which in self._reading:
                self._stop_reading(connection, which)

    def _wake(self, connection: Connection) -> None:
        """Fetch from all that are read, but those that rest or are damaged."""
        now = self._clock()
        self._resting = {each: until for each, until in self._resting.items() if until > now}
        connection.only(
            each for each in self._reading if each not in self._resting and each not in self._damaged
        )

    def _watch(self, connection: Connection) -> None:
        """See from time to time that the cluster is there, and that no topic was made anew meanwhile."""
        if self._link.watch() and not (self._resting or self._waiting.keys() - self._stopped):
            self._link.problem = None
        logs = {each: connection.log_of(each.topic) for each in self._reading}
        changed = [each for each, log in logs.items() if log not in (None, self._reading[each].log)]
        self._ask_again(connection, changed)


def _name(which: TopicPartition) -> str:
    return f"{which.topic}/{which.partition}"


def _partition(name: str) -> TopicPartition | None:
    topic, _, number = name.rpartition("/")
    return TopicPartition(topic, int(number)) if topic and number.isdigit() else None
