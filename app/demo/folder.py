"""Where a demo keeps its data: a temporary folder that goes when it ends, or one that a person named and that stays."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from consumers.errors import ConfigurationError

_DONE = "seeded"  # written when the history is in, so that a demo killed before is not taken for a whole one


@dataclass(frozen=True, slots=True)
class Folder:
    """One demo's folder. ``kept``: it stays when the demo ends."""

    path: Path
    kept: bool

    @property
    def database_url(self) -> str:
        """The demo's own database, whatever the environment names."""
        return f"sqlite:///{self._database}"

    @property
    def configuration(self) -> Path:
        """The file with the two destinations; rules are the shipped ones."""
        return self.path / "bellwether.yaml"

    @property
    def seeded(self) -> bool:
        """Whether an earlier demo left its customers here."""
        return (self.path / _DONE).exists()

    def check(self) -> None:
        """Raises ConfigurationError if there is a database here that no demo has finished."""
        if self._database.exists() and not self.seeded:
            raise ConfigurationError(
                f"{self._database} is not a demo's database, or of one that was stopped early\n"
                "name another folder with --dir (make demo DIR=...), or remove it"
            )

    def mark_seeded(self) -> None:
        """The history is in."""
        (self.path / _DONE).touch()

    def write_configuration(self, *, inbox_url: str, slack_path: str, secret: str) -> None:
        """Two destinations, both in the demo's inbox. The secret is for the owner of the file alone."""
        text = (
            "# Written by `bellwether demo`: the shipped rules, told to two destinations.\n"
            "destinations:\n"
            f"  - {{name: crm, type: webhook, url: '{inbox_url}/webhook', secret: '{secret}'}}\n"
            f"  - {{name: cs-slack, type: slack, url: '{inbox_url}{slack_path}'}}\n"
        )
        self.configuration.unlink(missing_ok=True)
        with os.fdopen(os.open(self.configuration, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)

    @property
    def _database(self) -> Path:
        return self.path / "bellwether.db"


@contextlib.contextmanager
def folder(directory: Path | None) -> Iterator[Folder]:
    """``directory``, made if need be and kept, or a temporary one that is removed at the end."""
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="bellwether-demo-", ignore_cleanup_errors=True) as name:
            yield Folder(Path(name), kept=False)
        return
    directory.mkdir(parents=True, exist_ok=True)
    found = Folder(directory.resolve(), kept=True)
    found.check()
    yield found
