"""GET /metrics: what Prometheus reads. Totals come from the database, so every process tells the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, func, select

from alerts.delivery import DeliveryStatus, DestinationStatus
from app.database import accounts, alert_queries, dead_letters, incidents, journal, processes
from app.database.engine import Database
from app.database.outbox import SqlOutbox
from app.database.schedule import SqlSchedule
from app.database.tables import account, counter, delivery, destination, position, touched
from app.version import VERSION
from consumers.errors import StorageError
from consumers.feeds import SourceState

ROLES = ("api", "consumer", "scheduler", "notifier")


class DatabaseCollector(Collector):
    """Reads the service's state at each scrape."""

    def __init__(
        self,
        database: Database,
        outbox: SqlOutbox,
        wall: Callable[[], int],
        sources: Callable[[], Sequence[SourceState]] = lambda: (),
    ) -> None:
        """``wall`` is the real time in epoch microseconds, ``sources`` how the sources of activity stand."""
        self._database = database
        self._outbox = outbox
        self._wall = wall
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """All families; without a database, that there is none."""
        build = GaugeMetricFamily("bellwether_build", "Which version this is", labels=("version",))
        build.add_metric((VERSION,), 1)
        yield build
        try:
            families = list(self._read())
        except StorageError:
            families = []
        up = GaugeMetricFamily("bellwether_database_up", "Whether the database can be read")
        up.add_metric((), 1 if families else 0)
        yield up
        yield from families

    def _read(self) -> Iterator[Metric]:
        now = self._wall()
        with self._database.read() as connection:
            yield from _events(connection)
            yield from _positions(connection)
            yield from _incidents(connection)
            yield from _alerts(connection)
            yield from _judgement(connection)
            yield from _processes(connection, now)
            yield from _oldest_due(connection, now)
            yield from _destinations(connection)
        yield from _feeds(self._sources())
        yield from _deliveries(self._outbox)
        yield from _day_close(SqlSchedule(self._database))

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering asks no database."""
        return iter(())


def _events(connection: Connection) -> Iterator[Metric]:
    events = CounterMetricFamily("bellwether_events", "Events handled, by result", labels=("result",))
    rejected = CounterMetricFamily(
        "bellwether_events_rejected", "Events rejected, by reason", labels=("reason",)
    )
    for name, value in connection.execute(select(counter.c.name, counter.c.value).order_by(counter.c.name)):
        if name.startswith("rejected."):
            rejected.add_metric((name.removeprefix("rejected."),), value)
        else:
            events.add_metric((name,), value)
    yield events
    yield rejected
    waiting = GaugeMetricFamily(
        "bellwether_dead_letters", "Rejected events that wait, by reason", labels=("reason",)
    )
    for reason, count in dead_letters.counts(connection).items():
        waiting.add_metric((reason,), count)
    yield waiting


def _positions(connection: Connection) -> Iterator[Metric]:
    lag = GaugeMetricFamily("bellwether_lag_records", "Records not handled yet", labels=("partition",))
    moved = GaugeMetricFamily(
        "bellwether_position_moved_seconds", "When a batch was last kept", labels=("partition",)
    )
    end = journal.end(connection)
    for row in connection.execute(select(position).order_by(position.c.partition)):
        newest = end if row.partition == journal.PARTITION else row.end
        if newest is not None:
            lag.add_metric((row.partition,), max(0, newest - row.next))
        moved.add_metric((row.partition,), row.updated_at / 1e6)
    yield lag
    yield moved


def _alerts(connection: Connection) -> Iterator[Metric]:
    labels = ("rule", "status", "severity")
    alerts = GaugeMetricFamily("bellwether_alerts_open", "Open alerts", labels=labels)
    for rule, status, severity, count in alert_queries.open_counts(connection):
        alerts.add_metric((rule, status, severity), count)
    yield alerts
    levels = GaugeMetricFamily("bellwether_accounts", "Accounts, by risk level", labels=("risk_level",))
    for level, count in accounts.risk_levels(connection).items():
        levels.add_metric((level,), count)
    yield levels


def _deliveries(outbox: SqlOutbox) -> Iterator[Metric]:
    labels = ("destination", "status")
    deliveries = GaugeMetricFamily("bellwether_deliveries", "Deliveries, by where they stand", labels=labels)
    for (name, status), count in outbox.counts().items():
        deliveries.add_metric((name, status), count)
    yield deliveries


def _incidents(connection: Connection) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "bellwether_incidents_open",
        "Partitions and sources in trouble that goes on, by kind",
        labels=("kind",),
    )
    kinds = [each.kind for each in incidents.going_on(connection)]
    for kind in sorted({*incidents.KINDS, *kinds}):
        family.add_metric((kind,), kinds.count(kind))
    yield family
    ever = CounterMetricFamily(
        "bellwether_incidents", "Incidents, also those that were over at once", labels=("kind",)
    )
    total = incidents.counts(connection)
    for kind in sorted({*incidents.KINDS, *total}):
        ever.add_metric((kind,), total.get(kind, 0))
    yield ever


def _feeds(sources: Sequence[SourceState]) -> Iterator[Metric]:
    newest = GaugeMetricFamily(
        "bellwether_source_newest_seconds",
        "When the newest activity of a source happened",
        labels=("source", "family"),
    )
    stale = GaugeMetricFamily(
        "bellwether_source_stale", "Whether a source is silent for longer than expected", labels=("source",)
    )
    expected = GaugeMetricFamily(
        "bellwether_source_expected_gap_seconds", "How long a source may be silent", labels=("source",)
    )
    for each in sources:
        for family, at in sorted(each.newest.items()):
            newest.add_metric((each.source, family), at / 1e6)
        if each.counts:
            stale.add_metric((each.source,), int(each.stale))
            expected.add_metric((each.source,), each.expected_gap / 1e6)
    yield newest
    yield stale
    yield expected


def _judgement(connection: Connection) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("bellwether_accounts_touched", "Accounts that wait to be judged")
    waiting.add_metric((), connection.scalar(select(func.count(touched.c.account_no.distinct()))) or 0)
    yield waiting
    judged = GaugeMetricFamily("bellwether_accounts_judged_seconds", "When an account was last judged")
    newest = connection.scalar(select(func.max(account.c.evaluated_at)))
    if newest is not None:
        judged.add_metric((), newest / 1e6)
    yield judged


def _processes(connection: Connection, now: int) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "bellwether_processes", "Processes of which all is well, by role", labels=("role",)
    )
    well = processes.well(connection, now)
    for role in ROLES:
        family.add_metric((role,), well[role] + well["all"])
    yield family


def _oldest_due(connection: Connection, now: int) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "bellwether_deliveries_oldest_due_seconds",
        "When the oldest delivery became due that was not sent yet",
        labels=("destination",),
    )
    open_ones = (DeliveryStatus.QUEUED, DeliveryStatus.SENDING)
    for name, oldest in connection.execute(
        select(delivery.c.destination, func.min(delivery.c.next_at))
        .where(delivery.c.status.in_(open_ones), delivery.c.next_at <= now)
        .group_by(delivery.c.destination)
    ):
        family.add_metric((name,), oldest / 1e6)
    yield family


def _destinations(connection: Connection) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "bellwether_destinations", "Configured destinations, by status", labels=("status",)
    )
    rows = connection.execute(select(destination.c.status, func.count()).group_by(destination.c.status))
    counts = {row[0]: row[1] for row in rows}
    for status in (DestinationStatus.ENABLED, DestinationStatus.DISABLED):
        family.add_metric((status,), counts.get(status, 0))
    yield family


def _day_close(schedule: SqlSchedule) -> Iterator[Metric]:
    family = GaugeMetricFamily("bellwether_day_close_due_seconds", "When the next day's close is due")
    last = schedule.day_close()
    if last is not None:
        family.add_metric((), last.due_at / 1e6)
    yield family
