"""Windows of layout 2 as the release before wrote them, for whoever goes back to it."""

from __future__ import annotations

import struct

import msgspec
import sqlalchemy as sa

_PROFILE_BYTES = 72  # of layout 1; layout 2 only added to its end
_USE = struct.Struct("<IIiQ")  # feature's number, user's slot, last day, days
_SESSION = struct.Struct("<HHq")  # day, 0, milliseconds
_AT_ONCE = 500

_window = sa.table("account_window", *map(sa.column, ("account_no", "profile", "sessions")))
_detail = sa.table("account_detail", *map(sa.column, ("account_no", "features")))


def back_to_layout_1(connection: sa.Connection) -> None:
    """Rewrite profiles and usage; whatever is of layout 1 already stays as it is."""
    cut = sa.func.substr(_window.c.profile, 1, _PROFILE_BYTES)
    connection.execute(sa.update(_window).values(profile=cut))
    wanted = (
        sa.select(_detail.c.account_no, _detail.c.features, _window.c.sessions)
        .join(_window, _window.c.account_no == _detail.c.account_no)
        .order_by(_detail.c.account_no)
        .limit(_AT_ONCE)
    )
    last = -1
    while rows := connection.execute(wanted.where(_detail.c.account_no > last)).all():
        for no, usage, sessions in rows:
            if usage:
                changed = sa.update(_detail).where(_detail.c.account_no == no)
                connection.execute(changed.values(features=_usage(usage, sessions or b"")))
        last = rows[-1][0]


def _usage(blob: bytes, sessions: bytes) -> bytes:
    names, uses = msgspec.msgpack.decode(blob)
    if isinstance(names, dict):
        return blob
    features: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in names}
    for feature, slot, last_day, days in _USE.iter_unpack(uses):
        features[names[feature]][slot] = (last_day, days)
    spent = {day: milliseconds for day, _, milliseconds in _SESSION.iter_unpack(sessions)}
    return msgspec.msgpack.encode((features, spent))
