"""A running service: the loops of its roles on threads of their own, its application, one end for all."""

from __future__ import annotations

import functools
import gc
import threading
import time
from collections.abc import Callable

import structlog

from alerts.delivery import Telling
from alerts.evaluation import Summary
from app.book import Page
from app.bootstrap import JUDGED_AT_ONCE, House
from app.clock import Clock
from app.consuming import Consuming
from app.database import incidents, migrate
from app.database.connections_postgresql import FEW_CONNECTIONS, KEPT_CONNECTIONS
from app.database.engine import Database
from app.database.journal import Doorbell as JournalBell
from app.heartbeat import Heartbeat
from app.housekeeping import tidy
from app.http.application import create_app
from app.http.operations import Ready, ready
from app.http.services import Probe
from app.notifier import Notifier
from app.outbound import HttpSender
from app.scheduler import Doorbell, Stopping
from app.settings import Settings
from consumers.errors import BellwetherError, ConfigurationError, StorageError
from consumers.loop import Handled

ROLES = {
    "all": frozenset({"api", "consumer", "scheduler", "notifier"}),
    **{role: frozenset({role}) for role in ("api", "consumer", "scheduler", "notifier")},
}
EVALUATE_S = 0.25  # how soon marks that another process left are seen; those of this one ring
# Accounts that are touched all the time are judged so often, or half of the time where that takes longer: what there is
# to do in between is intake, which would wait for it.
GATHER_S = 0.05
END_S = 9.5  # for every part together, of the ten seconds that an orderly end may take
CUT_S = 9.8  # whatever is still not over then is cut off
STATEMENT_S = 30.0  # nothing that a service asks of PostgreSQL takes long
AGAIN_S = 5.0  # between two tries to judge by new rules
SILENT_S = 30.0  # a loop that has not turned for so long is reported as not ready
TIDY_S = 3_600.0
# A batch makes half a million objects and drops them: looked at every 700, as by default, they cost a tenth of it.
_SELDOM = (50_000, 20, 20)
QUIET_S = 60.0  # the same trouble is told once in so long

log = structlog.get_logger(__name__)


class Service:
    """The loops of one process. ``start``, then ``stop``; a stopped service is not started again."""

    def __init__(self, settings: Settings, role: str = "all", *, clock: Clock | None = None) -> None:
        """Raises ConfigurationError, StorageError: everything that can be wrong is found before anything runs."""
        self.settings = settings
        self.role = role
        self._roles = ROLES[role]
        self._clock = clock or Clock(settings.now)
        settings.check_in_force()
        database = Database(
            settings.database_url,
            statement_timeout_s=STATEMENT_S,
            connections=KEPT_CONNECTIONS if "api" in self._roles else FEW_CONNECTIONS,
        )
        migrate.check(database)
        self.house = House.build(settings, self._clock, database, folds=True)
        if "api" in self._roles:
            settings.check_bind(keys_exist=self.house.keys.needed())
        self._stop = threading.Event()
        self._ending = threading.Lock()
        self._last = float("inf")  # when all must have ended, once that has begun
        self._judge = threading.Event()
        self._send = threading.Event()
        self._reloading = threading.Lock()
        self._journal_bell = JournalBell()
        self._threads: list[threading.Thread] = []
        self._turned: dict[str, float] = {}
        self._complaints: dict[tuple[str, str], float] = {}
        self._clock_bell = Doorbell(self.house.clockwork(), self._clock.now_us)
        self._notifier = Notifier(
            self.house.outbox,
            HttpSender(allow_private=settings.allow_private_destinations),
            self.house.book.page.channels,
            clock=self._clock.real_us,
        )
        self._consuming = Consuming(
            self.house,
            self._journal_bell,
            heard=self._heard,
            complain=self._complain,
            turned=self._turn,
        )
        self._parts = self._probes()
        self._remarks: dict[str, Probe] = {
            "partitions": self._stopped_partitions,
            "sources": self._silent_sources,
        }
        self.app = create_app(
            self.house.services(
                intake=self.house.intake(self._journal_bell.ring),
                reload=self.reload,
                probes=self._parts,
                remarks=self._remarks,
            )
        )

    def start(self) -> None:
        """Begin every loop of the roles."""
        house = self.house
        self._sync(house.book.page)
        if "consumer" in self._roles:
            for name, follow in self._consuming.loops().items():
                self._begin(name, functools.partial(follow, self._stop))
        if self._roles & {"consumer", "scheduler"}:
            self._begin("evaluator", self._evaluate)
        if "scheduler" in self._roles:
            house.evaluator.retire_rules(self._clock.now_us())
            self._clock_bell.start()
            self._begin("watch", self._watch)
        if self._sends:
            self._begin("notifier", self._notify)
        beat = Heartbeat(house.database, self.role, self._trouble, self._clock.real_us)
        self._begin("heartbeat", functools.partial(beat.run, self._stop))
        # What lives as long as the process need not be looked at by every collection.
        gc.collect()
        gc.freeze()
        if "consumer" in self._roles:
            gc.set_threshold(*_SELDOM)

    def end(self) -> None:
        """Have every loop finish what it has begun: all of them at once, and within END_S. Safe to call twice."""
        with self._ending:
            if self._stop.is_set():
                return
            self._last = time.monotonic() + END_S
            self._stop.set()
            self._judge.set()
            self._send.set()
            self._journal_bell.ring()
            self._begin("clock's end", functools.partial(self._clock_bell.stop, CUT_S))

    def stop(self) -> bool:
        """Wait for the :meth:`end` of every loop, then close the database. Safe to call twice.

        False if one is still in the middle of its work.
        """
        self.end()
        for thread in self._threads:
            thread.join(max(0.0, self._last - time.monotonic()))
        over = not any(thread.is_alive() for thread in self._threads)
        if self.house.log is not None:
            self.house.log.close(max(0.1, self._last - time.monotonic()))
        self.house.database.close()
        return over

    def reload(self) -> Page:
        """Read the configuration again and go on with it. Raises ConfigurationError, StorageError: nothing changed.

        Once it is in force all accounts are judged by it; where that fails it is tried again until it works. One after
        the other: of two at once the older page might be the last to reach the notifier.
        """
        with self._reloading:
            # Destinations first: nothing may be queued for one without a row.
            page = self.house.book.reload(self._sync)
            self._notifier.use(page.channels)
            log.info(
                "configuration reloaded", version=page.configuration.version, rules=len(page.rulebook.rules)
            )
            try:
                self._judge_by(page)
            except Stopping:
                pass  # the next start judges what is left
            except Exception as error:
                self._complain("judging by the new rules", error)
                self._begin("judging by the new rules", functools.partial(self._judge_later, page))
            return page

    def _sync(self, page: Page) -> None:
        self.house.outbox.sync_destinations(page.destinations, self._clock.real_us())

    def _judge_by(self, page: Page) -> None:
        """Judge every account by the page in force. Raises StorageError, Stopping."""
        self.house.evaluator.retire_rules(self._clock.now_us())
        self.house.evaluator.evaluate_all(self._clock.now_us(), alive=self._going_on)
        if "scheduler" in self._roles:
            self.house.schedule.judged_by(page.configuration.version)
        self._send.set()

    def _judge_later(self, page: Page) -> None:
        """Until it works, or a later reload does it."""
        while not self._stop.wait(AGAIN_S):
            with self._reloading:
                if self.house.book.page is not page:
                    return
                try:
                    self._judge_by(page)
                except Stopping:
                    return
                except Exception as error:
                    self._complain("judging by the new rules", error)
                else:
                    log.info("judged by the new rules", version=page.configuration.version)
                    return

    # --- the loops

    def _begin(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._turned[name] = time.monotonic()
        self._threads.append(thread)
        thread.start()

    def _notify(self) -> None:
        self._notifier.run(self._stop, self._send, polled=lambda: self._turn("notifier"))

    def _heard(self, handled: Handled) -> None:
        if not handled.behind:
            self._judge.set()

    def _evaluate(self) -> None:
        while not self._stop.is_set():
            self._judge.wait(EVALUATE_S)
            self._judge.clear()
            began = time.monotonic()
            try:
                self._judge_all()
                took = time.monotonic() - began
                self._stop.wait(max(GATHER_S - took, min(took, EVALUATE_S)))
            except Exception as error:  # as above
                self._complain("evaluator", error)
                self._stop.wait(1.0)

    def _judge_all(self) -> None:
        more = True
        while more and not self._stop.is_set():
            self._turn("evaluator")  # however much there is, it makes progress
            summary: Summary = self.house.evaluator.evaluate_touched(JUDGED_AT_ONCE, self._clock.now_us())
            if summary.deliveries:
                self._send.set()
            more = summary.more

    def _watch(self) -> None:
        """Keep the clock ringing, and once an hour drop what is over."""
        tidied = float("-inf")
        while not self._stop.wait(5.0):
            self._clock_bell.watch()
            if time.monotonic() - tidied < TIDY_S:
                continue
            tidied = time.monotonic()
            try:
                gone = tidy(self.house.database, self.settings, self._clock.real_us(), self._clock.now_us())
            except Exception as error:  # as above
                self._complain("housekeeping", error)
            else:
                if any(gone.values()):
                    log.info("tidied", **gone)

    # --- how it is

    @property
    def _sends(self) -> bool:
        return "notifier" in self._roles and self.settings.delivery is Telling.LIVE

    def _going_on(self) -> None:
        if self._stop.is_set():
            raise Stopping(
                "the service was stopped while it judged by new rules\nthe next start will finish it"
            )

    def _turn(self, name: str) -> None:
        self._turned[name] = time.monotonic()

    def _complain(self, name: str, error: Exception) -> None:
        now = time.monotonic()
        self._complaints = {said: at for said, at in self._complaints.items() if now - at < QUIET_S}
        if (name, str(error)) in self._complaints:
            return
        self._complaints[name, str(error)] = now
        unexpected = None if isinstance(error, BellwetherError) else error
        log.error(f"{name} in trouble", error=str(error), exc_info=unexpected)

    def _probes(self) -> dict[str, Probe]:
        probes: dict[str, Probe] = {"database": self._database_trouble}
        if "consumer" in self._roles:
            probes["consumer"] = lambda: self._silence("consumer") or self._consuming.refused("consumer")
            if self.settings.kafka:
                probes["kafka"] = lambda: (
                    self._silence("kafka")
                    or self._consuming.refused("kafka")
                    or self._consuming.kafka_trouble()
                )
        if self._roles & {"consumer", "scheduler"}:
            probes["evaluator"] = lambda: self._silence("evaluator")
        if "scheduler" in self._roles:
            probes["clock"] = lambda: "has not rung lately" if self._clock_bell.silent_s > SILENT_S else None
        if self._sends:
            probes["notifier"] = lambda: self._silence("notifier")
        return probes

    def ready(self) -> Ready:
        """What every part says. Raises Problem if one is not ready."""
        return ready(self._parts, self._remarks)

    def _trouble(self) -> str:
        """What is wrong, in a line; empty if nothing is."""
        wrong = {name: said for name, probe in self._parts.items() if (said := probe()) is not None}
        return "; ".join(f"{name}: {said}" for name, said in wrong.items())

    def _stopped_partitions(self) -> str | None:
        """What waits for a person; the others go on, so it keeps no process from being ready."""
        try:
            with self.house.database.read() as connection:
                open_ones = incidents.going_on(connection)
        except StorageError:
            return None
        stopped = [each for each in open_ones if each.kind != incidents.STALE_SOURCE]
        return "; ".join(f"{each.subject} stopped: {each.kind}" for each in stopped[:20]) or None

    def _silent_sources(self) -> str | None:
        """Whose silence holds alerts up: no process can mend that."""
        try:
            with self.house.database.read() as connection:
                silent = incidents.silences(connection)
        except StorageError:
            return None
        return "; ".join(each.detail.splitlines()[0] for each in silent[:20]) or None

    def _silence(self, name: str) -> str | None:
        turned = self._turned.get(name)
        if turned is None:
            return "not started"
        silent = time.monotonic() - turned
        return f"silent for {silent:.0f} s" if silent > SILENT_S else None

    def _database_trouble(self) -> str | None:
        try:
            migrate.check(self.house.database)
        except (ConfigurationError, StorageError) as error:
            return str(error).splitlines()[0]
        return None
