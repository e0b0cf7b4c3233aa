"""The job by Pathway: one process, the community build's filesystem persistence, a snapshot every 5 s.

Two incremental group-bys, logins per account and day and the newest day per account and user, each streamed to a
file of changes by the engine itself; no Python runs per event. (The 28 and 30 days are counted at the end: kept
inside, every new day would retract and send the rows of all accounts, which would only slow it down.)

Durable: the input's rows are
written to the state folder as they come and their offsets every 5 s; after a crash the tables are computed again from
those rows. Snapshots of the operators' state instead (``OPERATOR_PERSISTING``) ask for a licence key, which the
program does not have. The topic is read to its end (``mode="static"``), and ``pw.run`` returns when the last
snapshot is written, which is where the clock stops. It starts when the engine opens its first batch, since no code of
ours sees the first record: the fetch before it, about a tenth of a second, counts against Pathway.
"""

from __future__ import annotations

import csv
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import pathway as pw

from benchmarks.peers.answer import DayNumbers, report

SNAPSHOT_MS = 5_000
BATCH_MS = 1_000  # rows of a batch are added up before they reach the tables; below, more changes are written
WRITTEN = "%Y-%m-%dT%H:%M:%S.%fZ"  # parsed by the engine; ``str.slice`` would call Python for each event


class Login(pw.Schema):
    """The fields the job needs."""

    account_id: str
    user_id: str
    occurred_at: str


def build(bootstrap: str, topic: str, folder: Path, began: list[float]) -> None:
    """The dataflow; ``began`` gets the Unix time (s) of the first batch."""
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": f"bench-pathway-{uuid4().hex[:8]}",
        "auto.offset.reset": "earliest",
        "fetch.queue.backoff.ms": "5",
    }
    logins: Any = pw.io.kafka.read(
        settings,
        topic,
        schema=Login,
        format="json",
        mode="static",
        autocommit_duration_ms=BATCH_MS,
        name="logins",
    )
    at = logins.occurred_at.dt.strptime(WRITTEN, contains_timezone=False)
    logins = logins.select(logins.account_id, logins.user_id, day=at.dt.floor("1D"))
    days = logins.groupby(logins.account_id, logins.day).reduce(
        logins.account_id, logins.day, value=pw.reducers.count()
    )
    users = logins.groupby(logins.account_id, logins.user_id).reduce(
        logins.account_id, logins.user_id, value=pw.reducers.max(logins.day)
    )
    total = logins.reduce(events=pw.reducers.count())

    def changed(*, time: int, **_: object) -> None:  # the batch's time in Unix ms; once a batch, for one row
        if not began:
            began.append(time / 1_000)

    pw.io.subscribe(total, on_change=changed)
    pw.io.csv.write(days, folder / "days.csv")
    pw.io.csv.write(users, folder / "users.csv")


def final(folder: Path) -> tuple[dict[str, dict[int, int]], dict[str, dict[str, int]]]:
    """The tables out of their changes. Counts and newest days only grow, so the largest added value is the last."""
    number = DayNumbers()
    days: defaultdict[str, dict[int, int]] = defaultdict(dict)
    users: defaultdict[str, dict[str, int]] = defaultdict(dict)
    with (folder / "days.csv").open(newline="") as lines:
        for account, text, value, _, change in list(csv.reader(lines))[1:]:
            if change == "1":
                day = number[text[:10]]
                days[account][day] = max(days[account].get(day, 0), int(value))
    with (folder / "users.csv").open(newline="") as lines:
        for account, user, value, _, change in list(csv.reader(lines))[1:]:
            if change == "1":
                users[account][user] = max(users[account].get(user, 0), number[value[:10]])
    return days, users


def main() -> None:
    """``BOOTSTRAP TOPIC EVENTS STATE_FOLDER``."""
    bootstrap, topic, events, state = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    state.mkdir(parents=True, exist_ok=True)
    began: list[float] = []
    build(bootstrap, topic, state, began)
    pw.run(
        monitoring_level=pw.MonitoringLevel.NONE,
        default_logging=False,
        persistence_config=pw.persistence.Config(
            pw.persistence.Backend.filesystem(state / "snapshots"),
            snapshot_interval_ms=SNAPSHOT_MS,
            persistence_mode=pw.PersistenceMode.PERSISTING,
        ),
    )
    ended = time.time()
    days, users = final(state)
    report("pathway", events, ended - (began or [ended])[0], days, users)


if __name__ == "__main__":
    main()
