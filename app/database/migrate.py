"""The schema and its version: bring it up to date, say which one it is, refuse to work on another.

`serve` never migrates by itself: with several replicas, or a backup still running, the moment is a person's to choose.
Alembic is loaded only to migrate; asking for the version, which every command does, reads one row and file names.
"""

from __future__ import annotations

import io
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, inspect, select, table

from app.database.engine import Database
from consumers.errors import ConfigurationError

if TYPE_CHECKING:
    from alembic.config import Config

_version = table("alembic_version", column("version_num"))


def upgrade(database: Database, revision: str = "head") -> None:
    """Migrate up to ``revision`` in one transaction: all of it or nothing. Raises StorageError."""
    from alembic import command

    _refuse_newer(database, current(database))
    with database.write() as connection:
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Migrate down to ``revision`` (``base``: empty) in one transaction; what newer tables held is lost."""
    from alembic import command

    with database.write() as connection:
        command.downgrade(_config(connection), revision)


def current(database: Database) -> str | None:
    """The revision of the schema, None where there is none yet. Never creates the file of an SQLite database."""
    if database.sqlite and not Path(str(database.url.database)).expanduser().exists():
        return None
    with database.read() as connection:
        if not inspect(connection).has_table(_version.name):
            return None
        return connection.scalar(select(_version.c.version_num))


def head() -> str:
    """The revision that this version of the code works on."""
    return revisions()[-1]


def revisions() -> list[str]:
    """Every revision in its order: they are numbered, and their files begin with the number."""
    shipped = resources.files("migrations").joinpath("versions").iterdir()
    return sorted(
        each.name.split("_")[0] for each in shipped if each.name[:1].isdigit() and each.name.endswith(".py")
    )


def check(database: Database) -> None:
    """Raises ConfigurationError unless the schema is exactly :func:`head`."""
    found = current(database)
    if found == head():
        return
    if found is None:
        raise ConfigurationError(f"{database.label} has no schema yet\nrun: bellwether db upgrade")
    _refuse_newer(database, found)
    raise ConfigurationError(
        f"{database.label} has schema {found}, this version works on {head()}\nrun: bellwether db upgrade"
    )


def statements(dialect: str) -> str:
    """The SQL from an empty database to :func:`head`, for ``sqlite`` or ``postgresql``, without connecting."""
    from alembic import command

    config = _config()
    written = io.StringIO()
    config.output_buffer = written
    config.attributes["dialect"] = dialect
    command.upgrade(config, "head", sql=True)
    return written.getvalue()


def _refuse_newer(database: Database, found: str | None) -> None:
    if found is not None and found not in revisions():
        raise ConfigurationError(
            f"{database.label} has schema {found}, which a newer version made\n"
            "install that version, or name another database"
        )


def _config(connection: Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config(stdout=io.StringIO())
    # A '%' in the folder's name would be read as interpolation.
    config.set_main_option("script_location", str(resources.files("migrations")).replace("%", "%%"))
    if connection is not None:
        config.attributes["connection"] = connection
    return config
