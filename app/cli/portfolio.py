"""`bellwether interventions` and `bellwether portfolio`: who needs somebody now, and how all customers do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli import output
from app.cli.opened import opened
from app.cli.output import Output, OutputOption
from app.cli.pages import Out, OutOption, show
from app.cli.rest import person, tell

app = typer.Typer(help="The whole portfolio: its health, and the week's review.", no_args_is_help=True)
queue = typer.Typer(
    help="The intervention queue, first things first; and what came of one.", invoke_without_command=True
)

Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, max=200, help="At most so many, 50 if not said; a CSV has all."),
]
Owner = Annotated[str, typer.Option("--owner", help="Name or e-mail address, exactly.")]

_QUEUE = (
    "account",
    "name",
    "band",
    ">days",
    ">score",
    "renewal",
    ">in",
    ">mrr",
    "owner",
    "due",
    "reasons",
    "alerts",
)
_BANDS = (">accounts", ">red", ">yellow", ">green", ">unknown", ">mean score")
_PARTS = "segments, trend, distribution, coverage, disappeared, notices"
_STYLES = {"red": "bold red", "yellow": "yellow", "green": "green", **output.SEVERITY_STYLES}
_LISTS = {
    "newly_red": "red since this week",
    "ratings_red": "rated red",
    "ratings_overdue": "to be rated again",
    "utilization": "seats that are not used",
    "logins": "logins that decline",
    "review": "tier-1 review",
}


@queue.callback()
def interventions(
    context: typer.Context,
    owner: Owner = "",
    limit: Limit = None,
    cursor: Annotated[str, typer.Option("--cursor", help="Where the list before ended.")] = "",
    out: OutOption = Out.TABLE,
) -> None:
    """Red; yellow for 28 days; or renewing within 90 days and not green. First those that come first."""
    if context.invoked_subcommand is not None:
        return
    asked = {"owner": owner, "limit": limit, "cursor": cursor}
    show("/v1/interventions", asked, out, _print_queue)


@queue.command()
def resolve(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its id.")],
    outcome: Annotated[str, typer.Option("--outcome", help="saved, churned, false_alarm or no_action.")],
    by: Annotated[str, typer.Option("--by", help="Who; by default the user of this terminal.")] = "",
    note: Annotated[str, typer.Option("--note", "-m", help="Why, for the history.")] = "",
    out: OutputOption = Output.TABLE,
) -> None:
    """Close all alerts of an account with one outcome; it stays in the queue for as long as its reasons hold."""
    with opened() as house:
        body = {"outcome": outcome, "by": by or person(), "note": note}
        answer = tell(house, f"/v1/interventions/{quote(account, safe='')}/resolve", body)
    if out is Output.JSON:
        output.document(answer)
        return
    closed = len(answer["alerts"])
    done = f"{closed} alert{'s' * (closed != 1)} resolved, {answer['outcome']}"
    if before := answer["closed_before"]:
        done = f"no alert fires; {before}, which was closed before, has the outcome {answer['outcome']} now"
    output.line(f"{answer['account_id']}: {done}")


@app.command()
def health(
    days: Annotated[int, typer.Option("--days", min=1, max=400, help="How many days of trend.")] = 90,
    segment: Annotated[
        list[str] | None, typer.Option("--segment", help="size, channel, tier, use_case; else all.")
    ] = None,
    part: Annotated[str, typer.Option("--table", help=f"Which part a CSV holds: {_PARTS}.")] = "segments",
    out: OutOption = Out.TABLE,
) -> None:
    """Accounts per health band, by segment and by day, and inputs that disappeared."""
    asked: dict[str, str | int | list[str]] = {"days": days, "segment": segment or [], "table": part}
    show("/v1/portfolio/health", asked, out, _print_health)


@app.command()
def operations(
    limit: Limit = None,
    part: Annotated[
        str, typer.Option("--table", help=f"Which part a CSV holds: {', '.join(_LISTS)}, outcomes.")
    ] = "review",
    out: OutOption = Out.TABLE,
) -> None:
    """The week's review: newly red, ratings, utilization and logins, and whom to work on before a renewal."""
    asked = {"limit": limit, "table": part}
    show("/v1/portfolio/operations", asked, out, _print_operations)


def _print_queue(answer: dict[str, Any]) -> None:
    output.table(_QUEUE, map(_intervention, answer["data"]), empty="nobody is in the queue", styles=_STYLES)
    output.more(answer["next_cursor"])


def _print_health(answer: dict[str, Any]) -> None:
    output.line(f"as of {answer['as_of']}; {answer['churned']} churned accounts are not counted")
    rows = [["all", "", *_bands(answer["bands"])]]
    rows += [
        [dimension, each["segment"] or "(not told)", *_bands(each)]
        for dimension, parts in answer["segments"].items()
        for each in parts
    ]
    output.table(("by", "segment", *_BANDS), rows, empty="")
    output.table(
        ("score", ">accounts"),
        ([f"{each['over']} to {each['under']}", each["accounts"]] for each in answer["distribution"]),
        empty="",
    )
    coverage = answer["coverage"]
    mean = "–" if coverage["mean"] is None else f"{coverage['mean']:.0%}"
    output.line(
        f"coverage {mean} on average: {coverage['whole']} with every input, {coverage['enough']} with enough,"
        f" {coverage['too_little']} with too little, {coverage['never_closed']} never closed"
    )
    trend = answer["trend"]
    shown = trend[:: max(1, len(trend) // 12)]
    output.table(
        ("day", *_BANDS), ([each["day"], *_bands(each)] for each in shown), empty="no day was closed yet"
    )
    for each in answer["notices"]:
        output.note(f"{each['account_id']}: {each['component']} disappeared, {each['closes']} closes ago")


def _print_operations(answer: dict[str, Any]) -> None:
    output.line(f"week {answer['week']}, from {answer['monday']} to {answer['as_of']}")
    output.table(_BANDS, [_bands(answer["bands"])], empty="")
    for name, title in _LISTS.items():
        found = answer[name]
        output.line(f"{title}: {found['accounts']} account{'s' * (found['accounts'] != 1)}")
        if found["data"]:
            output.table(_COLUMNS, map(_line, found["data"]), empty="", styles=_STYLES)
        if len(found["data"]) < found["accounts"]:
            output.note(f"there are more: --limit, or all of them with -o csv --table {name}")
    print_outcomes(answer["outcomes"])


_COLUMNS = ("account", "name", "band", "since", "renewal", ">in", ">mrr", "owner", "alerts")


def _line(each: dict[str, Any]) -> list[Any]:
    return [
        each["account_id"],
        each["name"],
        each["band"],
        each["since"],
        each["renewal_date"],
        each["days_to_renewal"],
        each["mrr"],
        each["owner"],
        _rules(each["alerts"]),
    ]


def _intervention(each: dict[str, Any]) -> list[Any]:
    return [
        each["account_id"],
        each["name"],
        each["band"],
        each["days_in_band"],
        output.number(each["score"]),
        each["renewal_date"],
        each["days_to_renewal"],
        each["mrr"],
        each["owner"],
        (each["due_at"] or "")[:10],
        ", ".join(each["reasons"]),
        _rules(each["open_alerts"]),
    ]


def print_outcomes(found: Iterable[Mapping[str, Any]]) -> None:
    """What came of closed alerts, by rule."""
    columns = ("rule", ">closed", ">saved", ">churned", ">false alarm", ">no action", ">untold", ">worth it")
    names = ("rule", "closed", "saved", "churned", "false_alarm", "no_action", "untold")
    rows = [
        [*(each[name] for name in names), "–" if each["worth"] is None else f"{each['worth']:.0%}"]
        for each in found
    ]
    output.table(columns, rows, empty="no alerts were closed")


def _rules(alerts: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(each["rule"] for each in alerts)


def _bands(each: Mapping[str, Any]) -> list[Any]:
    counts = [each[name] for name in ("accounts", "red", "yellow", "green", "unknown")]
    return [*counts, output.number(each["mean_score"])]
