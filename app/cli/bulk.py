"""`bellwether import`, `export`, `rate` and `doctor --data`: accounts in bulk, and how good their data is."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import DONE, NO, operations, output
from app.cli.opened import opened
from app.cli.output import Output, OutputOption
from app.cli.rest import person
from consumers.errors import ConfigurationError

if TYPE_CHECKING:
    from app.bulk.kinds import Kind
    from app.bulk.plan import Plan
    from app.bulk.sheet import Sheet
    from app.quality import Quality

_REFUSED_SHOWN = 200
_SHOWN = 20  # features, countries, types


class Exported(StrEnum):
    """What can be written out."""

    ACCOUNTS = "accounts"
    CONTACTS = "contacts"
    SUBSCRIPTIONS = "subscriptions"


class Rating(StrEnum):
    """How an account feels."""

    RED = "red"
    YELLOW = "yellow"
    GREEN = "green"


def import_files(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="CSV in UTF-8; its first line names the columns."),
    ] = None,
    kind: Annotated[
        str,
        typer.Option("--kind", help="What the rows are, where the columns do not show it: contacts, qbrs, …"),
    ] = "",
    template: Annotated[
        str, typer.Option("--template", metavar="KIND", help="Write the first line of such a file, and stop.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what each line would change, and change nothing.")
    ] = False,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="COLUMN", help="Leave a column out.")
    ] = None,
    out: OutputOption = Output.TABLE,
) -> int:
    """Take in accounts, contacts, subscriptions, reviews, ratings, … from CSV; only what differs from what is stored.

    The same file a second time changes nothing. A bad line is refused and stops no other; exit 1 if one was.
    """
    if template:
        return _write_template(template)
    if not files:
        raise ConfigurationError(
            "name a file to import\nor see what to write: bellwether import --template accounts"
        )
    from app.bulk.importing import DryRun, Import
    from app.bulk.sheet import read_sheet

    sheets = [read_sheet(file, kind, skip or ()) for file in files]
    done: list[tuple[Sheet, Plan]] = []
    told: dict[str, Any] = {"dry_run": dry_run}
    with opened() as house:
        if dry_run:
            tried = DryRun(house)
            done = [(sheet, tried.take(sheet)) for sheet in sheets]
            told["unread"] = tried.unread
        else:
            with contextlib.closing(Import(house)) as work:
                done = [(sheet, work.take(sheet)) for sheet in sheets]
                told |= {"events": work.events, "judged": work.judge() if work.events else 0}
                told["stored"] = not work.in_kafka
    told["files"] = [_document(sheet, plan) for sheet, plan in done]
    if out is Output.JSON:
        output.document(told)
    else:
        _report(done, told)
    return NO if any(plan.refused for _, plan in done) else DONE


def _write_template(name: str) -> int:
    from app.bulk.kinds import ACCOUNT, WHEN, kind_named

    kind = kind_named(name)
    output.line(",".join(kind.header))
    output.note(f"{kind.name}: {kind.summary}. An empty cell says nothing.")
    for column in kind.header:
        needed = ", needed" if column == ACCOUNT or column in kind.needed else ""
        since = (
            "; from when on, or when it happened: empty is now, as_of is the same" if column == WHEN else ""
        )
        output.note(f"  {column}{needed}: {kind.means(column)}{since}")
    return DONE


def _document(sheet: Sheet, plan: Plan) -> dict[str, Any]:
    return {
        "file": sheet.name,
        "kind": sheet.kind.name,
        "changed": plan.changed,
        "unchanged": plan.unchanged,
        "refused": len({each.line for each in plan.refused}),
        "changes": [
            {
                "line": each.line,
                "account_id": each.account_id,
                "field": each.field,
                "old": each.old,
                "new": each.new,
            }
            for each in plan.changes
        ],
        "refusals": [_told(each, sheet) for each in plan.refused],
        "older": [_told(each, sheet) for each in plan.older],
    }


def _told(each: Any, sheet: Sheet) -> dict[str, Any]:
    return {"line": each.line, "column": _column(each.column, sheet) or None, "problem": each.problem}


def _column(name: str, sheet: Sheet) -> str:
    return sheet.when if name == "occurred_at" else name


def _report(done: list[tuple[Sheet, Plan]], told: dict[str, Any]) -> None:
    for sheet, plan in done:
        if told["dry_run"]:
            output.table(
                (">line", "account", "field", "was", "becomes"),
                ([each.line, each.account_id, each.field, each.old, each.new] for each in plan.changes),
                empty=f"{sheet.name}: no line changes anything",
            )
        for each in (*plan.refused[:_REFUSED_SHOWN], *(plan.older if told["dry_run"] else ())):
            column = _column(each.column, sheet)
            output.note(f"{sheet.name}:{each.line}: {column + ': ' if column else ''}{each.problem}")
        if len(plan.refused) > _REFUSED_SHOWN:
            output.note(f"and {len(plan.refused) - _REFUSED_SHOWN:,} more; with -o json all are there")
        would = "would be changed" if told["dry_run"] else "changed"
        refused = len({each.line for each in plan.refused})
        output.line(
            f"{sheet.name} ({sheet.kind.name}), lines: {plan.changed:,} {would}, {plan.unchanged:,} unchanged, "
            f"{refused:,} refused"
        )
    if told["dry_run"]:
        if unread := told["unread"]:
            output.note(
                f"{unread:,} event{'s' * (unread != 1)} of before wait to be stored and were not compared with; "
                "an import reads them first"
            )
        output.line("nothing was written")
    elif not told["stored"] and told["events"]:
        output.line(f"{told['events']:,} events are in Kafka; the running consumers store them")
    elif told["events"]:
        judged = told["judged"]
        output.line("the running service judges them" if judged is None else f"{judged} accounts judged")


def export_rows(
    what: Annotated[Exported, typer.Argument(metavar="KIND", help="accounts, contacts or subscriptions.")],
    into: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="By default standard output.")
    ] = None,
) -> None:
    """Write accounts, contacts or subscriptions as CSV: edit it in a spreadsheet and import it again."""
    from app.bulk.exporting import export
    from app.bulk.kinds import kind_named

    kind: Kind = kind_named(what.value)
    with opened() as house:
        rows = export(house.database, kind, into)
    if into is not None:
        output.note(f"{into}: {rows:,} {kind.name}")


def rate(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its id.")],
    rating: Annotated[Rating, typer.Argument(metavar="RATING", help="red, yellow or green.")],
    note: Annotated[str, typer.Option("--note", "-m", help="Why.")] = "",
    by: Annotated[str, typer.Option("--by", help="Who; by default the user of this terminal.")] = "",
    out: OutputOption = Output.TABLE,
) -> None:
    """Say how an account feels, as the person who looks after it."""
    from app.bulk.rating import rate as rate_account

    who = by or person()
    with opened() as house:
        rated = rate_account(house, account, rating.value, by=who, note=note)
    if out is Output.JSON:
        told = {"account_id": account, "rating": rated.rating, "previous": rated.previous, "by": who}
        output.document({**told, "note": note or None, "event_id": rated.event_id})
        return
    before = f", {rated.previous} before" if rated.previous else ""
    output.line(f"{account}: rated {rated.rating} by {who}{before}")


def doctor(
    data: Annotated[
        bool, typer.Option("--data", help="How good the data is, instead of what a start needs.")
    ] = False,
    out: OutputOption = Output.TABLE,
) -> int:
    """Look at everything a start needs, and say what to do; exit 1 if something would fail."""
    if not data:
        return operations.doctor(out)
    from app.quality import data_quality

    with opened() as house:
        found = data_quality(house)
    if out is Output.JSON:
        output.document(found.document())
    else:
        _quality(found)
    return DONE


def _quality(found: Quality) -> None:
    output.line(f"{found.accounts:,} accounts, as of {found.as_of}")
    output.table(
        ("accounts without", ">how many", "such as"),
        ([name, f"{lack.count:,}", ", ".join(lack.examples)] for name, lack in found.lacks.items()),
        empty="",
    )
    if found.countries:
        output.table(
            ("country that no calendar knows", ">accounts"),
            ([name, f"{count:,}"] for name, count in found.countries[:_SHOWN]),
            empty="",
        )
        _rest(found.countries)
    output.table(
        ("event", ">accounts", ">kept", "received since"),
        (
            [each.type, f"{each.accounts:,}", None if each.kept is None else f"{each.kept:,}", each.since]
            for each in found.types
        ),
        empty="no event was ever received",
    )
    if unknown := list(found.not_understood.items()):
        output.table(
            ("not understood", ">events"),
            ([said, f"{count:,}"] for said, count in unknown[:_SHOWN]),
            empty="",
        )
        _rest(unknown)
        output.note("these events wait, see: bellwether dead-letters list --reason unknown_type")
    output.table(
        ("feature", ">accounts"),
        ([name, f"{count:,}"] for name, count in found.features[:_SHOWN]),
        empty="no use of a feature was ever received",
    )
    _rest(found.features)
    output.table(
        ("metric", ">ok", "the others"),
        ([name, f"{counts.get('ok', 0):,}", _others(counts)] for name, counts in found.metrics.items()),
        empty="",
    )


def _rest(found: Sequence[object]) -> None:
    if len(found) > _SHOWN:
        output.note(f"and {len(found) - _SHOWN:,} more; with -o json all are there")


def _others(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {word}" for word, count in counts.items() if word != "ok")
