"""The house as it is put together: who may write at its start, and what it refuses to begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from app.bootstrap import House
from app.clock import Clock
from app.database.engine import Database
from app.database.tables import metadata, setting
from app.settings import Settings
from consumers.errors import ConfigurationError

Open = Callable[[], Database]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens the same file as another process would."""
    kept: list[Database] = []

    def another() -> Database:
        kept.append(Database(f"sqlite:///{tmp_path / 'bellwether.db'}", busy_timeout_s=0.1))
        return kept[-1]

    metadata.create_all(another().engine)
    yield another
    for database in kept:
        database.close()


def written(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return {row.key: row.value for row in connection.execute(select(setting))}


def test_whoever_only_looks_writes_nothing_and_waits_for_no_writer(opened: Open) -> None:
    database = opened()
    with opened().write():
        house = House.build(Settings(timezone="Asia/Tokyo"), Clock(), database)
    assert str(house.calendar.zone) == "Asia/Tokyo"
    assert written(database) == {}


def test_the_first_to_fold_fixes_the_zone_and_later_ones_need_not_write(opened: Open) -> None:
    berlin = Settings(timezone="Europe/Berlin")
    House.build(berlin, Clock(), opened(), folds=True)
    database = opened()
    assert written(database) == {"timezone": "Europe/Berlin"}
    with opened().write():
        House.build(berlin, Clock(), database, folds=True)
    for folds in (False, True):
        with pytest.raises(
            ConfigurationError, match=r"folded in Europe/Berlin\nset it back .* bellwether db rebuild"
        ):
            House.build(Settings(), Clock(), database, folds=folds)


def test_a_scraper_gets_a_token_of_its_own(opened: Open) -> None:
    for told in (None, "scrape-me"):
        house = House.build(Settings.model_validate({"metrics_token": told}), Clock(), opened())
        assert house.services().metrics_token == told
