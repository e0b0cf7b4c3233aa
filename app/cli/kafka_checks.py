"""What `bellwether doctor` looks at where there is a Kafka."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from app.cli.topics import asking_kafka
from consumers.errors import ConfigurationError
from consumers.topics import LogUnavailable, Topics

if TYPE_CHECKING:
    from app.settings import Settings
    from consumers.kafka.topics import Topic

_CODECS = {"lz4": "lz4.frame", "snappy": "snappy", "zstd": "zstandard", "crc32c": "crc32c"}
Look = Callable[[str, Callable[[], str]], bool]


def examine(settings: Settings, look: Look) -> None:
    """Everything that reading and writing events needs of Kafka."""
    look("kafka codecs", _codecs)
    topics = Topics(settings.topic_prefix)
    found: dict[str, Topic] = {}

    def ask() -> str:
        with asking_kafka(settings) as keeper:
            brokers = keeper.brokers()
            found.update(keeper.look(topics.all))
        return f"{', '.join(settings.kafka_servers)}: {brokers} broker{'s' if brokers != 1 else ''}"

    if look("kafka", ask) and look("kafka topics", lambda: _topics(topics, found)):
        look("kafka positions", lambda: _positions(settings, [found[name] for name in topics.events]))


def _codecs() -> str:
    lacking = [name for name, module in _CODECS.items() if _absent(module)]
    if lacking:
        raise ConfigurationError(
            f"{', '.join(lacking)} cannot be loaded: records packed with it stop their partition\n"
            "install Bellwether's own requirements again"
        )
    return f"gzip, {', '.join(_CODECS)}"


def _absent(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is None
    except ModuleNotFoundError:
        return True


def _topics(topics: Topics, found: Mapping[str, Topic]) -> str:
    if missing := [name for name in topics.all if name not in found]:
        raise ConfigurationError(f"missing: {', '.join(missing)}\nrun: bellwether topics create")
    counts = sorted({found[name].partitions for name in topics.events})
    each = f"{' to '.join(map(str, counts))} partition{'s' if counts != [1] else ''} each"
    return f"{len(topics.events)} of events, {each}, and the one of dead letters"


def _positions(settings: Settings, topics: Sequence[Topic]) -> str:
    """Whether what was read is what is there."""
    from app.database import migrate, positions
    from app.database.engine import Database

    database = Database(settings.database_url)
    try:
        migrate.check(database)
        with database.read() as connection:
            stored = positions.page(connection)
    finally:
        database.close()
    logs = {name: topic.log for topic in topics for name in topic.partition_names}
    ours = [each for each in stored if each.partition in logs]
    for each in ours:
        if each.log and each.log != logs[each.partition]:
            raise LogUnavailable(
                f"{each.partition} was read in another log than the one that is there: its topic was made anew\n"
                f"read on with: bellwether positions reset {each.partition} --to-time T"
            )
        if each.open:
            raise LogUnavailable(
                f"{each.partition} waits: {', '.join(each.open)}\nsee: bellwether positions list"
            )
    behind = sum(each.lag or 0 for each in ours)
    return f"{len(ours)} of {len(logs)} partitions were read, {behind:,} records behind when last heard of"
