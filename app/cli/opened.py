"""The house as a command needs it: settings read, database opened and of the right schema, closed at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.clock import Clock
    from app.database.engine import Database
    from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Opened:
    """What is open while a command runs."""

    settings: Settings
    clock: Clock
    database: Database


def settings() -> Settings:
    """The configuration of this process. Raises ConfigurationError."""
    from app.settings import Settings

    return Settings.load()


@contextlib.contextmanager
def opened(*, any_schema: bool = False) -> Iterator[Opened]:
    """Raises ConfigurationError for wrong settings, or a schema other than this version's unless ``any_schema``."""
    from app.clock import Clock
    from app.database import migrate
    from app.database.engine import Database

    read = settings()
    database = Database(read.database_url)
    try:
        if not any_schema:
            migrate.check(database)
        yield Opened(read, Clock(read.now), database)
    finally:
        database.close()
