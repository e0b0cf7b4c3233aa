"""The schema and its version: bring it up to date, say which one it is, refuse to work on another.

`serve` never migrates by itself: with several replicas, or a backup still running, the moment is a person's to choose.
"""

from __future__ import annotations

import io
from importlib import resources
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.database.engine import Database
from consumers.errors import ConfigurationError


def upgrade(database: Database, revision: str = "head") -> None:
    """Migrate up to ``revision`` in one transaction: all of it or nothing. Raises StorageError."""
    _refuse_newer(database)
    with database.write() as connection:
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Migrate down to ``revision`` (``base``: empty) in one transaction; what newer tables held is lost."""
    with database.write() as connection:
        command.downgrade(_config(connection), revision)


def current(database: Database) -> str | None:
    """The revision of the schema, None where there is none yet. Never creates the file of an SQLite database."""
    if database.sqlite and not Path(str(database.url.database)).expanduser().exists():
        return None
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The revision that this version of the code works on."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None, "the package is shipped with its migrations"
    return revision


def check(database: Database) -> None:
    """Raises ConfigurationError unless the schema is exactly :func:`head`."""
    found = current(database)
    if found == head():
        return
    if found is None:
        raise ConfigurationError(f"{database.label} has no schema yet\nrun: bellwether db upgrade")
    _refuse_newer(database)
    raise ConfigurationError(
        f"{database.label} has schema {found}, this version works on {head()}\nrun: bellwether db upgrade"
    )


def statements(dialect: str) -> str:
    """The SQL from an empty database to :func:`head`, for ``sqlite`` or ``postgresql``, without connecting."""
    config = _config()
    written = io.StringIO()
    config.output_buffer = written
    config.attributes["dialect"] = dialect
    command.upgrade(config, "head", sql=True)
    return written.getvalue()


def _refuse_newer(database: Database) -> None:
    found = current(database)
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigurationError(
            f"{database.label} has schema {found}, which a newer version made\n"
            "install that version, or name another database"
        )


def _config(connection: Connection | None = None) -> Config:
    config = Config(stdout=io.StringIO())
    # A '%' in the folder's name would be read as interpolation.
    config.set_main_option("script_location", str(resources.files("migrations")).replace("%", "%%"))
    if connection is not None:
        config.attributes["connection"] = connection
    return config
