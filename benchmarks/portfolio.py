"""Makes a database of many accounts as a year of events would leave it, without the events."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alerts.portfolio import CELL_DTYPE, PROFILE_DTYPE
from app.database import migrate
from app.database.engine import Database
from consumers.facts import PROFILE_FIELDS
from consumers.state import encode_ids
from consumers.windows import KEPT_DAYS, NEVER

USERS = 50


def build(path: Path, *, accounts: int, day: int, seed: int = 20261122) -> Database:
    """``accounts`` accounts of USERS users each, most healthy, one in ten with something to tell as of ``day``."""
    path.unlink(missing_ok=True)
    database = Database(f"sqlite:///{path}")
    migrate.upgrade(database)
    rng = np.random.default_rng(seed)
    ids = encode_ids([f"user-{number}" for number in range(USERS)])
    with database.write() as connection:
        for name in ("logins", "seats", "contacts", "qbrs", "subscriptions"):
            connection.exec_driver_sql("INSERT INTO family VALUES (?, ?)", (name, day - 400))
        for first in range(1, accounts + 1, 10_000):
            nos = range(first, min(first + 10_000, accounts + 1))
            rows = list(_rows(rng, len(nos), day))
            connection.exec_driver_sql(
                "INSERT INTO account (no, account_id, name, judged_at, risk_level) VALUES (?, ?, ?, 1, 'low')",
                [(no, f"account-{no:06d}", f"Account {no}") for no in nos],
            )
            connection.exec_driver_sql(
                "INSERT INTO account_window (account_no, profile, days, users, login_maps) VALUES (?, ?, ?, ?, ?)",
                [(no, *row) for no, row in zip(nos, rows, strict=True)],
            )
            connection.exec_driver_sql(
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
    profiles["told"] = 3
    troubled = rng.random(count) < 0.1
    profiles["seats"][troubled] = 200
    days = rng.integers(20, 60, (count, KEPT_DAYS), dtype=np.uint16)
    cells = np.zeros((count, USERS), CELL_DTYPE)
    cells["last_day"] = day - rng.geometric(0.25, (count, USERS)) + 1
    cells["active"] = rng.integers(0, 2**63, (count, USERS), dtype=np.uint64) | np.uint64(1)
    cells["flags"][:, 0] = 2
    for number in range(count):
        maps = cells["active"][number].tobytes()
        yield profiles[number].tobytes(), days[number].tobytes(), cells[number].tobytes(), maps
