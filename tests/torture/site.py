"""One deployment for one case: topics, a database, a receiver, and processes of the service on them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.servers.process import free_port
from tests.torture import invariants
from tests.torture.books import Books
from tests.torture.expected import CONFIGURATION, Expectation
from tests.torture.process import Process, ask
from tests.torture.recorder import Recorder
from tests.torture.stream import LOGINS, NOW, Record, good
from tests.torture.topics import Topics

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
SECRETS = {
    "the webhook's secret": "whsec_" + base64.b64encode(b"canary-in-the-signing-key-000001").decode(),
    "the admin key": "canary-admin-key-5f0b1c2d3e4f5a6b7c8d9e0f",
    "the encryption key": base64.urlsafe_b64encode(b"canary-in-the-encryption-key-02!").decode(),
    "the database's password": "canary-database-password",
}
RECEIVER = "crm"


def until(ask_: Callable[[], T], what: str, timeout_s: float = PATIENCE_S, *, every_s: float = 0.05) -> T:
    """The first answer that is true; what raises is asked again. Raises AssertionError with the last answer."""
    end = time.monotonic() + timeout_s
    last: Any = None
    while time.monotonic() < end:
        try:
            if last := ask_():
                return last
        except AssertionError:
            raise
        except Exception as error:  # the fault may be on
            last = error
        time.sleep(every_s)
    raise AssertionError(f"{what}: not within {timeout_s:g} s; at last {last!r}")


class Site:
    """Everything of one case. A context manager: nothing of it is left at the end but its folder's logs."""

    def __init__(
        self,
        folder: Path,
        bootstrap: str,
        prefix: str,
        database_url: str,
        *,
        consumer_bootstrap: str | None = None,
        partitions: int = 4,
        zone: str = "UTC",
        frozen: bool = True,
        **settings: str,
    ) -> None:
        """``consumer_bootstrap``: where the service finds the broker, if not where the producer does (a proxy)."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.topics = Topics(bootstrap, prefix, partitions)
        self.books = Books(database_url)
        self.recorder = Recorder(SECRETS["the webhook's secret"])
        self.expectation = Expectation(zone)
        self.processes: list[Process] = []
        self.answers: dict[str, str] = {}
        self.watch: invariants.Watch | None = None
        self._number = 0
        config = folder / "config.yaml"
        destination = {
            "name": RECEIVER,
            "type": "webhook",
            "url": self.recorder.url,
            "secret": SECRETS["the webhook's secret"],
        }
        config.write_text(f"{CONFIGURATION}\ndestinations: [{json.dumps(destination)}]\n")
        given = {
            "database_url": database_url,
            "kafka_bootstrap_servers": consumer_bootstrap or bootstrap,
            "kafka_group_id": prefix.strip("."),
            "topic_prefix": prefix,
            "timezone": zone,
            "config": str(config),
            "allow_private_destinations": "true",
            "admin_key": SECRETS["the admin key"],
            "encryption_key": SECRETS["the encryption key"],
            **({"now": NOW.isoformat().replace("+00:00", "Z")} if frozen else {}),
            **settings,
        }
        theirs = {name: value for name, value in os.environ.items() if not name.startswith("BELLWETHER_")}
        theirs.pop("PYTHONDONTWRITEBYTECODE", None)
        self.environment = {
            **theirs,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), theirs.get("PYTHONPATH", "")])),
            **{f"BELLWETHER_{name.upper()}": value for name, value in given.items()},
        }

    def __enter__(self) -> Self:
        self.topics.make()
        self.run("db", "upgrade")
        self.watch = invariants.Watch(self.books)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.watch is not None:
            self.watch.close()
        for process in self.processes:
            with contextlib.suppress(Exception):
                process.kill()
        self.recorder.close()
        self.topics.close()

    # --- processes

    def run(self, *arguments: str, fine: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of the service, to its end. Raises AssertionError if it must be ``fine`` and is not."""
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert not fine or done.returncode == 0, (
            f"bellwether {' '.join(arguments)}: {done.stdout}{done.stderr}"
        )
        return done

    def start(self, role: str, *dying: str, port: int | None = None, program: str = "crashing") -> Process:
        """`bellwether serve --role ROLE`; ``dying``: options of ``tests.torture.crashing``, which then starts it."""
        self._number += 1
        plain = [sys.executable, "-m", "app.cli"]
        line = [sys.executable, "-m", f"tests.torture.{program}", *dying, "--"] if dying else plain
        environment = {**self.environment, "BELLWETHER_PORT": str(port or 0)}
        process = Process(
            f"{role}-{self._number}", [*line, "serve", "--role", role], environment, self.folder
        )
        self.processes.append(process)
        return process

    def serve(self, role: str, *dying: str, port: int | None = None, program: str = "crashing") -> Process:
        """The same, once it says that it runs."""
        process = self.start(role, *dying, port=port, program=program)
        process.await_event("serving", "running")
        return process

    def check_ends(self) -> None:
        """Raises AssertionError if a process has ended that nobody has ended."""
        for process in self.processes:
            code = process.popen.poll()
            assert code in {None, 0, -signal.SIGKILL}, (
                f"{process.name} ended with {code}: {process.last_words()}"
            )

    def serve_api(self, role: str = "api") -> tuple[Process, int]:
        """One that answers HTTP, and its port."""
        port = free_port()
        return self.serve(role, port=port), port

    def get(self, port: int, path: str) -> tuple[int, Any]:
        """An answer over HTTP; kept, to be searched for secrets."""
        status, said = ask(port, path, key=SECRETS["the admin key"])
        self.answers[path] = str(said)
        return status, said

    # --- events

    def phase(self, records: Sequence[Record], per_s: float | None = None) -> None:
        """Produce the events of one phase, and expect what they must bring about."""
        self.expectation.phase(good(records))
        self.topics.produce(records, per_s)

    def produce_damaged(self, record: Record) -> tuple[str, int]:
        """One record alone in its batch, of which no event must come; its partition and offset."""
        place = f"{self.topics.prefix}{record.topic}/{record.lane(self.topics.partitions)}"
        offset = self.topics.ends[place]
        self.topics.produce([replace(record, reason="damaged")])
        return place, offset

    def adopt(self, body: bytes, topic: str = LOGINS) -> int:
        """A phase of one event that the service itself produced, perhaps more than once; returns how often."""
        self.expectation.phase([body])
        return self.topics.adopt(Record(topic, b"", body))

    def lost(self) -> int:
        """Events that were produced, are good, and were not taken in; below 0: some counted twice."""
        known = {json.loads(body)["id"] for body in self.expectation.bodies}
        return len(known) - self.books.counters()["accepted"]

    def read_all(self) -> bool:
        """Whether every record was handled."""
        positions = self.books.positions()
        return all(positions.get(partition) == end for partition, end in self.topics.ends.items())

    def settled(self, timeout_s: float = PATIENCE_S, *, sent: bool = True) -> None:
        """Wait until everything is handled, judged and, where somebody sends, sent."""

        def all_done() -> bool:
            self.check_ends()
            return self.read_all() and self.books.idle() and (not sent or self.books.sent())

        try:
            until(all_done, "everything is settled", timeout_s)
        except AssertionError as error:
            lag = {
                partition: (self.books.positions().get(partition), end)
                for partition, end in self.topics.ends.items()
                if self.books.positions().get(partition) != end
            }
            raise AssertionError(
                f"{error}; lag {lag}, judged {self.books.idle()}, sent {self.books.sent()},"
                f" incidents {self.books.ask('SELECT kind, subject, detail FROM incident WHERE closed_at IS NULL')};"
                + "".join(
                    f"\n{process.name}: {process.last_words(3)}"
                    for process in self.processes
                    if process.alive
                )
            ) from None

    # --- what holds

    def broken(self, *, copies: int = 0, all_sent: bool = True) -> list[str]:
        """What breaks any invariant. ``copies`` of messages may be at the receiver, all sent or not."""
        told = self.recorder.told
        assert self.watch is not None
        return [
            *invariants.i1_windows_are_the_recount(self.books, self.expectation),
            *invariants.i2_every_transition_once(self.books, self.expectation),
            *invariants.i3_one_open_alert(self.books),
            *invariants.i4_nothing_untold(self.books, RECEIVER),
            *invariants.i5_everything_received(self.books, told, copies, all_sent=all_sent),
            *invariants.i6_in_order(told),
            *invariants.i7_no_offset_skipped(self.books, self.topics),
            *self.watch.findings,
            *self.leaks(),
        ]

    def leaks(self) -> list[str]:
        """I8."""
        return invariants.i8_no_secret(SECRETS, self.folder.glob("*.log"), self.answers, self.books)

    def surprises(self) -> list[str]:
        """Tracebacks in any log."""
        return [surprise for process in self.processes for surprise in process.surprises()]

    def fenced(self) -> int:
        """How often a process found that another was first, as ``--note`` wrote down."""
        return sum(
            len(re.findall(r"noted \w+ LostPosition", log.read_text())) for log in self.folder.glob("*.log")
        )
