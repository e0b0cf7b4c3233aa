"""What every kind of test shares: clean surroundings, the real input, and a plain word on whatever was left out.

With BELLWETHER_TESTS_MUST_RUN_ALL set, as in CI, a test that would be left out fails instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

ROOT = Path(__file__).parents[1]
REAL_DATA = Path(
    os.environ.get("BELLWETHER_REAL_DATA", ROOT.parent / "shared" / "data" / "real-activity.jsonl.gz")
)
MUST_RUN_ALL = bool(os.environ.get("BELLWETHER_TESTS_MUST_RUN_ALL"))

# Shared machines stall: a slow example is not a failing one. CI draws the same examples every time.
hypothesis_settings.register_profile("here", deadline=None, max_examples=60)
hypothesis_settings.register_profile("ci", deadline=None, max_examples=60, derandomize=True, print_blob=True)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "here")


def leave_out(why: str) -> None:
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
    """Say what was left out, and why, in words."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        why = why.removeprefix("Skipped: ")
        reasons[why] = reasons.get(why, 0) + 1
    for why, count in sorted(reasons.items()):
        terminalreporter.write_line(f"left out: {count} {'test' if count == 1 else 'tests'}: {why}")
    if not reasons and not terminalreporter.stats.get("deselected"):
        terminalreporter.write_line("left out: nothing")
