"""uvicorn in front of an application: on the main thread of a service, or on one of its own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from consumers.errors import ConfigurationError

_DRAIN_S = 6  # for requests under way, of the ten seconds of an orderly end, while the loops end too


class WebServer:
    """uvicorn on a thread or in front, for one application."""

    def __init__(self, app: Any, host: str, port: int, ending: Callable[[], None] = lambda: None) -> None:
        """Port 0 takes any free one. ``ending`` is called within the handler of a signal that ends it.

        Raises ConfigurationError if the port is taken.
        """
        self._socket = listen(host, port)
        name = self._socket.getsockname()
        self.host, self.port = host, int(name[1])
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_DRAIN_S,
            lifespan="off",
        )
        self._server = _Server(config, ending)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        self._server.run(sockets=[self._socket])

    def end(self) -> None:
        """Ask it to end, also before it has begun; safe in a signal handler."""
        self._server.should_exit = True

    def start(self) -> None:
        """Serve on a thread; returns when it answers."""
        self._thread = threading.Thread(target=self.run, name="web", daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.01)

    def stop(self) -> None:
        """End it, open requests first."""
        self.end()
        if self._thread is not None:
            self._thread.join(_DRAIN_S + 1)


class _Server(uvicorn.Server):
    """uvicorn's, whose handlers take the place of ours while it runs, and which tells us of a signal at once."""

    def __init__(self, config: uvicorn.Config, ending: Callable[[], None]) -> None:
        super().__init__(config)
        self._ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._ending()
        super().handle_exit(sig, frame)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigurationError if the port is taken or the host is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise ConfigurationError(
            f"{host}:{port} cannot be used: {error.strerror}\nset BELLWETHER_PORT to a free one"
        ) from None
