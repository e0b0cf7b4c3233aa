"""A service on a real broker: what it promises to senders, what it does when Kafka or a topic is away."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType

from tests.e2e.on_kafka import counted, make_topics, metric, on_kafka, put, readiness, records, topic
from tests.e2e.running import Running, rows, serving, until
from tests.e2e.stories import NOON, event, iso
from tests.servers.kafka import Broker, admin, create_topic, delete_topic

BAD = b'{"id": "bad"}'


def login(number: int, account: str = "acme") -> dict[str, Any]:
    """One of many logins of a day."""
    return event(f"e{number}", "user.login", account, NOON - timedelta(minutes=number), f"u{number % 5}")


def ready(service: Running) -> bool:
    """Whether all parts are."""
    return readiness(service)[0] == 200


def test_what_http_took_in_is_in_kafka_before_the_answer_keyed_by_account_and_under_one_key_once(
    kafka: str, tmp_path: Path
) -> None:
    command = on_kafka(tmp_path, kafka, now=iso(NOON))
    make_topics(command, partitions=4)
    with serving(command, "api") as service:
        sent = [
            login(1),
            login(2),
            login(3, "other"),
            event("s1", "seats.changed", "acme", NOON, purchased=5),
        ]
        status, said, _ = service.request("POST", "/v1/events", [*sent, {"id": "nothing else"}])
        assert (status, said["accepted"], [each["index"] for each in said["rejected"]]) == (202, 4, [4])
        found = records(command, "logins")
        assert Counter(record.key for record in found) == {b"acme": 2, b"other": 1}
        assert len({record.partition for record in found if record.key == b"acme"}) == 1
        assert [record.key for record in records(command, "seats")] == [b"acme"]
        assert rows(command, "SELECT count(*) FROM journal") == [(0,)]
        assert rows(command, "SELECT reason FROM dead_letter") == [("missing_field",)]

        one = [service.request("PUT", "/v1/accounts/acme", {"owner": "Ada"})[0] for _ in range(2)]
        assert one == [202, 202]
        assert len(records(command, "accounts")) == 2
        assert service.end() == 0


def test_kafka_may_be_away_at_the_start_and_later_and_nothing_that_was_answered_is_lost(
    own_broker: Broker, tmp_path: Path
) -> None:
    command = on_kafka(tmp_path, own_broker.bootstrap, now=iso(NOON))
    make_topics(command)
    own_broker.kill()
    with serving(command) as service:
        assert service.request("GET", "/livez")[0] == 200
        status, parts = readiness(service)
        assert (status, parts["database"]) == (503, "ready")
        assert parts["kafka"] != "ready"
        status, said, _ = service.request("POST", "/v1/events", login(1))
        assert (status, said["code"]) == (503, "log_unavailable")

        own_broker.start()
        until(lambda: ready(service), "it recovers by itself")
        until(lambda: service.request("POST", "/v1/events", login(1))[0] == 202, "intake does")
        until(lambda: counted(service, "accepted") == 1, "the event counts")

        own_broker.kill()
        until(lambda: not ready(service), "it is noticed")
        status, said, _ = service.request("GET", "/v1/accounts/acme/risk")
        assert (status, bool(said["evaluated_at"])) == (200, True)
        assert service.request("POST", "/v1/events", login(2))[0] == 503
        own_broker.start()
        until(lambda: service.request("POST", "/v1/events", login(2))[0] == 202, "intake goes on")
        until(lambda: counted(service, "accepted") == 2, "and so does the rest")
        assert rows(command, "SELECT count(*) FROM alert") == [(0,)]

        began = time.monotonic()
        assert service.end() == 0
        assert time.monotonic() - began < 10


def test_a_rejected_record_is_once_in_the_topic_and_once_in_the_database(kafka: str, tmp_path: Path) -> None:
    command = on_kafka(tmp_path, kafka, now=iso(NOON))
    make_topics(command)
    put(command, "logins", login(1), BAD, login(2), partition=1)
    with serving(command) as service:
        until(lambda: counted(service, "accepted") == 2, "the good ones count")
        assert service.end() == 0
    with serving(command) as service:
        put(command, "logins", login(3), partition=1)
        until(lambda: counted(service, "accepted") == 3, "it goes on behind them")
        [letter] = records(command, "dead-letters")
        headers = dict(letter.headers)
        assert letter.value == BAD
        assert headers.pop("detail")
        assert headers == {
            "reason": b"missing_field",
            "topic": topic(command, "logins").encode(),
            "partition": b"1",
            "offset": b"1",
        }
        kept = rows(command, "SELECT partition, offset, reason, body FROM dead_letter")
        assert kept == [(f"{topic(command, 'logins')}/1", 1, "missing_field", BAD)]
        assert service.end() == 0


def test_a_partition_whose_dead_letters_cannot_be_written_waits_and_the_others_go_on(
    kafka: str, tmp_path: Path
) -> None:
    command = on_kafka(tmp_path, kafka, now=iso(NOON))
    make_topics(command, dead_letters={"max.message.bytes": "100"})
    with serving(command) as service:
        until(lambda: ready(service), "it reads")
        put(command, "logins", login(1), BAD, login(2), partition=0)
        stopped = f"{topic(command, 'logins')}/0"
        until(
            lambda: readiness(service)[1].get("partitions") == f"{stopped} stopped: dead_letters_unwritable",
            "it is said",
        )
        put(command, "logins", login(3, "other"), partition=1)
        moved = "SELECT next FROM position WHERE partition LIKE '%logins/1'"
        until(lambda: rows(command, moved) == [(1,)], "the other partition goes on")
        assert metric(service, 'bellwether_incidents_open{kind="dead_letters_unwritable"}') == 1
        assert rows(command, "SELECT count(*) FROM dead_letter") == [(0,)]

        name = topic(command, "dead-letters")
        with admin(kafka) as client:
            client.alter_configs(
                [ConfigResource(ConfigResourceType.TOPIC, name, {"max.message.bytes": "100000"})]
            )
        until(lambda: counted(service, "accepted") == 3, "it goes on where it stopped")
        assert len(records(command, "dead-letters")) == 1
        until(lambda: "partitions" not in readiness(service)[1], "and it is over")
        assert service.end() == 0


def test_a_topic_made_anew_stops_its_partitions_until_a_person_resets_them(
    kafka: str, tmp_path: Path
) -> None:
    command = on_kafka(tmp_path, kafka, now=iso(NOON))
    make_topics(command, partitions=1)
    logins = topic(command, "logins")
    with serving(command) as service:
        put(command, "logins", login(1), login(2))
        until(lambda: counted(service, "accepted") == 2, "both count")
        delete_topic(kafka, logins)
        create_topic(kafka, logins, 1)
        put(command, "logins", login(2), login(3))
        until(
            lambda: readiness(service)[1].get("partitions") == f"{logins}/0 stopped: recreated",
            "it is noticed",
            45,
        )
        assert counted(service, "accepted") == 2
        told = command("doctor")
        assert (told.code, "its topic was made anew" in told.out) == (1, True)

        moved = command("positions", "reset", f"{logins}/0", "--to-beginning")
        assert moved.code == 0, moved.err
        assert "2 to read" in moved.out
        until(lambda: counted(service, "accepted") == 3, "the new one counts")
        assert counted(service, "duplicate") == 1
        assert "partitions" not in readiness(service)[1]

        # Nothing comes, and still a person who goes back is followed.
        assert command("positions", "reset", logins, "--to-beginning").code == 0
        until(lambda: counted(service, "duplicate") == 3, "all of it came again and counted once")
        assert service.end() == 0
