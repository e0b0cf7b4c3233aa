"""The real command in a process of its own, with the environment that a shell would give it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.e2e import ready

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Command:
    """`bellwether` in ``folder``, with a database there and no other settings than ``variables``.

    ``cold``: Python is started for it and loads what it needs, as when a shell starts it.
    """

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    cold: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """What the process sees: nothing of ours but what the test gives it."""
        theirs = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("BELLWETHER_")
            and name != "COLUMNS"  # a test runner's own, not a terminal's
            and name != "PYTHONDONTWRITEBYTECODE"  # compiling everything takes longer than most tests
        }
        database = {"BELLWETHER_DATABASE_URL": f"sqlite:///{self.folder / 'bellwether.db'}"}
        path = os.pathsep.join(filter(None, [str(ROOT), theirs.get("PYTHONPATH", "")]))
        return {**theirs, **database, "PYTHONPATH": path, **self.variables}

    def __call__(self, *arguments: str | Path, **variables: str) -> Ended:
        """Run it to its end. ``variables`` are settings without their prefix, in lower case."""
        settings = {f"BELLWETHER_{name.upper()}": value for name, value in variables.items()}
        with replace(self, variables={**self.variables, **settings}).start(
            *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                out, err = process.communicate(timeout=90)
            except BaseException:
                process.kill()
                raise
        return Ended(process.returncode, out, err)

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start it and leave it running; the caller ends it. ``options`` are those of Popen."""
        settings: dict[str, Any] = {"env": self.environment, "cwd": self.folder, "text": True}
        # Somebody who changes the process before it begins wants a start from nothing.
        if self.cold or not options.keys() <= {"stdin", "stdout", "stderr"} or not ready.possible():
            return subprocess.Popen(self.line(*arguments), **settings, **options)
        return ready.Ready([str(each) for each in arguments], **settings, **options)

    def line(self, *arguments: str | Path) -> list[str]:
        """The command line, with this Python."""
        return [sys.executable, "-m", "app.cli", *map(str, arguments)]
