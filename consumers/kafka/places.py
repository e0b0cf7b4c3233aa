"""Where to read on in a partition, decided from values alone: what is stored, and what the log says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from consumers.errors import PartitionStopped
from consumers.source import Position


@dataclass(frozen=True, slots=True)
class LogState:
    """A partition's log now: ``beginning`` is its oldest offset, ``end`` the one after its newest.

    ``diverges_at`` is the offset from which on it is known not to be what was read before.
    """

    log: str
    beginning: int
    end: int
    diverges_at: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where to go on: ``next``, of which the first ``lost`` offsets are gone."""

    next: int
    lost: int = 0

    @property
    def first(self) -> int:
        """The first offset that is there to be read."""
        return self.next + self.lost


def place(partition: str, position: Position | None, state: LogState) -> Place | PartitionStopped:
    """Where to read on from ``position`` (None: never read), or why nobody but a person can say that."""
    mend = (
        f"`bellwether positions reset {partition} --to-time T` reads on from an instant; repeats count once"
    )
    if position is None:
        return Place(state.beginning)
    if position.log and state.log and position.log != state.log:
        return PartitionStopped(
            partition,
            "recreated",
            f"{partition} is another log than the one read up to {position.next}: its topic was made anew\n{mend}",
        )
    end = state.end if state.diverges_at is None else min(state.end, state.diverges_at)
    if end < position.next:
        return PartitionStopped(
            partition,
            "truncated",
            f"{partition} was read up to {position.next}, but its log holds only what is before {end}\n{mend}",
        )
    return Place(position.next, max(0, state.beginning - position.next))


def first_readable(damaged: int, end: int, readable: Callable[[int], bool], hint: int | None = None) -> int:
    """The offset after the damaged stretch that begins at ``damaged``; ``end`` when it reaches so far.

    ``readable`` fetches at an offset and says whether that works; it is asked about 2 log2(length) times. ``hint`` is
    where the damaged batch claims to end: believed if that is readable and the offset before it is not.
    """
    if (
        hint is not None
        and damaged < hint < end
        and readable(hint)
        and (hint == damaged + 1 or not readable(hint - 1))
    ):
        return hint
    bad, step = damaged, 1
    while (good := min(damaged + step, end)) < end and not readable(good):
        bad, step = good, step * 2
    while good - bad > 1:
        middle = (good + bad) // 2
        if readable(middle):
            good = middle
        else:
            bad = middle
    return good
