"""Cases 19, 20, 21 and 35: several consumers, zombies, replicas."""

from __future__ import annotations

import signal
import threading
import time

import psycopg

from app.notifier import AT_ONCE
from tests.torture.cases.killing import SHORT_SESSION
from tests.torture.cases.outages import _members
from tests.torture.feeding import feeding
from tests.torture.result import Result
from tests.torture.site import Site, until
from tests.torture.stage import Stage

FENCED = ("--note", "app.database.windows:SqlWindowTransaction.advance")


def rebalances(stage: Stage, result: Result) -> None:
    """Case 19: members join, leave and die while events flow."""
    turns, per_s = stage.scale(30, 4), stage.scale(2_000, 400)
    every_s = 10.0 if stage.long else 4.0
    if not stage.long:
        result.scaled = f"{turns} rebalances, {per_s} events a second"
    dice, stream = stage.dice(19), stage.stream(19)
    with stage.site("rebalances") as site:
        site.phase(stream.history())
        members = [site.serve("consumer", *FENCED) for _ in range(2)]
        site.serve("notifier")
        site.settled()
        assert site.watch is not None
        pauses = []
        with feeding(site, stream.phase(int(turns * every_s * per_s), share=0.5), per_s=per_s):
            begin = time.monotonic()
            for turn in range(turns):
                what = ("join", "leave", "kill")[turn % 3] if len(members) > 1 else "join"
                if what == "join":
                    members.append(site.start("consumer", *FENCED))
                else:
                    gone = members.pop(dice.randrange(len(members)))
                    gone.kill() if what == "kill" else gone.end()
                time.sleep(every_s)
            end = time.monotonic()
        for partition in [each for each in site.topics.ends if ".logins/" in each]:
            pauses.append(site.watch.longest_pause(begin, end, partition))
        site.settled()
        result.exactly("rebalances", turns, turns)
        result.most("longest pause of a partition", max(pauses), 10.0, "s")
        if stage.long:
            result.least("batches fenced", site.fenced(), 1)
        else:
            result.tell("batches fenced", site.fenced())
        result.exactly("lost", site.lost(), 0)
        result.exactly("tracebacks", len(site.surprises()), 0)
        result.holds(site.broken())


def slow_database_while_sharing(stage: Stage, result: Result) -> None:
    """Case 20: every write takes 3 s longer while members come and go."""
    rounds = stage.scale(6, 2)
    if not stage.long:
        result.scaled = f"{rounds} rebalances"
    result.tell("a listener that raises", "not tried: ours only writes down what it is told")
    stream = stage.stream(20)
    with stage.site("slow-while-sharing") as site:
        site.phase(stream.history())
        first = site.serve("consumer")
        site.settled(sent=False)
        mine = _members(site)
        stop = threading.Event()
        slow = threading.Thread(target=_hold, args=(stage, site, stop), daemon=True)
        with feeding(site, stream.phase(stage.scale(20_000, 2_000), share=0.3), per_s=500):
            slow.start()
            for _ in range(rounds):
                other = site.serve("consumer")
                time.sleep(5.0)
                other.end(40)
            stop.set()
            slow.join()
        site.settled(sent=False)
        result.exactly("the first member is still one", bool(mine) and mine <= _members(site), True)
        result.exactly("still the same process", first.alive, True)
        result.exactly("lost", site.lost(), 0)
        result.exactly("tracebacks", len(site.surprises()), 0)
        result.holds(site.broken(all_sent=False))


def _hold(stage: Stage, site: Site, stop: threading.Event) -> None:
    """Take the right to write for 3 s, again and again."""
    while not stop.is_set():
        if stage.cluster is not None:
            with psycopg.connect(site.books.url) as connection:
                connection.execute("LOCK TABLE position, account IN EXCLUSIVE MODE")
                stop.wait(3.0)
        else:
            writer = site.books.lock()
            writer.execute("BEGIN IMMEDIATE")
            stop.wait(3.0)
            writer.close()
        stop.wait(0.3)


def zombie(stage: Stage, result: Result) -> None:
    """Case 21: a consumer is stopped with a batch in hand, overtaken, and goes on."""
    stopped_s, times = stage.scale(120, 14), stage.scale(2, 1)
    options = (*FENCED, "--stop", "decoded", *(() if stage.long else SHORT_SESSION))
    if not stage.long:
        result.scaled = f"{stopped_s} s stopped, a session of 6 s"
    stream = stage.stream(21)
    with stage.site("zombie") as site:
        site.phase(stream.history())
        first = site.serve("consumer", *options)
        site.serve("notifier")
        site.settled()
        for _ in range(times):
            with feeding(site, stream.phase(stopped_s * 150, share=0.3), per_s=120):
                first.stop_in_hand()
                second = site.start("consumer", *options)
                time.sleep(stopped_s)
                overtaken = site.watch is not None and site.watch.first_move_after(second.began + 2.0)
                first.send(signal.SIGCONT)
            site.settled()
            first, _ = second, first.end(20)
        result.exactly("overtaken", bool(overtaken), True)
        result.least("batches fenced", site.fenced(), 1)
        result.exactly("counted twice", max(0, -site.lost()), 0)
        result.exactly("lost", max(0, site.lost()), 0)
        result.exactly("tracebacks", len(site.surprises()), 0)
        result.holds(site.broken())


def two_replicas(stage: Stage, result: Result) -> None:
    """Case 35: two processes with all roles; one is killed in the middle."""
    alerts = stage.scale(10_000, 300)
    if not stage.long:
        result.scaled = f"{alerts} alerts, leases of 5 s for the sender"
    stream = stage.stream(35, accounts=alerts)
    options = () if stage.long else ("--set", "app.notifier:Notifier.__init__(lease_us)=5e6", *SHORT_SESSION)
    with stage.site("two-replicas") as site:
        site.phase(stream.history(days=0))
        first, second = (site.serve("all", *options) for _ in range(2))
        site.settled()
        leaving = [record for account in stream.accounts for record in stream.champion_leaves(account)]
        with feeding(site, leaving, per_s=alerts / 10):
            until(lambda: len(site.recorder.told) > alerts / 4, "a quarter is sent", 240)
            before = site.books.ask("SELECT holder FROM lease WHERE name = 'clock'")
            first.kill()
        killed = time.monotonic()
        assert site.watch is not None
        watch = site.watch
        until(lambda: _clock_kept(site, before), "somebody has the clock", 90)
        taken_over = time.monotonic() - killed
        site.settled(timeout_s=600)
        told = site.recorder.told
        result.exactly("transitions told", len({each.id for each in told}), alerts)
        result.most("copies", site.recorder.copies, AT_ONCE)
        resumed = watch.first_move_after(killed)
        result.tell(
            "the other read on after s", resumed if resumed is not None else "nothing was left to read"
        )
        result.most("takeover of the clock", taken_over, 60.0, "s")
        result.exactly("the other is there", second.alive, True)
        result.holds(site.broken(copies=AT_ONCE))


def _clock_kept(site: Site, before: list[tuple[str]]) -> bool:
    """Whether somebody else than ``before``, who was the first to start and is dead, has the clock."""
    now = time.time_ns() // 1000
    kept = site.books.ask("SELECT holder FROM lease WHERE name = 'clock' AND until > ?", now)
    return bool(kept) and kept != before
