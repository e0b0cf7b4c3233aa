"""`bellwether ingest` and `bellwether replay`: files of events, into the database or only judged."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import output
from app.cli.history_files import Files, FromDay, UntilDay, bodies, check_readable, days
from app.cli.opened import opened, settings
from app.cli.output import Output, OutputOption
from app.cli.progress import Progress, progress
from consumers.errors import ConfigurationError, SourceError

if TYPE_CHECKING:
    from alerts.replay import LedgerLine, Summary
    from consumers.days import Calendar
    from consumers.file import FileSource
    from consumers.loop import Handled
    from consumers.pipeline import Totals

_STANDARD_OUTPUT = Path("-")


class Format(StrEnum):
    """How the events of a file are written."""

    NATIVE = "native"
    SEGMENT = "segment"
    CLOUDEVENTS = "cloudevents"
    CSV = "csv"


class Into(StrEnum):
    """Where the events of a file go."""

    DATABASE = "database"
    KAFKA = "kafka"


def ingest(
    files: Files,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            min=1,
            help="Lines in one transaction, by default 50,000: fewer let a busy service in between.",
        ),
    ] = None,
    written: Annotated[
        Format,
        typer.Option(
            "--format",
            help="How the events are written. CSV must be named; lines of the other three may stand in one file.",
        ),
    ] = Format.NATIVE,
    into: Annotated[
        Into, typer.Option("--to", help="Where they go: straight into the windows, or to Kafka's topics.")
    ] = Into.DATABASE,
    out: OutputOption = Output.TABLE,
) -> int | None:
    """Send files of events through the pipeline, then judge once.

    A file is known by its content: a repeat does nothing, a run that was killed goes on where it was. What is decided
    is sent by the running service, or by the next one. With --to kafka they are produced, for the running consumers.
    """
    from app.bootstrap import consumer, judge, silent_sources
    from consumers.file import FileSource
    from consumers.pipeline import Totals
    from consumers.table import CsvSource

    check_readable(files)
    if into is Into.KAFKA:
        from app.cli.producing import produce

        return produce(files, CsvSource if written is Format.CSV else FileSource, out)
    everything, damage, partitions = Totals(), list[SourceError](), list[str]()
    began = time.monotonic()
    with opened() as house:
        if house.settings.kafka and house.settings.dedup != "service":
            output.note(
                "ids in files are counted apart from those in Kafka: an event that comes both ways counts twice, "
                "unless BELLWETHER_DEDUP=service; or send the file with --to kafka"
            )
        with progress(sum(file.stat().st_size for file in files)) as bar:
            for file in files:
                source = CsvSource(file) if written is Format.CSV else FileSource(file)
                partitions.append(source.partition)
                with contextlib.closing(source):
                    heard = _Heard(bar, source, everything)
                    loop = consumer(house.settings, house.clock, house.database, source, heard, batch=batch)
                    bar.begin(file.name)
                    try:
                        loop.drain()
                    except SourceError as error:  # what was whole is in; the others may be sound
                        damage.append(error)
                    bar.end(source.total_bytes)
        elapsed = time.monotonic() - began
        judged = judge(house.settings, house.clock, house.database, partitions)
        # Told to people only, and only where nothing else is wrong.
        tells = out is not Output.JSON and not damage
        silent = silent_sources(house.settings, house.clock, house.database) if tells else {}
    if out is Output.JSON:
        output.document({**_counts(everything), "judged": judged, "elapsed_s": round(elapsed, 3)})
    else:
        _report(everything, elapsed)
        service = "the running service judges them" if judged is None else f"{judged} accounts judged"
        output.line(service)
        if silent:
            output.note(
                f"no activity lately from {', '.join(sorted(silent))}: what absence would say opens no alert until it "
                "flows again (bellwether sources list); bellwether replay judges a file as of its own days"
            )
    if damage:
        raise damage[0]
    return None


@dataclass(frozen=True, slots=True)
class _Heard:
    """What the loop calls after each commit."""

    bar: Progress
    source: FileSource
    totals: Totals

    def __call__(self, handled: Handled) -> None:
        self.totals.add(handled.totals)
        self.bar.move(self.source.read_bytes, handled.totals.records)


def _counts(totals: Totals) -> dict[str, Any]:
    return {
        "accepted": totals.accepted,
        "duplicate": totals.duplicate,
        "conflicting_duplicate": totals.conflicting_duplicate,
        "internal": totals.internal,
        "rejected": dict(sorted(totals.rejected.items())),
    }


def _report(totals: Totals, elapsed: float) -> None:
    """The summary in words: what became of every record, and how fast."""
    if totals.records == 0:
        output.line("nothing new: every line was handled before")
        return
    rejected = totals.rejected.total()
    parts = [f"{totals.accepted:,} accepted", f"{totals.duplicate:,} duplicate", f"{rejected:,} rejected"]
    if totals.internal:
        parts.append(f"{totals.internal:,} of internal users left out")
    output.line(f"{', '.join(parts)} in {elapsed:.1f} s ({totals.records / max(elapsed, 1e-6):,.0f}/s)")
    if totals.conflicting_duplicate:
        output.line(
            f"  {totals.conflicting_duplicate:,} duplicates came with other content; the first copy stands"
        )
    for reason, count in totals.rejected.most_common():
        output.line(f"  {count:,} rejected: {reason}")


def replay(
    files: Files,
    rules: Annotated[
        Path | None, typer.Option("--rules", help="A rule file; by default BELLWETHER_CONFIG.")
    ] = None,
    from_: FromDay = "",
    until: UntilDay = "",
    ledger: Annotated[
        Path | None,
        typer.Option(
            "--ledger", help="Write every alert that fired or resolved; - is standard output, alone."
        ),
    ] = None,
    out: OutputOption = Output.TABLE,
) -> None:
    """What the rules would have said, day by day; touches no database and sends nothing."""
    from alerts.configuration import load_configuration
    from alerts.metrics.catalogue import CATALOGUE
    from alerts.replay import Summary
    from alerts.replay import replay as ledger_of
    from consumers.days import Calendar

    read = settings()
    configuration = load_configuration(rules or read.config, CATALOGUE)
    calendar = Calendar(read.timezone)
    first, last = days(calendar, from_, until)
    check_readable(files)
    summary = Summary()
    with progress(sum(file.stat().st_size for file in files)) as bar:
        # The clock plays no part, so that the same file gives the same ledger on any day: only BELLWETHER_NOW does.
        lines = ledger_of(
            bodies(files, bar),
            configuration.rules,
            calendar,
            first,
            last,
            now_us=read.now,
            is_internal=configuration.is_internal,
            summary=summary,
            model=configuration.model,
        )
        _write(lines, ledger)
    # A program reads the ledger from standard output; what people read is then beside it.
    aside = contextlib.redirect_stdout(sys.stderr) if ledger == _STANDARD_OUTPUT else contextlib.nullcontext()
    with aside:
        if out is Output.JSON:
            output.document(_summary(summary, calendar))
        else:
            _print_summary(summary, calendar, last)


def _write(lines: Iterator[LedgerLine], path: Path | None) -> None:
    """Every line into ``path``, whole or not at all: a killed run leaves no half of a ledger under that name."""
    if path is None:
        for _ in lines:
            pass
        return
    if path == _STANDARD_OUTPUT:
        with open(sys.stdout.fileno(), "w", encoding="utf-8", closefd=False) as file:
            file.writelines(f"{line.json()}\n" for line in lines)
        return
    if path.exists() and not path.is_file():  # /dev/stdout, a pipe
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{line.json()}\n" for line in lines)
        return
    if not path.absolute().parent.is_dir():
        raise ConfigurationError(
            f"--ledger {path}: there is no folder {path.absolute().parent}\ncreate it first"
        )
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.absolute().parent, prefix=f".{path.name}.", delete=False
    ) as file:
        try:
            file.writelines(f"{line.json()}\n" for line in lines)
            file.flush()
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _summary(summary: Summary, calendar: Calendar) -> dict[str, Any]:
    days = (summary.first_day, summary.last_day)
    return {
        **_counts(summary.totals),
        "accounts": summary.accounts,
        "from": None if days[0] is None else calendar.date(days[0]).isoformat(),
        "until": None if days[1] is None else calendar.date(days[1]).isoformat(),
        "days": summary.days,
        "opened": dict(sorted(summary.opened.items())),
        "resolved": dict(sorted(summary.resolved.items())),
    }


def _print_summary(summary: Summary, calendar: Calendar, until: int | None) -> None:
    totals, told = summary.totals, _summary(summary, calendar)
    if totals.records == 0:
        output.line("nothing to judge: there is no event in it")
        return
    if summary.days:
        output.line(
            f"{totals.accepted:,} events of {summary.accounts:,} accounts, {totals.duplicate:,} duplicate, "
            f"{totals.rejected.total():,} rejected; {summary.days:,} days closed, {told['from']} to {told['until']}"
        )
    elif summary.first_day is None:
        output.line(f"nothing to judge: none of {totals.records:,} events was accepted")
    else:
        end = f"the newest is {told['until']}" if until is None else f"the first is {told['from']}"
        output.line(f"nothing to judge: no day of the file lies in that range; {end}")
    if totals.conflicting_duplicate:
        output.line(
            f"  {totals.conflicting_duplicate:,} duplicates came with other content; the earliest copy stands"
        )
    for reason, count in totals.rejected.most_common():
        output.line(f"  {count:,} rejected: {reason}")
    if not summary.days:
        return
    rules = sorted({*summary.opened, *summary.resolved})
    output.table(
        ("rule", ">opened", ">resolved"),
        ([rule, summary.opened[rule], summary.resolved[rule]] for rule in rules),
        empty="no alert fired",
    )
