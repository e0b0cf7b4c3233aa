"""`bellwether demo` as a person runs it: read what it prints, look into the inbox, paste the command, end it."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.command import Command
from tests.e2e.running import until

UP_S = 90.0  # far more than it takes: other tests may be running
URL = re.compile(r"http://127\.0\.0\.1:\d+")


class Demo:
    """A demo under way, and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.printed: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def until(self, beginning: str) -> str:
        """The first line that begins so, as soon as it is printed."""
        deadline = time.monotonic() + UP_S
        while True:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            assert line is not None, f"ended without {beginning!r}: {self.printed} {self.process.stderr}"
            self.printed.append(line)
            if line.strip().startswith(beginning):
                return line

    @property
    def text(self) -> str:
        return "\n".join(self.printed)

    def url(self, word: str) -> str:
        """The address in the line that begins with ``word``."""
        found = URL.search(next(line for line in self.printed if line.strip().startswith(word)))
        assert found is not None
        return found[0]

    @property
    def command(self) -> str:
        """What a person would copy."""
        first = next(place for place, line in enumerate(self.printed) if line.startswith("curl"))
        last = next(place for place, line in enumerate(self.printed) if place > first and line.endswith("}'"))
        return "\n".join(self.printed[first : last + 1])

    def end(self, by: signal.Signals) -> int:
        self.process.send_signal(by)
        code = self.process.wait(30)
        self._reader.join(10)
        while (line := self._lines.get(timeout=1)) is not None:
            self.printed.append(line)
        return code


Start = Callable[..., Demo]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where the demo makes its temporary folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def start(tmp_path: Path, temporary: Path) -> Iterator[Start]:
    """Starts demos, with a shell's settings that must not reach them; ends what is left."""
    command = Command(
        tmp_path,
        {
            "TMPDIR": str(temporary),
            "BELLWETHER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/a-real-one",
            "BELLWETHER_CONFIG": "/nowhere/rules.yaml",
            "BELLWETHER_NOW": "2020-01-01T00:00:00Z",
            "BELLWETHER_ADMIN_KEY": "a-key-that-the-demo-must-not-ask-for",
            "BELLWETHER_SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/a/real/one",
            "http_proxy": "http://127.0.0.1:1",
            "PYTHONWARNINGS": "error",
        },
    )
    started: list[Demo] = []

    def begin(*arguments: str | Path) -> Demo:
        process = command.start(
            "demo", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        started.append(Demo(process))
        return started[-1]

    yield begin
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=20.0) as client:
        yield client


def messages(http: httpx.Client, inbox: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get(f"{inbox}/messages").json()["messages"]
    return found


def test_the_whole_path_from_customers_to_an_alert_of_ones_own(
    start: Start, http: httpx.Client, temporary: Path, program: Callable[[str], str]
) -> None:
    program("curl")
    demo = start("--port", "0")
    demo.until("Up after")
    service, inbox = demo.url("REST"), demo.url("inbox")

    # What it says it did, it did.
    assert "120 accounts over 90 days" in demo.text
    assert "5 rejected" in demo.text
    assert "8 alerts fired and 2 resolved" in demo.text
    assert len(list(http.get(f"{service}/v1/dead-letters").json()["data"])) == 5
    address = next(line for line in demo.printed if line.strip().startswith("a risk")).split()[-1]
    risk = http.get(address).json()
    assert risk["risk_level"] == "critical"
    assert risk["open_alerts"]
    assert risk["health"]["band"] != "unknown"
    assert http.get(f"{service}/readyz").status_code == 200
    assert "<title>" in http.get(f"{service}/docs").text

    # One summary for each destination, then a message for each change, every signature good.
    got = messages(http, inbox)
    signed = [each for each in got if each["to"] == "webhook"]
    assert all(each["verified"] for each in signed)
    kinds = [each["body"]["type"] for each in signed]
    assert kinds[0] == "alert.summary"
    assert kinds.count("alert.summary") == 1
    assert kinds.count("alert.firing") == 8
    assert kinds.count("alert.resolved") == 2
    assert next(each for each in got if each["to"] == "slack")["body"]["blocks"]
    assert "<script>alert(" not in http.get(inbox).text

    # The command makes two new alerts, within seconds, and a second time it makes none.
    account = json.loads("{" + demo.command.partition("'{")[2].removesuffix("'"))["account_id"]
    assert "--noproxy" in demo.command

    def fired() -> list[str]:
        return [
            each["body"]["data"]["rule"]
            for each in messages(http, inbox)
            if each["to"] == "webhook"
            and each["body"]["type"] == "alert.firing"
            and each["body"]["data"]["account"]["id"] == account
        ]

    assert fired() == []
    for _ in range(2):
        pasted = subprocess.run(
            ["sh", "-c", demo.command],
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        assert json.loads(pasted.stdout) == {"accepted": 1, "rejected": []}
        until(lambda: len(fired()) == 2, "both alerts", 10.0)
    until(lambda: 'result="duplicate"} 26.0' in http.get(f"{service}/metrics").text, "the duplicates", 10.0)
    assert sorted(fired()) == ["champion-changed", "champion-departed"]

    # Ctrl-C leaves nothing.
    assert list(temporary.iterdir())
    assert demo.end(signal.SIGINT) == 0
    assert list(temporary.iterdir()) == []
    assert "is removed" in demo.text
    assert demo.process.stderr is not None
    assert demo.process.stderr.read() == ""
    with pytest.raises(httpx.ConnectError):
        http.get(service)


def test_a_demo_with_a_folder_of_its_own_goes_on_where_it_was(
    start: Start, http: httpx.Client, tmp_path: Path, temporary: Path
) -> None:
    kept = tmp_path / "kept"
    demo = start("--port", "0", "--dir", kept)
    demo.until("Up after")
    assert demo.end(signal.SIGTERM) == 0
    assert "the data is in" in demo.text
    assert (kept / "bellwether.db").exists()

    again = start("--port", "0", "--dir", kept)
    again.until("Up after")
    assert "nothing was sent again" in again.text
    accounts = http.get(f"{again.url('REST')}/v1/accounts", params={"limit": 200}).json()["data"]
    assert len(accounts) == 120
    assert again.end(signal.SIGINT) == 0
    assert list(temporary.iterdir()) == []


def test_a_port_that_is_taken_is_said_so(start: Start, temporary: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        demo = start("--port", str(taken.getsockname()[1]))
        _, err = demo.process.communicate(timeout=UP_S)
        assert demo.process.returncode == 2
        assert "--port" in err
        assert "Traceback" not in err
    assert list(temporary.iterdir()) == []


def test_ended_in_the_middle_of_sending_it_leaves_nothing(start: Start, temporary: Path) -> None:
    demo = start("--port", "0")
    demo.until("Bellwether demo")
    assert demo.end(signal.SIGINT) == 0
    assert list(temporary.iterdir()) == []
