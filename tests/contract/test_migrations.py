"""The migrations against the tables of the code: exactly the same schema, up and down, and never on another version."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, inspect, text

from app.database import migrate
from app.database.alerts import SqlAlertStore
from app.database.engine import Database
from app.database.outbox import SqlOutbox
from app.database.tables import metadata
from app.database.windows import SqlWindowStore
from consumers.days import Calendar
from consumers.errors import ConfigurationError
from consumers.pipeline import Pipeline
from consumers.source import Chunk
from tests.conftest import ROOT

NOW = 1_800_000_000_000_000


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty one."""
    url = f"sqlite:///{tmp_path / 'bellwether.db'}"
    if request.param == "postgresql":
        url = str(request.getfixturevalue("postgres"))
    made = Database(url)
    yield made
    made.close()


def _tables(database: Database) -> set[str]:
    with database.read() as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


_POSTGRESQL = """
SELECT 'column ' || attrelid::regclass || '.' || attname || ' ' || format_type(atttypid, atttypmod)
  || CASE WHEN attnotnull THEN ' not null' ELSE '' END || ' ' || coalesce(pg_get_expr(adbin, adrelid), '')
  || ' ' || attstorage::text || ' ' || coalesce(array_to_string(reloptions, ','), '')
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid AND relkind = 'r' AND relnamespace = 'public'::regnamespace
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attnum > 0 AND NOT attisdropped
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
  WHERE connamespace = 'public'::regnamespace
ORDER BY 1
"""
_SQLITE = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name"


def _schema(database: Database) -> list[str]:
    """All of it, in the database's own words."""
    with database.read() as connection:
        rows = connection.execute(text(_SQLITE if database.sqlite else _POSTGRESQL))
        said = [" ".join(str(row[0]).split()) for row in rows if "alembic_version" not in row[0]]
    # A table that SQLite had to copy is written a little differently.
    return [
        re.sub(r"DEFAULT \(('\w*')\)", r"DEFAULT \1", re.sub(r'TABLE "(\w+)"', r"TABLE \1", each))
        for each in said
    ]


def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    migrate.upgrade(database)
    assert migrate.differences(database) == []
    assert _tables(database) == set(metadata.tables)


def test_a_difference_is_told_in_a_line(database: Database) -> None:
    migrate.upgrade(database)
    with database.write() as connection:
        connection.execute(text("DROP INDEX ix_account_renewal_day"))
        connection.execute(text("ALTER TABLE family ADD COLUMN told INTEGER"))
    assert migrate.differences(database) == ["add index ix_account_renewal_day", "remove column family told"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_a_comparison_does_not_see_is_the_same_too(database: Database, tmp_path: Path) -> None:
    """On PostgreSQL the migrations say more than the tables: how blobs are kept."""
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


def test_each_revision_down_and_up_again_is_what_it_was(database: Database) -> None:
    schemas = {}
    for revision in migrate.revisions():
        migrate.upgrade(database, revision)
        schemas[revision] = sorted(_schema(database))
    for revision in reversed(migrate.revisions()[:-1]):
        migrate.downgrade(database, revision)
        assert sorted(_schema(database)) == schemas[revision]
    migrate.upgrade(database)
    assert sorted(_schema(database)) == schemas[migrate.head()]


def test_what_was_stored_before_an_upgrade_is_there_after_it_and_after_going_back(database: Database) -> None:
    migrate.upgrade(database, "0001")
    with database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO position (partition, next, behind, updated_at) VALUES ('journal', 7, :no, 1)"
            ).bindparams(no=False)
        )
    for go in (migrate.upgrade, lambda it: migrate.downgrade(it, "0001"), migrate.upgrade):
        go(database)
        with database.read() as connection:
            assert connection.execute(text("SELECT partition, next FROM position")).all() == [("journal", 7)]


def test_a_revision_that_is_not_known_is_refused(database: Database) -> None:
    with pytest.raises(ConfigurationError, match="there is no revision 0815"):
        migrate.downgrade(database, "0815")


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
    assert not database.sqlite or not Path(str(database.url.database)).exists()


def test_an_older_schema_is_refused_with_the_command(database: Database) -> None:
    migrate.upgrade(database, "0001")
    with pytest.raises(ConfigurationError, match=r"has schema 0001, .*\nrun: bellwether db upgrade"):
        migrate.check(database)


# --- a release beside the next one's schema (expand and contract)


def _next_release(database: Database, serves: str) -> None:
    """What the upgrade of a made-up next release does: it adds, and says whose code runs on what it made."""
    with database.write() as connection:
        for statement in (
            "ALTER TABLE account_window ADD COLUMN health INTEGER",
            "ALTER TABLE touched ADD COLUMN reason VARCHAR(16) DEFAULT '' NOT NULL",
            "CREATE TABLE health (account_no BIGINT NOT NULL PRIMARY KEY, score INTEGER NOT NULL)",
            "UPDATE alembic_version SET version_num = '9999'",
            f"UPDATE setting SET value = '{serves}' WHERE key = 'schema_serves'",
        ):
            connection.exec_driver_sql(statement)


def test_the_previous_release_runs_on_while_the_next_one_s_schema_is_in_place(database: Database) -> None:
    migrate.upgrade(database)
    store = SqlWindowStore(database)
    Pipeline(store, Calendar("UTC")).handle([_chunk(0)], "test", NOW)

    _next_release(database, serves=migrate.head())

    migrate.check(database)
    migrate.upgrade(database)  # a deployment that was rolled back runs its own upgrade: nothing to do
    assert migrate.current(database) == "9999"
    Pipeline(store, Calendar("UTC")).handle([_chunk(1)], "test", NOW)
    assert store.positions(["p"])["p"].next == 2
    alerts = SqlAlertStore(database, SqlOutbox(database), lambda: NOW)
    with alerts.transaction() as work:
        assert len(work.touched(10, 0, None)) == 1


def test_each_revision_says_whose_code_runs_on_it(database: Database) -> None:
    for revision in migrate.revisions()[1:]:
        migrate.upgrade(database, revision)
        with database.read() as connection:
            told = connection.scalar(text("SELECT value FROM setting WHERE key = 'schema_serves'"))
        assert told in migrate.revisions()
        assert told <= revision


def _chunk(offset: int) -> Chunk:
    body = (
        f'{{"id": "e{offset}", "type": "user.login", "account_id": "acme", "user_id": "ana",'
        f' "occurred_at": "2026-01-01T10:00:00Z"}}'
    )
    return Chunk("p", offset, offset + 1, [body.encode()], [offset])


def test_a_schema_that_does_not_serve_this_version_is_neither_used_nor_touched(database: Database) -> None:
    migrate.upgrade(database)
    _next_release(database, serves="9998")
    for refused in (migrate.check, migrate.upgrade):
        with pytest.raises(ConfigurationError, match="which a newer version made"):
            refused(database)
    assert migrate.current(database) == "9999"


# --- two at once, and killed halfway


def test_of_two_upgrades_at_once_one_waits_and_then_finds_nothing_to_do(database: Database) -> None:
    """The first is held up in the middle until the second is seen to wait."""
    url = database.url.render_as_string(hide_password=False)
    first, second = (Database(url, busy_timeout_s=30) for _ in range(2))
    inside, go_on = threading.Event(), threading.Event()

    def hold_up(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if "CREATE TABLE incident" in statement:
            inside.set()
            assert go_on.wait(20)

    event.listen(first.engine, "before_cursor_execute", hold_up)
    with ThreadPoolExecutor(2) as pool:
        upgrades = [pool.submit(migrate.upgrade, first)]
        assert inside.wait(20)
        upgrades.append(pool.submit(migrate.upgrade, second))
        threading.Event().wait(0.2)
        assert not upgrades[1].done()
        go_on.set()
        for each in upgrades:
            each.result(30)
    assert migrate.current(database) == migrate.head()
    assert migrate.differences(database) == []
    for each in (first, second):
        each.close()


# As an operator would have it, but that it stops where the new table is to be made, and says so.
_STOPPING = """
import sys, time
from sqlalchemy import event
from app.database import migrate
from app.database.engine import Database
database = Database(sys.argv[1])
@event.listens_for(database.engine, "before_cursor_execute")
def stop(_connection, _cursor, statement, *_more):
    if "ix_incident" in statement:
        print("halfway", flush=True)
        time.sleep(60)
migrate.upgrade(database)
"""


def test_killed_halfway_it_leaves_the_old_schema_and_the_next_one_succeeds(database: Database) -> None:
    migrate.upgrade(database, "0001")
    before = _schema(database)
    url = database.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-c", _STOPPING, url], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as upgrading:
        assert upgrading.stdout is not None
        assert upgrading.stdout.readline() == "halfway\n"
        upgrading.kill()
    assert migrate.current(database) == "0001"
    assert _schema(database) == before
    migrate.upgrade(database)
    assert migrate.differences(database) == []


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
