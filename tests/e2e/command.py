"""The real command in a process of its own, as a shell starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Command:
    """`bellwether` in ``folder``, with a database there and no other settings than ``variables``."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What the process sees: nothing of ours but what the test gives it."""
        theirs = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("BELLWETHER_")
            and name != "COLUMNS"  # a test runner's own, not a terminal's
        }
        theirs.pop(
            "PYTHONDONTWRITEBYTECODE", None
        )  # dozens of starts: compiling everything for each takes minutes
        database = {"BELLWETHER_DATABASE_URL": f"sqlite:///{self.folder / 'bellwether.db'}"}
        path = os.pathsep.join(filter(None, [str(ROOT), theirs.get("PYTHONPATH", "")]))
        return {**theirs, **database, "PYTHONPATH": path, **self.variables}

    def __call__(self, *arguments: str | Path, **variables: str) -> Ended:
        """Run it to its end. ``variables`` are settings without their prefix, in lower case."""
        settings = {f"BELLWETHER_{name.upper()}": value for name, value in variables.items()}
        done = subprocess.run(
            self.line(*arguments),
            env={**self.environment, **settings},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start it and leave it running; the caller ends it."""
        return subprocess.Popen(
            self.line(*arguments), env=self.environment, cwd=self.folder, text=True, **options
        )

    def line(self, *arguments: str | Path) -> list[str]:
        """The command line, with this Python."""
        return [sys.executable, "-m", "app.cli", *map(str, arguments)]
