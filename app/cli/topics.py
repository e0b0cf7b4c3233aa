"""`bellwether topics`: the seven topics of a deployment."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import output
from app.cli.opened import settings as read_settings
from consumers.errors import ConfigurationError

if TYPE_CHECKING:
    from app.settings import Settings
    from consumers.kafka.topics import TopicKeeper

app = typer.Typer(help="Make the topics of Kafka that are missing.", no_args_is_help=True)
_CONNECT_S = 3.0  # to one server of several


@app.callback()
def _topics() -> None:
    """One verb so far."""


@app.command()
def create(
    partitions: Annotated[
        int, typer.Option("--partitions", min=1, max=10_000, help="Of each topic that is made.")
    ] = 8,
    replication: Annotated[
        int,
        typer.Option(
            "--replication", min=1, max=100, help="Copies of each record; 3 where there are 3 brokers."
        ),
    ] = 1,
) -> None:
    """Make the topics that are missing; those that exist stay as they are."""
    from consumers.topics import Topics

    settings = with_kafka()
    topics = Topics(settings.topic_prefix)
    with asking_kafka(settings) as keeper:
        made = keeper.create(topics, partitions, replication)
        found = keeper.look(topics.all)
    for name in topics.all:
        topic = found[name]
        how = "made" if name in made else "exists"
        output.line(f"{name}: {how}, {topic.partitions} partition{'s' if topic.partitions != 1 else ''}")
    counts = {found[name].partitions for name in topics.events}
    if len(counts) > 1:
        output.note(
            "the topics of events differ in their partitions: an account's windows are then written by several "
            "consumers, which works but costs; make them alike where you can"
        )
    other = [name for name in topics.events if name not in made and found[name].partitions != partitions]
    if other and len(counts) == 1:
        output.note(
            f"they have {found[other[0]].partitions} partitions, not {partitions}: nothing was changed"
        )


def with_kafka() -> Settings:
    """The settings of a deployment on Kafka. Raises ConfigurationError for any other."""
    settings = read_settings()
    if not settings.kafka:
        raise ConfigurationError(
            "there is no Kafka: BELLWETHER_KAFKA_BOOTSTRAP_SERVERS is not set\nset it to host:port of a broker"
        )
    return settings


@contextlib.contextmanager
def asking_kafka(settings: Settings) -> Iterator[TopicKeeper]:
    """The topics' keeper, for the length of a block. Raises LogUnavailable, at once where nobody listens."""
    from consumers.kafka.topics import keeping_topics

    _check_reached(settings.kafka_servers)
    with keeping_topics(settings.kafka_client().arguments()) as keeper:
        yield keeper


def _check_reached(servers: list[str]) -> None:
    """The library tries for ten seconds, and then does not say what is wrong. Raises LogUnavailable."""
    from consumers.topics import LogUnavailable

    refusals = []
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
            return
        except OSError as error:
            refusals.append(f"{server} ({error.strerror or error})")
    raise LogUnavailable(
        f"no Kafka broker answers: {', '.join(refusals)}\n"
        "check BELLWETHER_KAFKA_BOOTSTRAP_SERVERS, and that the broker runs"
    )
