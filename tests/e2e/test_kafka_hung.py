"""A broker that is there and does not answer: senders are told so soon, and everybody else is served meanwhile."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.on_kafka import make_topics, on_kafka
from tests.e2e.running import Running, serving, until
from tests.e2e.stories import NOON, event, iso
from tests.servers.kafka import Broker
from tests.servers.process import signal_group

MANY = 48  # more than a web server has threads


def test_a_broker_that_hangs_holds_up_some_senders_for_a_while_and_nobody_else(
    own_broker: Broker, tmp_path: Path
) -> None:
    command = on_kafka(tmp_path, own_broker.bootstrap, now=iso(NOON))
    make_topics(command)
    assert own_broker.process is not None
    with serving(command, "api") as service, ThreadPoolExecutor(MANY) as senders:
        until(lambda: _post(service)[0] == 202, "intake works")
        signal_group(own_broker.process, signal.SIGSTOP)
        try:
            with _asking(service) as slowest:
                crowd = list(senders.map(lambda _: _post(service), range(MANY)))
                assert {status for status, _ in crowd} == {503}
                assert max(took for _, took in crowd) < 15
                assert sum(took > 5 for _, took in crowd) <= 20, (
                    "so many wait, and the rest knows in a second"
                )

                later = [
                    took for status, took in senders.map(lambda _: _post(service), range(10)) if status == 503
                ]
                assert len(later) == 10
                assert sum(took < 4 for took in later) >= 9, "all but the one who tries it again"
            assert slowest[0] < 5, "the rest of the service goes on"
        finally:
            signal_group(own_broker.process, signal.SIGCONT)
        until(lambda: _post(service)[0] == 202, "intake works again by itself", 20)
        assert service.end() == 0


def _post(service: Running) -> tuple[int, float]:
    """The status of a login that is sent, and how long the answer took."""
    began = time.monotonic()
    status, _, _ = service.request("POST", "/v1/events", event("e1", "user.login", "acme", NOON, "u1"))
    return status, time.monotonic() - began


@contextmanager
def _asking(service: Running) -> Iterator[list[float]]:
    """Somebody who asks for other things all the time; gives the longest that an answer took."""
    over, slowest = threading.Event(), [0.0]

    def ask() -> None:
        while not over.wait(0.1):
            for path in ("/livez", "/readyz", "/v1/alerts", "/v1/accounts"):
                began = time.monotonic()
                status, _, _ = service.request("GET", path)
                assert status < 500 or path == "/readyz", path
                slowest[0] = max(slowest[0], time.monotonic() - began)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield slowest
    finally:
        over.set()
        asker.join(30)
