"""Makes the bench's input: logins of many accounts and users over 56 days, in time order, busy ones busier (Zipf)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 56


def logins(
    path: Path, *, events: int, accounts: int = 2_000, users: int = 200_000, seed: int = 20261122
) -> Path:
    """Write ``events`` logins as NDJSON, about 190 bytes each. Kept if it is there already."""
    if path.exists():
        return path
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, accounts + 1)
    share /= share.sum()
    seats = np.maximum(1, np.round(share * users)).astype(
        np.int64
    )  # the largest accounts have the most users
    account = rng.choice(accounts, size=events, p=share)
    # Within an account a few users log in often: the square of a uniform number leans towards the first ones.
    user = (rng.random(events) ** 2 * seats[account]).astype(np.int64)
    seconds = np.sort(rng.random(events)) * DAYS * 86_400
    ids = rng.integers(0, 2**63, size=(events, 2), dtype=np.uint64)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", encoding="ascii") as out:
        for number in range(events):
            at = START + timedelta(seconds=float(seconds[number]))
            out.write(
                f'{{"id":"{ids[number, 0]:016x}{ids[number, 1]:016x}","type":"user.login",'
                f'"account_id":"account-{account[number]:05d}","user_id":"user-{account[number]:05d}-{user[number]:06d}",'
                f'"occurred_at":"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z","data":{{}}}}\n'
            )
    part.rename(path)
    return path
