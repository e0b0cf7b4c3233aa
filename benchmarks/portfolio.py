"""Makes a database of many accounts as a year of events would leave it, without the events.

Every account has what every metric reads: USERS users, FEATURES features in use by some or by nobody any more, a
month of sessions, contacts, tickets, surveys, an escalation here and there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from alerts.columns import CELL_DTYPE, FEATURE_DTYPE, PROFILE_DTYPE
from app.database import migrate
from app.database.drivers import spoken
from app.database.engine import Database
from consumers.active_days import RING_BYTES
from consumers.facts import PROFILE_FIELDS, RATINGS, TOLD
from consumers.ledger import Ledger, store
from consumers.moments import (
    CONTACT,
    CSAT,
    ESCALATION_OPENED,
    MOMENT,
    NPS,
    QBR_BOOKED,
    SPONSOR,
    TICKET_OPENED,
    pack,
)
from consumers.state import encode_ids
from consumers.usage import CORE
from consumers.windows import KEPT_DAYS, NEVER

USERS = 50
FEATURES = 5
FAMILIES = (
    *("logins", "features", "sessions", "seats", "contacts", "qbrs", "escalations", "tickets", "surveys"),
    *("integrations", "subscriptions", "milestones"),
)
_WINDOW = "profile, days, users, login_maps, active_days, moments, features, sessions, ledger"


def build(path: Path, *, accounts: int, day: int, seed: int = 20261122) -> Database:
    """:func:`fill` of a new SQLite file."""
    path.unlink(missing_ok=True)
    return fill(f"sqlite:///{path}", accounts=accounts, day=day, seed=seed)


def fill(url: str, *, accounts: int, day: int, seed: int = 20261122) -> Database:
    """``accounts`` accounts of USERS users each, most healthy, one in ten with something to tell as of ``day``."""
    database = Database(url)
    migrate.upgrade(database)
    rng = np.random.default_rng(seed)
    ids = encode_ids([f"user-{number}" for number in range(USERS)])
    with database.write() as connection:

        def put(statement: str, rows: list[tuple[Any, ...]]) -> None:
            connection.exec_driver_sql(statement if database.sqlite else spoken(statement), rows)

        put("INSERT INTO family VALUES (?, ?)", [(name, day - 400) for name in FAMILIES])
        for first in range(1, accounts + 1, 10_000):
            nos = range(first, min(first + 10_000, accounts + 1))
            rows = list(_rows(rng, len(nos), day))
            put(
                "INSERT INTO account (no, account_id, name, judged_at, evaluated_at, risk_level)"
                " VALUES (?, ?, ?, 1, 1, 'low')",
                [(no, f"account-{no:06d}", f"Account {no}") for no in nos],
            )
            put(
                f"INSERT INTO account_window (account_no, {_WINDOW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(no, *row) for no, row in zip(nos, rows, strict=True)],
            )
            put(
                "INSERT INTO account_detail (account_no, user_ids, features, facts) VALUES (?, ?, ?, ?)",
                [(no, ids, b"", b"") for no in nos],
            )
    return database


def _rows(rng: np.random.Generator, count: int, day: int):  # type: ignore[no-untyped-def]
    profiles = np.zeros(count, PROFILE_DTYPE)
    for name, _ in PROFILE_FIELDS:
        if name.endswith("_day"):
            profiles[name] = NEVER
    profiles["seats"] = 70
    profiles["mrr_cents"] = 100_000
    profiles["first_day"] = profiles["seats_first_day"] = day - 380
    profiles["last_day"] = profiles["ring_day"] = day
    profiles["renewal_day"] = day + rng.integers(1, 365, count)
    profiles["qbr_booked_day"] = profiles["renewal_day"] - 5
    profiles["champion"], profiles["champions"] = 3, 1
    profiles["notice_days"] = profiles["term_months"] = -1
    profiles["told"] = sum(set(TOLD.values()))
    profiles["core_own"] = FEATURES
    profiles["sponsors"] = profiles["sponsors_mapped"] = 1
    profiles["sentiment"] = profiles["sentiment_previous"] = RATINGS.index("green")
    profiles["sentiment_day"] = day - rng.integers(0, 7, count)
    profiles["value_start_day"], profiles["first_value_day"] = day - 380, day - 350
    troubled = rng.random(count) < 0.1
    profiles["seats"][troubled] = 200
    profiles["escalations_open"][troubled] = 1
    profiles["escalation_oldest_day"][troubled] = day - 10
    days = rng.integers(20, 60, (count, KEPT_DAYS), dtype=np.uint16)
    cells = np.zeros((count, USERS), CELL_DTYPE)
    cells["last_day"] = day - rng.geometric(0.25, (count, USERS)) + 1
    cells["active"] = rng.integers(0, 2**63, (count, USERS), dtype=np.uint64) | np.uint64(1)
    cells["flags"][:, 0] = 2
    features = _features(rng, count, day)
    ledger = store(Ledger({"EUR": [(day - 400, 100_000)]}))
    whole = b"\xff" * RING_BYTES
    sessions = [_sessions(rng, day) for _ in range(64)]  # drawn from: their sum is what counts
    moments = [_moments(rng, day) for _ in range(256)]
    for number in range(count):
        maps = cells["active"][number].tobytes()
        yield (
            *(profiles[number].tobytes(), days[number].tobytes(), cells[number].tobytes(), maps, whole),
            *(moments[number % len(moments)], features[number].tobytes()),
            *(sessions[number % len(sessions)], ledger),
        )


def _features(rng: np.random.Generator, count: int, day: int):  # type: ignore[no-untyped-def]
    features = np.zeros((count, FEATURES), FEATURE_DTYPE)
    features["feature"] = rng.integers(1, 2**63, FEATURES, dtype=np.uint64)[None, :]
    features["days"] = rng.integers(0, 2**63, (count, FEATURES), dtype=np.uint64) | np.uint64(1)
    features["two"] = rng.integers(0, 2**63, (count, FEATURES), dtype=np.uint64)
    features["last_day"] = day - rng.geometric(0.2, (count, FEATURES)) + 1
    features["flags"] = CORE
    return features


def _sessions(rng: np.random.Generator, day: int) -> bytes:
    spent = rng.integers(3_600_000, 36_000_000, 28).tolist()
    return b"".join(MOMENT.pack(day - 27 + place, 0, each) for place, each in enumerate(spent))


def _moments(rng: np.random.Generator, day: int) -> bytes:
    records = [(TICKET_OPENED, day - int(ago), 1) for ago in rng.choice(140, 8, replace=False)]
    records += [(NPS, day - int(ago), int(rng.integers(4, 11))) for ago in rng.integers(0, 360, 6)]
    records += [(CSAT, day - int(ago), int(rng.integers(2, 6))) for ago in rng.integers(0, 360, 6)]
    records += [(QBR_BOOKED, day + 40, 0), (ESCALATION_OPENED, day - 60, 1)]
    people = [(SPONSOR, day - 300, "u0"), *((CONTACT, day - 300, f"u{number}") for number in range(4))]
    return pack(records, people, {f"u{number}": number for number in range(4)})
