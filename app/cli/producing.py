"""`bellwether ingest --to kafka`: files of events into Kafka's topics, keyed by account, durable piece by piece.

Nothing is kept of how far it got: a run that was cut off is begun again, and ids make what comes twice count once.
What is rejected stays in its file, where it can be mended; it is listed, and the run ends with exit code 1.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli import DONE, NO, output
from app.cli.output import Output
from app.cli.progress import Progress, progress
from app.cli.topics import with_kafka
from consumers.errors import SourceError

if TYPE_CHECKING:
    from consumers.file import FileSource
    from consumers.kafka.log import EventLog
    from consumers.rejection import Rejection

_AT_ONCE = 5_000  # events that are acknowledged together
_SHOWN = 20


class _Producing:
    """What became of the events of all files so far."""

    def __init__(self, log: EventLog, bar: Progress, now: int) -> None:
        self._log = log
        self._bar = bar
        self._now = now
        self.produced = 0
        self.rejected: Counter[str] = Counter()
        self.examples: list[tuple[str, Rejection]] = []

    def take(self, source: FileSource, name: str) -> None:
        """A whole file. Raises SourceError for a damaged one, LogUnavailable."""
        from consumers.decode import decode_batch
        from consumers.topics import LogUnavailable

        while chunks := source.poll(_AT_ONCE, 0.0):
            for chunk in chunks:
                events, rejections = decode_batch(chunk.bodies, self._now)
                bad = {place for place, _ in rejections}
                bodies = (body for place, body in enumerate(chunk.bodies) if place not in bad)
                try:
                    self._log.append(list(zip(events, bodies, strict=True)))
                except LogUnavailable as error:
                    raise LogUnavailable(
                        f"{str(error).splitlines()[0]}; {self.produced:,} events before are in Kafka\n"
                        "run it again: what is sent twice counts once"
                    ) from error
                self.produced += len(events)
                for place, why in rejections:
                    self.rejected[why.reason] += 1
                    if len(self.examples) < _SHOWN:
                        self.examples.append((f"{name} {chunk.offsets[place]}", why))
                self._bar.move(source.read_bytes, len(chunk.bodies))


def produce(files: Sequence[Path], open_file: type[FileSource], out: Output) -> int:
    """Everything in ``files``; ``open_file`` reads them. Raises SourceError, ConfigurationError."""
    from app.bootstrap import event_log
    from app.clock import Clock

    settings = with_kafka()
    log = event_log(settings)
    assert log is not None
    damage: list[SourceError] = []
    began = time.monotonic()
    with contextlib.closing(log), progress(sum(file.stat().st_size for file in files)) as bar:
        run = _Producing(log, bar, Clock(settings.now).now_us())
        for file in files:
            with contextlib.closing(open_file(file)) as source:
                bar.begin(file.name)
                try:
                    run.take(source, file.name)
                except SourceError as error:
                    if type(error) is not SourceError:  # Kafka's, which the next file would meet as well
                        raise
                    damage.append(error)
                bar.end(source.total_bytes)
    _report(run, time.monotonic() - began, out)
    if damage:
        raise damage[0]
    return NO if run.rejected else DONE


def _report(run: _Producing, elapsed: float, out: Output) -> None:
    rejected = run.rejected.total()
    if out is Output.JSON:
        counts = {"produced": run.produced, "rejected": dict(sorted(run.rejected.items()))}
        output.document({**counts, "elapsed_s": round(elapsed, 3)})
    else:
        rate = run.produced / max(elapsed, 1e-6)
        output.line(f"{run.produced:,} produced, {rejected:,} rejected in {elapsed:.1f} s ({rate:,.0f}/s)")
    for place, why in run.examples:
        output.note(f"  {place}: {why.reason}, {why.detail}")
    if rejected > len(run.examples):
        output.note(f"  and {rejected - len(run.examples):,} more")
    if rejected:
        output.note(
            "what was rejected is not in Kafka; mend it in the file and run it again: the others count once"
        )
