"""The windows made anew from a broker, beside a service that runs and senders that do not stop."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from kafka import KafkaProducer
from sqlalchemy import select

from app.database.engine import Database
from app.database.tables import account, account_window
from tests.e2e.command import Command
from tests.e2e.on_kafka import bootstrap, make_topics, on_kafka, put, topic
from tests.e2e.running import serving, until, write_lines
from tests.e2e.stories import NOON, event, iso, ndjson

ACCOUNTS = 5


def login(number: int, prefix: str = "e") -> dict[str, object]:
    """One of many, spread over days and accounts."""
    name = f"a{number % ACCOUNTS}"
    return event(
        f"{prefix}{number}", "user.login", name, NOON - timedelta(days=number % 30), f"u{number % 7}"
    )


def on_postgresql(folder: Path, kafka: str, url: str) -> Command:
    """The command on both servers; its topics are there."""
    command = on_kafka(folder, kafka, now=iso(NOON))
    command.variables["BELLWETHER_DATABASE_URL"] = url
    make_topics(command)
    return command


def logins_counted(url: str) -> Counter[str]:
    """Logins in the windows of each account."""
    wanted = select(account.c.account_id, account_window.c.days).join(
        account_window, account_window.c.account_no == account.c.no
    )
    database = Database(url)
    try:
        with database.read() as connection:
            return Counter(
                {name: sum(memoryview(days).cast("H")) for name, days in connection.execute(wanted)}
            )
    finally:
        database.close()


@contextmanager
def sending(command: Command) -> Iterator[Counter[str]]:
    """Somebody who sends login after login into both partitions; gives how many of each account are in the log."""
    over, sent = threading.Event(), Counter[str]()
    producer = KafkaProducer(bootstrap_servers=bootstrap(command), acks="all")

    def send() -> None:
        number = 0
        while not over.wait(0.02):
            said = login(number)
            producer.send(topic(command, "logins"), json.dumps(said).encode(), partition=number % 2).get(10)
            sent[str(said["account_id"])] += 1
            number += 1

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield sent
    finally:
        over.set()
        sender.join(20)
        producer.close()


def test_a_rebuild_ends_while_senders_go_on_and_a_consumer_beside_it_loses_nothing(
    kafka: str, postgres_migrated: str, tmp_path: Path
) -> None:
    command = on_postgresql(tmp_path, kafka, postgres_migrated)
    put(command, "accounts", event("o1", "account.updated", "a1", NOON, owner="Ada"))
    with serving(command, "consumer") as service:
        with sending(command) as sent:
            until(lambda: logins_counted(postgres_migrated).total() > 20, "the consumer reads")
            ended = command("db", "rebuild", "--from", "kafka")
            assert (ended.code, ended.err) == (0, "")
            assert f"folded into {ACCOUNTS} accounts" in ended.out
            before = sent.total()
            until(lambda: sent.total() > before + 20, "senders still send")
        until(lambda: logins_counted(postgres_migrated) == sent, "each login is counted, and once")
        assert service.end() == 0


def test_topics_and_imported_files_together_give_what_both_hold_and_neither_alone_is_taken(
    kafka: str, postgres_migrated: str, tmp_path: Path
) -> None:
    command = on_postgresql(tmp_path, kafka, postgres_migrated)
    put(command, "logins", *(login(number) for number in range(10)))
    file = write_lines(tmp_path / "history.jsonl", ndjson([login(n, "f") for n in range(40, 60)]))
    only = write_lines(tmp_path / "only.jsonl", ndjson([event("x1", "user.login", "elsewhere", NOON, "u")]))
    together = command("db", "rebuild", "--from", "kafka", file, only)
    assert (together.code, together.err) == (0, "")
    whole = logins_counted(postgres_migrated)
    assert whole.total() == 31
    with serving(command, "consumer") as service:
        put(command, "logins", login(10))
        until(lambda: logins_counted(postgres_migrated).total() == 32, "it goes on behind what was read")
        assert service.end() == 0

    alone = command("db", "rebuild", "--from", file, only)
    assert (alone.code, len(alone.err.splitlines())) == (2, 2)
    assert "Kafka is configured" in alone.err
    lacking = command("db", "rebuild", "--from", "kafka", file)
    assert (lacking.code, len(lacking.err.splitlines())) == (2, 2)
    assert "1 accounts would have no windows any more" in lacking.err
    assert logins_counted(postgres_migrated).total() == 32

    wanted = command("db", "rebuild", "--from", "kafka", file, "--allow-loss")
    assert wanted.code == 0
    assert "1 files had been imported and were not given" in wanted.out
    assert "only.jsonl" in wanted.out
    assert logins_counted(postgres_migrated).total() == 31


def test_a_missing_topic_is_named_before_anything_is_read(kafka: str, tmp_path: Path) -> None:
    command = on_kafka(tmp_path, kafka)
    ended = command("db", "rebuild", "--from", "kafka")
    assert ended.code != 0
    assert len(ended.err.splitlines()) == 2
    assert topic(command, "logins") in ended.err
    assert "bellwether topics create" in ended.err
