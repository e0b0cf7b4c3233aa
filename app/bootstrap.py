"""The composition root: which adapter stands behind which Protocol is decided here and nowhere else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import select

from alerts.desk import AlertDesk
from alerts.evaluation import Evaluator
from alerts.rules.explain import Explanation
from alerts.rules.nearest import unknown
from app.book import Book, Page
from app.clock import Clock
from app.database.alerts import SqlAlertStore
from app.database.engine import Database
from app.database.keys import KeyRing
from app.database.leases import SqlLeases
from app.database.outbox import SqlOutbox
from app.database.schedule import SqlSchedule
from app.database.tables import setting
from app.database.upsert import inserting
from app.database.windows import SqlWindowStore
from app.hearing import Hearing, Silent
from app.http.services import Probe, Services
from app.intake import Intake, JournalIntake, KafkaIntake
from app.reader import AccountReader
from app.scheduler import CLOCK_LEASE, Clockwork
from app.settings import Dedup, Settings
from app.silence import SilenceWatch
from consumers.days import Calendar
from consumers.errors import ConfigurationError
from consumers.loop import BEHIND_BATCH, ConsumerLoop, Handled
from consumers.pipeline import LOCAL_LANE, DeadLetters, Pipeline
from consumers.source import Source
from consumers.topics import Topics

if TYPE_CHECKING:
    from consumers.kafka.log import DeadLetterTopic, EventLog
    from consumers.kafka.source import KafkaSource

SERVICE_LANE = "service"  # of BELLWETHER_DEDUP=service: one for every source
JUDGED_AT_ONCE = 2_000  # touched accounts in one transaction: a quarter of a second of work at most


class Opened(Protocol):
    """What every part is made of."""

    @property
    def settings(self) -> Settings:
        """The configuration of this process."""

    @property
    def clock(self) -> Clock:
        """Both clocks."""

    @property
    def database(self) -> Database:
        """The database, of this version's schema."""


@dataclass(frozen=True, slots=True)
class House:
    """Every part, made once per process."""

    settings: Settings
    clock: Clock
    database: Database
    calendar: Calendar
    book: Book
    windows: SqlWindowStore
    outbox: SqlOutbox
    alerts: SqlAlertStore
    leases: SqlLeases
    schedule: SqlSchedule
    evaluator: Evaluator
    hearing: Hearing
    reader: AccountReader
    keys: KeyRing
    topics: Topics
    log: EventLog | None  # Kafka's producing side; None where there is no Kafka

    @classmethod
    def build(cls, settings: Settings, clock: Clock, database: Database, *, folds: bool = False) -> House:
        """Raises ConfigurationError for a wrong rule file, or another zone than the one the windows are in.

        ``folds`` says that this process may be the first to fold events, and so fixes the zone.
        """
        settings.check_in_force()
        calendar = organisation_calendar(settings, database, fix=folds)
        book = Book(settings)
        outbox = SqlOutbox(database)
        alerts = SqlAlertStore(database, outbox, clock.real_us)
        admin = settings.admin_key
        topics = Topics(settings.topic_prefix)
        hearing = Hearing(database, calendar, topics, lambda: book.configuration.model.expected_gaps)
        return cls(
            settings=settings,
            clock=clock,
            database=database,
            calendar=calendar,
            book=book,
            windows=SqlWindowStore(database, clock.real_us),
            outbox=outbox,
            alerts=alerts,
            leases=SqlLeases(database),
            schedule=SqlSchedule(database),
            evaluator=Evaluator(alerts, lambda: book.rulebook, calendar, stale=hearing.doubtful),
            hearing=hearing,
            reader=AccountReader(
                database, calendar, lambda: book.configuration, clock.now_us, stale=hearing.stale
            ),
            keys=KeyRing(database, admin.get_secret_value() if admin else None),
            topics=topics,
            log=event_log(settings),
        )

    def intake(self, bell: Callable[[], None] = lambda: None) -> Intake:
        """Where HTTP makes events durable. ``bell`` rings when they went to the journal."""
        if self.log is not None:
            return KafkaIntake(self.database, self.log)
        return JournalIntake(self.database, bell)

    def dead_letter_topic(self) -> DeadLetterTopic:
        """Where rejected records of Kafka go before the database."""
        from consumers.kafka.log import DeadLetterTopic  # noqa: PLC0415 - kafka-python, where there is a Kafka

        log = event_log(self.settings)
        assert log is not None, "asked for only where there is a Kafka"
        return DeadLetterTopic(log, self.topics)

    def consumer(
        self,
        source: Source,
        heard: Callable[[Handled], None] = lambda _handled: None,
        trouble: Callable[[Exception], None] = lambda _error: None,
        polled: Callable[[], None] = lambda: None,
        *,
        behind_batch: int = BEHIND_BATCH,
        held: bool = False,
        dead_letters: DeadLetters | None = None,
    ) -> ConsumerLoop:
        """A loop over ``source`` that writes into the windows."""

        def internal() -> Callable[[str], bool] | None:
            users = self.book.configuration.internal_users
            return users.matches if users else None

        pipeline = Pipeline(
            self.windows,
            self.calendar,
            internal=internal,
            lane=lane if self.settings.dedup is Dedup.PARTITION else lambda _partition: SERVICE_LANE,
            dead_letters=dead_letters,
            polled=polled,
        )
        return ConsumerLoop(
            source,
            pipeline,
            self.windows,
            now=self.clock.now_us,
            heard=heard,
            trouble=trouble,
            polled=polled,
            behind_batch=behind_batch,
            held=held,
        )

    def clockwork(self) -> Clockwork:
        """What is due as time passes."""
        silence = SilenceWatch(
            self.database, self.hearing, lambda: self.book.rulebook.announcer, self.outbox, self.clock.real_us
        )
        return Clockwork(
            self.evaluator,
            self.schedule,
            self.leases,
            self.calendar,
            self.clock.real_us,
            hearing=self.hearing,
            rules_version=lambda: self.book.configuration.version,
            tell_silence=silence.look,
        )

    def services(
        self,
        *,
        intake: Intake | None = None,
        reload: Callable[[], Page] | None = None,
        probes: Mapping[str, Probe] | None = None,
        remarks: Mapping[str, Probe] | None = None,
    ) -> Services:
        """What the routes need. ``reload`` turns the page and tells whoever reads it."""
        return Services(
            database=self.database,
            keys=self.keys,
            now=self.clock.now_us,
            wall=self.clock.real_us,
            today=lambda: self.calendar.day_of_us(self.clock.now_us()),
            intake=intake or self.intake(),
            risk=self.reader,
            desk=lambda connection: AlertDesk(
                self.alerts.within(connection), self.book.rulebook.announcer, self.calendar
            ),
            outbox=self.outbox,
            configuration=lambda: self.book.configuration,
            reload=lambda: (reload or self.book.reload)().configuration,
            loopback=self.settings.loopback,
            metrics_token=token.get_secret_value() if (token := self.settings.metrics_token) else None,
            sources=lambda: self.hearing.sources(self.clock.now_us()),
            probes=probes or {},
            remarks=remarks or {},
        )


def organisation_calendar(settings: Settings, database: Database, *, fix: bool) -> Calendar:
    """The calendar of BELLWETHER_TIMEZONE. Raises ConfigurationError for another zone than the one written down.

    Where none is yet, ``fix`` writes it down; whoever only looks must neither wait for a writer nor be one.
    """
    wanted = select(setting.c.value).where(setting.c.key == "timezone")
    with database.read() as connection:
        kept = connection.scalar(wanted)
    if kept is None and fix:
        with database.write() as connection:
            first = inserting(connection, setting).values(key="timezone", value=settings.timezone)
            connection.execute(first.on_conflict_do_nothing())
            kept = connection.scalar(wanted)  # another process may have been first, with another zone
    if kept not in {None, settings.timezone}:
        raise ConfigurationError(
            f"BELLWETHER_TIMEZONE is {settings.timezone}, but the windows of {database.label} were folded in {kept}\n"
            f"set it back to {kept}; or stop every process and fold all events anew: bellwether db rebuild"
        )
    return Calendar(settings.timezone)


def kafka_source(
    settings: Settings, *, group_id: str = "", said: Callable[[str], None] = lambda _line: None
) -> KafkaSource:
    """The six topics as a member of the group, by default that of the settings; connects when it is first polled."""
    from consumers.kafka.source import KafkaSource  # noqa: PLC0415 - kafka-python costs a start a quarter of a second

    _quieten_kafka()
    client = settings.kafka_client()
    return KafkaSource(
        replace(client, group_id=group_id, instance_id="") if group_id else client,
        Topics(settings.topic_prefix).events,
        clock=time.monotonic,
        fast=settings.kafka_fast_batches,
        said=said,
    )


def event_log(settings: Settings) -> EventLog | None:
    """Kafka's producing side, which connects when it is first needed; None where there is no Kafka."""
    if not settings.kafka:
        return None
    from consumers.kafka.log import EventLog  # noqa: PLC0415 - as above

    _quieten_kafka()
    return EventLog(settings.kafka_client().arguments(), Topics(settings.topic_prefix))


def _quieten_kafka() -> None:
    """The library tells of every connection and of every try; what matters of it is told by us, once."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def lane(partition: str) -> str:
    """Where a partition's ids count once: of Kafka's each by itself, ``topic/number``; all that is local together."""
    topic, _, number = partition.rpartition("/")
    return partition if topic and number.isdecimal() else LOCAL_LANE


def services(house: Opened) -> Services:
    """For the command line, which asks the routes within its own process."""
    return House.build(house.settings, house.clock, house.database).services()


def consumer(
    settings: Settings,
    clock: Clock,
    database: Database,
    source: Source,
    heard: Callable[[Handled], None],
    *,
    batch: int | None = None,
) -> ConsumerLoop:
    """A loop over one of several files, for the command line: what it touches waits for :func:`judge`."""
    house = House.build(settings, clock, database, folds=True)
    return house.consumer(source, heard, behind_batch=batch or BEHIND_BATCH, held=True)


def judge(settings: Settings, clock: Clock, database: Database, partitions: Sequence[str]) -> int | None:
    """Judge what ``partitions`` touched, now that nothing more is to come from any of them.

    Returns the number of accounts, or None if a running service does it.
    """
    house = House.build(settings, clock, database)
    house.windows.caught_up(partitions)
    if house.leases.held(CLOCK_LEASE, clock.real_us()):
        return None
    accounts, more = 0, True
    while more:
        summary = house.evaluator.evaluate_touched(JUDGED_AT_ONCE, clock.now_us())
        accounts, more = accounts + summary.accounts, summary.more
    return accounts


def silent_sources(settings: Settings, clock: Clock, database: Database) -> Mapping[str, Silent]:
    """The sources of activity that are stale now, by name: what they would tell of opens nothing."""
    return House.build(settings, clock, database).hearing.silent(clock.now_us())


def explanation(
    settings: Settings, clock: Clock, database: Database, rule_id: str, account_id: str
) -> Explanation | None:
    """Why a rule holds for an account or not; None for an unknown account. Raises ConfigurationError."""
    house = House.build(settings, clock, database)
    known = [rule.id for rule in house.book.configuration.rules]
    if rule_id not in known:
        raise ConfigurationError(f"{unknown('rule', rule_id, known)}\nsee: bellwether rules list")
    return house.reader.explain(account_id, rule_id)
