"""What tests of the command start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.command import Command
from tests.e2e.running import prepared


@pytest.fixture
def bellwether(tmp_path: Path) -> Command:
    """The command in an empty folder."""
    return Command(tmp_path)


@pytest.fixture
def upgraded(tmp_path: Path) -> Command:
    """The command beside a database of the right schema."""
    return prepared(tmp_path)
