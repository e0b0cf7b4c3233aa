"""A TCP proxy that misbehaves on command: between a service and its broker, its database or a receiver.

Threads and blocking sockets: a torture runs a handful of connections, and what a mode does is then plain to read.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.servers.process import free_port

_AT_ONCE = 65_536
_LOOK_S = 0.05
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


@dataclass(frozen=True, slots=True)
class Weather:
    """How the line is. The plain one forwards everything at once.

    ``latency_s`` before each piece, both ways; ``drip``: one byte at a time, that long apart; ``cut_after``: reset once
    so many bytes came from the server; ``swallow``: nothing more reaches the client (half open); ``still``: nothing
    is forwarded at all, and nothing closed (a black hole).
    """

    latency_s: float = 0.0
    drip_s: float = 0.0
    cut_after: int | None = None
    swallow: bool = False
    still: bool = False


FAIR = Weather()
BLACK_HOLE = Weather(still=True)
HALF_OPEN = Weather(swallow=True)


class Proxy:
    """Listens on ``port`` and forwards to a port of this machine. A context manager."""

    def __init__(self, target: int, port: int | None = None) -> None:
        self.port = port or free_port()
        self.weather = FAIR
        self.connections = 0
        self._target = target
        self._listener: socket.socket | None = None
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()

    def accept(self) -> None:
        """Listen (again)."""
        if self._listener is not None:
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def refuse(self) -> None:
        """Nobody listens any more, and every open connection is reset."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.reset()

    def reset(self) -> None:
        """RST on every open connection; new ones are welcome."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            _tear(pair)

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                _tear((near, near))
                continue
            far.settimeout(None)
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = (near, far)
            with self._lock:
                self._pairs.add(pair)
            for source, sink, down in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._pump, args=(pair, source, sink, down), daemon=True).start()

    def _pump(
        self,
        pair: tuple[socket.socket, socket.socket],
        source: socket.socket,
        sink: socket.socket,
        down: bool,
    ) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(_AT_ONCE):
                while self.weather.still:
                    if pair not in self._pairs:
                        return
                    time.sleep(_LOOK_S)
                weather = self.weather
                if down and weather.swallow:
                    continue
                if weather.latency_s:
                    time.sleep(weather.latency_s)
                if down and weather.cut_after is not None and passed + len(piece) > weather.cut_after:
                    sink.sendall(piece[: max(0, weather.cut_after - passed)])
                    break
                passed += len(piece)
                _send(sink, piece, weather.drip_s)
            else:  # an orderly end of one direction is passed on as one
                sink.shutdown(socket.SHUT_WR)
                return
        with self._lock:
            self._pairs.discard(pair)
        _tear(pair)


def _send(sink: socket.socket, piece: bytes, drip_s: float) -> None:
    if not drip_s:
        sink.sendall(piece)
        return
    for place in range(len(piece)):
        sink.sendall(piece[place : place + 1])
        time.sleep(drip_s)


def _tear(pair: tuple[socket.socket, socket.socket]) -> None:
    for each in pair:
        with contextlib.suppress(OSError):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            # Closing alone would leave a thread in recv() with the descriptor, and send nothing.
            each.shutdown(socket.SHUT_RD)
        with contextlib.suppress(OSError):
            each.close()
