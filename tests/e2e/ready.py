"""Processes of the command that need not load its libraries first: each is forked off one that has.

A cold start takes most of a second of a processor, hundreds of times in a run of all tests, and all of it before the
first line of what a test is about. The process is one of its own all the same: it has its own environment, folder,
descriptors and exit code, and is a child of ours that can be waited for, signalled and killed. What only a cold start
shows, a verb that forgets an import, is in test_cold_starts.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
PROGRAM = "app.cli"
PACKAGES = ("alerts", "app", "consumers")
LONGEST = 1 << 17  # a request: arguments and an environment
_PR_SET_CHILD_SUBREAPER = 36


# --- our side -------------------------------------------------------------------------------------------------


class Ready(subprocess.Popen[str]):
    """``python -m app.cli`` with these arguments, as Popen has it: forked, not started anew."""

    def _execute_child(
        self,
        args: list[str],
        executable: Any,
        preexec_fn: Any,
        close_fds: bool,
        pass_fds: tuple[int, ...],
        cwd: Path,
        env: dict[str, str],
        startupinfo: Any,
        creationflags: int,
        shell: bool,
        *others: Any,
    ) -> None:
        pipes = others[:6]  # for each of standard input, output and error: what is read, what is written
        theirs = (pipes[0], pipes[3], pipes[5])
        given = [own if end == -1 else end for own, end in enumerate(theirs)]
        try:
            self.pid = _source().fork(args, env, cwd, given)
            self._child_created = True
        finally:
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def possible() -> bool:
    """Whether this system gives us the children of our children, so that we can wait for them."""
    return sys.platform == "linux"


class _Source:
    """The process that has loaded everything, and the line on which it is asked for forks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # The forked are orphans at once: they must become our children, not those of the first process of all.
        if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError("children of children cannot be adopted here")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=ROOT,
                # One thread in it: a second would not be there in what is forked.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._line = ours

    def fork(self, arguments: list[str], environment: dict[str, str], folder: Path, given: list[int]) -> int:
        asked = {"arguments": arguments, "environment": environment, "folder": str(folder)}
        with self._lock:
            socket.send_fds(self._line, [json.dumps(asked).encode()], given)
            answer = self._line.recv(100)
        assert answer, "the process that forks commands has ended"
        return int(answer)

    def close(self) -> None:
        """Nobody asks any more: it ends by itself."""
        self._line.close()
        self._process.wait(10)


@functools.cache
def _source() -> _Source:
    source = _Source()
    atexit.register(source.close)
    return source


# --- the side of what is forked -------------------------------------------------------------------------------


def main() -> None:
    """Load everything; then fork for whoever asks until nobody can ask any more."""
    atexit.register(_leave)  # the first that is registered comes last
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests and for the commands
    line = socket.socket(fileno=int(sys.argv[1]))
    for package in map(importlib.import_module, PACKAGES):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(".__main__"):
                with contextlib.suppress(
                    Exception
                ):  # the commands that need it meet that themselves, and say so
                    importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # a collection in what is forked would copy every page
    while True:
        asked, given, _, _ = socket.recv_fds(line, LONGEST, 3)
        if not asked:
            return
        reading, writing = os.pipe()
        if (between := os.fork()) == 0:
            if (child := os.fork()) != 0:
                os.write(writing, b"%d" % child)
                os._exit(0)
            for each in (line.detach(), reading, writing):
                os.close(each)
            _become(given, **json.loads(asked))
        os.waitpid(between, 0)  # from now on the other side is the parent
        line.send(os.read(reading, 100))
        for each in (*given, reading, writing):
            os.close(each)


def _become(given: list[int], arguments: list[str], environment: dict[str, str], folder: str) -> NoReturn:
    """Be `python -m app.cli`, which ends as it ends."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for own, end in enumerate(given):
        os.dup2(end, own)
        os.close(end)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv[1:] = arguments
    sys.path.insert(0, folder)
    try:
        runpy.run_module(PROGRAM, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if isinstance(ended.code, int):
            _ended.append(ended.code)
        raise
    sys.exit()


_ended: list[int] = []  # the code with which a command ends


def _leave() -> None:
    """At the very end: be gone, since taking apart what was loaded would copy every page of it."""
    if _ended:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            return  # Python says what there is to say of that
        os._exit(_ended[0])


if __name__ == "__main__":
    main()
