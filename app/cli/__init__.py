"""The `bellwether` command: what it prints, and with which code it ends.

0 done · 1 the answer is no · 2 usage or configuration. An error is one or two lines on standard error that say what,
where and what to do; the traceback only comes with ``--debug``. The verbs are in the modules beside this one and
import what they need when they run, so that `bellwether --help` does not wait for numpy and FastAPI.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from app.version import VERSION

DONE, NO, USAGE = 0, 1, 2
_INTERRUPTED = 130  # what shells give a process that SIGINT ended


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. ``--debug`` may stand anywhere before a ``--``."""
    ours = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    debug = "--debug" in ours
    rest = [each for each in ours if each != "--debug"] + list(arguments[len(ours) :])
    if rest in (["version"], ["--version"]):
        # Asked by scripts and by people in a hurry; the verbs' parser takes half a second to load.
        sys.stdout.write(f"bellwether {VERSION}\n")
        return DONE
    try:
        from app.cli.verbs import app  # the verbs' own import errors are shown like any other

        code = app(args=rest, prog_name="bellwether", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # The reader (`head`, a closed pager) has what it wants; typer turns that into an exit. Python must not
        # complain once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DONE
    except Exception as error:
        if debug:
            raise
        return _told(error)


def _told(error: Exception) -> int:
    from typer import Abort, TyperException

    from consumers.errors import BellwetherError

    match error:
        case BellwetherError():
            return _say(str(error))
        case Abort():
            return _say("stopped; nothing was done")
        case TyperException():
            return _usage(error)
        case ModuleNotFoundError(name="psycopg"):
            return _say(
                "PostgreSQL needs its driver, which is not installed",
                "install it: pip install 'psycopg[binary]'",
            )
        case OSError(errno=errno.EADDRINUSE):
            return _say(
                "the port is taken by another process", "stop it, or choose another with BELLWETHER_PORT"
            )
        case OSError(filename=str() | bytes() | os.PathLike() as name):
            return _say(f"{os.fsdecode(name)}: {error.strerror}")
        case _:
            kind = type(error).__name__
            return _say(
                f"stopped by an unexpected {kind}: {' '.join(str(error).split())[:300]}",
                "run it again with --debug to see where, and please report that",
            )


def _usage(error: Exception) -> int:
    """A wrong command line: what is wrong with it, and where the right one is written."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "bellwether"
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if type(error).__name__ == "NoArgsIsHelpError":  # the help was printed instead of an error
        return USAGE
    first = " ".join(message.split())
    return _say(first[:1].lower() + first[1:].rstrip("."), f"see: {path} --help")


def _say(*lines: str) -> int:
    first, *others = "\n".join(lines).splitlines() or ["stopped"]
    sys.stderr.write("\n".join([f"bellwether: {first}", *(f"  {line}" for line in others)]) + "\n")
    return USAGE


__all__ = ["DONE", "NO", "USAGE", "main", "run"]
