"""Case 50: the release before, this one, and the one before again, on one database; and migrations that are killed."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from tests.recount import Recount
from tests.servers.process import free_port
from tests.stored_windows import recounted
from tests.torture.process import Process, ask
from tests.torture.result import Result
from tests.torture.site import ROOT, SECRETS, Site, until
from tests.torture.stage import Stage
from tests.torture.stream import good

FIRST_OF_THIS = "migrations/versions/0002_logs_and_incidents.py"
SCHEMA_BEFORE = "0001"


def there_and_back(stage: Stage, result: Result) -> None:
    """Case 50. The release before had neither Kafka nor PostgreSQL: it is fed over HTTP, on SQLite."""
    kills = stage.scale(20, 3)
    if not stage.long:
        result.scaled = f"{kills} kills"
    if stage.cluster is not None:
        _migration_killed(stage, result, kills)
        result.scaled = "the release before cannot run on PostgreSQL: only migrations that are killed"
        return
    stream = stage.stream(50, accounts=20)
    with stage.site("upgrade", url=None) as site:
        old = _release_before(site.folder / "before")
        assert site.books.path is not None
        for each in site.folder.glob("bellwether.db*"):
            each.unlink()
        bodies: list[bytes] = []
        _command(site, old, "db", "upgrade")
        bodies += _fed(site, old, [stream.history()[:3_000]])
        for number in range(kills):
            _killed_command(site, stage.dice(number).uniform(0.2, 0.9), "db", "upgrade")
        site.run("db", "upgrade")
        result.exactly("integrity after killed migrations", site.books.sound(), True)
        bodies += _fed(site, ROOT, [stream.noise(500)])
        # This schema lays out the windows anew: the release before needs them as they were.
        site.run("db", "downgrade", SCHEMA_BEFORE, "--yes")
        bodies += _fed(site, old, [stream.noise(500)])
        site.run("db", "upgrade")
        bodies += _fed(site, ROOT, [stream.noise(500)])
        wanted = recounted(Recount(bodies))
        result.exactly("windows are the recount", site.books.windows() == wanted, True)
        result.exactly("events counted", site.books.counters()["accepted"], len(bodies))


def _migration_killed(stage: Stage, result: Result, kills: int) -> None:
    with stage.site("migration-killed") as site:
        site.run("db", "upgrade")
        assert stage.cluster is not None
        fresh = stage.database_url(site.folder)
        site.environment["BELLWETHER_DATABASE_URL"] = fresh
        for number in range(kills):
            _killed_command(site, stage.dice(number).uniform(0.3, 1.2), "db", "upgrade")
        site.run("db", "upgrade")
        result.exactly("schema in place", site.run("db", "current").returncode, 0)


def _release_before(folder: Path) -> Path:
    """The source of the release before, from the repository's history. Raises AssertionError without a history."""
    found = subprocess.run(
        ["git", "log", "--format=%H", "--diff-filter=A", "--", FIRST_OF_THIS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    commit = f"{found[-1]}~1" if found else "HEAD"
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    assert packed.returncode == 0, f"no history to take the release before from: {packed.stderr.decode()}"
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    assert not (folder / FIRST_OF_THIS).exists(), "that is this release"
    return folder


def _environment(site: Site, release: Path) -> dict[str, str]:
    """Of a service without Kafka: the release before has none."""
    kept = {name: value for name, value in site.environment.items() if "KAFKA" not in name}
    kept = {name: value for name, value in kept.items() if name != "BELLWETHER_TOPIC_PREFIX"}
    return {**kept, "PYTHONPATH": str(release)}


def _command(site: Site, release: Path, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        env=_environment(site, release),
        cwd=site.folder,
        check=True,
        capture_output=True,
        timeout=120,
    )


def _killed_command(site: Site, after_s: float, *arguments: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", *arguments],
        env=site.environment,
        cwd=site.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(after_s)
    process.kill()
    process.wait(30)


def _fed(site: Site, release: Path, phases: list) -> list[bytes]:
    """Run a release, send it events over HTTP, kill it once all are judged; returns the bodies."""
    port = free_port()
    environment = {**_environment(site, release), "BELLWETHER_PORT": str(port)}
    line = [sys.executable, "-m", "app.cli", "serve"]
    process = Process(f"release-{len(site.processes)}", line, environment, site.folder)
    site.processes.append(process)
    process.await_event("serving")
    bodies = [body for phase in phases for body in good(phase)]
    before = site.books.counters()["accepted"]
    for start in range(0, len(bodies), 500):
        part = b"[" + b",".join(bodies[start : start + 500]) + b"]"
        status, said = ask(port, "/v1/events", part, SECRETS["the admin key"])
        assert (status, said["rejected"]) == (202, []), (status, said)
    until(lambda: site.books.counters()["accepted"] == before + len(bodies), "all is counted", 60)
    until(site.books.idle, "all is judged", 60)
    process.kill()
    return bodies
