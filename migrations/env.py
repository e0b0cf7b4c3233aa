"""What Alembic runs: against the connection it was handed, or, from a developer's shell, BELLWETHER_DATABASE_URL."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from app.database.engine import Database
from app.database.tables import metadata
from app.settings import Settings


def run_on(connection: Connection) -> None:
    """Migrate inside the connection's transaction: all of the pending revisions or none."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,  # SQLite changes a column by copying its table
        transactional_ddl=True,  # also on SQLite: our driver set-up begins transactions itself
    )
    with context.begin_transaction():
        context.run_migrations()


def run_offline() -> None:
    """Write the statements instead of running them: `alembic upgrade head --sql`."""
    dialect = context.config.attributes.get("dialect", "postgresql")
    context.configure(dialect_name=dialect, target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run() -> None:
    """Choose among the three ways of running."""
    connection = context.config.attributes.get("connection")
    if context.is_offline_mode():
        run_offline()
    elif connection is not None:
        run_on(connection)
    else:
        database = Database(Settings.load().database_url)
        with database.write() as own:
            run_on(own)
        database.close()


run()
