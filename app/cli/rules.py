"""`bellwether rules`: which are in force, whether a file is right, why one did or did not fire, what a change does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import DONE, USAGE, history_files, output
from app.cli.history_files import Files, FromDay, UntilDay
from app.cli.opened import opened, settings
from app.cli.output import Output, OutputOption
from consumers.errors import ConfigurationError

if TYPE_CHECKING:
    from alerts.backtest.difference import Difference
    from consumers.days import Calendar

app = typer.Typer(help="Rules as code: check, list, explain, diff.", no_args_is_help=True)
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
    if answer["clears"]:
        output.line(f"ends with: {answer['clears']['text']}")


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The rule file as it is.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The rule file as it would be.")],
    files: Files,
    from_: FromDay = "",
    until: UntilDay = "",
    out: OutputOption = Output.TABLE,
) -> None:
    """What a change of rules would do to history: how many alerts, which accounts more, and which no longer."""
    from alerts.backtest.difference import difference
    from alerts.configuration import load_configuration
    from alerts.metrics.catalogue import CATALOGUE
    from alerts.replay import Summary
    from consumers.days import Calendar

    read = settings()
    before, after = load_configuration(old, CATALOGUE), load_configuration(new, CATALOGUE)
    calendar = Calendar(read.timezone)
    first, last = history_files.days(calendar, from_, until)
    history_files.check_readable(files)
    history = history_files.read_files(files, calendar, read.now, before.is_internal)
    rejected = history_files.rejected(history)
    histories = (history, history)
    if before.internal_users != after.internal_users:
        histories = (history, history_files.read_files(files, calendar, read.now, after.is_internal))
    summary = Summary()
    found = difference(before, after, histories, calendar, first=first, until=last, summary=summary)
    if out is Output.JSON:
        output.document(
            {
                "accounts": summary.accounts,
                "days": summary.days,
                "rejected": rejected,
                "rules": [each.describe(calendar) for each in found.rules],
                "any_rule": found.whole.describe(calendar),
            }
        )
    else:
        output.line(f"{summary.accounts:,} accounts, {summary.days:,} days closed")
        _print_difference(found, calendar)


def _print_difference(found: Difference, calendar: Calendar) -> None:
    changed = [each for each in found.rules if each.change != "same" or each.gained or each.lost]
    output.table(
        ("rule", "", ">alerts before", ">after", ">accounts more", ">accounts fewer"),
        (
            (each.rule, each.change, each.old.opened, each.new.opened, len(each.gained), len(each.lost))
            for each in [*changed, *([found.whole] if changed else [])]
        ),
        empty="no rule decides otherwise",
    )

    def rows() -> Iterator[tuple[str, str, str, str]]:
        for each in changed:
            for would, accounts in (("would alert", each.gained), ("would not", each.lost)):
                for account, day in sorted(accounts.items()):
                    yield account, would, each.rule, calendar.date(day).isoformat()

    if changed:
        output.table(
            ("account", "", "rule", "first on"), sorted(rows()), empty="the same accounts alert as before"
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
        (leaf["clears_by"] or {}).get("text") or leaf["clears"],
    ]
