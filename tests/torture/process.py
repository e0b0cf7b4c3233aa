"""One process of the service under torture: started, watched through its log, stopped, killed."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Process:
    """A running program. ``lines`` is what it logs; all of it also goes into ``log``.

    Its standard error is a pipe, not the file: a limit on file sizes must hit the database and not the log.
    """

    def __init__(self, name: str, line: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.lines: list[dict[str, Any]] = []
        self.began = time.monotonic()
        self.popen = subprocess.Popen(
            line,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        with self.log.open("ab") as kept:
            for line in self.popen.stdout:
                kept.write(line)
                kept.flush()
                try:
                    said = json.loads(line)
                except ValueError:
                    said = line.decode(errors="replace")
                self.lines.append(said if isinstance(said, dict) else {"event": str(said)})

    @property
    def pid(self) -> int:
        """The process id."""
        return self.popen.pid

    @property
    def alive(self) -> bool:
        """Whether it is there."""
        return self.popen.poll() is None

    def says(self, word: str) -> bool:
        """Whether a line of its log has ``word``."""
        return any(word in str(line) for line in list(self.lines))

    def await_event(self, *events: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """The first line of the log that is one of ``events``. Raises AssertionError."""
        end = time.monotonic() + timeout_s
        while True:
            for line in list(self.lines):
                if line.get("event") in events:
                    return line
            assert self.alive, f"{self.name} ended with {self.popen.returncode}: {self.last_words()}"
            assert time.monotonic() < end, f"{self.name} did not say {events}: {self.last_words()}"
            time.sleep(0.02)

    def last_words(self, count: int = 6) -> str:
        """The end of its log."""
        return "\n".join(str(line) for line in self.lines[-count:])[-3000:] or "(it said nothing)"

    def surprises(self) -> list[str]:
        """Tracebacks in its log: what nobody foresaw."""
        return [str(line) for line in list(self.lines) if "Traceback" in str(line)]

    def send(self, sign: signal.Signals) -> None:
        """A signal, if it is still there."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self.popen.send_signal(sign)

    def stop_in_hand(self, timeout_s: float = 20.0) -> None:
        """Have one that was started with ``--stop`` stop at its place. Raises AssertionError."""
        self.send(signal.SIGUSR1)
        end = time.monotonic() + timeout_s
        while Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < end, f"{self.name} did not come to its place: {self.last_words()}"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL, also while it is stopped."""
        self.send(signal.SIGKILL)
        self.wait(30)

    def end(self, timeout_s: float = 30.0) -> float:
        """SIGTERM; returns how many seconds the orderly end took. Raises AssertionError if it takes longer."""
        began = time.monotonic()
        self.send(signal.SIGTERM)
        try:
            self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} did not end within {timeout_s:g} s: {self.last_words()}"
            ) from None
        return time.monotonic() - began

    def wait(self, timeout_s: float) -> int:
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired."""
        code = self.popen.wait(timeout_s)
        self._reader.join(10)
        return code

    def cpu_s(self) -> float:
        """Processor seconds used so far, by itself."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(
    port: int, path: str, body: bytes | None = None, key: str = "", timeout_s: float = 10.0
) -> tuple[int, Any]:
    """Status and body (JSON if it is any) of one HTTP request. Raises OSError, HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        read = answer.read()
        kind = answer.getheader("content-type", "")
        return answer.status, json.loads(read) if "json" in kind else read.decode()
    finally:
        connection.close()
