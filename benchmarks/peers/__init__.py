"""Other people's stream processors at the same job, each a program with an environment of its own.

``prepare`` makes that environment from the peer's locked requirements, ``measure`` runs the peer once against a topic.
What cannot be installed, fails or comes to another answer is a ``NotRun`` with its reason in a line, never left out.
Standard library alone: the peers' own Pythons import this package too.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LIMIT_S = 1_800.0  # a peer that takes longer than this for its events has hung


class PeerUnavailable(Exception):
    """A peer cannot be installed here; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A stream processor: the folder of its program, the package to name in a table, the Pythons it has wheels for."""

    name: str
    package: str
    pythons: str

    @property
    def environment(self) -> Path:
        """Its virtual environment, there after ``prepare``."""
        return HERE / ".venvs" / self.name

    @property
    def requirements(self) -> Path:
        """Its locked requirements."""
        return HERE / self.name / "requirements.txt"

    @property
    def version(self) -> str:
        """The version of the package, as locked."""
        found = re.search(rf"^{re.escape(self.package)}==(\S+)", self.requirements.read_text(), re.MULTILINE)
        if found is None:
            raise ValueError(f"{self.requirements} does not pin {self.package}")
        return found[1]

    def run(self, bootstrap: str, topic: str, events: int, state: Path) -> list[str]:
        """The command that reads the ``events`` records of ``topic``, all it has, and prints one JSON object.

        ``state``: an empty folder, or one to be made, that the peer may fill. Run it from the top of the checkout.
        """
        python = self.environment / "bin" / "python"
        return [
            str(python),
            "-m",
            f"benchmarks.peers.{self.name}.run",
            bootstrap,
            topic,
            str(events),
            str(state),
        ]


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a peer. ``seconds``: from the first record in hand to all state durable."""

    peer: str
    events: int
    seconds: float
    accounts: int


@dataclass(frozen=True, slots=True)
class NotRun:
    """A peer without a figure, and why, in one line."""

    peer: str
    reason: str


PEERS = (
    Peer("pathway", package="pathway", pythons=">=3.11,<3.14"),
    Peer("bytewax", package="bytewax", pythons=">=3.11,<3.13"),
    Peer("quix", package="quixstreams", pythons=">=3.11,<3.14"),
)


def peers() -> list[Peer]:
    """All of them, in the order of a table."""
    return list(PEERS)


def prepare(name: str) -> None:
    """Make the environment of a peer, unless it is there and its lock has not changed.

    Raises PeerUnavailable when no fitting Python is found or a package cannot be had; ValueError for an unknown name.
    """
    found = [peer for peer in PEERS if peer.name == name]
    if not found:
        raise ValueError(f"no peer {name}: there are {', '.join(peer.name for peer in PEERS)}")
    peer = found[0]
    stamp = peer.environment / "locked.txt"
    if stamp.exists() and stamp.read_bytes() == peer.requirements.read_bytes():
        return
    shutil.rmtree(peer.environment, ignore_errors=True)
    environment = str(peer.environment)
    _uv(peer, "venv", "--no-python-downloads", "--python", peer.pythons, environment)
    _uv(peer, "pip", "install", "--python", environment, "--require-hashes", "-r", str(peer.requirements))
    shutil.copyfile(peer.requirements, stamp)


def measure(
    peer: Peer, bootstrap: str, topic: str, events: int, state: Path, check: str, limit_s: float = LIMIT_S
) -> Measured | NotRun:
    """Prepare a peer and run it once. ``check``: the digest it must come to, from ``benchmarks.peers.answer``.

    Its environment is made here if it is not there, which takes minutes the first time and counts for nothing.
    """
    try:
        prepare(peer.name)
    except PeerUnavailable as unavailable:
        return NotRun(peer.name, str(unavailable))
    command = peer.run(bootstrap, topic, events, state)
    try:
        ended = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        return NotRun(peer.name, f"did not end within {limit_s:.0f} s")
    if ended.returncode:
        return NotRun(peer.name, f"failed: {_last(ended.stderr)}")
    result = json.loads(_last(ended.stdout))
    if result["check"] != check:
        return NotRun(peer.name, f"came to {result['check']}, where {check} is right")
    return Measured(peer.name, result["events"], result["seconds"], result["accounts"])


def _uv(peer: Peer, *arguments: str) -> None:
    command = [sys.executable, "-m", "uv", "--quiet", *arguments]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    if ended.returncode:
        raise PeerUnavailable(f"cannot be installed: {_last(ended.stderr)}")


def _last(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
