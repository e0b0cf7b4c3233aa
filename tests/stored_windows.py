"""What the database holds of windows, read by the layout alone: struct and JSON, nothing of the package.

To be set beside ``recount.py``, which counts the same from raw events.
"""

from __future__ import annotations

import sqlite3
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tests.recount import Account, Recount

RING = 416  # days in the ring of daily counts
MAP = 64  # days in a user's map
NEVER = -(2**31)
_PROFILE = struct.Struct("<qq" + "i" * 11 + "h" * 6 + "i" * 6 + "h" * 4)
_CELL = struct.Struct("<iIQ")
_DEACTIVATED, _CHAMPION = 1, 2
_READ = """
SELECT a.account_id, w.profile, w.days, w.users, w.login_maps, d.user_ids
FROM account AS a JOIN account_window AS w ON w.account_no = a.no JOIN account_detail AS d ON d.account_no = a.no
"""


@dataclass(frozen=True, slots=True)
class Windows:
    """One account's windows as plain values. A user's days are those of the 64 that end with his last one."""

    logins: dict[int, int]
    active: dict[str, set[int]]
    logged_in: dict[str, set[int]]
    deactivated: set[str]
    champions: set[str]
    first_day: int | None
    last_day: int | None
    seats: int
    seats_first: int | None
    seats_rise: int | None
    champion_changed: int | None


def stored(database: Path) -> dict[str, Windows]:
    """Every account's windows."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return {account_id: _windows(*blobs) for account_id, *blobs in connection.execute(_READ)}
    finally:
        connection.close()


def recounted(recount: Recount) -> dict[str, Windows]:
    """The same from raw events."""
    return {account_id: _recounted(account) for account_id, account in recount.accounts.items()}


def _windows(profile: bytes, days: bytes, users: bytes, login_maps: bytes, ids: bytes) -> Windows:
    (seats, _, first, last, newest, seats_first, seats_rise, champion_changed, *_) = _PROFILE.unpack(profile)
    kind = "I" if len(days) > 2 * RING else "H"
    slots = struct.unpack(f"<{RING}{kind}", days)
    names: list[str] = msgspec.msgpack.decode(ids) if ids else []
    cells = dict(zip(names, _CELL.iter_unpack(users), strict=True))
    maps = struct.unpack(f"<{len(names)}Q", login_maps)
    ring = range(newest - RING + 1, newest + 1) if newest != NEVER else ()
    return Windows(
        logins={day: slots[day % RING] for day in ring if slots[day % RING]},
        active={name: _days(at, bits) for name, (at, _, bits) in cells.items()},
        logged_in={name: _days(cells[name][0], bits) for name, bits in zip(names, maps, strict=True)},
        deactivated={name for name, (_, flags, _) in cells.items() if flags & _DEACTIVATED},
        champions={name for name, (_, flags, _) in cells.items() if flags & _CHAMPION},
        first_day=_day(first),
        last_day=_day(last),
        seats=seats,
        seats_first=_day(seats_first),
        seats_rise=_day(seats_rise),
        champion_changed=_day(champion_changed),
    )


def _recounted(account: Account) -> Windows:
    newest = max(account.logins, default=NEVER)
    last = {user: days[-1] for user, days in account.days_of.items()}
    state: dict[str, Any] = account.state(2**31)
    people = state["people"]
    return Windows(
        logins={day: count for day, count in account.logins.items() if day > newest - RING},
        active={
            user: {day for day in days if day > last[user] - MAP} for user, days in account.days_of.items()
        },
        logged_in={
            user: {day for day in days if day > last[user] - MAP and user in account.who_logged_in[day]}
            for user, days in account.days_of.items()
        },
        deactivated=people.deactivated & last.keys(),
        champions={person.user for person in people.champions()} & last.keys(),
        first_day=min(account.who, default=None),
        last_day=max(account.who, default=None),
        seats=state["seats"],
        seats_first=state["seats_first"],
        seats_rise=state["seats_rise"],
        champion_changed=people.changed,
    )


def _days(last: int, bits: int) -> set[int]:
    return {last - back for back in range(MAP) if bits >> back & 1}


def _day(value: int) -> int | None:
    return None if value == NEVER else value
