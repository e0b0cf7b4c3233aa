"""Commands on a real broker: topics, producing from files, positions, and what doctor finds."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from tests.e2e.on_kafka import EVENTS, counted, make_topics, on_kafka, put, records, topic
from tests.e2e.running import serving, until, write_lines
from tests.e2e.stories import NOON, event, iso, logins, ndjson


def test_topics_are_made_once_and_what_differs_is_said(kafka: str, tmp_path: Path) -> None:
    command = on_kafka(tmp_path, kafka)
    doctor = command("doctor")
    assert doctor.code == 1
    assert "WRONG  kafka topics: missing" in doctor.out
    assert "bellwether topics create" in doctor.out
    made = command("topics", "create", "--partitions", "3")
    assert (made.code, made.err) == (0, "")
    lines = [f"{topic(command, name)}: made, 3 partitions" for name in EVENTS]
    assert made.out.splitlines() == [*lines, f"{topic(command, 'dead-letters')}: made, 1 partition"]
    again = command("topics", "create")
    assert again.code == 0
    assert again.out.count("exists, 3 partitions") == 6
    assert again.err == "they have 3 partitions, not 8: nothing was changed\n"
    well = command("doctor")
    assert (well.code, "ok     kafka topics: 6 of events, 3 partitions each" in well.out) == (0, True)


def test_a_file_is_produced_and_a_second_run_of_it_counts_once(kafka: str, tmp_path: Path) -> None:
    command = on_kafka(tmp_path, kafka, now=iso(NOON))
    make_topics(command)
    history = [*logins("acme", NOON, days=20), event("a1", "account.updated", "acme", NOON, owner="Ada")]
    file = write_lines(tmp_path / "history.jsonl", [*ndjson(history), b"{nothing"])
    for _ in range(2):
        ended = command("ingest", file, "--to", "kafka", "-o", "json")
        assert ended.code == 1
        said = json.loads(ended.out)
        assert (said["produced"], said["rejected"]) == (81, {"not_json": 1})
        assert "history.jsonl 81: not_json" in ended.err
    assert len(records(command, "logins")) == 160
    assert len(records(command, "accounts")) == 2
    with serving(command) as service:
        until(lambda: counted(service, "duplicate") == 81, "the second run counts nothing")
        assert counted(service, "accepted") == 81
        assert service.get("/v1/accounts/acme")["owner"] == "Ada"
        assert service.end() == 0
    listed = json.loads(command("positions", "list", "-o", "json").out)["data"]
    # The markers of transactions have offsets too, so lag is what tells, not the count.
    assert (
        sum(each["next"] for each in listed if each["partition"].startswith(topic(command, "logins"))) == 160
    )
    assert {each["lag"] for each in listed} == {0}
    assert all("/" in each["log"] for each in listed)
    aside = command("ingest", file)
    assert "unless BELLWETHER_DEDUP=service" in aside.err


def test_positions_go_back_to_a_time_and_say_what_they_skip(kafka: str, tmp_path: Path) -> None:
    command = on_kafka(tmp_path, kafka, now=iso(NOON))
    make_topics(command, partitions=1)
    put(command, "logins", *(event(f"e{n}", "user.login", "acme", NOON, "u") for n in range(3)))
    name = f"{topic(command, 'logins')}/0"
    late = command("positions", "reset", name, "--to-time", "1h")
    assert f"{name}: from 0, never read before, 3 to read" in late.out
    ahead = command("positions", "reset", name, "--to-end")
    assert f"{name}: from 3, skipping 3 offsets after 0, 0 to read" in ahead.out
    back = command("positions", "reset", topic(command, "logins"), "--to-beginning", "-o", "json")
    assert [(each["before"], each["next"]) for each in json.loads(back.out)["data"]] == [(3, 0)]
    for line in (("--to-end", "--to-beginning"), (), ("nowhere/7", "--to-end")):
        refused = command("positions", "reset", *line)
        assert refused.code == 2, line
        assert len(refused.err.splitlines()) == 2
    assert command("positions", "reset", name, "--to-time", iso(NOON + timedelta(days=9_999))).code == 0


def test_settings_that_cannot_work_together_are_refused_in_two_lines(tmp_path: Path) -> None:
    command = on_kafka(tmp_path, "127.0.0.1:1")
    for wrong, named in (
        ({"kafka_security_protocol": "SASL_SSL"}, "mechanism"),
        ({"kafka_sasl_username": "me"}, "PLAINTEXT"),
        ({"kafka_security_protocol": "plain"}, "PLAIN"),
        ({"kafka_security_protocol": "SSL", "kafka_ssl_cafile": "/nowhere.pem"}, "/nowhere.pem"),
        ({"kafka_bootstrap_servers": "broker"}, "broker"),
        ({"kafka_bootstrap_servers": "", "kafka_ssl_cafile": "/ca.pem"}, "BELLWETHER_KAFKA_SSL_CAFILE"),
        ({"topic_prefix": "a b"}, "BELLWETHER_TOPIC_PREFIX"),
    ):
        ended = command("config", "show", **wrong)
        assert ended.code == 2, wrong
        assert named in ended.err, ended.err
        assert len(ended.err.splitlines()) == 2
    away = command("topics", "create")
    assert (away.code, len(away.err.splitlines())) == (2, 2)
