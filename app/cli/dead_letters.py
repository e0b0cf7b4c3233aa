"""`bellwether dead-letters`: rejected events, why, and through again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli import DONE, NO, output
from app.cli.opened import opened
from app.cli.output import Limit, Output, OutputOption
from app.cli.rest import ask, tell

app = typer.Typer(help="Rejected events: list them, send them through again.", no_args_is_help=True)
Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="Only those with this reason; may repeat.")
]


@app.command("list")
def list_dead_letters(
    reason: Reasons = None,
    status: Annotated[str, typer.Option("--status", help="waiting, replayed or any.")] = "waiting",
    limit: Limit = 50,
    cursor: Annotated[str, typer.Option("--cursor", help="Where the list before ended.")] = "",
    out: OutputOption = Output.TABLE,
) -> None:
    """Rejected events with their reason, the newest first."""
    with opened() as house:
        answer = ask(
            house,
            "/v1/dead-letters",
            {"reason": reason or [], "status": status, "limit": limit, "cursor": cursor},
        )
    if out is Output.JSON:
        output.document(answer)
        return
    output.table(
        (">id", "reason", "detail", "origin", "received", "status", "begins"),
        (
            [
                each["id"],
                each["reason"],
                each["detail"],
                each["origin"],
                each["received_at"].replace("T", " ")[:19],
                each["status"],
                each["body"][:60],
            ]
            for each in answer["data"]
        ),
        empty="no rejected events",
    )
    output.more(answer["next_cursor"])


@app.command()
def replay(
    ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]...", help="These; none given: all that wait.")
    ] = None,
    reason: Reasons = None,
    out: OutputOption = Output.TABLE,
) -> int:
    """Send waiting ones through again; exit 1 if any is still rejected."""
    done: dict[str, Any] = {"replayed": 0, "rejected": []}
    cursor: str | None = None
    with opened() as house:
        while True:
            answer = tell(
                house,
                "/v1/dead-letters/replay",
                {"ids": ids or None, "reason": reason or [], "cursor": cursor},
            )
            done["replayed"] += answer["replayed"]
            done["rejected"] += answer["rejected"]
            cursor = answer["next_cursor"]
            if cursor is None:
                break
    if out is Output.JSON:
        output.document(done)
    else:
        output.line(f"{done['replayed']} replayed, {len(done['rejected'])} still rejected")
        for each in done["rejected"][:20]:
            output.line(f"  {each['id']}: {each['code']}, {each['detail']}")
    return NO if done["rejected"] else DONE
