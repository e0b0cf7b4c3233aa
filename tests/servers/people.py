"""`make kafka` and `make postgres`: a server for a person, up until Ctrl-C, with what to paste into a shell."""

from __future__ import annotations

import argparse
import logging
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

from psycopg import sql

from tests.servers import jars, postgres
from tests.servers.kafka import SINGLE, Broker
from tests.servers.postgres import Cluster
from tests.servers.process import NotStarted, listens

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"


def run_kafka() -> None:
    """A broker until Ctrl-C: from jars where Java and Maven are, else as a container."""
    chosen = _arguments("Kafka", 9092, ROOT / ".kafka" / "data")
    logging.getLogger("kafka").setLevel(
        logging.CRITICAL
    )  # the client tells of every attempt on a starting broker
    if lacking := jars.missing():
        if not _docker():
            _end(f"{lacking}\nor start a Docker engine, which runs apache/kafka:{jars.version()} instead")
        _until_ctrl_c(lambda: _container(chosen.port))
    else:
        _until_ctrl_c(lambda: _broker(chosen.dir, chosen.port))


def run_postgres() -> None:
    """A cluster with a database `bellwether` until Ctrl-C."""
    chosen = _arguments("PostgreSQL", 5432, ROOT / ".postgres")
    if lacking := postgres.missing():
        _end(lacking)
    _until_ctrl_c(lambda: _cluster(chosen.dir, chosen.port))


def _broker(folder: Path, port: int) -> None:
    if not jars.complete(jars.folder()):
        print(f"fetching Kafka {jars.version()} with Maven (once; about a minute)", flush=True)
    broker = Broker(folder, port=port, memory_mb=1024)
    try:
        broker.start()
        _announce(f"Kafka {jars.version()}", folder, _kafka_exports(broker.bootstrap))
        if code := _ended(broker.process):
            _end(f"Kafka ended by itself with code {code}; see {broker.log}")
    finally:
        broker.stop()


def _cluster(folder: Path | None, port: int) -> None:
    cluster = Cluster(folder, port=port)
    try:
        cluster.start()
        url = cluster.url("bellwether")
        if not postgres.answers(url):
            cluster.databases.execute(sql.SQL("CREATE DATABASE bellwether").format())
        exports = {"BELLWETHER_DATABASE_URL": url, "BELLWETHER_TEST_POSTGRES": cluster.url("postgres")}
        _announce("PostgreSQL", cluster.folder, exports)
        if code := _ended(cluster.process):
            _end(f"PostgreSQL ended by itself with code {code}; see {cluster.log}")
    finally:
        cluster.stop()


def container_command(port: int) -> list[str]:
    """The command that runs the same version in a container, its data in a volume."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": "1@localhost:29093",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://:{port},CONTROLLER://:29093",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": "/var/lib/kafka/data",
        **SINGLE,
    }
    variables = [f"--env=KAFKA_{key.upper().replace('.', '_')}={value}" for key, value in settings.items()]
    return [
        *("docker", "run", "--rm", "--init", "--name=bellwether-kafka", f"--publish={HOST}:{port}:{port}"),
        *("--volume=bellwether-kafka:/var/lib/kafka/data", *variables, f"apache/kafka:{jars.version()}"),
    ]


def _container(port: int) -> None:
    _announce("Kafka in a container", Path("the volume bellwether-kafka"), _kafka_exports(f"{HOST}:{port}"))
    with subprocess.Popen(container_command(port)) as running:
        try:
            code = running.wait()
        except KeyboardInterrupt:
            running.wait(30)  # the terminal has told it as well
            raise
    _end(f"the container ended with code {code}")


def _docker() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30)
    return asked.returncode == 0


def _kafka_exports(bootstrap: str) -> dict[str, str]:
    return {"BELLWETHER_KAFKA_BOOTSTRAP_SERVERS": bootstrap, "BELLWETHER_TEST_KAFKA": bootstrap}


def _arguments(what: str, port: int, folder: Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=f"Run {what} on this machine until Ctrl-C.")
    parser.add_argument("--port", type=int, default=port, help=f"on {HOST}; {port} if not given")
    parser.add_argument("--dir", type=Path, default=folder, help="where its data are kept between runs")
    chosen = parser.parse_args()
    if listens(HOST, chosen.port):
        _end(f"port {chosen.port} of {HOST} is taken\nchoose another: PORT={chosen.port + 1}")
    return chosen


def _announce(what: str, where: Path, exports: Mapping[str, str]) -> None:
    print(f"{what} is up until Ctrl-C; its data are in {where}\n")
    for name, value in exports.items():
        print(f"    export {name}={shlex.quote(value)}")
    print(flush=True)


def _until_ctrl_c(serve: Callable[[], None]) -> None:
    def interrupt(_sign: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        serve()
    except KeyboardInterrupt:
        print("\nstopped")
    except NotStarted as error:
        _end(str(error))


def _ended(process: subprocess.Popen[bytes] | None) -> int | None:
    return process.wait() if process is not None else None


def _end(why: str) -> None:
    print(why, file=sys.stderr)
    raise SystemExit(1)
