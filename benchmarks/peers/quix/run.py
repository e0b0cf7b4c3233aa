"""The job by Quix Streams: one process, RocksDB state, changelog topic on, a checkpoint every 5 s.

State is kept under the message's key, the account: a count per day and the last day per user, each a value of its own,
since a value is read and written whole; a value that does not change is not written. A record at a time, as its model
has it: within a checkpoint, writes to one value stay in memory and become one changelog record and one RocksDB
write.

Durable: a checkpoint (5 s) flushes the changelog records to the broker, writes RocksDB and commits the
offsets. The guarantee is the default, at least once: a crash between those steps counts the events of that checkpoint
again. The last checkpoint is part of ``Application.run``, which is where the clock stops; the answer is then read
from the RocksDB files.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from confluent_kafka.admin import AdminClient
from quixstreams import Application
from quixstreams.models import BytesDeserializer
from quixstreams.state import State
from rocksdict import AccessType, Options, Rdict

from benchmarks.peers.answer import DayNumbers, report

CHECKPOINT_S = 5.0
SEPARATOR = b"|"  # between the message's key and the value's in RocksDB


class Login(msgspec.Struct, gc=False):
    """The fields the job needs; the account is the message's key."""

    user_id: str
    occurred_at: str


class Keep:
    """The state function: one login into the state of its account."""

    def __init__(self) -> None:
        self.decode = msgspec.json.Decoder(Login).decode
        self.number = DayNumbers()
        self.began = 0.0  # when the first record was in hand

    def __call__(self, value: bytes, state: State) -> None:
        """Count the login; a user's day is written when it is a later one. Byte keys and values skip Quix's JSON."""
        if not self.began:
            self.began = time.perf_counter()
        login = self.decode(value)
        number = self.number[login.occurred_at[:10]]
        day = b"%d" % number
        key = b"d" + day
        count = state.get_bytes(key)
        state.set_bytes(key, b"1" if count is None else b"%d" % (int(count) + 1))
        user = b"u" + login.user_id.encode()
        last = state.get_bytes(user)
        if last is None or int(last) < number:
            state.set_bytes(user, day)


def stored(folder: Path) -> tuple[dict[str, Counter[int]], dict[str, dict[str, int]]]:
    """Logins by account and day, and the last day by account and user, out of the files of all partitions."""
    days: defaultdict[str, Counter[int]] = defaultdict(Counter)
    users: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for current in folder.rglob("CURRENT"):  # each RocksDB has one
        path = str(current.parent)
        options = Options(raw_mode=True)
        families = {name: Options(raw_mode=True) for name in Rdict.list_cf(path, options)}
        database: Any = Rdict(path, options, families, AccessType.read_only())
        for key, value in database.items():
            account, _, name = key.partition(SEPARATOR)
            if name.startswith(b"d"):
                days[account.decode()][int(name[1:])] += int(value)
            else:
                users[account.decode()][name[1:].decode()] = int(value)
        database.close()
    return days, users


def main() -> None:
    """``BOOTSTRAP TOPIC EVENTS STATE_FOLDER``."""
    bootstrap, topic, events, state = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    group = f"bench-quix-{uuid4().hex[:8]}"  # a new one reads from the oldest and has a changelog of its own
    app = Application(
        broker_address=bootstrap,
        consumer_group=group,
        auto_offset_reset="earliest",
        commit_interval=CHECKPOINT_S,
        state_dir=state,
        use_changelog_topics=True,
        consumer_extra_config={"fetch.queue.backoff.ms": 5},
        loglevel="WARNING",
    )
    keep = Keep()
    raw = app.topic(topic, value_deserializer=BytesDeserializer(), key_deserializer=BytesDeserializer())
    app.dataframe(raw).update(keep, stateful=True)
    app.run(count=events, timeout=60, collect=False)
    seconds = time.perf_counter() - keep.began
    days, users = stored(state)
    report("quix", events, seconds, days, users)
    _forget(bootstrap, group)


def _forget(bootstrap: str, group: str) -> None:
    """Leave the broker as it was: the changelog topic and the group go."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    changelogs = [name for name in admin.list_topics(timeout=30).topics if group in name]
    for done in [*admin.delete_topics(changelogs).values(), *admin.delete_consumer_groups([group]).values()]:
        done.result()


if __name__ == "__main__":
    main()
