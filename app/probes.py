"""A small listener for whoever looks after a process: /livez and /readyz, in every role, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from app.http.operations import Alive, Ready
from app.http.problems import MEDIA_TYPE, Code, Problem, answer
from consumers.errors import ConfigurationError

_PATIENCE_S = 5.0  # for a client that connects and then says nothing


class ProbeServer:
    """Answers from the moment it is made until it is closed, whatever the loops do meanwhile."""

    def __init__(self, host: str, port: int, ready: Callable[[], Ready]) -> None:
        """``ready`` raises Problem for a process that is not. Raises ConfigurationError for a port that is taken."""

        class Handler(_Handler):
            look = staticmethod(ready)

        try:
            self._server = _Server((host, port), Handler)
        except OSError as error:
            raise ConfigurationError(
                f"{host}:{port} cannot be used for probes: {error.strerror}\n"
                "set BELLWETHER_PROBE_PORT to another port, or stop who listens there"
            ) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="probes", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is its own affair."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE_S
    protocol_version = "HTTP/1.1"
    look: Callable[[], Ready]

    def do_GET(self) -> None:
        """Both addresses; 404 for any other."""
        path = self.path.partition("?")[0]
        try:
            if path == "/livez":
                self._say(200, "application/json", Alive().model_dump_json().encode())
            elif path == "/readyz":
                self._say(200, "application/json", self.look().model_dump_json().encode())
            else:
                raise Problem(Code.NOT_FOUND)
        except Problem as problem:
            self._say(problem.status_code, MEDIA_TYPE, bytes(answer(problem, "").body))

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def _say(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Probes come every few seconds: nobody wants to read of each."""
