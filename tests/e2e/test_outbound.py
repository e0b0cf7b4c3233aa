"""HTTP out against real sockets: deadlines, caps, redirects, and addresses that must not be reached."""

from __future__ import annotations

import gzip
import resource
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alerts.delivery import ErrorKind, Outcome
from app.outbound import MAX_KEPT_BYTES, HttpSender
from tests.e2e.webhook_receiver import Exchange, listening, say_ok

LIMIT_S = 1.0


def post(url: str, **settings: Any) -> tuple[Outcome, float]:
    sender = HttpSender(**{"allow_private": True, "deadline_s": LIMIT_S, **settings})
    started = time.monotonic()
    outcome = sender.post(url, {"content-type": "application/json"}, b'{"a":1}')
    return outcome, time.monotonic() - started


def test_a_post_arrives_whole_and_its_answer_comes_back() -> None:
    with listening() as receiver:
        outcome, _ = post(receiver.url + "/deep;v=1?key=2")
        (request,) = receiver.requests
    assert (outcome.status_code, outcome.body, outcome.error) == (200, "ok", None)
    assert request.path == "/hook/deep;v=1?key=2"
    assert request.body == b'{"a":1}'
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-length"] == "7"


def test_a_receiver_that_never_answers_costs_the_deadline_and_no_more() -> None:
    with listening(Exchange.say_nothing) as receiver:
        outcome, took_s = post(receiver.url)
    assert (outcome.error, outcome.status_code) == (ErrorKind.TIMEOUT, None)
    assert LIMIT_S <= took_s < LIMIT_S + 0.5


def test_headers_that_drip_end_at_the_deadline() -> None:
    with listening(lambda exchange: exchange.drip(b"HTTP/1.1 200 OK\r\nx: ", b"y")) as receiver:
        outcome, took_s = post(receiver.url)
    assert (outcome.error, outcome.status_code) == (ErrorKind.TOO_SLOW, None)
    assert LIMIT_S <= took_s < LIMIT_S + 0.5


def test_a_body_that_drips_ends_at_the_deadline_and_its_status_stands() -> None:
    head = b"HTTP/1.1 500 Oh\r\ncontent-length: 100000\r\n\r\n"
    with listening(lambda exchange: exchange.drip(head, b"y")) as receiver:
        outcome, took_s = post(receiver.url)
    assert (outcome.error, outcome.status_code) == (None, 500)
    assert outcome.body.startswith("yy")
    assert LIMIT_S <= took_s < LIMIT_S + 0.5


def test_a_huge_body_is_read_to_its_cap_only_and_little_is_kept() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n"
    with listening(lambda exchange: exchange.drip(head, b"y" * 65_536, every_s=0.0)) as receiver:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcome, took_s = post(receiver.url, deadline_s=10.0)
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert outcome.status_code == 200
    assert len(outcome.body) == MAX_KEPT_BYTES
    assert took_s < 5.0
    assert grown_kb < 5_000


def test_a_compressed_body_is_not_unfolded() -> None:
    packed = gzip.compress(b"\0" * 50_000_000)
    with listening(lambda exchange: exchange.answer(body=packed, content_encoding="gzip")) as receiver:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcome, _ = post(receiver.url)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 5_000
    assert outcome.status_code == 200
    assert len(outcome.body.encode()) <= 3 * MAX_KEPT_BYTES
    assert "\0" not in outcome.body


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_is_never_followed(status: int) -> None:
    with (
        listening() as second,
        listening(lambda exchange: exchange.answer(status, location=second.url)) as first,
    ):
        outcome, _ = post(first.url)
        assert outcome.status_code == status
        assert second.requests == []


def test_retry_after_comes_back_as_it_was_sent() -> None:
    with listening(lambda exchange: exchange.answer(429, retry_after="120")) as receiver:
        outcome, _ = post(receiver.url)
    assert (outcome.status_code, outcome.retry_after) == (429, "120")


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as proxy, listening() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert post(receiver.url)[0].status_code == 200
        assert proxy.requests == []


@pytest.mark.parametrize(
    "reply",
    [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 two hundred\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"],
)
def test_what_is_not_http_is_a_protocol_error(reply: bytes) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.drip(reply)

    with listening(answer) as receiver:
        assert post(receiver.url)[0].error is ErrorKind.PROTOCOL


def test_a_receiver_that_hangs_up_is_a_protocol_error() -> None:
    with listening(Exchange.hang_up) as receiver:
        assert post(receiver.url)[0].error is ErrorKind.PROTOCOL


def test_a_closed_port_is_a_connect_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert post(f"http://127.0.0.1:{port}/")[0].error is ErrorKind.CONNECT


def test_a_name_nobody_knows_is_a_dns_error() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    assert post("http://receiver.example/", resolve=unknown)[0].error is ErrorKind.DNS


def test_a_resolver_that_hangs_costs_the_time_to_connect_and_no_more() -> None:
    with listening(Exchange.say_nothing) as line:

        def hang(host: str, port: int) -> list[str]:
            post(line.url, deadline_s=30.0)
            return []

        outcome, took_s = post("http://receiver.example/", resolve=hang, connect_s=0.2)
    assert outcome.error is ErrorKind.DNS
    assert took_s < 0.7


# --- addresses ------------------------------------------------------------------------------------------------


def test_a_private_address_is_refused_at_sending_too() -> None:
    with listening() as receiver:
        outcome, _ = post(receiver.url, allow_private=False)
        assert receiver.requests == []
    assert outcome == Outcome(outcome.latency_ms, error=ErrorKind.REFUSED_ADDRESS)


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["93.184.216.34", "127.0.0.1"],
        ["::ffff:127.0.0.1"],
        ["fe80::1%lo"],
        ["169.254.169.254"],
        ["not one"],
    ],
)
def test_a_public_name_that_resolves_inside_is_refused(answers: list[str]) -> None:
    with listening() as receiver:
        outcome, _ = post(
            f"http://receiver.example:{receiver.port}/",
            allow_private=False,
            resolve=lambda host, port: answers,
        )
        assert receiver.requests == []
    assert outcome.error is ErrorKind.REFUSED_ADDRESS


def test_the_address_that_was_checked_is_the_one_connected_to() -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    with listening() as receiver:
        outcome, _ = post(f"http://receiver.example:{receiver.port}/", resolve=rebinding)
        assert receiver.requests[0].headers["host"] == f"receiver.example:{receiver.port}"
    assert outcome.status_code == 200
    assert asked == ["receiver.example"]


def test_the_next_address_is_tried_when_the_first_does_not_take_us() -> None:
    with listening() as receiver:
        outcome, _ = post(
            f"http://receiver.example:{receiver.port}/", resolve=lambda host, port: ["127.0.0.2", "127.0.0.1"]
        )
    assert outcome.status_code == 200


# --- TLS ------------------------------------------------------------------------------------------------------

CA_SETTINGS = """\
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""


@pytest.fixture
def certificate(tmp_path: Path, program: Callable[[str], str]) -> Callable[[str, str], ssl.SSLContext]:
    """A server's context for a name, certified by itself until a day."""
    openssl = program("openssl")
    (tmp_path / "ca.cnf").write_text(CA_SETTINGS)
    (tmp_path / "index.txt").touch()
    (tmp_path / "serial").write_text("01\n")

    def make(name: str, until: str) -> ssl.SSLContext:
        for command in (
            f"req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out request.pem"
            f" -subj /CN={name} -addext subjectAltName=DNS:{name}",
            f"ca -selfsign -batch -notext -config ca.cnf -keyfile key.pem -in request.pem -out cert.pem"
            f" -startdate 20200101000000Z -enddate {until}",
        ):
            subprocess.run([openssl, *command.split()], cwd=tmp_path, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
        return context

    return make


@pytest.mark.parametrize(
    ("name", "until", "trusted", "error"),
    [
        ("receiver.example", "20991231000000Z", True, None),
        ("receiver.example", "20991231000000Z", False, ErrorKind.TLS),
        ("receiver.example", "20200102000000Z", True, ErrorKind.TLS),
        ("other.example", "20991231000000Z", True, ErrorKind.TLS),
    ],
    ids=["good", "unknown authority", "expired", "wrong host"],
)
def test_a_certificate_must_be_trusted_in_date_and_for_this_host(
    certificate: Callable[[str, str], ssl.SSLContext],
    tmp_path: Path,
    name: str,
    until: str,
    trusted: bool,
    error: ErrorKind | None,
) -> None:
    tls = certificate(name, until)
    client = ssl.create_default_context(cafile=str(tmp_path / "cert.pem") if trusted else None)
    with listening(say_ok, tls) as receiver:
        outcome, _ = post(
            f"https://receiver.example:{receiver.port}/", tls=client, resolve=lambda host, port: ["127.0.0.1"]
        )
        assert len(receiver.requests) == (0 if error else 1)
    assert outcome.error is error


def test_a_handshake_that_never_ends_costs_the_deadline_and_no_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        outcome, took_s = post(f"https://127.0.0.1:{server.getsockname()[1]}/")
    assert outcome.error is ErrorKind.TIMEOUT
    assert LIMIT_S <= took_s < LIMIT_S + 0.5
