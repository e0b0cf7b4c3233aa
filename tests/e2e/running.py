"""Commands and services in processes of their own: started, watched, asked over HTTP, ended or killed."""

from __future__ import annotations

import atexit
import functools
import http.client
import json
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.e2e.command import Command

T = TypeVar("T")
PATIENCE_S = 30.0  # for what takes a second on a machine that is not busy


def until(ask: Callable[[], T], what: str, timeout_s: float = PATIENCE_S, *, every_s: float = 0.03) -> T:
    """The first answer of ``ask`` that is true; fails when none came in time."""
    end = time.monotonic() + timeout_s
    while not (answer := ask()):
        assert time.monotonic() < end, f"{what}: not within {timeout_s} s; at last {answer!r}"
        time.sleep(every_s)
    return answer


@functools.cache
def _shared() -> Path:
    """What the commands of one test session share."""
    folder = tempfile.mkdtemp(prefix="bellwether-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def prepared(folder: Path, **settings: str) -> Command:
    """The command beside a new database of the right schema. ``settings`` are in lower case, without prefix."""
    variables = {f"BELLWETHER_{name.upper()}": value for name, value in settings.items()}
    shutil.copyfile(_schema(), folder / "bellwether.db")
    return Command(folder, variables)


@functools.cache
def _schema() -> Path:
    """An empty database of the right schema, made once."""
    folder = _shared() / "schema"
    folder.mkdir()
    ended = Command(folder)("db", "upgrade")
    assert ended.code == 0, ended.err
    return folder / "bellwether.db"


def rows(command: Command, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """What a query of the command's database says now."""
    connection = sqlite3.connect(command.folder / "bellwether.db", timeout=10)
    try:
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


class Running:
    """A `bellwether serve`. ``lines`` is what it logs, one JSON object a line."""

    def __init__(self, command: Command, role: str = "all") -> None:
        command.variables.setdefault("BELLWETHER_PORT", "0")
        self.process = command.start("serve", "--role", role, stderr=subprocess.PIPE)
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        word = "serving" if role in {"all", "api"} else "running"
        said = self.await_line(lambda line: line.get("event") == word)
        self.port = int(said["url"].rpartition(":")[2]) if "url" in said else 0

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"event": line})

    def await_line(
        self, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """The first line of the log that is as ``wanted``."""

        def find() -> dict[str, Any] | None:
            found = next((line for line in list(self.lines) if wanted(line)), None)
            assert found or self.process.poll() is None, (self.process.returncode, self.lines)
            return found

        found = until(find, "a line of the log", timeout_s)
        assert found is not None
        return found

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any], str]:
        """Status, JSON and content type. Raises OSError, HTTPException if the service does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            read = answer.read()
            kind = answer.getheader("content-type", "")
            return answer.status, json.loads(read) if "json" in kind else {"text": read.decode()}, kind
        finally:
            connection.close()

    def get(self, path: str) -> dict[str, Any]:
        """What a good answer says."""
        status, said, _ = self.request("GET", path)
        assert status == 200, (path, status, said)
        return said

    def send(self, *events: dict[str, Any]) -> None:
        """Events that must all be accepted."""
        status, said, _ = self.request("POST", "/v1/events", list(events))
        assert (status, said) == (202, {"accepted": len(events), "rejected": []})

    def alerts(self, query: str = "") -> list[dict[str, Any]]:
        """The alerts of one page."""
        found: list[dict[str, Any]] = self.get(f"/v1/alerts?limit=200{query}")["data"]
        return found

    def judged(self, account_id: str) -> bool:
        """Whether the account was judged at all."""
        status, said, _ = self.request("GET", f"/v1/accounts/{account_id}/risk")
        return status == 200 and said["evaluated_at"] is not None

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""
        self.process.kill()
        self._gone()

    def end(self, sign: signal.Signals = signal.SIGTERM, timeout_s: float = 10.0) -> int:
        """An orderly end; returns the exit code. Fails if it takes longer."""
        self.process.send_signal(sign)
        self.process.wait(timeout_s)
        self._gone()
        return self.process.returncode

    def _gone(self) -> None:
        self.process.wait(10)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextmanager
def serving(command: Command, role: str = "all") -> Iterator[Running]:
    """A service for the length of a block; its log says of no surprise. Killed at the end if it is still there."""
    service = Running(command, role)
    try:
        yield service
        surprises = [line for line in service.lines if "Traceback" in str(line)]
        assert not surprises, surprises
    finally:
        if service.process.poll() is None:
            service.kill()


def write_lines(path: Path, lines: Sequence[bytes]) -> Path:
    """An NDJSON file."""
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path
