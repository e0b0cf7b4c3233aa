"""I1 to I8: each a function that returns what breaks it, one line a finding; an empty list is what everybody wants.

They look from outside: at the database's rows, the receiver's record, the logs, the dead-letter topic, and compare with
the recount of what was produced. Nothing of the package is imported here.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from tests.torture.books import Books
from tests.torture.expected import Expectation
from tests.torture.recorder import Told
from tests.torture.topics import DeadLetter, Topics

_SHOWN = 5
OPEN_TWICE = "SELECT key, count(*) FROM alert WHERE status <> 'resolved' GROUP BY key HAVING count(*) > 1"


def i1_windows_are_the_recount(books: Books, expectation: Expectation) -> list[str]:
    """The windows of every account are what an independent count of the produced events gives."""
    kept, wanted = books.windows(), expectation.windows()
    missing = sorted(wanted.keys() - kept.keys())
    extra = sorted(kept.keys() - wanted.keys())
    other = sorted(account for account in wanted.keys() & kept.keys() if wanted[account] != kept[account])
    return (
        _some("I1 no windows of", missing)
        + _some("I1 windows of nobody", extra)
        + _some("I1 windows differ:", other)
    )


def i2_every_transition_once(books: Books, expectation: Expectation) -> list[str]:
    """Every transition that the recount predicts is in the history once, in order, and no other."""
    kept = sorted(books.transitions(), key=lambda move: move[:2])
    wanted = expectation.transitions()
    if kept == wanted:
        return []
    lost = Counter(wanted) - Counter(kept)
    extra = Counter(kept) - Counter(wanted)
    found = _some("I2 lost:", list(lost)) + _some("I2 not predicted:", list(extra))
    return found or ["I2 in another order"]


def i3_one_open_alert(books: Books) -> list[str]:
    """At most one alert is open for each identity now, and episodes never overlapped."""
    found = _some("I3 open twice:", books.ask(OPEN_TWICE))
    spans = defaultdict(list)
    for key, episode, fired, resolved in books.ask("SELECT key, episode, fired_at, resolved_at FROM alert"):
        spans[key].append((episode, fired or 0, resolved))
    for key, episodes in spans.items():
        episodes.sort()
        for (_, _, ended), (number, begun, _) in pairwise(episodes):
            if ended is None or ended > begun:
                found.append(f"I3 {key}: episode {number} begins before the one before it has ended")
    return found


def i4_nothing_untold(books: Books, destination: str) -> list[str]:
    """Every transition has one delivery for the destination, sent or visibly waiting."""
    unheard = books.ask(
        "SELECT h.alert_id, h.seq FROM alert_history AS h JOIN alert AS a ON a.id = h.alert_id"
        " LEFT JOIN delivery AS d ON d.alert_id = h.alert_id AND d.seq = h.seq AND d.destination = ?"
        " WHERE h.kind IN ('firing', 'resolved') AND NOT (a.baseline AND h.kind = 'firing') AND d.id IS NULL",
        destination,
    )
    odd = books.ask(
        "SELECT id, status FROM delivery WHERE status NOT IN ('queued', 'sending', 'sent', 'parked', 'shadow')"
    )
    return _some("I4 no delivery of", unheard) + _some("I4 in no known status:", odd)


def i5_everything_received(
    books: Books, told: Sequence[Told], copies: int, *, all_sent: bool = True
) -> list[str]:
    """The receiver has every id that is sent, signed; and no more copies than ``copies``: AT_ONCE a kill."""
    came = Counter(each.id for each in told)
    rows = books.ask("SELECT webhook_id, status FROM delivery")
    sent = {id_ for id_, status in rows if status == "sent"}
    found = _some("I5 sent, but never received:", sorted(sent - came.keys()))
    found += _some("I5 received, but unknown:", sorted(came.keys() - {id_ for id_, _ in rows}))
    if all_sent:
        found += _some("I5 not sent at the end:", [row for row in rows if row[1] != "sent"])
    doubled = sum(count - 1 for count in came.values())
    if doubled > copies:
        found.append(f"I5 {doubled} copies at the receiver, at most {copies} are allowed")
    unsigned = [each.id for each in told if not each.signed]
    return found + _some("I5 signature does not hold:", unsigned)


def i6_in_order(told: Sequence[Told]) -> list[str]:
    """For each alert the sequence never goes back at the receiver."""
    newest: dict[str, int] = {}
    found = []
    for each in sorted(told, key=lambda message: message.at):
        if each.seq < newest.get(each.alert, 0):
            found.append(f"I6 {each.alert}: {each.seq} came after {newest[each.alert]}")
        newest[each.alert] = max(each.seq, newest.get(each.alert, 0))
    return found


def i7_no_offset_skipped(books: Books, topics: Topics) -> list[str]:
    """Positions stand at the ends, and every record produced was counted once: taken in, known already or rejected."""
    positions = books.positions()
    found = [
        f"I7 {partition}: at {positions.get(partition)}, produced {end}"
        for partition, end in topics.ends.items()
        if positions.get(partition) != end
    ]
    counters = books.counters()
    handled = sum(
        count
        for name, count in counters.items()
        if name in {"accepted", "duplicate", "internal"} or name.startswith("rejected.")
    )
    if handled != topics.ends.total():
        found.append(
            f"I7 {topics.ends.total()} records were produced, {handled} were counted: {dict(counters)}"
        )
    rejected = set(books.ask('SELECT "partition", "offset" FROM dead_letter'))
    unexplained = [
        place for place, record in topics.produced.items() if record.reason and place not in rejected
    ]
    wrongly = [place for place in rejected if place in topics.produced and not topics.produced[place].reason]
    return (
        found
        + _some("I7 bad, but no dead letter:", unexplained)
        + _some("I7 good, but a dead letter:", wrongly)
    )


def dead_letters_once(topics: Topics, letters: Sequence[DeadLetter], copies: int = 0) -> list[str]:
    """Every bad record is in the dead-letter topic, with its place; again at most ``copies`` times over all."""
    came = Counter((letter.partition, letter.offset) for letter in letters)
    bad = {place for place, record in topics.produced.items() if record.reason}
    found = _some("no dead letter of", sorted(bad - came.keys())) + _some(
        "dead letter of", sorted(came.keys() - bad)
    )
    doubled = sum(came.values()) - len(came)
    return [*found, f"{doubled} dead letters twice, at most {copies} may be"] if doubled > copies else found


def i8_no_secret(
    secrets: Mapping[str, str], logs: Iterable[Path], answers: Mapping[str, str], books: Books
) -> list[str]:
    """No secret is in a log, in an answer, or beside a dead letter."""
    places: dict[str, str] = {str(log.name): log.read_text(errors="replace") for log in logs}
    places.update(answers)
    places["dead letters"] = str(books.ask("SELECT detail, origin FROM dead_letter"))
    places["delivery details"] = str(books.ask("SELECT detail FROM delivery_attempt"))
    places["incidents"] = str(books.ask("SELECT detail FROM incident"))
    return [
        f"I8 {what} is in {place}"
        for place, text in places.items()
        for what, secret in secrets.items()
        if secret and secret in text
    ]


class Watch:
    """Looks at positions and open alerts all the time: what must never be, and is not to be seen afterwards.

    While the database is away it sees nothing, which is no finding.
    """

    def __init__(self, books: Books, every_s: float = 0.1) -> None:
        self.findings: list[str] = []
        self.moves: list[tuple[float, str, int]] = []  # when (monotonic), partition, position
        self._books = books
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        before: dict[str, int] = {}
        while not self._ended.wait(self._every_s):
            try:
                now = self._books.positions()
                twice = self._books.ask(OPEN_TWICE)
            except Exception:
                continue
            at = time.monotonic()
            for partition, position in now.items():
                if position < before.get(partition, 0):
                    self.findings.append(f"I7 {partition} went back from {before[partition]} to {position}")
                if position != before.get(partition):
                    self.moves.append((at, partition, position))
            self.findings += _some("I3 open twice:", twice)
            before = now

    def first_move_after(self, at: float) -> float | None:
        """Seconds from ``at`` to the next time any position moved."""
        return next((moved - at for moved, _, _ in list(self.moves) if moved >= at), None)

    def longest_pause(self, begin: float, end: float, partition: str | None = None) -> float:
        """The longest time within which no position moved, or not that of ``partition``."""
        moved = [at for at, name, _ in list(self.moves) if begin <= at <= end and partition in {None, name}]
        times = [begin, *moved, end]
        return max(after - before for before, after in pairwise(times))

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join(10)


def _some(what: str, found: Sequence[object]) -> list[str]:
    if not found:
        return []
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return [f"{what} {', '.join(map(str, found[:_SHOWN]))}{more}"]
