"""Cases 1 to 4: processes that are killed anywhere, and processes that are asked to end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time

from app.notifier import AT_ONCE
from tests.servers.process import free_port
from tests.torture.crashing import POINTS
from tests.torture.feeding import feeding
from tests.torture.poison import poisoned
from tests.torture.process import Process, ask
from tests.torture.result import Result
from tests.torture.site import SECRETS, Site, until
from tests.torture.stage import Stage
from tests.torture.stream import NOW

_GIVEN_UP_S = 75.0  # longer than any membership of a dead process lasts
SHORT_SESSION = ("--set", "consumers.kafka.connection:_SESSION_MS=6000")
_NOTHING_LEFT_S = 5.0
NOTHING_LEFT = -1.0
LEASE = "app.notifier:Notifier.__init__(lease_us)"


def consumer_killed_anywhere(stage: Stage, result: Result) -> None:
    """Case 1: kill -9 of the consumer at random moments while events flow."""
    kills, events, phases = stage.scale(50, 6), stage.scale(100_000, 6_000), stage.scale(5, 2)
    if not stage.long:
        result.scaled = f"{kills} kills, {events:,} events"
    dice, stream = stage.dice(1), stage.stream(1, accounts=stage.scale(200, 40))
    restarts: list[float] = []
    with stage.site("consumer-killed", kafka_instance_id="the-one-consumer") as site:
        consumer = _opened(site, stream.history())
        for _ in range(phases):
            records = stream.phase(events // phases)
            with feeding(site, records, per_s=events / (kills * 6.0)):
                for _ in range(kills // phases):
                    time.sleep(dice.uniform(0.0, 1.0))
                    consumer.kill()
                    consumer = site.start("consumer")
                    first = _first_commit(site, consumer, dice.random() < 0.8)
                    restarts += [first] if first is not None else []
            site.settled()
        _orderly(site)
        result.holds(site.broken())
        result.tell("kills", kills // phases * phases)
        _restart_figure(result, restarts)
        result.exactly("lost", site.lost(), 0)
        result.exactly("tracebacks", len(site.surprises()), 0)


def killed_at_every_point(stage: Stage, result: Result) -> None:
    """Case 2: kill -9 at each named crash point."""
    times = stage.scale(10, 1)
    if not stage.long:
        result.scaled = "each point once, leases of 2 s, sessions of 6 s"
    dice = stage.dice(2)
    stream = stage.stream(2, accounts=60 + times * len(POINTS))
    waiting = iter(stream.accounts)
    with stage.site("crash-points", kafka_instance_id="the-one-consumer") as site:
        site.phase(stream.history(days=0))
        running = {role: _serve(site, role, stage) for role in ("consumer", "notifier")}
        site.settled()
        died = missed = notifier_kills = 0
        for point in POINTS:
            for _ in range(times):
                if point.role == "api":
                    died += _killed_at_intake(site, point.name)
                    continue
                running[point.role].kill()
                nth = dice.randint(1, 2)
                armed = _serve(site, point.role, stage, f"{point.name}:{nth}")
                gone = False
                for _ in range(stage.scale(30, 8)):  # until it has met its point often enough
                    account = next(waiting, None)
                    crossing = [] if account is None else stream.champion_leaves(account)
                    bad = poisoned("not JSON", stream.accounts[0], dice.randrange(10**9))
                    site.phase([*stream.noise(20), *crossing, bad])
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        armed.wait(2.5)
                        gone = True
                        break
                died, missed = died + gone, missed + (not gone)
                if not gone:
                    result.holds([f"{point.name}:{nth} was never reached: {armed.last_words(2)}"])
                    armed.kill()
                elif armed.popen.returncode != -signal.SIGKILL:
                    result.holds(
                        [f"{point.name}: ended with {armed.popen.returncode}: {armed.last_words(2)}"]
                    )
                notifier_kills += point.role == "notifier"
                running[point.role] = _serve(site, point.role, stage)
        site.settled()
        _orderly(site)
        result.holds(site.broken(copies=notifier_kills * AT_ONCE))
        result.exactly("killed at points", died, times * len(POINTS))
        result.most("copies at the receiver", site.recorder.copies, notifier_kills * AT_ONCE)


def _serve(site: Site, role: str, stage: Stage, at: str = "") -> Process:
    options = ["--at", at] if at else []
    if not stage.long:
        options += ["--set", f"{LEASE}=2e6", *SHORT_SESSION]
    return site.start(role, *options)


def _killed_at_intake(site: Site, point: str) -> int:
    """An API that dies between Kafka's word and its own: the client sends again, and the event counts once."""
    port = free_port()
    armed = site.start("api", "--at", point, port=port)
    armed.await_event("serving")
    body = (
        b'{"id":"http-%d","type":"user.login","account_id":"by-http","user_id":"u1","occurred_at":"%s"}'
        % (
            len(site.processes),
            NOW.isoformat().encode(),
        )
    )
    with contextlib.suppress(OSError, Exception):
        ask(port, "/v1/events", body, SECRETS["the admin key"])
    died = int(armed.wait(30) == -signal.SIGKILL)
    again, port = site.serve_api()
    status, said = ask(port, "/v1/events", body, SECRETS["the admin key"])
    assert (status, said["accepted"]) == (202, 1), (status, said)
    again.end()
    site.adopt(body)
    return died


def notifier_killed(stage: Stage, result: Result) -> None:
    """Case 3: kill -9 of the notifier while it sends."""
    kills, deliveries = stage.scale(50, 4), stage.scale(2_000, 120)
    if not stage.long:
        result.scaled = f"{kills} kills, {deliveries} deliveries, leases of 2 s"
    dice, stream = stage.dice(3), stage.stream(3, accounts=deliveries)
    with stage.site("notifier-killed") as site:
        site.phase(stream.history(days=0))
        site.serve("consumer")
        site.settled(sent=False)
        site.phase([record for account in stream.accounts for record in stream.champion_leaves(account)])
        site.settled(sent=False)

        def slowly(exchange, _before):  # so that all kills fall within the sending, eight at once
            time.sleep(stage.scale(150, 250) / 1000)
            exchange.answer()

        site.recorder.script = slowly
        done = 0
        while done < kills and not site.books.sent():
            before = len(site.recorder.told)
            notifier = _serve(site, "notifier", stage)
            with contextlib.suppress(AssertionError):
                until(lambda: len(site.recorder.told) > before, "it sends", 90)  # noqa: B023 - used at once
            time.sleep(dice.uniform(0, 0.8))
            notifier.kill()
            done += 1
        last = time.monotonic()
        _serve(site, "notifier", stage)
        abandoned = site.books.ask("SELECT id FROM delivery WHERE status = 'sending'")
        until(
            lambda: (
                not site.books.ask(
                    f"SELECT 1 FROM delivery WHERE status IN ('sending', 'queued') AND id IN ({_ids(abandoned)})"
                )
            ),
            "the leases of the dead are free",
            120,
        )
        freed = time.monotonic() - last
        site.settled(timeout_s=240)
        result.exactly("kills while it sent", done, kills)
        result.exactly("ids delivered", len({each.id for each in site.recorder.told}), deliveries)
        result.most("copies", site.recorder.copies, kills * AT_ONCE)
        result.most("leases free after", freed, 62.0, "s")
        result.holds(site.broken(copies=kills * AT_ONCE))


def _ids(rows: list[tuple[int]]) -> str:
    return ", ".join(str(row[0]) for row in rows) or "-1"


def ended_in_order(stage: Stage, result: Result) -> None:
    """Case 4: SIGTERM while everything is busy."""
    rounds, events = stage.scale(5, 1), stage.scale(20_000, 4_000)
    if not stage.long:
        result.scaled = "one round"
    stream = stage.stream(4)
    slowest, codes = 0.0, set()
    with stage.site("sigterm") as site:
        site.phase(stream.history(days=0))
        _, port = None, 0
        for round_ in range(rounds):
            running = [site.serve(role) for role in ("consumer", "scheduler", "notifier")]
            api, port = site.serve_api()
            running.append(api)
            if round_ == 0:
                site.settled()
            stopping = threading.Event()
            client = threading.Thread(target=_ask_on, args=(port, stopping), daemon=True)
            client.start()
            with feeding(site, stream.phase(events, share=0.15), per_s=2_000):
                time.sleep(1.0)
                for process in running:
                    slowest = max(slowest, process.end())
                    codes.add(process.popen.returncode)
            stopping.set()
            client.join()
            for role in ("consumer", "notifier"):  # the rest of it, so that phases do not overlap
                running.append(site.serve(role))
            site.settled()
            for process in running[-2:]:
                slowest = max(slowest, process.end())
                codes.add(process.popen.returncode)
        result.most("slowest end", slowest, 10.0, "s")
        result.exactly("exit codes", sorted(codes), [0])
        result.exactly("copies", site.recorder.copies, 0)
        result.holds(site.broken())


def _ask_on(port: int, stop: threading.Event) -> None:
    """Questions, one after another, as dashboards ask them."""
    while not stop.is_set():
        with contextlib.suppress(Exception):
            ask(port, "/v1/alerts?limit=200", key=SECRETS["the admin key"])
        time.sleep(0.05)


def _opened(site: Site, history: list) -> Process:
    """A site with its history in, judged, and a notifier; returns the consumer."""
    site.phase(history)
    site.serve("notifier")
    consumer = site.serve("consumer")
    site.settled()
    return consumer


def _first_commit(site: Site, consumer: Process, patient: bool) -> float | None:
    """Seconds from the start to the first position that moves; None if it is not waited for."""
    assert site.watch is not None
    if not patient:
        return None
    watch, begin = site.watch, consumer.began

    def moved() -> float | None:
        site.check_ends()
        waited = time.monotonic() - begin
        if waited > _NOTHING_LEFT_S and site.read_all():
            return NOTHING_LEFT
        return watch.first_move_after(begin) or (waited if waited > _GIVEN_UP_S else None)

    first = until(moved, "a first commit", 2 * _GIVEN_UP_S, every_s=0.02)
    return None if first == NOTHING_LEFT else first


def _restart_figure(result: Result, restarts: list[float]) -> None:
    ordered = sorted(restarts)
    result.tell("restart to first commit, median s", ordered[len(ordered) // 2])
    result.most("restart to first commit, slowest", ordered[-1], 5.0, "s")


def _orderly(site: Site) -> None:
    """End what runs, in order: what logs and databases say then is final."""
    for process in site.processes:
        if process.alive:
            process.end()
