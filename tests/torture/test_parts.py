"""The harness must be able to fail: its parts, without a broker."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture.crashing import POINTS, Unresolved, arm, resolve
from tests.torture.expected import Expectation
from tests.torture.poison import KINDS, poisoned
from tests.torture.proxy import BLACK_HOLE, HALF_OPEN, Proxy, Weather
from tests.torture.recorder import recording
from tests.torture.stream import Stream, doubled, good, shuffled

ROOT = Path(__file__).parents[2]


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back whatever comes; its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer(line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            while piece := line.recv(1024):
                line.sendall(piece)

    def serve() -> None:
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(line,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def said(proxy: Proxy, text: bytes, timeout_s: float = 0.5) -> bytes:
    """What comes back through the proxy, as far as it comes."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=timeout_s) as line:
        line.sendall(text)
        came = b""
        try:
            while len(came) < len(text) and (piece := line.recv(1024)):
                came += piece
        except TimeoutError:
            pass
        return came


def test_a_fair_line_passes_everything(echo: int) -> None:
    with Proxy(echo) as proxy:
        assert said(proxy, b"hello") == b"hello"


@pytest.mark.parametrize("weather", [BLACK_HOLE, HALF_OPEN])
def test_a_black_hole_and_a_half_open_line_say_nothing_and_stay_open(echo: int, weather: Weather) -> None:
    with Proxy(echo) as proxy:
        proxy.weather = weather
        assert said(proxy, b"hello", 0.2) == b""


def test_a_slow_line_is_slow_and_a_dripping_one_drips(echo: int) -> None:
    with Proxy(echo) as proxy:
        for weather in (Weather(latency_s=0.1), Weather(drip_s=0.04)):
            proxy.weather = weather
            began = time.monotonic()
            assert said(proxy, b"hello", 5) == b"hello"
            assert time.monotonic() - began > 0.14


def test_a_cut_line_is_reset_after_so_many_bytes(echo: int) -> None:
    with Proxy(echo) as proxy:
        proxy.weather = Weather(cut_after=3)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as line:
            line.sendall(b"hello")
            came = b""
            with contextlib.suppress(ConnectionError):
                while piece := line.recv(1):
                    came += piece
            assert b"hel".startswith(came)  # a reset may overtake what was sent before it


def test_refused_and_taken_again(echo: int) -> None:
    with Proxy(echo) as proxy:
        proxy.refuse()
        with pytest.raises(ConnectionError):
            said(proxy, b"hello")
        proxy.accept()
        assert said(proxy, b"hello") == b"hello"


def test_every_crash_point_names_a_function_that_is_there() -> None:
    for point in POINTS:
        for target in point.targets:
            assert callable(resolve(target)[2]), target


def test_a_name_that_is_gone_is_an_error() -> None:
    with pytest.raises(Unresolved, match="no_such"):
        resolve("consumers.pipeline:Pipeline.no_such")
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.crashing", "--set", "app.notifier:NO_SUCH=1", "--", "version"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert "NO_SUCH" in done.stderr


def test_an_armed_function_dies_at_its_nth_call(monkeypatch: pytest.MonkeyPatch) -> None:
    point = next(point for point in POINTS if point.name == "decoded")
    owner, name, real = resolve(point.targets[0])
    monkeypatch.setattr(owner, name, real)  # put back afterwards
    deaths: list[int] = []
    arm(point, 2, lambda: deaths.append(1))
    decode = getattr(owner, name)
    for expected in ([], [1], [1]):
        decode((), 0)
        assert deaths == expected


def test_the_same_seed_makes_the_same_stream() -> None:
    first, second = (Stream(7, 10) for _ in range(2))
    assert first.history(3) == second.history(3)
    assert first.phase(50) == second.phase(50)
    assert first.phase(50) != Stream(8, 10).phase(50)


def test_copies_and_disorder_keep_every_record() -> None:
    dice, records = random.Random(1), Stream(1, 5).history(3)
    assert set(map(repr, doubled(records, dice))) == set(map(repr, records))
    assert len(doubled(records, dice)) > len(records)
    assert sorted(map(repr, shuffled(records, dice, 10))) == sorted(map(repr, records))


def test_what_crosses_is_predicted_and_what_comes_back_resolves() -> None:
    stream, expectation = Stream(3, 4), Expectation()
    expectation.phase(good(stream.history()))
    account = stream.accounts[2]
    for records in (stream.champion_leaves(account), stream.champion_follows(account), stream.noise(20)):
        expectation.phase(good(records))
    assert expectation.baseline() == set()
    assert [tuple(move) for move in expectation.transitions()] == [
        (account, "champion-departed", "firing"),
        (account, "champion-departed", "resolved"),
    ]


def test_falling_logins_cross_their_threshold() -> None:
    stream, expectation = Stream(5, 30), Expectation()
    expectation.phase(good(stream.history()))
    for _ in range(2):
        expectation.phase(good(stream.phase(10, share=1.0)))
    assert {move.rule for move in expectation.transitions()} == {"champion-departed", "login-decline"}


def test_there_are_twenty_kinds_of_poison_and_each_is_its_own() -> None:
    assert len(KINDS) >= 20
    bodies = {poisoned(kind, "acme", 1).body for kind in KINDS}
    assert len(bodies) == len(KINDS)


def test_a_request_whose_sender_died_in_the_middle_of_it_was_none() -> None:
    with (
        recording("whsec_c2VjcmV0") as recorder,
        socket.create_connection(("127.0.0.1", recorder.port)) as line,
    ):
        line.sendall(b"POST /hook HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
        line.shutdown(socket.SHUT_WR)
        assert line.recv(100) == b""
        assert recorder.told == []
