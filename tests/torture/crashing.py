"""The service with a death wish: `python -m tests.torture.crashing --at NAME[:N] -- serve --role consumer`.

The product has no test code. This wraps its real functions, found by name, so that the Nth call of one ends the
process with SIGKILL before it begins or after it has returned, and then runs the command as ever. A name that no longer
resolves is an error: the product has changed, and the list below must follow.

``--stop NAME`` ends nothing: after each SIGUSR1 the next call there stops the process, as SIGSTOP would at just that
place. ``--note module:function`` logs what a function raises instead; ``--set module:NAME=NUMBER`` changes a constant,
so that a wait of minutes fits a short run.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Point:
    """A place to die: a function of the product, and the side of it. ``fruitful``: only calls that returned something
    count."""

    name: str
    role: str
    targets: tuple[str, ...]  # module:Class.function; each one that the deployment uses
    after: bool = True
    fruitful: bool = False


WINDOWS = "app.database.windows:SqlWindowTransaction"
ALERTS = "app.database.alerts:SqlAlertTransaction"
OUTBOX = "app.database.outbox:SqlOutbox"
KAFKA = "consumers.kafka.source:KafkaSource"

POINTS = (
    Point("polled", "consumer", (f"{KAFKA}.poll",), fruitful=True),
    Point("decoded", "consumer", ("consumers.pipeline:decode_batch",)),
    Point("before-advance", "consumer", (f"{WINDOWS}.advance",), after=False),
    Point("advanced", "consumer", (f"{WINDOWS}.advance",)),
    Point("loaded", "consumer", (f"{WINDOWS}.load",)),
    Point("saved", "consumer", (f"{WINDOWS}.save",)),
    Point("touched", "consumer", (f"{WINDOWS}.touch",)),
    Point("remembered", "consumer", (f"{WINDOWS}.remember",)),
    Point("before-commit", "consumer", (f"{WINDOWS}.count",)),
    Point("committed", "consumer", (f"{KAFKA}.done",), after=False),
    Point("done", "consumer", (f"{KAFKA}.done",)),
    Point("dead-letter-sent", "consumer", ("consumers.kafka.log:DeadLetterTopic.send",)),
    Point("rejected", "consumer", (f"{WINDOWS}.reject",)),
    Point("taken-to-judge", "consumer", (f"{ALERTS}.touched",), fruitful=True),
    Point("before-apply", "consumer", (f"{ALERTS}.apply",), after=False),
    Point("applied", "consumer", (f"{ALERTS}.apply",)),
    Point("judged", "consumer", ("alerts.evaluation:Evaluator.evaluate_touched",)),
    Point("claimed", "notifier", (f"{OUTBOX}.claim",), fruitful=True),
    Point("before-post", "notifier", ("app.outbound:HttpSender.post",), after=False),
    Point("posted", "notifier", ("app.outbound:HttpSender.post",)),
    Point("settled", "notifier", (f"{OUTBOX}.settle", f"{OUTBOX}.settle_and_claim")),
    Point("produced", "api", ("consumers.kafka.log:EventLog.append",)),
)
BY_NAME = {point.name: point for point in POINTS}


class Unresolved(Exception):
    """A name that the product no longer has."""


def resolve(target: str) -> tuple[Any, str, Any]:
    """The owner, the attribute's name and its value. Raises Unresolved."""
    module, _, path = target.partition(":")
    *way, name = path.split(".")
    try:
        owner: Any = importlib.import_module(module)
        for step in way:
            owner = getattr(owner, step)
        return owner, name, getattr(owner, name)
    except (ImportError, AttributeError) as error:
        raise Unresolved(f"{target}: {error}") from error


def arm(point: Point, nth: int | None, die: Callable[[], None]) -> None:
    """From now on the ``nth`` call of each of the point's functions ends in ``die``; None: every call."""
    calls = itertools.count(1)
    for target in point.targets:
        owner, name, real = resolve(target)

        @functools.wraps(real)
        def wrapped(*arguments: Any, _real: Callable[..., Any] = real, **named: Any) -> Any:
            if not point.after and nth in (None, next(calls)):
                die()
            result = _real(*arguments, **named)
            if point.after and (result or not point.fruitful) and nth in (None, next(calls)):
                die()
            return result

        setattr(owner, name, wrapped)


def stop_at(point: Point) -> None:
    """From now on each SIGUSR1 makes the next call of the point's functions stop the process until SIGCONT."""
    asked = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: asked.set())

    def stop() -> None:
        if asked.is_set():
            asked.clear()
            os.kill(os.getpid(), signal.SIGSTOP)

    arm(point, None, stop)


def note(target: str) -> None:
    """Log whatever the function raises, and let it go on its way."""
    owner, name, real = resolve(target)

    @functools.wraps(real)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        try:
            return real(*arguments, **named)
        except Exception as error:
            sys.stderr.write(f"noted {name} {type(error).__name__}\n")
            sys.stderr.flush()
            raise

    setattr(owner, name, wrapped)


def change(assignment: str) -> None:
    """``module:NAME=NUMBER``, ``module:Class.function(parameter)=NUMBER`` for a parameter's default, or
    ``module:TABLE(key)=NUMBER`` for an entry of a dict. Raises Unresolved for what is not there.
    """
    target, _, value = assignment.partition("=")
    target, _, entry = target.rstrip(")").partition("(")
    owner, name, before = resolve(target)
    if not entry:
        setattr(owner, name, type(before)(float(value)))
        return
    table = before if isinstance(before, dict) else before.__kwdefaults__ or {}
    if entry not in table:
        raise Unresolved(f"{target}: nothing named {entry} in it")
    table[entry] = type(table[entry])(float(value))


def sigkill() -> None:
    """Die here and now."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str]) -> None:
    """Arm, then run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.crashing")
    parser.add_argument("--at", default="", metavar="NAME[:N]", help=", ".join(BY_NAME))
    parser.add_argument("--stop", choices=BY_NAME, metavar="NAME")
    parser.add_argument("--note", action="append", default=[], metavar="module:function")
    parser.add_argument("--set", action="append", default=[], metavar="module:NAME=NUMBER")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    name, _, nth = options.at.partition(":")
    if name and name not in BY_NAME:
        parser.error(f"no crash point {name}: one of {', '.join(BY_NAME)}")
    try:
        for assignment in options.set:
            change(assignment)
        for target in options.note:
            note(target)
        if name:
            arm(BY_NAME[name], int(nth or 1), sigkill)
        if options.stop:
            stop_at(BY_NAME[options.stop])
    except Unresolved as error:
        parser.error(str(error))
    from app.cli import run

    sys.exit(run(options.command))


if __name__ == "__main__":
    main(sys.argv[1:])
