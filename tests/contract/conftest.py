"""The databases that storage promises are asked of: SQLite in a file, PostgreSQL on the server that tests share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from app.database import tables
from app.database.engine import Database


class OpenDatabase(Protocol):
    """Opens the database of the kind ``sqlite`` or ``postgresql``: today's schema and nothing in it."""

    def __call__(self, kind: str) -> Database:
        """Closed at the end of the test."""


@pytest.fixture
def make_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """The address of the database of a kind, with today's schema and nothing in it."""

    def make(kind: str) -> str:
        if kind == "postgresql":
            return str(request.getfixturevalue("postgres_migrated"))
        url = f"sqlite:///{tmp_path / 'bellwether.db'}"
        database = Database(url)
        with database.write() as connection:
            tables.metadata.create_all(connection)
        database.close()
        return url

    return make


@pytest.fixture
def open_database(make_database: Callable[[str], str]) -> Iterator[OpenDatabase]:
    """For fixtures that have other parameters beside the databases."""
    with contextlib.ExitStack() as opened:

        def open_(kind: str) -> Database:
            # Six writers on two cores: what is waited for is their turn, not a deadlock.
            database = Database(make_database(kind), busy_timeout_s=60)
            opened.callback(database.close)
            return database

        yield open_


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, make_database: Callable[[str], str]) -> str:
    """The address of a database with the schema of today and nothing in it; a test that asks runs on both."""
    return make_database(request.param)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The same, opened."""
    opened = Database(database_url, busy_timeout_s=60)
    yield opened
    opened.close()
