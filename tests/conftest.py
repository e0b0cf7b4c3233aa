"""What every kind of test shares: clean surroundings, the real input, and a plain word on whatever was left out.

With BELLWETHER_TESTS_MUST_RUN_ALL set, as in CI, a test that would be left out fails instead.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import settings as hypothesis_settings

from tests.servers.shared import Shared, Unavailable

if TYPE_CHECKING:
    from tests.servers.kafka import Broker
    from tests.servers.postgres import Cluster, Databases

ROOT = Path(__file__).parents[1]
REAL_DATA = Path(
    os.environ.get("BELLWETHER_REAL_DATA", ROOT.parent / "shared" / "data" / "real-activity.jsonl.gz")
)
MUST_RUN_ALL = bool(os.environ.get("BELLWETHER_TESTS_MUST_RUN_ALL"))

# Tests of these folders ask for no server.
SERVERLESS = (ROOT / "tests" / "unit", ROOT / "tests" / "api")
SHARED = pytest.StashKey[Shared]()

# Shared machines stall: a slow example is not a failing one. CI draws the same examples every time.
hypothesis_settings.register_profile("here", deadline=None, max_examples=60)
hypothesis_settings.register_profile("ci", deadline=None, max_examples=60, derandomize=True, print_blob=True)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "here")


def leave_out(why: str) -> NoReturn:
    """Leave the running test out, saying why; in CI that is a failure."""
    if MUST_RUN_ALL:
        pytest.fail(f"left out: {why}", pytrace=False)
    pytest.skip(why)


@pytest.fixture
def program() -> Callable[[str], str]:
    """A function that finds a program by name, or leaves the test out."""

    def find(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            leave_out(f"no {name} on this machine")
        return str(found)

    return find


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Events made from public commit histories: BELLWETHER_REAL_DATA, or the folder `shared` beside the checkout."""
    if not REAL_DATA.is_file():
        leave_out(f"the real input is not here ({REAL_DATA.name}); BELLWETHER_REAL_DATA names it")
    return REAL_DATA


def pytest_configure(config: pytest.Config) -> None:
    """Start the shared servers for worker processes now, so that they are there when the first test wants one."""
    config.stash[SHARED] = shared = Shared()
    spreads = bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")
    if spreads and not config.option.collectonly and any(map(_may_want_servers, config.args)):
        shared.launch_for_others()


def _may_want_servers(argument: str) -> bool:
    path = Path(argument.partition("::")[0]).resolve()
    return not any(path.is_relative_to(folder) for folder in SERVERLESS)


def pytest_collection_finish(session: pytest.Session) -> None:
    """In a run of one process: start, without waiting, what the chosen tests name."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    named = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    shared = session.config.stash[SHARED]
    with contextlib.suppress(Unavailable):
        if "kafka" in named:
            shared.launch_kafka()
    with contextlib.suppress(Unavailable):
        if not named.isdisjoint({"postgres", "postgres_migrated"}):
            shared.launch_postgres()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End them, also after Ctrl-C."""
    if (shared := config.stash.get(SHARED, None)) is not None:
        shared.close()


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> str:
    """Bootstrap servers of the broker that all tests share: give topics names of your own."""
    try:
        return pytestconfig.stash[SHARED].kafka()
    except Unavailable as error:
        leave_out(str(error))


@pytest.fixture(scope="session")
def databases(pytestconfig: pytest.Config) -> Databases:
    """Databases to be made in the PostgreSQL cluster that all tests share."""
    try:
        return pytestconfig.stash[SHARED].postgres()
    except Unavailable as error:
        leave_out(str(error))


@pytest.fixture
def postgres(databases: Databases) -> Iterator[str]:
    """URL of an empty PostgreSQL database of the test's own."""
    url = databases.new()
    yield url
    databases.leave(url)


@pytest.fixture
def postgres_migrated(databases: Databases, pytestconfig: pytest.Config) -> Iterator[str]:
    """URL of a PostgreSQL database of the test's own with the schema of today."""
    url = databases.new(template=pytestconfig.stash[SHARED].template())
    yield url
    databases.leave(url)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A Kafka broker of the test's own, running: to be killed, stopped, joined."""
    from tests.servers import jars
    from tests.servers.kafka import Broker

    if lacking := jars.missing():
        leave_out(lacking)
    with Broker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A PostgreSQL cluster of the test's own, running, durable: to be killed and stopped."""
    from tests.servers import postgres
    from tests.servers.postgres import Cluster

    if lacking := postgres.missing():
        leave_out(lacking)
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _no_settings_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer has exported must not decide a test."""
    for name in list(os.environ):
        if name.startswith("BELLWETHER_"):
            monkeypatch.delenv(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where all must run, a skip of any origin is a failure."""
    report = yield
    if MUST_RUN_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"left out: {report.longreprtext}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and why, in words; and which server of the run fell."""
    for fallen in terminalreporter.config.stash[SHARED].fallen():
        terminalreporter.write_line(fallen)
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        why = why.removeprefix("Skipped: ")
        reasons[why] = reasons.get(why, 0) + 1
    for why, count in sorted(reasons.items()):
        terminalreporter.write_line(f"left out: {count} {'test' if count == 1 else 'tests'}: {why}")
    if not reasons and not terminalreporter.stats.get("deselected"):
        terminalreporter.write_line("left out: nothing")
