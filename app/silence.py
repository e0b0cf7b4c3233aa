"""Incidents of sources: opened when one falls silent, closed when it flows again, each told once (METRICS section 7).

What is told is written in the transaction that opens or closes, so that neither is there without the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from alerts.announcement import Announcer
from alerts.delivery import Outbox
from alerts.silence import Silence
from app.database import incidents
from app.database.engine import Database
from app.hearing import Hearing, Silent

PATIENCE_US = 15 * 60 * 1_000_000  # a reader of ours may lag for so long before anybody is told
QUIET_US = 60 * 1_000_000  # who brought something old within a minute is about to bring the rest


class SilenceWatch:
    """Not thread-safe: the clock's thread asks it. What it did is in the database."""

    def __init__(
        self,
        database: Database,
        hearing: Hearing,
        announcer: Callable[[], Announcer],
        outbox: Outbox[Connection],
        real_us: Callable[[], int],
    ) -> None:
        """``announcer`` is that of the configuration in force; ``real_us`` gives the real time: incidents bear it."""
        self._database = database
        self._hearing = hearing
        self._announcer = announcer
        self._outbox = outbox
        self._real_us = real_us
        self._lagging_since: dict[str, int] = {}
        self._open = True  # as far as is known

    def look(self, now: int) -> int:
        """Open, close and tell what there is at ``now``, the moment of judgement. Returns how many moved."""
        silent = self._hearing.silent(now)
        if not silent and not self._open:
            return 0
        with self._database.read() as connection:
            known = {each.subject for each in incidents.silences(connection)}
        self._open = bool(known)
        begun = {name: each for name, each in self._quiet(silent).items() if name not in known}
        return self._move(begun, silent) if begun or not known <= silent.keys() else 0

    def _quiet(self, silent: Mapping[str, Silent]) -> dict[str, Silent]:
        """But for those that may only be catching up: a reader of ours after a restart, a backfill, a sender who is
        back."""
        real = self._real_us()
        lagging = [name for name, each in silent.items() if each.lags]
        self._lagging_since = {name: self._lagging_since.get(name, real) for name in lagging}
        return {
            name: each
            for name, each in silent.items()
            if not (each.lags and 0 <= real - self._lagging_since[name] < PATIENCE_US)
            and not (each.heard_at is not None and 0 <= real - each.heard_at < QUIET_US)
        }

    def _move(self, begun: Mapping[str, Silent], silent: Mapping[str, Silent]) -> int:
        real = self._real_us()
        with self._database.write() as connection:
            known = {each.subject: each for each in incidents.silences(connection, alone_with_them=True)}
            over = [each for subject, each in known.items() if subject not in silent]
            news = [Silence(each.id, each.subject, (), each.opened_at, closed_at=real) for each in over]
            for each in over:
                incidents.close(connection, incidents.STALE_SOURCE, each.subject, real)
            for name in sorted(begun.keys() - known.keys()):
                told = _silence(begun[name], real)
                incidents.open_one(
                    connection, incidents.STALE_SOURCE, name, f"{told.title}\n{told.detail}", real
                )
                news.append(told)
            numbers = {each.subject: each.id for each in incidents.silences(connection)}
            news = [replace(each, number=numbers.get(each.source, each.number)) for each in news]
            self._tell(connection, news, real)
        self._open = True
        return len(news)

    def _tell(self, connection: Connection, news: Sequence[Silence], real: int) -> None:
        announcer = self._announcer()
        self._outbox.enqueue(
            connection, [each for told in news for each in announcer.silence(told, now=real)]
        )


def _silence(silent: Silent, opened_at: int) -> Silence:
    state = silent.state
    if state is None or silent.lags:
        return Silence(0, silent.source, silent.families, opened_at)
    return Silence(
        0,
        silent.source,
        silent.families,
        opened_at,
        newest_at=state.newest_at,
        expected_gap=state.expected_gap,
    )
