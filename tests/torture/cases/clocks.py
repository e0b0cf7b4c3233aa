"""Case 33: the real clock is set forward, back, far ahead, and swings."""

from __future__ import annotations

import time

from tests.torture.process import Process
from tests.torture.result import Result
from tests.torture.site import Site, until
from tests.torture.stage import Stage

HOUR = 3_600
YEARS = 10 * 365 * 86_400


def wrong_clock(stage: Stage, result: Result) -> None:
    """Case 33: the scheduler and the sender live through it; nothing storms, nothing stops, nothing is told twice."""
    swing_s = stage.scale(60, 8)
    if not stage.long:
        result.scaled = f"swings for {swing_s} s"
    stream = stage.stream(33)
    crossing = iter(stream.accounts)
    with stage.site("wrong-clock") as site:
        by = site.folder / "skew"
        by.write_text("0")
        site.phase(stream.history())
        skewed = ("--by", str(by))
        running = [
            site.serve(role, *skewed, program="skewing") for role in ("consumer", "scheduler", "notifier")
        ]
        site.settled()
        bursts, slow = list[float](), list[float]()
        usual = _used(running)
        for seconds in (HOUR, 0, -HOUR, 0, YEARS, 0):
            by.write_text(str(seconds))
            bursts.append(_used(running) - usual)
            slow.append(_told_after(site, stream, next(crossing)))
        before = len(site.recorder.told)
        end = time.monotonic() + swing_s
        while time.monotonic() < end:
            for seconds in (300, -300):
                by.write_text(str(seconds))
                time.sleep(0.5)
        stormed = len(site.recorder.told) - before
        by.write_text("0")
        slow.append(_told_after(site, stream, next(crossing)))
        site.settled()
        result.most("slowest message after a jump", max(slow), 90.0, "s")
        result.tell("each", [round(each, 1) for each in slow])
        result.exactly("messages while it swung", stormed, 0)
        result.most("processor after a jump, beyond the usual, in 3 s", max(bursts), 1.0, "s")
        result.exactly("processes that ended", sum(not each.alive for each in running), 0)
        result.exactly("copies", site.recorder.copies, 0)
        result.holds(site.broken())


def _used(running: list[Process]) -> float:
    """Processor seconds of the busiest within 3 s."""
    before = [each.cpu_s() for each in running]
    time.sleep(3.0)
    return max(each.cpu_s() - used for each, used in zip(running, before, strict=True))


def _told_after(site: Site, stream, account: str) -> float:
    """How long a new alert takes to be told."""
    began, before = time.monotonic(), len(site.recorder.told)
    site.phase(stream.champion_leaves(account))
    until(lambda: len(site.recorder.told) > before, "the message", 120)
    return time.monotonic() - began
