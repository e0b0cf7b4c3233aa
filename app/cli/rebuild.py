"""`bellwether db rebuild`: the windows made anew from the log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import output
from app.cli.opened import opened
from app.cli.progress import progress
from consumers.errors import ConfigurationError, SourceError

if TYPE_CHECKING:
    from consumers.loop import Handled
    from consumers.source import Source

KAFKA = "kafka"
_NAMED = 5  # files in a message


def rebuild(
    from_: Annotated[
        str, typer.Option("--from", metavar="kafka|FILE", help="Where every event is: the topics, or a file.")
    ],
    more: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Files as well: all that were imported.")
    ] = None,
    allow_loss: Annotated[
        bool, typer.Option("--allow-loss", help="Even if days, accounts or facts are known that it lacks.")
    ] = False,
) -> None:
    """Fold the whole log anew, beside the windows that are there, and put the result in their place at once.

    For another BELLWETHER_TIMEZONE, other exclusions, or a lost disk. With Kafka: `--from kafka`, and behind it every
    file that was imported. A service may run meanwhile, but for another zone; it goes on from where the log was read
    to. Alerts stay, and every account is judged anew.
    """
    from app.bootstrap import judge
    from app.rebuild import rebuild as fold_anew

    topics = from_ == KAFKA
    files = [*([] if topics else [Path(from_)]), *(more or [])]
    for file in files:
        if not file.is_file():
            raise SourceError(f"{file} is not there\n--from takes the word kafka, or a file of events")
    began = time.monotonic()
    with opened() as house:
        if topics and not house.settings.kafka_bootstrap_servers:
            raise ConfigurationError(
                "--from kafka, but BELLWETHER_KAFKA_BOOTSTRAP_SERVERS is not set\nset it, or name files"
            )
        records = 0
        with progress(sum(file.stat().st_size for file in files)) as bar:
            reading = ""

            def heard(source: Source, handled: Handled) -> None:
                nonlocal records, reading
                if reading != source.origin:
                    reading = source.origin
                    bar.begin(reading)
                records += handled.totals.records
                bar.move(0, handled.totals.records)

            swapped = fold_anew(
                *(house.settings, house.clock, house.database, files, heard),
                topics=topics,
                allow_loss=allow_loss,
            )
        judged = judge(house.settings, house.clock, house.database, [])
    output.line(
        f"{records:,} events folded into {swapped.accounts:,} accounts in {time.monotonic() - began:.1f} s;"
        f" reading goes on from {swapped.positions:,} positions"
    )
    if swapped.emptied:
        output.line(
            f"  {swapped.emptied:,} accounts had windows and have none now: the log does not know them"
        )
    if swapped.not_given:
        output.line(
            f"  {len(swapped.not_given):,} files had been imported and were not given, so unless it is elsewhere what"
            f" they hold is gone: {_named(swapped.not_given)}"
        )
    output.line("the running service judges them" if judged is None else f"{judged} accounts judged")


def _named(files: Sequence[str]) -> str:
    """Some of them."""
    return ", ".join(files[:_NAMED]) + (", ..." if len(files) > _NAMED else "")
