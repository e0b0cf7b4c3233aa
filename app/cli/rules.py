"""`bellwether rules`: which are in force, whether a file is right, and why one did or did not fire."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli import DONE, USAGE, output
from app.cli.opened import opened, settings
from app.cli.output import Output, OutputOption
from consumers.errors import ConfigurationError

app = typer.Typer(help="Rules as code: check, list, explain.", no_args_is_help=True)
Rules = Annotated[
    Path | None,
    typer.Option("--rules", help="A configuration file; by default the one of BELLWETHER_CONFIG."),
]


@app.command()
def check(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Default: BELLWETHER_CONFIG.")
    ] = None,
) -> int:
    """Read configuration files whole: everything wrong, with file, line and the nearest name; exit 2 if anything is."""
    from alerts.configuration import load_configuration, problems_in
    from alerts.metrics.catalogue import CATALOGUE

    found = 0
    for file in files or (settings().config,):
        problems = [] if file is None else problems_in(file, CATALOGUE)
        for problem in problems:
            sys.stderr.write(output.plain(str(problem)) + "\n")
        found += len(problems)
        if not problems:
            loaded = load_configuration(file, CATALOGUE)
            counts = f"{len(loaded.rules)} rules, {len(loaded.destinations)} destinations, {len(loaded.routes)} routes"
            output.line(f"{file or 'the shipped defaults'}: {counts}")
    return USAGE if found else DONE


@app.command("list")
def list_rules(rules: Rules = None, out: OutputOption = Output.TABLE) -> None:
    """The rules in force, in the order of their file."""
    from alerts.configuration import load_configuration
    from alerts.metrics.catalogue import CATALOGUE

    loaded = load_configuration(rules or settings().config, CATALOGUE)
    described = [rule.describe() for rule in loaded.rules]
    if out is Output.JSON:
        output.document({"data": described, "next_cursor": None, "version": loaded.version})
        return
    output.table(
        ("rule", "severity", "when", "for", "mode"),
        ([each["id"], each["severity"], each["when"], each["for"], each["mode"]] for each in described),
        empty="no rules",
        styles=output.SEVERITY_STYLES,
    )


@app.command()
def explain(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its id.")],
    account: Annotated[str, typer.Option("--account", help="The account's id.")],
    out: OutputOption = Output.TABLE,
) -> None:
    """Why a rule did or did not fire for an account: each clause, its value and what would clear it."""
    from app.bootstrap import explanation

    with opened() as house:
        found = explanation(house.settings, house.clock, house.database, rule, account)
    if found is None:
        raise ConfigurationError(f"there is no account {account!r}\nsee: bellwether accounts")
    answer = found.describe()
    if out is Output.JSON:
        output.document({"account_id": account, **answer})
        return
    verdict = {"true": "holds", "false": "does not hold", "unknown": "cannot be told"}[answer["verdict"]]
    output.line(f"{rule} {verdict} for {account}")
    output.table(
        ("metric", ">value", "", ">threshold", ">gap", "status", "result", "clears when"),
        map(_row, [*answer["conditions"], *answer.get("resolve_conditions", [])]),
        empty="it compares nothing",
        styles={"true": "bold red", "unknown": "yellow"},
    )


def _row(leaf: dict[str, Any]) -> list[Any]:
    return [
        leaf["metric"],
        output.number(leaf["value"]),
        f"not {leaf['op']}" if leaf["negated"] else leaf["op"],
        output.number(leaf["threshold"]),
        output.number(leaf["gap"]),
        leaf["status"],
        leaf["result"],
        leaf["clears"],
    ]
