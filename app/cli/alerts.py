"""`bellwether alerts`: what fires, and what people do with it."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli import output
from app.cli.moments import later
from app.cli.opened import opened
from app.cli.output import Limit, Output, OutputOption
from app.cli.portfolio import print_outcomes
from app.cli.rest import ask, person, tell

app = typer.Typer(
    help="Alerts: list, acknowledge, snooze, resolve, and what came of them.", no_args_is_help=True
)
AlertId = Annotated[str, typer.Argument(metavar="ALERT", help="Its id, as `alerts list` shows it.")]
_OUTCOMES = "saved, churned, false_alarm or no_action"
By = Annotated[str, typer.Option("--by", help="Who; by default the user of this terminal.")]
Why = Annotated[str, typer.Option("--note", "-m", help="Why, for the history.")]


@app.command("list")
def list_alerts(
    status: Annotated[
        list[str] | None, typer.Option("--status", help="open, pending, firing, resolved.")
    ] = None,
    account: Annotated[str, typer.Option("--account", help="Of one account.")] = "",
    rule: Annotated[list[str] | None, typer.Option("--rule", help="Of these rules.")] = None,
    severity: Annotated[
        list[str] | None, typer.Option("--severity", help="critical, high, medium, low, info.")
    ] = None,
    owner: Annotated[str, typer.Option("--owner", help="Of this owner's accounts.")] = "",
    limit: Limit = 50,
    cursor: Annotated[str, typer.Option("--cursor", help="Where the list before ended.")] = "",
    out: OutputOption = Output.TABLE,
) -> None:
    """Alerts, the newest first; by default the open ones."""
    with opened() as house:
        answer = ask(
            house,
            "/v1/alerts",
            {
                "status": status or ["open"],
                "account_id": account,
                "rule": rule or [],
                "severity": severity or [],
                "owner": owner,
                "limit": limit,
                "cursor": cursor,
            },
        )
    if out is Output.JSON:
        output.document(answer)
        return
    output.table(
        ("alert", "account", "severity", "status", "rule", "since", "title"),
        map(_row, answer["data"]),
        empty="no such alerts",
        styles=output.SEVERITY_STYLES,
    )
    output.more(answer["next_cursor"])


def _row(each: dict[str, Any]) -> list[Any]:
    status = each["status"]
    if status == "firing" and each["snoozed_until"]:
        status = "snoozed"
    elif status == "firing" and each["acknowledged_by"]:
        status = f"acknowledged by {each['acknowledged_by']}"
    since = each["opened_at"].replace("T", " ")[:16]
    return [each["id"], each["account_id"], each["severity"], status, each["rule"], since, each["title"]]


@app.command()
def ack(alert: AlertId, by: By = "", note: Why = "", out: OutputOption = Output.TABLE) -> None:
    """Show who has an alert in hand, until it resolves or gets worse; it still fires."""
    _act("acknowledge", alert, {"by": by or person(), "note": note}, out)


@app.command()
def snooze(
    alert: AlertId,
    until: Annotated[
        str, typer.Option("--until", help="An RFC 3339 instant, or a duration: 3d, 2w; at most 366 days.")
    ] = "7d",
    by: By = "",
    note: Why = "",
    out: OutputOption = Output.TABLE,
) -> None:
    """Mark an alert as snoozed until then, or until it gets worse; it still fires, and counts for the risk."""
    _act("snooze", alert, {"by": by or person(), "note": note}, out, until)


@app.command()
def resolve(
    alert: AlertId,
    outcome: Annotated[str, typer.Option("--outcome", help=f"What came of it: {_OUTCOMES}.")] = "",
    by: By = "",
    note: Why = "",
    out: OutputOption = Output.TABLE,
) -> None:
    """Close an alert, or say what came of a closed one; it opens again only after its condition was false once."""
    _act("resolve", alert, {"by": by or person(), "note": note, "outcome": outcome or None}, out)


@app.command()
def outcomes(
    days: Annotated[
        int, typer.Option("--days", min=1, max=3_650, help="Of alerts closed in so many days.")
    ] = 90,
    out: OutputOption = Output.TABLE,
) -> None:
    """What came of alerts, by rule: what share was worth having."""
    with opened() as house:
        answer = ask(house, "/v1/alerts/outcomes", {"days": days})
    if out is Output.JSON:
        output.document(answer)
    else:
        print_outcomes(answer["data"])


def _act(verb: str, alert: str, body: dict[str, Any], out: Output, until: str = "") -> None:
    with opened() as house:
        if until:
            body["until"] = later(until, house.clock.now_us())
        answer = tell(house, f"/v1/alerts/{quote(alert, safe='')}/{verb}", body)
    if out is Output.JSON:
        output.document(answer)
        return
    done = {"acknowledge": "acknowledged", "snooze": f"snoozed until {answer['snoozed_until']}"}.get(
        verb, f"resolved, {answer['outcome']}" if answer["outcome"] else "resolved"
    )
    output.line(f"{answer['id']} ({answer['rule']}, {answer['account_id']}): {done}")
