"""A Kafka broker of our own: a KRaft node from jars that Maven resolves, or a second one beside it.

``python -m tests.servers.kafka`` (`make kafka`) runs one for people.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shlex
import signal
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from tests.servers import jars
from tests.servers.process import Server, await_answer, free_port, launch, listens, signal_group

# One node, small topics, many restarts: nothing waits for company, nothing is made unasked.
SINGLE = {
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
    # After SIGKILL a node may come back only when its old session is over: 9 s by default, most of a test.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


class Broker(Server):
    """One node, kept in ``folder``.

    ``properties`` override the server's own. ``joins`` makes it a second broker of that one's cluster: then topics
    with replication 2 can be made, while the first alone stays the controller. The first must be running.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        node: int = 1,
        joins: Broker | None = None,
        properties: Mapping[str, str] | None = None,
        memory_mb: int = 512,
    ) -> None:
        self.folder = folder.absolute()
        self.port = port or free_port()
        self.node: int = node if joins is None or node != joins.node else joins.node + 1
        self.controller_port: int = free_port() if joins is None else joins.controller_port
        self.cluster_id: str = _kept_id(self.folder) or (_id() if joins is None else joins.cluster_id)
        self.log = self.folder / "broker.log"
        self._controls = joins is None
        self._controller = self.node if joins is None else joins.node
        self._properties = dict(properties or {})
        self._memory_mb = memory_mb

    @property
    def bootstrap(self) -> str:
        """What clients are given: ``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.port}"

    def __str__(self) -> str:
        return f"Kafka at {self.bootstrap}"

    def _launch(self) -> None:
        classes = jars.resolved()
        _archive(classes)
        self._run(jars.command(classes, self._memory_mb))

    def _run(self, java: list[str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "server.properties"
        settings.write_text("".join(f"{key}={value}\n" for key, value in self.properties().items()))
        tool = ["kafka.tools.StorageTool", "format", "-t", self.cluster_id, "-c", settings.name]
        formatting = shlex.join([*java, *tool])
        running = shlex.join([*java, "kafka.Kafka", settings.name])
        script = f"set -e; [ -f data/meta.properties ] || {formatting}; exec {running}"
        self.process = launch(["sh", "-c", script], self.log, parting="KILL")

    def _answers(self) -> bool:
        return answers(self.bootstrap, self.node, self.cluster_id)

    def stop(self, timeout_s: float = 30.0) -> None:
        """SIGTERM, and wait: an orderly end, which hands leadership to the other nodes."""
        if self.process is not None:
            signal_group(self.process, signal.SIGTERM)
            self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""
        if self.process is not None:
            signal_group(self.process, signal.SIGKILL)
            self.process.wait(30)

    def properties(self) -> dict[str, str]:
        """Everything in its server.properties."""
        listeners = f"PLAINTEXT://127.0.0.1:{self.port}"
        if self._controls:
            listeners += f",CONTROLLER://127.0.0.1:{self.controller_port}"
        return {
            "process.roles": "broker,controller" if self._controls else "broker",
            "node.id": str(self.node),
            "controller.quorum.voters": f"{self._controller}@127.0.0.1:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": listeners,
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": str(self.folder / "data"),
            **SINGLE,
            **self._properties,
        }

    def create_topic(
        self, name: str, partitions: int = 1, replication: int = 1, configs: Mapping[str, str] | None = None
    ) -> str:
        """Make a topic and wait until every partition has a leader; returns its name."""
        return create_topic(self.bootstrap, name, partitions, replication, configs)

    def in_sync(self, topic: str, partition: int = 0) -> list[int]:
        """The nodes that hold all of a partition, its leader first; a node that was killed is in it for 3 s more."""
        return in_sync(self.bootstrap, topic, partition)

    def delete_topic(self, name: str) -> None:
        """Delete a topic and wait until it is gone."""
        delete_topic(self.bootstrap, name)


def _archive(classes: Path) -> None:
    """Once: keep the classes that a broker loads in the form in which they load quickly (ten seconds)."""
    archive = classes / jars.ARCHIVE
    if archive.exists() or not os.access(classes.parent, os.W_OK):
        return
    with jars.alone(classes), tempfile.TemporaryDirectory(dir=classes.parent) as scratch:
        if archive.exists():
            return
        kept = Path(scratch) / jars.ARCHIVE
        trial = Broker(Path(scratch) / "broker")
        try:
            trial._run(jars.command(classes, 512, keep_classes_in=kept))
            trial.await_answer()
            trial.create_topic("trial")
            trial.stop()
        finally:
            trial.kill()
        if kept.exists():
            kept.replace(archive)


def answers(bootstrap: str, node: int | None = None, cluster_id: str | None = None) -> bool:
    """Whether a broker there tells of its cluster (and that it is this one), and of ``node`` in it."""
    host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
    if not listens(host, int(port)):
        return False
    try:
        with admin(bootstrap, patience_s=5) as client:
            cluster = client.describe_cluster()
    except (KafkaError, OSError):
        return False
    brokers = {each["broker_id"] for each in cluster["brokers"]}
    return (node is None or node in brokers) and cluster_id in (None, cluster["cluster_id"])


@contextlib.contextmanager
def admin(bootstrap: str, *, patience_s: float = 30.0) -> Iterator[KafkaAdminClient]:
    """An admin client for the length of a block."""
    client = KafkaAdminClient(
        bootstrap_servers=bootstrap.split(","),
        bootstrap_timeout_ms=int(patience_s * 1000),
        request_timeout_ms=int(patience_s * 1000),
    )
    try:
        yield client
    finally:
        client.close()


def create_topic(
    bootstrap: str,
    name: str,
    partitions: int = 1,
    replication: int = 1,
    configs: Mapping[str, str] | None = None,
) -> str:
    """Make a topic and wait until every partition has a leader; returns its name."""
    create_topics(
        bootstrap,
        {
            name: {
                "num_partitions": partitions,
                "replication_factor": replication,
                "configs": dict(configs or {}),
            }
        },
    )
    return name


def create_topics(bootstrap: str, topics: Mapping[str, Mapping[str, Any]]) -> None:
    """Make several topics at once, their options as the library names them; all have leaders at the end."""
    with admin(bootstrap) as client:
        client.create_topics(
            {name: {"replication_factor": 1, **each} for name, each in topics.items()}, timeout_ms=30_000
        )
        client.wait_for_topics([*topics], timeout_ms=30_000)


def in_sync(bootstrap: str, topic: str, partition: int = 0) -> list[int]:
    """The nodes that hold all of a partition, its leader first."""

    def ask() -> list[int] | None:
        # The client asks any node it was told of, so also one that has just died.
        with contextlib.suppress(KafkaError), admin(bootstrap) as client:
            for each in client.describe_topics([topic])[0]["partitions"]:
                if each["partition_index"] == partition:
                    leader = each["leader_id"]
                    return sorted(each["isr_nodes"], key=lambda node: (node != leader, node))
        return None

    return await_answer(ask, f"the metadata of {topic}", 30)


def delete_topic(bootstrap: str, name: str) -> None:
    """Delete a topic and wait until it is gone."""
    with admin(bootstrap) as client:
        client.delete_topics([name], timeout_ms=30_000)
        await_answer(lambda: True if name not in client.list_topics() else None, f"deletion of {name}", 30)


def _kept_id(folder: Path) -> str | None:
    """The id of the cluster whose data the folder holds."""
    kept = folder / "data" / "meta.properties"
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.is_file() else []
    return next((line.partition("=")[2] for line in lines if line.startswith("cluster.id=")), None)


def _id() -> str:
    """A cluster's id: 16 bytes in letters. One that begins with '-' would be read as an option."""
    while (made := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return made


if __name__ == "__main__":
    from tests.servers.people import run_kafka

    run_kafka()
