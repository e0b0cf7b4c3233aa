"""The command as a shell starts it, with nothing loaded before: every part of it loads what it needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from app.cli.verbs import app
from tests.e2e.command import Command
from tests.e2e.running import prepared, serving, write_lines
from tests.e2e.stories import NOON, iso, logins, ndjson

# One verb of each module, with work to do, and the code it ends with. `demo` starts so in its own tests.
LINES = {
    "accounts": (("risk", "nobody"), 2),
    "alerts": (("alerts", "list"), 0),
    "backtest": (("backtest", "history.jsonl", "--outcomes-from-silence", "30"), 0),
    "bulk": (("import", "accounts.csv"), 0),
    "dead_letters": (("dead-letters", "replay"), 0),
    "deliveries": (("deliveries", "list"), 0),
    "events": (("ingest", "history.jsonl"), 0),
    "health_fit": (("health", "fit", "history.jsonl"), 1),  # nobody is known to pay
    "keys": (("keys", "create", "one", "--scope", "read"), 0),
    "operations": (("db", "check"), 0),
    "portfolio": (("interventions",), 0),
    "positions": (("positions", "list"), 0),
    "rebuild": (("db", "rebuild", "--from", "history.jsonl"), 0),
    "retention": (("retention",), 0),
    "rules": (("rules", "check"), 0),
    "sources": (("sources", "list"), 0),
    "topics": (("topics", "create"), 2),
}


def modules(group: object) -> Iterator[str]:
    """The module of each verb."""
    for verb in group.commands.values():  # type: ignore[attr-defined]
        if hasattr(verb, "commands"):
            yield from modules(verb)
        else:
            yield verb.callback.__module__.removeprefix("app.cli.")


@pytest.fixture
def cold(tmp_path: Path) -> Command:
    """The command beside a database and files of events and accounts."""
    write_lines(tmp_path / "history.jsonl", ndjson(logins("acme", NOON, days=400)))
    (tmp_path / "accounts.csv").write_text("account_id,owner\nacme,Ada\n")
    variables = prepared(tmp_path, now=iso(NOON)).variables
    return Command(tmp_path, variables, cold=True)


def test_every_module_with_a_verb_is_asked() -> None:
    assert set(modules(typer.main.get_command(app))) <= {*LINES, "service"}


@pytest.mark.parametrize("module", LINES)
def test_a_verb_loads_what_it_needs(cold: Command, module: str) -> None:
    words, code = LINES[module]
    ended = cold(*words)
    assert (ended.code, "Error" in ended.err) == (code, False), ended.err


@pytest.mark.parametrize("role", ["all", "consumer"])
def test_a_service_loads_what_it_needs(cold: Command, role: str) -> None:
    with serving(cold, role) as service:
        assert service.end() == 0
