"""What the clock remembers, in the database: the day closed last, when the next is due, the rules judged by."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, or_, select

from app.database.engine import Database
from app.database.tables import schedule, setting
from app.database.upsert import inserting, put_setting

DAY_CLOSE = "day-close"
_RULES_VERSION = "rules_version"
_CLOSED_AT = select(schedule.c.closed_at).where(schedule.c.name == DAY_CLOSE)


@dataclass(frozen=True, slots=True)
class DayClose:
    """The newest day that was closed, and the instant at which the next one is due."""

    closed_day: int
    due_at: int


class SqlSchedule:
    """The schedule in the database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def day_close(self) -> DayClose | None:
        """What was closed last; None before the first close."""
        with self._database.read() as connection:
            wanted = select(schedule.c.closed_day, schedule.c.due_at).where(schedule.c.name == DAY_CLOSE)
            row = connection.execute(wanted).first()
        return None if row is None or row.closed_day is None else DayClose(row.closed_day, row.due_at)

    def closed(self, day: int, closed_at: int, next_due_at: int) -> bool:
        """Write down that ``day`` was closed, every account judged, at ``closed_at``.

        False, and nothing written, if it or a later one already was.
        """
        with self._database.write() as connection:
            statement = inserting(connection, schedule).values(
                name=DAY_CLOSE, closed_day=day, closed_at=closed_at, due_at=next_due_at
            )
            written = connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["name"],
                    set_={"closed_day": day, "closed_at": closed_at, "due_at": next_due_at},
                    where=or_(schedule.c.closed_day.is_(None), schedule.c.closed_day < day),
                )
            ).rowcount
        return bool(written)

    def rules_version(self) -> str | None:
        """The configuration by which every account was judged; None before the first time."""
        with self._database.read() as connection:
            return connection.scalar(select(setting.c.value).where(setting.c.key == _RULES_VERSION))

    def judged_by(self, rules_version: str) -> None:
        """Write down that every account was judged by this configuration."""
        with self._database.write() as connection:
            put_setting(connection, _RULES_VERSION, rules_version)


def last_sweep_at(connection: Connection) -> int | None:
    """When all accounts were judged last, at a day's close."""
    return connection.scalar(_CLOSED_AT)
