"""GET /metrics: what Prometheus reads. Totals come from the database, so every process tells the same."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, select

from app.database import accounts, alert_queries, dead_letters, journal
from app.database.engine import Database
from app.database.outbox import SqlOutbox
from app.database.tables import counter, position


class DatabaseCollector(Collector):
    """Reads the service's state at each scrape."""

    def __init__(self, database: Database, outbox: SqlOutbox) -> None:
        self._database = database
        self._outbox = outbox

    def collect(self) -> Iterator[Metric]:
        """All families. Raises StorageError."""
        with self._database.read() as connection:
            yield from _events(connection)
            yield from _positions(connection)
            yield from _alerts(connection)
        yield from _deliveries(self._outbox)

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
    for (destination, status), count in outbox.counts().items():
        deliveries.add_metric((destination, status), count)
    yield deliveries
