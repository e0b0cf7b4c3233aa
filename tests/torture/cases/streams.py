"""Cases 7, 12 to 18: what is in the stream: a backlog, poison, copies, disorder, events too early and too late."""

from __future__ import annotations

import time
from datetime import timedelta

from tests.torture import invariants
from tests.torture.damage import flip_a_byte
from tests.torture.poison import KINDS, poisoned
from tests.torture.result import Result
from tests.torture.site import Site, until
from tests.torture.stage import Stage
from tests.torture.stream import LOGINS, NOW, TODAY, Record, Stream, doubled, shuffled
from tests.torture.topics import DEAD_LETTERS


def catching_up(stage: Stage, result: Result) -> None:
    """Case 7: six hours of lag across midnight, then a million events to catch up with, a scheduler beside."""
    events = stage.scale(1_000_000, 20_000)
    if not stage.long:
        result.scaled = f"{events:,} events"
    stream = stage.stream(7, accounts=stage.scale(500, 40))
    evening, night = NOW.replace(hour=21), NOW.replace(hour=3) + timedelta(days=1)
    with stage.site("catching-up", now=_iso(evening)) as site:
        # 20 logins in the 28 days before, 17 in the last, one of them on its first day: when the day closes, without
        # the two that come by midnight, they have fallen by 24 %; with them by 14.
        on_the_edge = [f"edge-{number}" for number in range(10)]
        site.phase([*stream.history_of(on_the_edge, _edge()), *stream.history()])
        consumer = site.serve("consumer")
        site.settled(sent=False)
        consumer.end()
        late = [
            stream.login(account, evening + timedelta(hours=1 + number), f"u{number}")
            for account in on_the_edge
            for number in range(2)
        ]
        crowd = stream.noise(events)
        site.phase([*crowd, *late])
        site.environment["BELLWETHER_NOW"] = _iso(night)
        began = time.monotonic()
        scheduler = site.serve("scheduler")
        time.sleep(1.0)  # it may close the day before anybody has looked at the log
        consumer = site.serve("consumer")
        site.settled(timeout_s=900, sent=False)
        took = time.monotonic() - began
        until(
            lambda: site.books.ask("SELECT 1 FROM schedule WHERE closed_day IS NOT NULL"),
            "the day is closed",
            60,
        )
        false = [each for each in site.books.transitions() if each.account.startswith("edge-")]
        result.exactly("absence alerts caused by lag", len(false), 0)
        result.least("events a second", events / took, 5_000 if stage.long else 500)
        result.exactly("lost", site.lost(), 0)
        result.exactly("processes that ended", sum(not each.alive for each in (consumer, scheduler)), 0)
        result.holds(invariants.i1_windows_are_the_recount(site.books, site.expectation))
        result.holds(invariants.i7_no_offset_skipped(site.books, site.topics))


def _edge() -> dict[int, int]:
    """Logins by days before the evening's."""
    return {60: 1, **dict.fromkeys(range(30, 50), 1), 28: 1, **dict.fromkeys(range(5, 21), 1)}


def _iso(moment) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def poison(stage: Stage, result: Result) -> None:
    """Case 12: every kind of poison at one per cent, and a flipped bit on the broker's disk."""
    events = stage.scale(40_000, 4_000)
    if not stage.long:
        result.scaled = f"{events:,} events"
    dice, stream = stage.dice(12), stage.stream(12)
    with stage.site("poison") as site:
        site.phase(stream.history())
        consumer = site.serve("consumer")
        site.settled(sent=False)
        records = stream.phase(events)
        kinds = list(KINDS)
        for number in range(max(len(kinds), events // 100)):
            bad = poisoned(kinds[number % len(kinds)], dice.choice(stream.accounts), number)
            records.insert(dice.randrange(len(records)), bad)
        site.phase(records)
        site.settled(sent=False)
        result.exactly("still the same process", consumer.alive, True)
        consumer.end()
        damaged = _damage(stage, site, stream)
        consumer = site.serve("consumer")
        until(lambda: site.read_all() and site.books.idle(), "it reads past the damaged batch", 120)
        rejected = sum(bool(record.reason) for record in site.topics.produced.values())
        letters = site.topics.dead_letters()
        largest = max((letter.size for letter in letters), default=0)
        rows = dict(site.books.ask('SELECT "partition" || \'@\' || "offset", reason FROM dead_letter'))
        wrong = [
            (place, record.reason, rows.get(f"{place[0]}@{place[1]}"))
            for place, record in site.topics.produced.items()
            if record.reason and place not in damaged and rows.get(f"{place[0]}@{place[1]}") != record.reason
        ]
        result.least("kinds", len(KINDS) + len(damaged), 20)
        kept = {(each.partition, each.offset) for each in letters}
        result.exactly("bad records in the dead-letter topic", len(kept), rejected)
        result.exactly("given another reason", wrong[:3], [])
        result.most("reason and origin", largest, 1_024, "bytes")
        result.exactly("lost", site.lost(), 0)
        result.exactly("tracebacks", len(site.surprises()), 0)
        result.holds(invariants.dead_letters_once(site.topics, letters))
        result.holds(site.broken(all_sent=False))


def _damage(stage: Stage, site: Site, stream: Stream) -> set[tuple[str, int]]:
    """One record alone in its batch, a byte of it flipped on the broker's disk; good ones before and behind it.

    Nobody may read meanwhile: what was fetched before the flip is sound.
    """
    account = stream.accounts[0]
    site.phase([stream.login(account, TODAY + timedelta(hours=1))])
    doomed = stream.login(account, TODAY + timedelta(hours=2), "flipped")
    place = site.produce_damaged(doomed)
    site.phase([stream.login(account, TODAY + timedelta(hours=3))])
    stage.broker.stop()
    assert doomed.body is not None
    flip_a_byte(stage.broker.folder / "data", place[0], doomed.body)
    stage.broker.start()
    return {place}


def dead_letters_unwritable(stage: Stage, result: Result) -> None:
    """Case 13: there is no dead-letter topic. The partition with the poison waits, the others go on."""
    stream = stage.stream(13)
    with stage.site("no-dead-letters") as site:
        site.phase(stream.history())
        consumer = site.serve("consumer")
        site.settled(sent=False)
        stage.broker.delete_topic(site.topics.prefix + DEAD_LETTERS)
        bad = poisoned("not JSON", stream.accounts[0], 1)
        stuck = f"{site.topics.prefix}{LOGINS}/{bad.lane(site.topics.partitions)}"
        place = site.topics.ends[stuck]
        site.phase([bad])
        began = time.monotonic()
        alarm = "SELECT 1 FROM incident WHERE kind = 'dead_letters_unwritable' AND closed_at IS NULL AND subject = ?"
        until(lambda: site.books.ask(alarm, stuck), "the incident", 90)
        result.most("alarm after", time.monotonic() - began, 60.0, "s")
        began = time.monotonic()
        site.phase(stream.phase(stage.scale(20_000, 2_000), share=0.3))
        others = [partition for partition in site.topics.ends if partition != stuck]
        until(
            lambda: all(site.books.positions()[each] == site.topics.ends[each] for each in others),
            "the other partitions go on",
            60,
        )
        result.tell("the others caught up after s", time.monotonic() - began)
        time.sleep(stage.scale(30, 3))
        result.most("the partition's position", site.books.positions()[stuck], place)
        stage.broker.create_topic(site.topics.prefix + DEAD_LETTERS)
        began = time.monotonic()
        site.settled(sent=False)
        result.tell("went on after s", time.monotonic() - began)
        result.exactly("incidents left open", len(site.books.ask(alarm, stuck)), 0)
        result.exactly("still the same process", consumer.alive, True)
        result.exactly("lost", site.lost(), 0)
        result.holds(invariants.dead_letters_once(site.topics, site.topics.dead_letters()))
        result.holds(site.broken(all_sent=False))


def copies(stage: Stage, result: Result) -> None:
    """Case 14: 30 % of the events come again, one to five times."""
    _mixed(stage, result, 14, "copies", doubled)


def disorder(stage: Stage, result: Result) -> None:
    """Case 16: events out of order, by up to an hour of the stream."""
    _mixed(stage, result, 16, "disorder", lambda records, dice: shuffled(records, dice, len(records) // 4))


def _mixed(stage: Stage, result: Result, salt: int, name: str, mix) -> None:
    events = stage.scale(50_000, 4_000)
    if not stage.long:
        result.scaled = f"{events:,} events"
    dice, stream = stage.dice(salt), stage.stream(salt)
    with stage.site(name) as site:
        site.phase(mix(stream.history(), dice))
        consumer = site.serve("consumer")
        site.serve("notifier")
        site.settled()
        for _ in range(2):
            site.phase(mix(stream.phase(events // 2), dice))
            site.settled()
        result.tell("duplicates counted", site.books.counters()["duplicate"])
        result.exactly("lost", site.lost(), 0)
        result.exactly("still the same process", consumer.alive, True)
        result.holds(site.broken())


def replayed(stage: Stage, result: Result) -> None:
    """Case 15: everything is read again from the first record."""
    stream = stage.stream(15)
    with stage.site("replayed") as site:
        site.phase(stream.history())
        consumer, notifier = site.serve("consumer"), site.serve("notifier")
        site.settled()
        site.phase(stream.phase(stage.scale(50_000, 3_000)))
        site.settled()
        for process in (consumer, notifier):
            process.end()
        before, sent = site.books.everything(), len(site.recorder.told)
        accepted = site.books.counters()["accepted"]
        site.run("positions", "reset", "--to-time", "1970-01-02T00:00:00Z")
        result.most("positions after the reset", max(site.books.positions().values(), default=0), 0)
        for role in ("consumer", "notifier"):
            site.serve(role)
        site.settled()
        time.sleep(1.0)
        after = site.books.everything()
        other = [name for name in before if before[name] != after[name]]
        result.exactly("tables that changed", [name for name in other if name != "account"], [])
        result.exactly("accounts that changed", _changed(before, after), 0)
        result.exactly("messages", len(site.recorder.told) - sent, 0)
        result.exactly("counted anew", site.books.counters()["accepted"] - accepted, 0)
        result.holds(invariants.i1_windows_are_the_recount(site.books, site.expectation))


def _changed(before, after) -> int:
    """Accounts of which more changed than the moment of the last judgement."""
    strip = [{row[:-1] for row in side["account"]} for side in (before, after)]
    return len(strip[0] ^ strip[1])


def late(stage: Stage, result: Result) -> None:
    """Case 17: late by 30, 100 and 500 days."""
    stream = stage.stream(17, accounts=9)
    with stage.site("late") as site:
        site.phase(stream.history())
        site.serve("consumer")
        site.settled(sent=False)
        before = site.books.windows()
        groups = {30: stream.accounts[:3], 100: stream.accounts[3:6], 500: stream.accounts[6:]}
        site.phase(
            [
                record
                for days, accounts in groups.items()
                for account in accounts
                for record in _late(stream, account, days)
            ]
        )
        site.settled(sent=False)
        after = site.books.windows()
        counted = sum(
            sum(after[account].logins.values()) - sum(before[account].logins.values())
            for account in groups[30]
        )
        recent = sum(
            _within(after[account].active, 64) != _within(before[account].active, 64)
            for days in (100, 500)
            for account in groups[days]
        )
        ancient = sum(after[account].logins != before[account].logins for account in groups[500])
        first = [
            (before[account].first_day or 0) - (after[account].first_day or 0)
            for account in groups[100] + groups[500]
        ]
        result.exactly("30 days late, counted", counted, 3)
        result.exactly("100 and 500 days late, windows of days that moved", recent, 0)
        result.exactly("500 days late, daily counts that moved", ancient, 0)
        result.exactly("first seen moved by days", sorted(set(first)), [30, 430])
        result.exactly("seats said 500 days ago in effect", {after[each].seats for each in groups[500]}, {7})
        result.holds(invariants.i1_windows_are_the_recount(site.books, site.expectation))
        result.holds(invariants.i7_no_offset_skipped(site.books, site.topics))


def _late(stream: Stream, account: str, days: int) -> list[Record]:
    at = TODAY - timedelta(days=days) + timedelta(hours=9)
    facts = [stream.seats(account, at, 7)] if days == 500 else []
    return [stream.login(account, at), *facts]


def _within(active: dict[str, set[int]], days: int) -> dict[str, set[int]]:
    newest = max(max(each) for each in active.values() if each)
    return {user: {day for day in each if day > newest - days} for user, each in active.items()}


def early(stage: Stage, result: Result) -> None:
    """Case 18: from the future."""
    stream = stage.stream(18, accounts=6)
    with stage.site("early") as site:
        site.phase(stream.history())
        site.serve("consumer")
        site.settled(sent=False)
        before = site.books.windows()
        account = stream.accounts[0]
        near = stream.login(account, NOW + timedelta(minutes=4))
        far = [
            Record(record.topic, record.key, record.body, "in_the_future")
            for ahead in (timedelta(minutes=6), timedelta(hours=1), timedelta(days=3650))
            for record in [stream.login(account, NOW + ahead)]
        ]
        site.phase([near, *far])
        site.settled(sent=False)
        after = site.books.windows()
        rejected = site.books.counters()["rejected.in_the_future"]
        gone = [day for day in before[account].logins if day not in after[account].logins]
        result.exactly("five minutes ahead at most, counted", site.lost(), 0)
        result.exactly("further ahead, put aside", rejected, 3)
        result.exactly("days that left the windows", len(gone), 0)
        result.holds(site.broken(all_sent=False))
