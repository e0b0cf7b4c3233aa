"""HTTP out: one POST with an end in sight, to an address that was checked and to no other.

Python's clients bound each read, not the whole exchange, so a receiver that drips keeps them for ever; they follow
redirects and proxies from the environment; and they resolve a name after somebody else has checked it. Here deadline
and guard sit inside the connection: every read and write gets what is left of the time, and the address that was
judged is the one connected to.
"""

from __future__ import annotations

import functools
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import httpcore

from alerts.delivery import ErrorKind, Outcome
from app.addresses import check_url, reachable
from consumers.errors import ConfigurationError

DEADLINE_S = 15.0
CONNECT_S = 5.0
MAX_REPLY_BYTES = 64 * 1024
MAX_KEPT_BYTES = 4_000

Resolve = Callable[[str, int], Sequence[str]]


class SendError(Exception):
    """An attempt that brought no answer. Says of what kind, and nothing of the address."""

    def __init__(self, kind: ErrorKind) -> None:
        super().__init__(kind.value)
        self.kind = kind


def system_resolve(host: str, port: int) -> list[str]:
    """Every address the system knows for a host. Raises OSError; may take as long as the resolver likes."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class HttpSender:
    """Posts messages. Thread-safe: nothing is kept between two posts but the TLS settings."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        deadline_s: float = DEADLINE_S,
        connect_s: float = CONNECT_S,
        resolve: Resolve = system_resolve,
        tls: ssl.SSLContext | None = None,
        user_agent: str = "Bellwether",
    ) -> None:
        """``allow_private`` lets messages go to private and loopback addresses; ``tls`` names other authorities."""
        self._allow_private = allow_private
        self._deadline_s = deadline_s
        self._connect_s = connect_s
        self._resolve = resolve
        self._tls = tls or ssl.create_default_context()
        self._user_agent = user_agent

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """One attempt: ends within the deadline, follows nothing, and never raises for what a receiver does."""
        started = time.monotonic()
        line = _Line(started + self._deadline_s, self._connect_s, self._allow_private, self._resolve)
        try:
            status, retry_after, reply = self._exchange(line, url, headers, body)
        except SendError as error:
            return Outcome(_elapsed_ms(started), error=error.kind)
        except (httpcore.ProtocolError, httpcore.NetworkError, ValueError):
            return Outcome(_elapsed_ms(started), error=ErrorKind.PROTOCOL)
        # A database may not take NUL, and a reply's other bytes may be no text at all.
        text = reply[:MAX_KEPT_BYTES].decode("utf-8", "replace").replace("\0", "�")
        return Outcome(_elapsed_ms(started), status_code=status, retry_after=retry_after, body=text)

    def _exchange(
        self, line: _Line, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str | None, bytes]:
        try:
            parts = check_url(url, allow_private=self._allow_private)
        except ConfigurationError:
            raise SendError(ErrorKind.REFUSED_ADDRESS) from None
        target = httpcore.URL(
            scheme=parts.scheme,
            host=parts.hostname or "",
            port=parts.port,
            target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        )
        sent = {
            "host": parts.netloc,
            "user-agent": self._user_agent,
            "accept-encoding": "identity",  # what is small on the wire must not unfold into gigabytes
            "connection": "close",
            "content-length": str(len(body)),
            **headers,
        }
        # A pool for one exchange: its connections carry this exchange's deadline.
        with (
            httpcore.ConnectionPool(ssl_context=self._tls, network_backend=line, max_connections=1) as pool,
            pool.stream("POST", target, headers=list(sent.items()), content=body) as response,
        ):
            return response.status, _retry_after(response.headers), _beginning(response.iter_stream())


class _Line(httpcore.NetworkBackend):
    """Connections of one exchange: checked where they go to, and over when its time is."""

    def __init__(self, deadline: float, connect_s: float, allow_private: bool, resolve: Resolve) -> None:
        self._deadline = deadline
        self._connect_s = connect_s
        self._allow_private = allow_private
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _resolved(self._resolve, host, port, min(self._connect_s, _left(self._deadline)))
        if not addresses:
            raise SendError(ErrorKind.DNS)
        # One bad answer among good ones is refused too: which of them gets used must not be a matter of luck.
        if not all(reachable(each, allow_private=self._allow_private) for each in addresses):
            raise SendError(ErrorKind.REFUSED_ADDRESS)
        kind = ErrorKind.CONNECT
        for address in addresses:
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(min(self._connect_s, _left(self._deadline)))
                sock.connect((str(address), port))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                sock.close()
                kind = ErrorKind.TIMEOUT if isinstance(error, TimeoutError) else ErrorKind.CONNECT
            except SendError:
                sock.close()
                raise
            else:
                return _Stream(sock, self._deadline)
        raise SendError(kind)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        raise SendError(ErrorKind.REFUSED_ADDRESS)


class _Stream(httpcore.NetworkStream):
    """A socket whose every operation gets what is left of the exchange's time."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self._heard = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._sock.settimeout(self._left())
            data = self._sock.recv(max_bytes)
        except TimeoutError:
            raise SendError(self._late()) from None
        except OSError:
            raise SendError(ErrorKind.PROTOCOL) from None
        self._heard = True
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        while view:
            try:
                self._sock.settimeout(self._left())
                view = view[self._sock.send(view) :]
            except TimeoutError:
                raise SendError(self._late()) from None
            except OSError as error:  # a receiver may answer, and hang up, before it has read everything
                raise httpcore.WriteError from error

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            self._sock.settimeout(self._left())
            sock = ssl_context.wrap_socket(self._sock, server_hostname=server_hostname)
        except TimeoutError:
            self.close()
            raise SendError(self._late()) from None
        except (OSError, ValueError):
            self.close()
            raise SendError(ErrorKind.TLS) from None
        return _Stream(sock, self._deadline)

    def close(self) -> None:
        self._sock.close()

    def _left(self) -> float:
        return _left(self._deadline, self._late())

    def _late(self) -> ErrorKind:
        return ErrorKind.TOO_SLOW if self._heard else ErrorKind.TIMEOUT


def _left(deadline: float, late: ErrorKind = ErrorKind.TIMEOUT) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise SendError(late)
    return left


def _resolved(
    resolve: Resolve, host: str, port: int, timeout_s: float
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses of a host. The system's resolver knows no timeout, so it is left behind in a thread of its own."""
    answers: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()
    threading.Thread(
        target=functools.partial(_answer, resolve, host, port, answers), name="resolver", daemon=True
    ).start()
    try:
        found = answers.get(timeout=timeout_s)
        return [ipaddress.ip_address(address) for address in found]
    except queue.Empty:
        raise SendError(ErrorKind.DNS) from None
    except ValueError:
        raise SendError(ErrorKind.REFUSED_ADDRESS) from None


def _answer(resolve: Resolve, host: str, port: int, answers: queue.SimpleQueue[Sequence[str]]) -> None:
    try:
        answers.put(resolve(host, port))
    except (OSError, UnicodeError):
        answers.put(())


def _beginning(chunks: Iterable[bytes]) -> bytes:
    """The reply as far as it is read. The status has come: what befalls the rest does not undo it."""
    read = bytearray()
    try:
        for chunk in chunks:
            read += chunk
            if len(read) >= MAX_REPLY_BYTES:
                break
    except (SendError, httpcore.ProtocolError, httpcore.NetworkError):
        pass
    return bytes(read[:MAX_REPLY_BYTES])


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name.lower() == b"retry-after":
            return value[:64].decode("latin-1")
    return None


def _elapsed_ms(started: float) -> float:
    return (time.monotonic() - started) * 1000
