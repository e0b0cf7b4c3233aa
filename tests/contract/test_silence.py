"""Silence that is ours: a portfolio whose source is cut, through the real pipeline, on a clock that the test turns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import event, select

from alerts.delivery import Telling
from app import bootstrap
from app.clock import Clock
from app.database import feeds, incidents, journal, keys
from app.database.engine import Database
from app.database.incidents import Incident
from app.database.journal import JournalSource
from app.database.tables import alert, delivery, metadata
from app.database.windows import SqlWindowStore
from app.settings import Settings
from consumers.days import DAY_US, Calendar, instant, micros, parse_instant
from consumers.pipeline import Pipeline
from consumers.source import Chunk

HOUR = 3_600_000_000
CUT_DAY = micros(parse_instant("2026-11-18T00:00:00Z")) // DAY_US  # a Wednesday
NOON = CUT_DAY * DAY_US + 12 * HOUR
SENDER = "product backend"
CONFIGURATION = """
extends: defaults
destinations:
  - {name: crm, type: webhook, url: "https://crm.example/hook", secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}
"""


class Dial:
    """Both clocks, turned by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def now_us(self) -> int:
        return self.now

    def real_us(self) -> int:
        return self.now


class Service:
    """A service without its threads: what they would do happens when the clock is turned."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.database = Database(f"sqlite:///{folder}/bellwether.db")
        event.listen(self.database.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        metadata.create_all(self.database.engine)
        (folder / "rules.yaml").write_text(CONFIGURATION + more)
        self.dial = Dial()
        settings = Settings(config=folder / "rules.yaml", delivery=Telling.LIVE)
        self.house = bootstrap.House.build(settings, cast("Clock", self.dial), self.database, folds=True)
        self.clockwork = self.house.clockwork()
        self.loop = self.house.consumer(JournalSource(self.database))

    def send(self, events: Iterable[tuple[int, str, str, str]], sender: str = SENDER) -> None:
        """(instant, type, account, user) of each, in an order of its own."""
        bodies = [_body(*each) for each in events]
        with self.database.write() as connection:
            journal.append(connection, bodies, sender=sender, received_at=self.dial.now)

    def turn_to(self, now: int) -> None:
        """Let everything happen that is due: what was sent is counted, what it touched is judged, the clock rings."""
        self.dial.now = now
        self.loop.drain()
        while self.house.evaluator.evaluate_touched(2_000, now).more:
            pass
        self.clockwork.tick(now)

    def alerts(self) -> Sequence[tuple[str, str]]:
        with self.database.read() as connection:
            return [
                (row.rule, row.account_id) for row in connection.execute(select(alert).order_by(alert.c.id))
            ]

    def incidents(self) -> Sequence[Incident]:
        with self.database.read() as connection:
            return list(reversed(incidents.newest(connection, 100)))

    def told(self) -> Sequence[dict[str, Any]]:
        with self.database.read() as connection:
            rows = connection.execute(select(delivery).order_by(delivery.c.id)).all()
        assert {row.kind for row in rows} <= {"alert.summary"}
        return [json.loads(row.payload)["incident"] for row in rows]

    def change(self, account_id: str) -> tuple[float | None, str]:
        answer = self.house.reader.metrics(account_id)
        assert answer is not None
        value = answer["metrics"]["logins.change_28d"]
        return value["value"], value["status"]


def _body(at: int, kind: str, account: str, user: str) -> bytes:
    data = ',"data":{"feature":"reports"}' if kind == "feature.used" else ""
    return (
        f'{{"id":"{account}-{user}-{at}-{kind}","type":"{kind}","account_id":"{account}","user_id":"{user}",'
        f'"occurred_at":"{instant(at).isoformat()}"{data}}}'
    ).encode()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path)
    yield made
    made.database.close()


def at_the_edge(accounts: int, days: Iterable[int]) -> list[tuple[int, str, str, str]]:
    """Logins of accounts of which each has lost 19.6 % when the day of the cut closes, and never more than that.

    Two a day, one of them after noon; from four weeks before that close on only 45 in 28 days. All hours have some.
    """
    found = []
    for day in days:
        back = CUT_DAY - day
        twice = back >= 28 or back % 28 not in range(5, 16)
        for number in range(accounts):
            at = day * DAY_US + number % 12 * HOUR + number * 1_000_000 + number % 50 * 60_000_000
            found.append((at + 12 * HOUR, "user.login", f"a{number}", "late"))
            if twice:
                found.append((at, "user.login", f"a{number}", "early"))
    return sorted(found)


def test_a_source_that_is_cut_for_a_day_is_one_incident_and_no_alert_and_no_burst_when_it_is_back(
    service: Service,
) -> None:
    events = at_the_edge(1_000, range(CUT_DAY - 60, CUT_DAY + 3))
    service.send(each for each in events if each[0] < NOON)
    service.turn_to(NOON)
    assert service.alerts() == []

    for hours in (1, 6, 11, 12, 13, 18, 23):
        service.turn_to(NOON + hours * HOUR + 1_000)
        assert service.alerts() == []
        assert service.incidents() == []
    # The day has closed without its afternoon, and would look like every single customer leaving.
    value, status = service.change("a7")
    assert (status, round(value or 0, 4)) == ("ok", round(44 / 56 - 1, 4))

    service.turn_to(NOON + 24 * HOUR + 60_000_000)
    assert service.change("a7")[1] == "stale_source"
    (begun,) = service.incidents()
    assert (begun.kind, begun.subject, begun.closed_at) == ("stale_source", f"sender {SENDER}", None)
    service.turn_to(NOON + 25 * HOUR)

    # It comes back, and sends what it owes in the order in which it happened, while the clock goes on.
    back = NOON + 25 * HOUR
    owed = [each for each in events if NOON <= each[0] < back]
    for first in range(0, len(owed), 250):
        service.send(owed[first : first + 250])
        service.turn_to(back + first * 1_000_000)
        assert service.alerts() == []
    for hours in (1, 6, 11, 12):
        now = back + hours * HOUR
        service.send(each for each in events if now - 6 * HOUR <= each[0] < now)
        service.turn_to(now)
    assert service.alerts() == []
    assert service.change("a7")[1] == "ok"
    (ended,) = service.incidents()
    assert ended.closed_at is not None
    assert [each["status"] for each in service.told()] == ["open", "closed"]


def steady(hours: Iterable[int], account: str = "acme", user: str = "u") -> list[tuple[int, str, str, str]]:
    """A login in each of these hours, counted from the day of the cut."""
    return [(CUT_DAY * DAY_US + hour * HOUR, "user.login", account, user) for hour in hours]


def test_a_sender_who_is_back_after_days_tells_nobody_twice_and_another_one_is_an_incident_of_its_own(
    service: Service,
) -> None:
    service.send(steady(range(-40 * 24, 12)))
    service.send(steady(range(-40 * 24, 12), "zenith"), sender="other backend")
    service.turn_to(NOON)
    service.send(steady(range(12, 42), "zenith"), sender="other backend")
    service.turn_to(NOON + 30 * HOUR)
    service.turn_to(NOON + 60 * HOUR)
    assert [each.subject for each in service.incidents()] == [f"sender {SENDER}", "sender other backend"]
    assert len(service.told()) == 2
    service.send(steady(range(12, 73)))
    service.turn_to(NOON + 61 * HOUR)
    assert [each.closed_at is None for each in service.incidents()] == [False, True]
    assert [(each["source"], each["status"]) for each in service.told()] == [
        (f"sender {SENDER}", "open"),
        ("sender other backend", "open"),
        (f"sender {SENDER}", "closed"),
    ]
    service.turn_to(NOON + 62 * HOUR)
    assert len(service.told()) == 3


def test_a_backfill_that_is_still_coming_in_is_no_incident(service: Service) -> None:
    for first in range(-40 * 24, 0, 240):
        service.send(steady(range(first, first + 240)))
        service.turn_to(service.dial.now + 1_000_000)
        assert service.incidents() == []
    service.send(steady(range(13)))
    service.turn_to(NOON + 60_000_000)
    assert service.incidents() == []


def test_a_backfill_that_ended_long_ago_is_one_after_a_minute(service: Service) -> None:
    service.send(steady(range(-40 * 24, -30 * 24)))
    service.turn_to(NOON)
    service.turn_to(NOON + 59_000_000)
    assert service.incidents() == []
    service.turn_to(NOON + 60_000_000)
    assert [each.subject for each in service.incidents()] == [f"sender {SENDER}"]


def test_a_restart_neither_forgets_an_incident_nor_tells_it_again(service: Service) -> None:
    service.send(steady(range(-40 * 24, 12)))
    service.turn_to(NOON)
    service.turn_to(NOON + 25 * HOUR)
    service.clockwork.stop()
    service.clockwork = service.house.clockwork()
    service.turn_to(NOON + 26 * HOUR)
    assert len(service.told()) == 1
    service.send(steady(range(12, 38)))
    service.turn_to(NOON + 26 * HOUR + 3_000_000)
    assert [each["status"] for each in service.told()] == ["open", "closed"]


def test_what_a_person_says_of_a_source_ends_its_incident(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.send(steady(range(-40 * 24, 12)))
    service.turn_to(NOON)
    service.turn_to(NOON + 25 * HOUR)
    assert [each.closed_at for each in service.incidents()] == [None]
    (tmp_path / "rules.yaml").write_text(CONFIGURATION + f"sources: {{{SENDER}: {{expected_gap: 3650d}}}}\n")
    service.house.book.reload()
    service.turn_to(NOON + 26 * HOUR)
    assert [each.closed_at is None for each in service.incidents()] == [False]
    service.database.close()


def test_a_key_that_was_revoked_is_waited_for_no_longer(service: Service) -> None:
    service.send(steady(range(-40 * 24, 12)))
    service.turn_to(NOON)
    service.turn_to(NOON + 25 * HOUR)
    with service.database.write() as connection:
        key, _ = keys.create(
            connection, name=SENDER, scopes=frozenset({keys.Scope.INGEST}), created_at=service.dial.now
        )
        assert keys.revoke(connection, key.id, revoked_at=service.dial.now)
    service.turn_to(NOON + 26 * HOUR)
    assert [each.closed_at is None for each in service.incidents()] == [False]


def test_every_process_adds_to_what_others_have_stored(database: Database) -> None:
    calendar = Calendar("UTC")
    stores = [SqlWindowStore(database), SqlWindowStore(database)]
    pipelines = [Pipeline(each, calendar) for each in stores]
    times = [CUT_DAY * DAY_US + hour * HOUR // 4 for hour in (0, 1, 9, 2, 40, 3, 41, 8)]
    for number, at in enumerate(times):
        chunk = Chunk(
            f"t/{number % 2}",
            number // 2,
            number // 2 + 1,
            [_body(at, "user.login", "a", "u")],
            [number // 2],
        )
        pipelines[number % 2].handle([chunk], "test", NOON + 30 * DAY_US)
    with database.read() as connection:
        (stored,) = feeds.everything(connection)
    assert (stored.source, stored.family, stored.newest_at) == ("topic t", "logins", max(times))
    assert stored.heard_hours() == sorted({at // HOUR for at in times})


def test_a_reader_of_ours_that_stays_away_is_told_of_after_a_quarter_of_an_hour(service: Service) -> None:
    service.send(steady(range(-40 * 24, 12)))
    service.turn_to(NOON)
    late = NOON + 2 * HOUR
    for minutes in (0, 14):
        service.dial.now = late + minutes * 60_000_000
        service.clockwork.tick(service.dial.now)
        assert service.incidents() == []
    service.dial.now = late + 15 * 60_000_000
    service.clockwork.tick(service.dial.now)
    assert [(each.subject, each.detail.splitlines()[0]) for each in service.incidents()] == [
        ("journal", "journal is read more than an hour late")
    ]
    service.turn_to(late + 16 * 60_000_000)
    assert [each["status"] for each in service.told()] == ["open", "closed"]


def test_what_was_judged_without_some_activity_is_judged_anew_when_just_that_is_heard_again(
    service: Service,
) -> None:
    features = [(at, "feature.used", "zenith", "u") for at, *_ in steady(range(-40 * 24, 12))]
    service.send(steady(range(-40 * 24, 12)))
    service.send(features, sender="other backend")
    service.turn_to(NOON)
    service.turn_to(NOON + 25 * HOUR)
    assert service.house.hearing.deaf() == {"logins", "features"}
    service.send([(NOON + 25 * HOUR, "feature.used", "zenith", "u")], sender="other backend")
    service.turn_to(NOON + 25 * HOUR)
    assert service.house.hearing.deaf() == {"logins"}
    service.send(steady(range(12, 38)))
    service.turn_to(NOON + 26 * HOUR)
    assert service.house.hearing.deaf() == frozenset()
