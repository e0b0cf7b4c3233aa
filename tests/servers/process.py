"""A server in a process group of its own, which does not outlive whoever started it, and what waiting for it needs."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")
START_S = 60.0


class NotStarted(Exception):
    """A server cannot be started here or does not answer: what is missing, and what to do."""


def free_port() -> int:
    """A loopback port nobody listens on, below those that the system gives to outgoing connections.

    A client that keeps trying a dead server's port among those may be given it as its own, and then talks to itself.
    """
    chance = random.SystemRandom()
    for _ in range(200):
        port = chance.randrange(15_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise NotStarted("no free port between 15000 and 32000")


def launch(
    command: Sequence[str | Path], log: Path, *, parting: str, user: str | None = None
) -> subprocess.Popen[bytes]:
    """Start ``command`` without waiting, as ``user`` if given; what it says is appended to ``log``.

    The system sends it the signal ``parting`` when the thread that called this ends in whatever way: start servers
    from a thread that stays.
    """
    before: list[str] = []
    if setpriv := shutil.which("setpriv"):
        before = [setpriv, "--pdeathsig", parting]
        if user is not None:
            before += ["--reuid", user, "--regid", user, "--init-groups"]
        before.append("--")
    elif user is not None:
        raise NotStarted(
            "no setpriv here, which root needs to start PostgreSQL\ninstall util-linux, or be another user"
        )
    with log.open("ab") as said:
        return subprocess.Popen(
            [*before, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=log.parent,
        )


def signal_group(process: subprocess.Popen[bytes], sign: signal.Signals) -> None:
    """Send a signal to the process and to what it started, if it is still there."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, for a message: what was said, not where in the code."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    said = [line for line in lines if not line.lstrip().startswith(("at ", "... "))]
    return "\n".join(said[-count:]) or "(it said nothing)"


def await_answer(
    ask: Callable[[], T | None],
    what: str,
    timeout_s: float,
    *,
    process: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
) -> T:
    """The first answer of ``ask`` that is not None. Raises NotStarted in time, or once the process has ended."""
    end = time.monotonic() + timeout_s
    while (answer := ask()) is None:
        gone = process is not None and process.poll() is not None
        if gone or time.monotonic() > end:
            why = "ended" if gone else f"does not answer within {timeout_s:g} s"
            raise NotStarted(f"{what} {why}" + (f"; its last lines:\n{last_lines(log)}" if log else ""))
        time.sleep(0.05)
    return answer


def listens(host: str, port: int) -> bool:
    """Whether a connection is accepted there now."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


class Server(ABC):
    """One that is started, asked whether it answers, and killed. As a context manager: started, closed at the end."""

    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None

    def start(self, timeout_s: float = START_S) -> Self:
        """Start it and wait until it answers. Raises NotStarted with the log's end."""
        return self.launch().await_answer(timeout_s)

    def launch(self) -> Self:
        """Start it without waiting (from a thread that stays: it ends with that thread). Fills a new folder."""
        assert not self.running, "it is running already"
        self._launch()
        return self

    def await_answer(self, timeout_s: float = START_S) -> Self:
        """Wait until it answers; after a kill it recovers first. Raises NotStarted."""
        await_answer(
            lambda: self._answers() or None, str(self), timeout_s, process=self.process, log=self.log
        )
        return self

    def restart(self, timeout_s: float = START_S) -> Self:
        """Start it again, on the same port and folder; killed first if it is still running."""
        self.kill()
        return self.start(timeout_s)

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""

    def close(self) -> None:
        """Kill it."""
        self.kill()

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def __str__(self) -> str:
        """What it is and where, for messages."""

    @abstractmethod
    def _launch(self) -> None:
        """Set ``process``."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it answers now."""
