"""The schema and its version: bring it up to date, say which one it is, refuse to work on another.

`serve` never migrates by itself: with several replicas, or a backup still running, the moment is a person's to choose.
Alembic is loaded only to migrate; asking for the version, which every command does, reads one row and file names.
"""

from __future__ import annotations

import io
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, column, inspect, select, table

from app.database.engine import Database
from app.database.layout import check_layout, renew
from app.database.locks import Lock, alone
from app.database.tables import metadata, setting
from consumers.errors import ConfigurationError

if TYPE_CHECKING:
    from alembic.config import Config

_version = table("alembic_version", column("version_num"))
_SERVES = (
    "schema_serves"  # migrations/serving.py writes it: the oldest revision whose code runs on the schema
)


def upgrade(database: Database, revision: str = "head") -> None:
    """Migrate up to ``revision`` in one transaction: all of it or nothing. Raises StorageError.

    Of two at once the second waits, and then finds nothing to do. A newer schema that serves this version stays.
    Then windows of another layout are made anew, some at a time; killed, the next run goes on where this one was.
    """
    from alembic import command

    if _newer(database, current(database)):
        return
    with database.write() as connection:
        _alone(connection)
        command.upgrade(_config(connection), revision)
    if revision in {"head", head()}:
        renew(database)


def downgrade(database: Database, revision: str) -> None:
    """Migrate down to ``revision`` (``base``: empty) in one transaction; what newer tables held is lost.

    Raises ConfigurationError for a revision that is not known here.
    """
    from alembic import command

    if revision not in {"base", *revisions()}:
        raise ConfigurationError(f"there is no revision {revision}\nknown are: base {' '.join(revisions())}")
    with database.write() as connection:
        _alone(connection)
        command.downgrade(_config(connection), revision)


def _alone(connection: Connection) -> None:
    """One migration at a time; on SQLite a writing transaction is alone anyway.

    The other one is waited for however long it takes; a table that somebody reads only as long as for any lock, because
    behind a change that waits everybody else waits too.
    """
    if connection.dialect.name != "postgresql":
        return
    wait = connection.exec_driver_sql("SHOW lock_timeout").scalar_one()
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    alone(connection, Lock.MIGRATION)
    connection.exec_driver_sql("SELECT set_config('lock_timeout', %s, true)", (wait,))


def current(database: Database) -> str | None:
    """The revision of the schema, None where there is none yet. Never creates the file of an SQLite database."""
    if database.sqlite and not Path(str(database.url.database)).expanduser().exists():
        return None
    with database.read() as connection:
        if not inspect(connection).has_table(_version.name):
            return None
        return connection.scalar(select(_version.c.version_num))


def head() -> str:
    """The revision that this version of the code was written for."""
    return revisions()[-1]


def revisions() -> list[str]:
    """Every revision in its order: they are numbered, and their files begin with the number."""
    shipped = resources.files("migrations").joinpath("versions").iterdir()
    return sorted(
        each.name.split("_")[0] for each in shipped if each.name[:1].isdigit() and each.name.endswith(".py")
    )


def check(database: Database) -> None:
    """Raises ConfigurationError unless the schema is :func:`head`, or a newer one that says it serves this version,
    and the windows have this version's layout."""
    found = current(database)
    if found is None:
        raise ConfigurationError(f"{database.label} has no schema yet\nrun: bellwether db upgrade")
    if found == head() or _newer(database, found):
        check_layout(database)
        return
    raise ConfigurationError(
        f"{database.label} has schema {found}, this version works on {head()}\nrun: bellwether db upgrade"
    )


def differences(database: Database) -> list[str]:
    """In what the schema differs from the tables of the code, as Alembic sees it; nothing is as it should be."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    # As text: PostgreSQL's catalogues have types without a binary form.
    looking = Database(database.url.render_as_string(hide_password=False), binary=False)
    try:
        with looking.read() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            return [_difference(each) for each in compare_metadata(context, metadata)]
    finally:
        looking.close()


def _difference(found: Any) -> str:
    """One of Alembic's tuples in a line: what it would do, and to what."""
    if isinstance(found, list):  # changes of one column
        return "; ".join(map(_difference, found))
    what, *where = found
    named = [str(getattr(each, "name", each)) for each in where if each is not None]
    return f"{what.replace('_', ' ')} {' '.join(named[:4])}"


def statements(dialect: str) -> str:
    """The SQL from an empty database to :func:`head`, for ``sqlite`` or ``postgresql``, without connecting."""
    from alembic import command

    config = _config()
    written = io.StringIO()
    config.output_buffer = written
    config.attributes["dialect"] = dialect
    command.upgrade(config, "head", sql=True)
    return written.getvalue()


def _newer(database: Database, found: str | None) -> bool:
    """Whether a newer version made the schema. Raises ConfigurationError if it does not serve this one."""
    if found is None or found in revisions():
        return False
    wanted = select(setting.c.value).where(setting.c.key == _SERVES)
    with database.read() as connection:
        oldest = connection.scalar(wanted)
    if oldest in revisions():
        return True
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
