"""A real HTTP receiver on loopback: records what comes, answers as it is told."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Received:
    """One request: its path, headers in lower case, raw body, and when it came by the monotonic clock."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float


class Exchange:
    """One request under way, and the ways to answer it."""

    def __init__(self, request: Received, handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
        self.request = request
        self._handler = handler
        self._closing = closing

    def answer(self, status: int = 200, body: bytes = b"ok", **headers: str) -> None:
        """A whole reply."""
        self._handler.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        self._handler.wfile.write(body)

    def drip(self, *pieces: bytes, every_s: float = 0.05) -> None:
        """Raw bytes, piece by piece, the last one again and again until the other side hangs up."""
        for piece in pieces:
            self._handler.wfile.write(piece)
        while not self._closing.wait(every_s):
            self._handler.wfile.write(pieces[-1])

    def say_nothing(self) -> None:
        """Keep the line open until the receiver closes."""
        self._closing.wait()

    def hang_up(self) -> None:
        """Reset the connection."""
        self._handler.connection.shutdown(socket.SHUT_RDWR)


Answer = Callable[[Exchange], None]


class Receiver:
    """Where it listens, what came so far, and a way to wait for more."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.requests: list[Received] = []
        self._arrival = threading.Condition()
        self._closing = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = self.rfile.read(length)
                if len(body) < length:  # the sender died in the middle of it
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver._take(Received(self.path, headers, body, time.monotonic()), self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # with 5, a burst of connections is held up for a second, or refused

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that hung up, or would not trust us: its own affair."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}/hook"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def _take(self, request: Received, handler: BaseHTTPRequestHandler) -> None:
        with self._arrival:
            self.requests.append(request)
            self._arrival.notify_all()
        handler.close_connection = True
        self.answer(Exchange(request, handler, self._closing))

    def wait_for(self, count: int, timeout_s: float = 20.0) -> list[Received]:
        """The first ``count`` requests, as soon as they are there."""
        with self._arrival:
            assert self._arrival.wait_for(lambda: len(self.requests) >= count, timeout_s), (
                f"{len(self.requests)} of {count} requests came"
            )
            return list(self.requests[:count])

    def close(self) -> None:
        """Let every open answer end, and stop listening."""
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def say_ok(exchange: Exchange) -> None:
    """200 and ``ok``: success for a webhook and for Slack."""
    exchange.answer()


@contextmanager
def listening(answer: Answer = say_ok, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver for the length of a block."""
    receiver = Receiver(answer, tls)
    try:
        yield receiver
    finally:
        receiver.close()
