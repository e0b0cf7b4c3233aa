"""The clock: APScheduler as a doorbell, and :class:`Clockwork`, which decides what is due when it rings.

Nothing is kept in the scheduler. Due times are in the database, so a restart, a missed ring or a ring too many changes
nothing: each ring asks what is due now. The process that holds the lease ``clock`` answers, the others only look.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from alerts.evaluation import Evaluator, Summary
from app.database.leases import Lease, new_holder
from app.database.schedule import DayClose
from consumers.days import Calendar
from consumers.errors import BellwetherError

RING_S = 1.0
SILENT_S = 5.0  # without a ring for so long the doorbell is broken, or the real clock was set back
LEASE_US = 30 * 1_000_000  # a killed holder is followed within half a minute
RENEW_US = 20 * 1_000_000  # left of it: renewed every ten seconds, not with every ring
QUIET_S = 60.0  # the same trouble is logged once a minute
PATIENCE_US = 15 * 60 * 1_000_000  # a day closes without its last events when they do not come for so long
STOP_S = 5.0  # for the transaction in progress
CLOCK_LEASE = "clock"
_EPOCH = date(1970, 1, 1)

log = structlog.get_logger(__name__)


class LeaseLost(BellwetherError):
    """Another process took the clock over; what was being done is left to it."""


class Stopping(BellwetherError):
    """The process ends; what was being done is begun again by the next one that has the clock."""


class Leases(Protocol):
    """As :class:`app.database.leases.SqlLeases`."""

    def acquire(self, name: str, holder: str, now: int, length_us: int) -> Lease | None:
        """Take or extend; None while another has it."""

    def renew(self, held: Lease, now: int, length_us: int) -> Lease | None:
        """Extend; None if it was lost."""

    def release(self, held: Lease) -> None:
        """Give it back."""


class Schedule(Protocol):
    """As :class:`app.database.schedule.SqlSchedule`."""

    def day_close(self) -> DayClose | None:
        """What was closed last; None before the first close."""

    def closed(self, day: int, closed_at: int, next_due_at: int) -> bool:
        """Write down that ``day`` is closed; False if it or a later one already was."""

    def rules_version(self) -> str | None:
        """The configuration by which every account was judged."""

    def judged_by(self, rules_version: str) -> None:
        """Write down that every account was judged by this configuration."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What one ring did: whether this process holds the clock, the day it closed, and what moved."""

    holding: bool
    closed_day: int | None = None
    summary: Summary = field(default_factory=Summary)


class Hears(Protocol):
    """Knows whether events may be missing, see :class:`app.hearing.Hearing`."""

    def doubtful(self, now: int) -> Collection[str]:
        """The families of events that may be missing at ``now``."""

    def complete(self, until: int) -> bool:
        """Whether all that happened until then is in the windows, as far as it was sent."""

    def deaf(self) -> frozenset[str]:
        """The families without which something may have been judged."""

    def note_deaf(self, families: Collection[str]) -> None:
        """Write that down; none: all was judged anew."""


class Clockwork:
    """Decides what is due. Not thread-safe: one thread rings it. Tests call :meth:`tick` with a time of their own."""

    def __init__(
        self,
        evaluator: Evaluator,
        schedule: Schedule,
        leases: Leases,
        calendar: Calendar,
        real_us: Callable[[], int],
        *,
        hearing: Hears,
        rules_version: Callable[[], str],
        tell_silence: Callable[[int], object] = lambda _now: None,
        holder: str | None = None,
    ) -> None:
        """``real_us`` gives the real time: a lease would never end by a clock that stands still.

        ``rules_version`` tells the configuration in force. A day's close waits for the events of the day, and what was
        judged while we were deaf is judged anew. ``tell_silence`` tells of sources that fell silent or flow again.
        """
        self._evaluator = evaluator
        self._schedule = schedule
        self._leases = leases
        self._calendar = calendar
        self._real_us = real_us
        self._hearing = hearing
        self._holder = holder or new_holder()
        self._rules_version = rules_version
        self._rules_known = False  # that all were judged by the rules in force, since the clock is ours
        self._lease: Lease | None = None
        self._tell_silence = tell_silence
        self._waits_since: int | None = None  # a day's close for its events, by the real clock
        self._deaf: frozenset[str] | None = None  # as written down; None: not read since the clock is ours

    def tick(self, now: int, alive: Callable[[], None] = lambda: None) -> Tick:
        """Do what is due at ``now``, the moment of judgement. Raises StorageError, LeaseLost.

        ``alive`` is called after each batch of a long piece of work; what it raises ends that.
        """
        if not self._holds():
            self._rules_known, self._deaf = False, None
            return Tick(holding=False)

        def still() -> None:
            alive()
            self._keep()

        total = Summary()
        self._tell_silence(now)
        deaf = self._deaf_to(now)
        day = self._heard(self._due_day(now))
        if not self._rules_known:
            total.add(self._know_rules(day, now, still))
        elif day is not None:
            total.add(self._close(day, now, still))
        if self._hears_again(deaf):
            if day is None:  # else all were judged just now
                total.add(self._evaluator.evaluate_all(now, alive=still))
            self._write_deaf(deaf)
        total.add(self._evaluator.evaluate_due(now))
        return Tick(True, day, total)

    def stop(self) -> None:
        """Give the lease back, so that another process need not wait for its end."""
        if self._lease is not None:
            self._leases.release(self._lease)
            self._lease = None

    def _due_day(self, now: int) -> int | None:
        """The day to close, if one is due.

        Of several that were missed only the newest: what counts days in a row counts by difference, and alerts as of
        a day last week would help nobody.
        """
        last = self._schedule.day_close()
        if last is not None and now < last.due_at:
            return None
        newest = self._calendar.day_of_us(now) - 1
        return newest if last is None or newest > last.closed_day else None

    def _heard(self, day: int | None) -> int | None:
        """``day``, unless what was done on it may still be on its way: that is waited for, but not for ever."""
        if day is None or self._hearing.complete(self._calendar.close_us(day)):
            self._waits_since = None
            return day
        real = self._real_us()
        if self._waits_since is None:
            self._waits_since = real
        return day if not 0 <= real - self._waits_since < PATIENCE_US else None

    def _deaf_to(self, now: int) -> frozenset[str]:
        """The families that are not heard now. That is written down before anything is judged without them."""
        if self._deaf is None:
            self._deaf = self._hearing.deaf()
        families = frozenset(self._hearing.doubtful(now))
        if not families <= self._deaf:
            self._write_deaf(families | self._deaf)
        return families

    def _hears_again(self, deaf: frozenset[str]) -> bool:
        """Whether all may be judged anew that was judged without some family that is heard now."""
        return self._deaf is not None and not self._deaf <= deaf

    def _write_deaf(self, families: frozenset[str]) -> None:
        self._hearing.note_deaf(families)
        self._deaf = families

    def _know_rules(self, day: int | None, now: int, alive: Callable[[], None]) -> Summary:
        """Judge all accounts if the rules are others than before, as after a change while no service ran.

        A day's close does that as well. Later changes come by a reload, which judges all itself.
        """
        version, summary = self._rules_version(), Summary()
        known = self._schedule.rules_version() == version
        if day is not None:
            summary = self._close(day, now, alive)
        elif not known:
            summary = self._evaluator.evaluate_all(now, alive=alive)
        if not known:
            self._schedule.judged_by(version)
        self._rules_known = True
        return summary

    def _close(self, day: int, now: int, alive: Callable[[], None]) -> Summary:
        """Sweep, then write down that it is done: killed between the two, a second sweep moves nothing twice."""
        summary = self._evaluator.close_day(day, now, alive=alive)
        self._schedule.closed(day, now, self._calendar.close_us(day + 1))
        self._evaluator.settle_median(now)  # if no rule goes by it, whoever looks at an account still does
        return summary

    def _keep(self) -> None:
        if self._lease is None or self._fresh(self._lease):
            return
        self._lease = self._leases.renew(self._lease, self._real_us(), LEASE_US)
        if self._lease is None:
            raise LeaseLost(
                "another process took the clock over in the middle of a day's close\nit will finish it"
            )

    def _holds(self) -> bool:
        held = self._lease
        if held is not None and self._fresh(held):
            return True
        now = self._real_us()
        kept = None if held is None else self._leases.renew(held, now, LEASE_US)
        self._lease = kept or self._leases.acquire(CLOCK_LEASE, self._holder, now, LEASE_US)
        return self._lease is not None

    def _fresh(self, held: Lease) -> bool:
        """After the real clock was set back a lease looks longer than any: that one is asked for again too."""
        return RENEW_US < held.until - self._real_us() <= LEASE_US


class Doorbell:
    """Rings a clockwork every second, on a thread of its own. Starts silent."""

    def __init__(self, clockwork: Clockwork, now_us: Callable[[], int]) -> None:
        """``now_us`` gives the moment of judgement."""
        self._clockwork = clockwork
        self._now_us = now_us
        self._rung = time.monotonic()
        self._ringing = threading.Lock()
        self._stopping = threading.Event()
        self._trouble = ("", 0.0)
        self._scheduler = BackgroundScheduler(timezone=UTC)
        # A ring while the last one is still being answered is no news.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)

    def start(self) -> None:
        """Begin to ring, at once."""
        self._scheduler.add_job(
            self._ring,
            _Steadily(),
            id="ring",
            next_run_time=datetime.now(UTC),
            misfire_grace_time=None,  # APScheduler's default drops a ring that is a second late
            coalesce=True,
            max_instances=1,
        )
        self._scheduler.start()

    def stop(self, timeout_s: float = STOP_S) -> None:
        """End the ringing and, after its batch, the ring in progress; give the lease back.

        One that takes longer than ``timeout_s``, waiting for the database, is left to the end of the process, and the
        lease runs out by itself.
        """
        self._stopping.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        if not self._ringing.acquire(timeout=timeout_s):
            log.warning("the clock stops in the middle of its work", waited_s=timeout_s)
            return
        try:
            self._clockwork.stop()
        except BellwetherError as error:
            log.warning("the clock's lease was not given back and will run out", error=str(error))
        finally:
            self._ringing.release()

    @property
    def silent_s(self) -> float:
        """Seconds since the last ring was answered, or a long one made progress."""
        return time.monotonic() - self._rung

    def watch(self) -> None:
        """Ring again if it has fallen silent: a real clock set back an hour would silence it for an hour.

        To be called now and then from a loop that does not go by the real clock.
        """
        if self._scheduler.running and self.silent_s > SILENT_S:
            self._scheduler.modify_job("ring", next_run_time=datetime.now(UTC))

    def _ring(self) -> None:
        with self._ringing:
            if not self._stopping.is_set():
                self._answer()

    def _alive(self) -> None:
        if self._stopping.is_set():
            raise Stopping("the clock was stopped in the middle of its work\nthe next start will finish it")
        self._rung = time.monotonic()

    def _answer(self) -> None:
        try:
            tick = self._clockwork.tick(self._now_us(), self._alive)
        except Stopping:
            return
        except BellwetherError as error:
            self._complain(str(error))
        except Exception as error:
            # Whatever it is, the next ring tries again: a clock that stopped would be silence of our own making.
            self._complain(repr(error), unexpected=True)
        else:
            self._trouble = ("", 0.0)
            if tick.closed_day is not None:
                log.info(
                    "day closed",
                    day=(_EPOCH + timedelta(days=tick.closed_day)).isoformat(),
                    accounts=tick.summary.accounts,
                    moves=dict(tick.summary.moves),
                )
        finally:
            self._rung = time.monotonic()

    def _complain(self, message: str, *, unexpected: bool = False) -> None:
        said, at = self._trouble
        if message == said and time.monotonic() - at < QUIET_S:
            return
        self._trouble = (message, time.monotonic())
        log.error("the clock could not do its work", error=message, exc_info=unexpected)


class _Steadily(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 has no types
    """A second from now, whatever was missed: APScheduler's interval lists every missed ring, a week's as 604,801."""

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """The next ring."""
        return now + timedelta(seconds=RING_S)
