"""The documentation is right where a program can tell: links, commands, settings, examples, closed lists."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from alerts.alert import Reason
from alerts.configuration import problems_in, read_configuration
from alerts.delivery import ErrorKind
from alerts.metrics.catalogue import CATALOGUE
from alerts.model_sections import MODEL_FIELDS
from alerts.retry import WAITS_S
from alerts.rules.loader import default_rules
from app.cli.verbs import app
from app.database import migrate
from app.http.application import describe
from app.http.problems import KINDS
from app.settings import SECRETS, Settings, variable_name
from consumers.days import micros
from consumers.decode import Rejection, RejectionReason, decode
from consumers.events import FAMILY, TYPES
from consumers.pipeline import Totals
from consumers.windows import KEPT_DAYS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
PAGES = [*GUIDES, ROOT / "CHANGELOG.md", *sorted(DOCS.glob("decisions/*.md"))]
NOW = micros(datetime(2026, 11, 23, 9, tzinfo=UTC))

_FENCE = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?<![\w./=-])(?:\.venv/bin/)?bellwether(?![:\w./-])((?: [a-z][a-z-]*)*)([^\n`#|]*)")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, kind: str) -> list[str]:
    """The fenced blocks of one kind: ``yaml``, ``console``, …"""
    return [text for found, text in _FENCE.findall(page.read_text()) if found.strip() == kind]


def anchors(page: Path) -> set[str]:
    """The headings as GitHub links to them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code(page: Path) -> Iterator[str]:
    """Every line of code: fenced, indented, or between backticks."""
    text = page.read_text()
    for _, block in _FENCE.findall(text):
        yield from block.splitlines()
    rest = _FENCE.sub("", text)
    yield from re.findall(r"^ {4,}(.*)$", rest, re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", rest)


def table(page: Path, first: str) -> list[list[str]]:
    """The rows of the table whose heading begins with ``first``."""
    lines = page.read_text().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r" \|(?= )", line.strip("|"))])
    return rows


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        leads_to = (page.parent / path).resolve() if path else page
        assert leads_to.exists(), f"{named(page)}: {target}"
        assert not anchor or anchor in anchors(leads_to), f"{named(page)}: {target}"


def test_the_readme_leads_to_every_guide() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in DOCS.glob("*.md") if f"(docs/{page.name})" not in readme] == []


@functools.cache
def commands() -> Any:
    """All commands: putting them together takes a while, and the guides name hundreds."""
    return typer.main.get_command(app)


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_every_command_that_is_named_exists_with_its_options(page: Path) -> None:
    for line in code(page):
        for words, rest in _COMMAND.findall(line):
            command = commands()
            for word in words.split():
                if not getattr(command, "commands", None):
                    break  # the rest are arguments
                assert word in command.commands, f"{named(page)}: {line}"
                command = command.commands[word]
            known = {option for each in command.params for option in each.opts} | {"--help", "--debug"}
            for option in re.findall(r"(?<= )--?[a-z][a-z-]*", rest):
                assert option in known, f"{named(page)}: {option} in {line}"


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_every_setting_that_is_named_is_one(page: Path) -> None:
    known = {variable_name(field) for field in Settings.model_fields}
    known |= {f"{variable_name(field)}_FILE" for field in SECRETS}
    for name, wild in re.findall(r"\b(BELLWETHER_[A-Z_]*[A-Z])(_\*)?", page.read_text()):
        found = any(each.startswith(name) for each in known) if wild else name in known
        assert found, f"{named(page)}: {name}"


def test_the_rule_files_of_the_guide_pass_the_checker_and_say_what_it_says() -> None:
    page = DOCS / "rules.md"
    (text,) = blocks(page, "yaml")
    read = read_configuration(text, "bellwether.yaml", CATALOGUE)
    counts = f"{len(read.rules)} rules, {len(read.destinations)} destinations, {len(read.routes)} routes"
    assert f"bellwether.yaml: {counts}\n" in page.read_text()
    assert len(default_rules(CATALOGUE)) == 25, "the guides say twenty-five"


def test_the_wrong_rule_file_of_the_guide_is_refused_in_its_words(tmp_path: Path) -> None:
    page = DOCS / "rules.md"
    (text,) = blocks(page, "yaml wrong")
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    said = "".join(f"{problem}\n" for problem in problems_in(file, CATALOGUE)).replace(str(file), "bad.yaml")
    assert said in page.read_text()


def test_the_conditions_of_the_guide_are_conditions() -> None:
    rows = [row[0] for row in table(DOCS / "rules.md", "condition")]
    assert len(rows) == 5
    for row in rows:
        rule = json.dumps({"rules": [{"id": "one", "when": row.strip("`")}]})
        assert read_configuration(rule, "one.yaml", CATALOGUE).rules


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(DOCS.glob("*.md"))], ids=named)
def test_every_event_of_the_guides_is_accepted_or_listed_as_rejected(page: Path) -> None:
    rejected = {row[1].strip("`") for row in table(page, "reason")} if page.name == "events.md" else set()
    lines = [line.strip(" '[],") for line in page.read_text().splitlines()]
    events = [line for line in lines if line.startswith('{"id"') and '"type"' in line]
    for event in events:
        if event in rejected or '"a2"' in event:  # the array that shows one rejection
            continue
        verdict = decode(event.encode(), NOW)
        assert not isinstance(verdict, Rejection), f"{named(page)}: {event}: {verdict}"


def test_the_guide_shows_every_event_type_and_what_it_needs() -> None:
    page = DOCS / "events.md"
    (lines,) = blocks(page, "ndjson")
    assert [json.loads(line)["type"] for line in lines.splitlines()] == list(TYPES)
    listed = [name for row in table(page, "type") for name in re.findall(r"`([a-z.]+)`", row[0])]
    assert listed == list(TYPES)


def test_the_guide_names_the_family_of_every_event_type() -> None:
    rows = table(DOCS / "events.md", "type")
    told = {name: row[1] for row in rows for name in re.findall(r"`([a-z.]+)`", row[0])}
    assert told == {name: FAMILY[kind] or "" for name, kind in TYPES.items()}


def test_the_guides_say_for_how_long_ids_are_kept() -> None:
    for name in ("events.md", "operations.md"):
        text = " ".join((DOCS / name).read_text().split())
        assert set(re.findall(r"(\d+) days (?:that windows look back on|for which ids are kept)", text)) == {
            str(KEPT_DAYS)
        }


def test_the_guides_name_the_schema_of_today_and_the_number_of_the_next() -> None:
    operations, head = (DOCS / "operations.md").read_text(), migrate.head()
    assert f"schema {head} (it was empty)" in operations
    assert f"backup.db, schema {head}\n" in operations
    assert f"--rev-id {int(head) + 1:04} " in (ROOT / "CONTRIBUTING.md").read_text()


def test_every_retention_is_listed_with_its_default() -> None:
    listed = {row[0].strip("`"): row[1] for row in table(DOCS / "operations.md", "setting")}
    kept = {name: field for name, field in Settings.model_fields.items() if name.startswith("retention_")}
    assert listed == {variable_name(name): f"{field.default.days} d" for name, field in kept.items()}


def test_the_guide_names_every_result_that_an_event_is_counted_by() -> None:
    text = (DOCS / "operations.md").read_text()
    for name in Totals(accepted=1, duplicate=1, conflicting_duplicate=1, internal=1).counters():
        assert f"`{name}`" in text


def test_the_guide_lists_everything_that_a_configuration_may_hold() -> None:
    listed = [row[0].strip("`") for row in table(DOCS / "rules.md", "key")]
    assert listed == ["extends", "rules", "destinations", "routes", "internal_users", *MODEL_FIELDS]


def test_the_guide_lists_every_route_with_its_scope_and_what_it_takes() -> None:
    words = {"cursor": "pages", "format": "CSV", "Idempotency-Key": "once"}
    routes = {}
    for path, item in describe()["paths"].items():
        for method, operation in item.items():
            scopes = [scope for each in operation["security"] for scope in each["apiKey"]]
            asked = {parameter["name"] for parameter in operation.get("parameters", ())}
            takes = ", ".join(word for name, word in words.items() if name in asked)
            routes[f"`{method.upper()} {path}`"] = (", ".join(scopes) or "none", takes)
    rows = table(DOCS / "rest.md", "route")
    assert {route: (scope, takes) for route, scope, takes, _ in rows} == routes


def test_the_guide_lists_every_code_of_an_error() -> None:
    listed = {
        (int(status), code)
        for status, codes in table(DOCS / "rest.md", "status")
        for code in re.findall(r"`(\w+)`", codes)
    }
    assert listed == {(status, code.value) for code, (status, _) in KINDS.items()}


def test_the_guide_shows_every_rejection_reason_with_what_it_says() -> None:
    rows = table(DOCS / "events.md", "reason")
    assert [row[0].strip("`") for row in rows] == [reason.value for reason in RejectionReason]
    for reason, example, detail in rows:
        match reason.strip("`"):
            case "too_large":
                body = b'{"id": "' + b"x" * 70_000 + b'"}'
            case "unsupported_encoding":
                body = example.partition(" in ")[0].strip("`").encode("latin-1")
            case _:
                body = example.strip("`").encode()
        assert decode(body, NOW) == Rejection(RejectionReason(reason.strip("`")), detail)


def test_the_guides_list_every_reason_and_every_kind_of_failure() -> None:
    assert [row[0].strip("`") for row in table(DOCS / "alerts.md", "reason")] == list(Reason)
    webhooks = (DOCS / "webhooks.md").read_text()
    for kind in ErrorKind:
        assert f"`{kind.value}`" in webhooks
    spelt = "0, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h"
    assert spelt in webhooks
    units = {"": 1, "s": 1, "min": 60, "h": 3_600}
    waits = re.findall(r"(\d+) ?(s|min|h|)", spelt)
    assert tuple(int(number) * units[unit] for number, unit in waits) == WAITS_S


def test_every_metric_of_the_service_that_is_named_exists() -> None:
    made = "".join((ROOT / "app" / "http" / name).read_text() for name in ("exposition.py", "edge.py"))
    for name in re.findall(r"`(bellwether_[a-z_]+)`", (DOCS / "operations.md").read_text()):
        assert f'"{name.removesuffix("_total")}"' in made, name


def test_no_guide_is_about_the_place_where_it_was_written() -> None:
    for page in PAGES:
        assert not re.search(r"/tmp/|\.\./shared", page.read_text()), named(page)
