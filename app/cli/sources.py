"""`bellwether sources`: who feeds activity, and whose silence is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from app.cli import output
from app.cli.opened import opened
from app.cli.output import Output, OutputOption

if TYPE_CHECKING:
    from consumers.feeds import SourceState

app = typer.Typer(help="Who feeds activity: what flows, and whose silence is ours.", no_args_is_help=True)
_STYLES = {"stale": "bold red", "unsettled": "yellow", "flowing": "green", "not counted": "dim"}


@app.command("list")
def list_sources(out: OutputOption = Output.TABLE) -> None:
    """Every source with its newest event, and how long it may be silent."""
    from app.bootstrap import House
    from app.http.sources import view

    with opened() as house:
        parts = House.build(house.settings, house.clock, house.database)
        found = parts.hearing.sources(house.clock.now_us())
    if out is Output.JSON:
        output.document({"data": [view(each).model_dump(mode="json") for each in found], "next_cursor": None})
        return
    output.table(
        ("source", "feeds", "newest event", ">longest gap", ">expected", "state"),
        (_row(each) for each in found),
        empty="nobody has sent any activity yet",
        styles=_STYLES,
    )


def _row(state: SourceState) -> list[str]:
    from app.http.instants import instant

    return [
        state.source,
        ", ".join(sorted(state.newest)),
        instant(state.newest_at).replace("T", " ")[:16],
        "" if state.longest_gap is None else _hours(state.longest_gap),
        _hours(state.expected_gap),
        state.word,
    ]


def _hours(length: int) -> str:
    return f"{length / 3_600_000_000:,.4g} h"
