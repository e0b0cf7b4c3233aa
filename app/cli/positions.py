"""`bellwether positions`: how far each partition is read, and reading on from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import output
from app.cli.moments import earlier
from app.cli.opened import opened
from app.cli.output import Output, OutputOption
from app.cli.topics import asking_kafka, with_kafka
from consumers.errors import ConfigurationError

if TYPE_CHECKING:
    from consumers.kafka.topics import Topic

app = typer.Typer(
    help="How far each partition is read: look, and read on from elsewhere.", no_args_is_help=True
)


@app.command("list")
def list_positions(
    files: Annotated[bool, typer.Option("--files", help="Files that were ingested as well.")] = False,
    out: OutputOption = Output.TABLE,
) -> None:
    """Every partition with its lag, and whether it waits for a person."""
    from app.database import positions
    from app.http.instants import instant

    with opened() as house, house.database.read() as connection:
        stored = positions.page(connection)
    shown = [each for each in stored if files or not each.partition.startswith(("file:", "csv:"))]
    if out is Output.JSON:
        rows = [{**asdict(each), "lag": each.lag, "updated_at": instant(each.updated_at)} for each in shown]
        output.document({"data": rows})
        return
    output.table(
        ("partition", ">next", ">end", ">lag", "updated", "incidents"),
        (
            [
                each.partition,
                each.next,
                each.end,
                each.lag,
                instant(each.updated_at).replace("T", " ")[:19],
                ", ".join(each.open),
            ]
            for each in shown
        ),
        empty="nothing was read yet",
    )


@app.command("incidents")
def list_incidents(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="The newest so many.")] = 50,
    out: OutputOption = Output.TABLE,
) -> None:
    """What befell partitions and sources: gaps, damage, other logs, silence; the newest first."""
    from app.database import incidents
    from app.http.instants import instant, instant_or_none

    with opened() as house, house.database.read() as connection:
        found = incidents.newest(connection, limit)
    rows = [
        {**asdict(each), "opened_at": instant(each.opened_at), "closed_at": instant_or_none(each.closed_at)}
        for each in found
    ]
    if out is Output.JSON:
        output.document({"data": rows})
        return
    for each in rows:
        going_on = "open" if each["closed_at"] is None else "over"
        output.line(f"{each['opened_at']}  {going_on}  {each['kind']}  {each['subject']}")
        for line in str(each["detail"]).splitlines():
            output.line(f"    {line}")
    if not rows:
        output.line("nothing befell any partition or source")


@app.command()
def reset(
    partitions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PARTITION]...", help="As TOPIC/NUMBER or TOPIC; none given: all six topics."
        ),
    ] = None,
    to_time: Annotated[
        str,
        typer.Option(
            "--to-time", metavar="T", help="The first record of that instant or later, or 2h: so long ago."
        ),
    ] = "",
    to_beginning: Annotated[bool, typer.Option("--to-beginning", help="The oldest record there is.")] = False,
    to_end: Annotated[bool, typer.Option("--to-end", help="What comes from now on.")] = False,
    out: OutputOption = Output.TABLE,
) -> None:
    """Read on from elsewhere, while consumers run: they find their place taken and read it again.

    What was read before and comes again is known by its id and counts once; what is skipped is not counted at all.
    """
    from app.database import positions
    from consumers.kafka.topics import END, OLDEST
    from consumers.topics import Topics

    if [bool(to_time), to_beginning, to_end].count(True) != 1:
        raise ConfigurationError(
            "say from where to read on\ngive one of --to-time T, --to-beginning and --to-end"
        )
    settings = with_kafka()
    moved: list[dict[str, Any]] = []
    with opened() as house, asking_kafka(settings) as keeper:
        at = OLDEST if to_beginning else END if to_end else _milliseconds(to_time, house.clock.real_us())
        known = keeper.look(Topics(settings.topic_prefix).events)
        logs = _chosen(known, partitions or [])
        starts, ends = keeper.offsets(list(logs), at), keeper.offsets(list(logs), END)
        for partition, log in logs.items():
            start, end = starts[partition], ends[partition]
            with house.database.write() as connection:
                before = positions.move(
                    connection, partition, to=start, end=end, log=log, now=house.clock.real_us()
                )
            moved.append({"partition": partition, "before": before, "next": start, "end": end, "log": log})
    if out is Output.JSON:
        output.document({"data": moved})
        return
    changed = [each for each in moved if each["before"] != each["next"]]
    for each in changed:
        output.line(
            f"{each['partition']}: {_told(each['before'], each['next'])}, {each['end'] - each['next']} to read"
        )
    if len(changed) < len(moved):
        output.line(f"{len(moved) - len(changed)} more are where they were")
    output.line(
        "consumers that run take it over within seconds; events that come again are known by their ids"
    )


def _milliseconds(text: str, now: int) -> int:
    from consumers.days import micros, parse_instant

    return micros(parse_instant(earlier(text, now))) // 1_000


def _chosen(known: Mapping[str, Topic], wanted: Sequence[str]) -> dict[str, str]:
    """The partitions meant, each with its log. Raises ConfigurationError for one that is not there."""
    logs = {name: topic.log for topic in known.values() for name in topic.partition_names}
    if not logs:
        raise ConfigurationError("none of the topics exists\nrun: bellwether topics create")
    if not wanted:
        return logs
    chosen: dict[str, str] = {}
    for each in wanted:
        these = known[each].partition_names if each in known else (each,)
        for name in these:
            if name not in logs:
                raise ConfigurationError(
                    f"{name} is no partition of {', '.join(sorted(known))}\nwrite it as bellwether positions list does"
                )
            chosen[name] = logs[name]
    return chosen


def _told(before: int | None, after: int) -> str:
    if before is None:
        return f"from {after}, never read before"
    if after < before:
        return f"from {after}, {before - after} offsets back from {before}"
    return f"from {after}, skipping {after - before} offsets after {before}"
