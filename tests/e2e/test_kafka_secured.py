"""A real broker that asks for certificates, names and passwords: who may come in works, who may not is told why."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.conftest import leave_out
from tests.e2e.command import Command
from tests.e2e.on_kafka import EVENTS, on_kafka, put, readiness, records, topic
from tests.e2e.running import rows, serving, until
from tests.e2e.stories import NOON, champion_arrives, iso
from tests.servers import jars
from tests.servers.kafka import Broker, admin, create_topics
from tests.servers.process import free_port

USER, LESSER, PASSWORD = "bellwether", "lesser", "a quiet sheep, with a bell"
MODULES = "org.apache.kafka.common.security"


class Secured(Broker):
    """A broker with a door of each kind beside its own: certificates for all, names and passwords for some."""

    def __init__(self, folder: Path, papers: Path) -> None:
        super().__init__(folder)
        self.papers = papers
        self.doors = {name: free_port() for name in ("SSL", "SASL_SSL", "SASL_PLAINTEXT")}

    def properties(self) -> dict[str, str]:
        """As any broker's, and the doors."""
        own = super().properties()
        doors = "".join(f",{name}://127.0.0.1:{port}" for name, port in self.doors.items())
        kinds = ",".join(f"{name}:{name}" for name in ("PLAINTEXT", *self.doors))
        return {
            **own,
            "listeners": own["listeners"] + doors,
            "advertised.listeners": own["advertised.listeners"] + doors,
            "listener.security.protocol.map": f"{kinds},CONTROLLER:PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.papers / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.papers / "authority.pem"),
            "listener.name.ssl.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:{USER};User:CN=client",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            **{
                f"listener.name.{door}.{mechanism}.sasl.jaas.config": f"{MODULES}.{module};"
                for door in ("sasl_ssl", "sasl_plaintext")
                for mechanism, module in (
                    (
                        "plain",
                        f'plain.PlainLoginModule required user_{USER}="{PASSWORD}" user_{LESSER}="{PASSWORD}"',
                    ),
                    ("scram-sha-256", "scram.ScramLoginModule required"),
                    ("scram-sha-512", "scram.ScramLoginModule required"),
                )
            },
        }


def make_papers(folder: Path) -> Path:
    """An authority, what it certifies for 127.0.0.1 and for a client, and a stranger's authority: PEM files."""
    openssl = shutil.which("openssl")
    if openssl is None:
        leave_out("no openssl on this machine")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-batch", "-days", "2"]
    for name in ("authority", "stranger"):
        run("req", "-x509", *new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    by = ["-CA", "authority.pem", "-CAkey", "authority.key"]
    named = ["-addext", "basicConstraints=CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind, version, *_ = subprocess.run([openssl, "version"], check=True, capture_output=True).stdout.split()
    if kind != b"OpenSSL" or int(version.partition(b".")[0]) < 3:
        leave_out("this openssl is older than OpenSSL 3.0: its req signs for nobody else")
    for name in ("broker", "client"):
        run(
            "req",
            "-x509",
            *new,
            *by,
            *named,
            "-subj",
            f"/CN={name}",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
        )
    with (folder / "broker.pem").open("a") as both:  # a PEM store holds the key and the chain
        both.write((folder / "broker.key").read_text())
    return folder


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The broker, running, with a user who has a SCRAM password."""
    if lacking := jars.missing():
        leave_out(lacking)
    papers = make_papers(tmp_path_factory.mktemp("papers"))
    with Secured(tmp_path_factory.mktemp("secured"), papers) as broker:
        with admin(broker.bootstrap) as client:
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
                told = client.alter_user_scram_credentials(
                    [UserScramCredentialUpsertion(USER, mechanism, PASSWORD)]
                )
                assert told == {USER: None}
        yield broker


def through(folder: Path, broker: Secured, door: str, host: str = "127.0.0.1", **settings: str) -> Command:
    """The command that comes in by a door."""
    trusted = {"kafka_ssl_cafile": str(broker.papers / "authority.pem")} if door.endswith("SSL") else {}
    by = {"kafka_security_protocol": door, **trusted, **settings}
    return on_kafka(folder, f"{host}:{broker.doors[door]}", now=iso(NOON), **by)


def certificate(broker: Secured) -> dict[str, str]:
    """What a client shows where one is asked for."""
    return {
        "kafka_ssl_certfile": str(broker.papers / "client.pem"),
        "kafka_ssl_keyfile": str(broker.papers / "client.key"),
    }


def password(mechanism: str, word: str = PASSWORD, user: str = USER) -> dict[str, str]:
    """What a client says where a name is asked for."""
    return {"kafka_sasl_mechanism": mechanism, "kafka_sasl_username": user, "kafka_sasl_password": word}


@pytest.mark.parametrize(
    "door", ["SSL", "SASL_SSL PLAIN", "SASL_SSL SCRAM-SHA-256", "SASL_PLAINTEXT SCRAM-SHA-512"]
)
def test_topics_are_made_and_an_event_goes_in_and_is_counted(
    secured: Secured, tmp_path: Path, door: str
) -> None:
    protocol, _, mechanism = door.partition(" ")
    shown = password(mechanism) if mechanism else certificate(secured)
    command = through(tmp_path, secured, protocol, **shown)
    made = command("topics", "create", "--partitions", "1")
    assert made.code == 0, made.err
    with serving(command) as service:
        service.send(champion_arrives("acme", NOON))
        until(lambda: service.judged("acme"), "it went to Kafka, and came from there")
        assert service.end() == 0
    assert rows(command, "SELECT count(*) FROM journal") == [(0,)]


def test_the_rights_that_the_page_names_are_enough(secured: Secured, tmp_path: Path) -> None:
    command = through(tmp_path, secured, "SASL_SSL", **password("PLAIN", user=LESSER))
    names = {name: topic(command, name) for name in (*EVENTS, "dead-letters")}
    create_topics(secured.bootstrap, {name: {"num_partitions": 1} for name in names.values()})
    group = command.variables["BELLWETHER_KAFKA_GROUP_ID"]
    named = {"BELLWETHER_TOPIC_PREFIX": command.variables["BELLWETHER_TOPIC_PREFIX"]}
    rights = [
        (ResourcePattern(ResourceType.GROUP, group, ACLResourcePatternType.PREFIXED), ACLOperation.READ),
        *((ResourcePattern(ResourceType.TOPIC, name), ACLOperation.WRITE) for name in names.values()),
        *(
            (ResourcePattern(ResourceType.TOPIC, names[name]), operation)
            for name in EVENTS
            for operation in (ACLOperation.READ, ACLOperation.DESCRIBE)
        ),
    ]
    with admin(secured.bootstrap) as client:
        made = client.create_acls(
            [
                ACL(f"User:{LESSER}", "*", operation, ACLPermissionType.ALLOW, pattern)
                for pattern, operation in rights
            ]
        )
        assert len(made["succeeded"]) == len(rights)
    with serving(command) as service:
        service.send(champion_arrives("acme", NOON))
        until(lambda: service.judged("acme"), "it went to Kafka, and came from there")
        inside = replace(
            command, variables={"BELLWETHER_KAFKA_BOOTSTRAP_SERVERS": secured.bootstrap, **named}
        )
        put(inside, "logins", b"no event")
        until(lambda: records(inside, "dead-letters"), "what is none is put aside")
        assert service.end() == 0


def test_who_may_not_come_in_is_told_what_is_wrong(secured: Secured, tmp_path: Path) -> None:
    shown = certificate(secured)
    strange = shown | {"kafka_ssl_cafile": str(secured.papers / "stranger.pem")}
    refused = {
        "wrong name, password": ("SASL_SSL", "127.0.0.1", password("SCRAM-SHA-512", "wrong")),
        "certificate": ("SSL", "127.0.0.1", {}),
        "verify failed": ("SSL", "127.0.0.1", strange),
        "Hostname mismatch": ("SSL", "localhost", shown),
    }
    commands = {
        why: through(new_folder(tmp_path, why), secured, door, host, **settings)
        for why, (door, host, settings) in refused.items()
    }
    with ThreadPoolExecutor() as at_once:  # each gives up after ten seconds
        told = at_once.map(lambda command: command("topics", "create"), commands.values())
    for (why, (door, _, _)), ended in zip(refused.items(), told, strict=True):
        first, second = ended.err.splitlines()
        assert ended.code == 2
        assert why in first
        assert f"BELLWETHER_KAFKA_{door[:4].removesuffix('_')}" in second
    with serving(commands["wrong name, password"]) as service:
        until(lambda: "check BELLWETHER_KAFKA_SASL" in readiness(service)[1]["kafka"], "the probe says it")


def new_folder(folder: Path, name: str) -> Path:
    """One in it."""
    (folder / name).mkdir()
    return folder / name


def test_a_door_that_speaks_another_protocol_is_named(secured: Secured, tmp_path: Path) -> None:
    command = on_kafka(tmp_path, f"127.0.0.1:{secured.doors['SSL']}", now=iso(NOON))
    ended = command("topics", "create")
    assert ended.err.splitlines() == [
        "bellwether: Kafka would not have us: the broker hangs up: does it speak PLAINTEXT there?",
        "  check BELLWETHER_KAFKA_SECURITY_PROTOCOL",
    ]
