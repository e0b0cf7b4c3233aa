"""`bellwether accounts` and `bellwether risk`: how the customers stand."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli import output
from app.cli.opened import opened
from app.cli.output import Limit, Output, OutputOption
from app.cli.rest import ask

_COLUMNS = ("account", "name", "risk", "band", ">alerts", "owner", "renewal", ">mrr", "last activity")


def accounts(
    owner: Annotated[str, typer.Option("--owner", help="Name or e-mail address, exactly.")] = "",
    risk_level: Annotated[
        list[str] | None, typer.Option("--risk", help="critical, high, medium, low, unknown.")
    ] = None,
    band: Annotated[list[str] | None, typer.Option("--band", help="red, yellow, green, unknown.")] = None,
    renewing_within: Annotated[int | None, typer.Option("--renewing-within", min=0, metavar="DAYS")] = None,
    search: Annotated[str, typer.Option("--search", "-q", help="Part of the id or the name.")] = "",
    sort: Annotated[
        str, typer.Option("--sort", help="account_id, name, risk_level, renewal_date, mrr; - turns.")
    ] = "",
    limit: Limit = 50,
    cursor: Annotated[str, typer.Option("--cursor", help="Where the list before ended.")] = "",
    out: OutputOption = Output.TABLE,
) -> None:
    """List accounts, the worst first."""
    with opened() as house:
        answer = ask(
            house,
            "/v1/accounts",
            {
                "owner": owner,
                "risk_level": risk_level or [],
                "band": band or [],
                "renewing_within": renewing_within,
                "q": search,
                "sort": sort or "-risk_level",
                "limit": limit,
                "cursor": cursor,
            },
        )
    if out is Output.JSON:
        output.document(answer)
        return
    output.table(_COLUMNS, map(_row, answer["data"]), empty="no such accounts", styles=output.SEVERITY_STYLES)
    output.more(answer["next_cursor"])


def _row(each: dict[str, Any]) -> list[Any]:
    return [
        each["account_id"],
        each["name"],
        each["risk_level"],
        each["band"],
        each["open_alerts"],
        each["owner"],
        each["renewal_date"],
        each["mrr"],
        each["last_activity_on"],
    ]


def risk(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its id.")],
    out: OutputOption = Output.TABLE,
) -> None:
    """Why an account is at risk, or not: every signal with its number, its threshold and its status."""
    with opened() as house:
        answer = ask(house, f"/v1/accounts/{quote(account, safe='')}/risk")
    if out is Output.JSON:
        output.document(answer)
        return
    output.line(f"{answer['account_id']}: {answer['risk_level']} risk, as of {answer['as_of']}")
    facts = {"renewal": answer["renewal_date"], "mrr": answer["mrr"], "evaluated": answer["evaluated_at"]}
    output.line("  ".join(f"{name} {value}" for name, value in facts.items() if value))
    output.table(
        ("signal", ">value", ">threshold", "breached", "status", "rules"),
        (
            [
                each["metric"],
                output.number(each["value"]),
                output.number(each["threshold"]),
                "yes" if each["breached"] else "no",
                each["status"],
                ", ".join(each["rules"]),
            ]
            for each in answer["signals"]
        ),
        empty="no signals yet",
        styles={"yes": "bold red"},
    )
    output.table(
        ("open alert", "rule", "severity", "title"),
        (
            [each.get("id"), each.get("rule"), each.get("severity"), each.get("title")]
            for each in answer["open_alerts"]
        ),
        empty="no open alerts",
        styles=output.SEVERITY_STYLES,
    )
