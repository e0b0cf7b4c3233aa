"""The migrations against the tables of the code: exactly the same schema, up and down, and never on another version."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from app.database import migrate
from app.database.engine import Database
from app.database.tables import metadata
from consumers.errors import ConfigurationError


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'bellwether.db'}")
    yield made
    made.close()


def _tables(database: Database) -> set[str]:
    with database.read() as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def _schema(database: Database) -> list[str]:
    with database.read() as connection:
        rows = connection.execute(
            text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name")
        )
        return [" ".join(str(row[0]).split()) for row in rows if "alembic_version" not in row[0]]


def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    migrate.upgrade(database)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert _tables(database) == set(metadata.tables)


def test_what_a_comparison_does_not_see_is_the_same_too(database: Database, tmp_path: Path) -> None:
    migrate.upgrade(database)
    direct = Database(f"sqlite:///{tmp_path / 'direct.db'}")
    with direct.write() as connection:
        metadata.create_all(connection)
    migrated, created = _schema(database), _schema(direct)
    direct.close()
    assert sorted(migrated) == sorted(created)


def test_down_to_nothing_and_up_again(database: Database) -> None:
    migrate.upgrade(database)
    before = _schema(database)
    migrate.downgrade(database, "base")
    assert _tables(database) == set()
    assert migrate.current(database) is None
    migrate.upgrade(database)
    assert _schema(database) == before
    assert migrate.current(database) == migrate.head()


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    migrate.upgrade(database)
    before = _schema(database)
    migrate.upgrade(database)
    assert _schema(database) == before
    migrate.check(database)


def test_the_version_is_the_one_that_alembic_reads(database: Database) -> None:
    migrate.upgrade(database)
    with database.read() as connection:
        assert migrate.current(database) == MigrationContext.configure(connection).get_current_revision()


def test_no_schema_is_refused_with_the_command_and_without_making_a_file(database: Database) -> None:
    with pytest.raises(ConfigurationError, match="run: bellwether db upgrade"):
        migrate.check(database)
    assert not Path(str(database.url.database)).exists()


def test_a_schema_of_a_newer_version_is_neither_used_nor_touched(database: Database) -> None:
    migrate.upgrade(database)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for refused in (migrate.check, migrate.upgrade):
        with pytest.raises(ConfigurationError, match="which a newer version made"):
            refused(database)
    assert migrate.current(database) == "9999"


def test_a_migration_that_fails_leaves_nothing_behind(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("CREATE TABLE setting (x INTEGER)"))  # in the way of a later statement
    with pytest.raises(Exception, match="setting"):
        migrate.upgrade(database)
    assert _tables(database) == {"setting"}
    assert migrate.current(database) is None


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_same_revisions_are_written_for_both_databases(dialect: str) -> None:
    written = migrate.statements(dialect)
    for table in metadata.tables:
        assert f"CREATE TABLE {table} (" in written
    guard = written[written.index("CREATE UNIQUE INDEX uq_alert_open_key") :].splitlines()[0]
    assert guard.endswith("WHERE status <> 'resolved';")


def test_revisions_are_one_line_of_descent_that_goes_up_and_down() -> None:
    files = sorted((Path(migrate.__file__).parents[2] / "migrations" / "versions").glob("[0-9]*.py"))
    previous = None
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        named = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        assert file.name.startswith(f"{named['revision']}_")
        assert named["down_revision"] == previous
        assert {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} >= {
            "upgrade",
            "downgrade",
        }
        previous = named["revision"]
    scripts = ScriptDirectory(str(Path(migrate.__file__).parents[2] / "migrations"))
    assert previous == migrate.head() == scripts.get_current_head()
