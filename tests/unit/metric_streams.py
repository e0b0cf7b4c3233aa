"""Streams of raw events for tests of metrics and replay, and the short way from them to readings."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from alerts.account_rows import AccountRows, MedianChange, Moment
from alerts.metrics.catalogue import CATALOGUE
from alerts.metrics.readings import Readings
from alerts.model import Model
from alerts.portfolio import Portfolio
from alerts.values import Kind, Status
from consumers.days import Calendar
from consumers.decode import decode_batch, identity
from consumers.fold import fold
from consumers.pipeline import merged
from consumers.state import AccountState

FAR = 4_000_000_000_000_000  # an instant after all events: nothing is in the future
NOON = 43_200
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
TODAY = (date(2026, 4, 17) - date(1970, 1, 1)).days  # both spring changes of the clock lie in its windows


class Stream:
    """Raw events, written down one after the other. Days are days since 1970-01-01, in UTC."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def add(
        self,
        kind: str,
        account: str,
        day: int,
        user: str | None = None,
        /,
        *,
        second: int = NOON,
        id: str | None = None,
        **data: Any,
    ) -> Stream:
        """One event; its id is its place unless given."""
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day, seconds=second)
        event: dict[str, Any] = {
            "id": id or f"e{len(self.lines)}",
            "type": kind,
            "account_id": account,
            "occurred_at": at.isoformat(),
        }
        if user is not None:
            event["user_id"] = user
        if data:
            event["data"] = data
        self.lines.append(json.dumps(event).encode())
        return self

    def active(
        self,
        account: str,
        users: Iterable[str],
        days: Iterable[int],
        *,
        times: int = 1,
        kind: str = "user.login",
        second: int = NOON,
    ) -> Stream:
        """Each user active ``times`` times on each day."""
        data = {"feature.used": {"feature": "f"}, "session.ended": {"duration_s": 60}}.get(kind, {})
        people = list(users)
        for day in days:
            for user in people:
                for _ in range(times):
                    self.add(kind, account, day, user, second=second, **data)
        return self


def readings_of(
    lines: Sequence[bytes],
    *,
    as_of: int,
    today: int | None = None,
    zone: str = "UTC",
    stale: frozenset[str] = frozenset(),
    shuffle: random.Random | None = None,
    model: Model | None = None,
    median_change: MedianChange | None = None,
) -> Readings:
    """What the package reads of the events, folded at once, or in random batches and order."""
    calendar = Calendar(zone)
    events, rejections = decode_batch(lines, FAR)
    assert not rejections, rejections
    if shuffle is not None:
        shuffle.shuffle(events)
    fresh = list({identity(event): event for event in reversed(events)}.values())
    states: dict[str, AccountState] = {}
    families: dict[str, int] = {}
    while fresh:
        count = len(fresh) if shuffle is None else shuffle.randint(1, len(fresh))
        folded = fold(fresh[:count], calendar)
        states.update((state.account_id, state) for state in merged(folded, states, calendar))
        for family, day in folded.first_days.items():
            families[family] = min(day, families.get(family, day))
        fresh = fresh[count:]
    accounts = list(states.values())
    attributes = {state.account_id: Attributes(state, calendar).told for state in accounts}
    rows = AccountRows(
        nos=range(len(accounts)),
        account_ids=list(states),
        profiles=[state.profile.blob() for state in accounts],
        days=[state.days.blob() for state in accounts],
        users=[state.users.cells for state in accounts],
        login_maps=lambda: [bytes(state.users.login_maps) for state in accounts],
        attributes=lambda name: [attributes[account_id].get(name) for account_id in states],
        moments=lambda: [state.moments for state in accounts],
        features=lambda: [state.features for state in accounts],
        sessions=lambda: [state.sessions for state in accounts],
    )
    moment = Moment(
        as_of, as_of if today is None else today, zone, families, stale, model or Model(), median_change
    )
    return Readings(Portfolio(rows, moment))


class Attributes:
    """An account's attributes as the directory would have them."""

    def __init__(self, state: AccountState, calendar: Calendar) -> None:
        self.told = {} if state.news is None else state.news.attributes


def told(readings: Readings, name: str, index: int, floor: int | None = None) -> tuple[Any, str]:
    """(exact value or None, status) of one metric of one account."""
    values, kind = readings.values(name, floor), CATALOGUE[name].kind
    status = Status(int(values.status[index]))
    if status is not Status.OK:
        return None, status.word
    if values.text is not None:
        return values.text[index], status.word
    exact = Fraction(int(values.numerator[index]), int(values.denominator[index]))
    if kind is Kind.FLAG:
        return bool(exact), status.word
    return exact, status.word


# --- random streams ---------------------------------------------------------------------------------------------

_accounts = st.sampled_from(("a", "b"))
_users = st.sampled_from(("u1", "u2", "u3", "u4", "u5"))
# Days at which some window begins or ends, and their neighbours, far more often than chance would find them.
_EDGES = [edge + near for edge in (0, 28, 30, 56, 58, 90, 120, 180, 207) for near in (-2, -1, 0, 1, 2)]
_ago = st.one_of(st.sampled_from([edge for edge in _EDGES if edge >= 0]), st.integers(0, 260))
_ahead = st.one_of(st.sampled_from([edge for edge in _EDGES if edge <= 92]), st.integers(-40, 400))
_second = st.sampled_from((0, 1, 5_400, 7_200, NOON, 79_200, 82_800, 86_399))
_contact_user = {"c1": "u1", "c2": "u2", "c3": None}


@st.composite
def _burst(draw: st.DrawFn, stream: Stream) -> None:
    """Some users, active every so many days over some time."""
    first = TODAY - draw(_ago)
    count, every = draw(st.integers(1, 5) | st.integers(1, 25)), draw(st.sampled_from((1, 1, 2, 7)))
    days = [day for day in range(first, first + count * every, every) if day <= TODAY + 1]
    stream.active(
        draw(_accounts),
        draw(st.sets(_users, min_size=1, max_size=4)),
        days,
        times=draw(st.integers(1, 2)),
        kind=draw(st.sampled_from(("user.login", "user.login", "feature.used", "session.ended"))),
        second=draw(_second),
    )


@st.composite
def _fact(draw: st.DrawFn, stream: Stream) -> None:
    """One state event."""
    account, day = draw(_accounts), TODAY - draw(_ago)
    renewal = (date(1970, 1, 1) + timedelta(days=TODAY + draw(_ahead))).isoformat()
    contact = draw(st.sampled_from(sorted(_contact_user)))
    user, data = None, {}
    kind = draw(
        st.sampled_from(
            (
                "seats.changed",
                "seats.changed",
                "subscription.changed",
                "account.updated",
                "contact.updated",
                "champion.changed",
                "user.updated",
                "qbr.scheduled",
                "qbr.held",
                "qbr.cancelled",
            )
        )
    )
    match kind:
        case "seats.changed":
            data = {"purchased": draw(st.sampled_from((0, 3, 5, 10)))}
            data |= {"subscription_id": draw(st.sampled_from(("default", "extra")))}
        case "subscription.changed":
            data = {"mrr": draw(st.sampled_from((0, 0, "99.95", 250)))}
            data |= {"currency": draw(st.sampled_from(("USD", "USD", "EUR", None)))}
            data |= {"subscription_id": draw(st.sampled_from(("default", "extra")))}
            if draw(st.booleans()):
                data["renewal_date"] = renewal
        case "account.updated":
            data = draw(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "size": st.sampled_from(("smb", "enterprise")),
                        "owner": st.sampled_from(("ann", "")),
                        "touch": st.sampled_from(("high", "tech")),
                        "lifecycle": st.sampled_from(("active", "churned")),
                        "usage_cadence": st.sampled_from(("daily", "weekly", "monthly")),
                        "term_months": st.sampled_from((1, 5, 6, 12)),
                        "notice_days": st.sampled_from((0, 30, 90)),
                        "renewal_date": st.just(renewal),
                    },
                )
            )
        case "contact.updated":
            data = {"contact_id": contact}
            if _contact_user[contact] and draw(st.booleans()):
                data["user_id"] = _contact_user[contact]
            if draw(st.booleans()):
                data["roles"] = draw(st.sampled_from((["champion"], ["champion", "member"], ["member"], [])))
            if draw(st.booleans()):
                data["active"] = draw(st.booleans())
        case "champion.changed":
            user = draw(st.none() | _users)
            data = draw(st.fixed_dictionaries({}, optional={"previous_user_id": _users, "user_id": _users}))
        case "user.updated":
            user = draw(_users)
            data = draw(
                st.fixed_dictionaries({}, optional={"deactivated": st.booleans(), "name": st.just("n")})
            )
        case "qbr.scheduled":
            data = {"qbr_id": draw(st.sampled_from(("q1", "q2"))), "scheduled_for": renewal}
        case _:
            data = {"qbr_id": draw(st.sampled_from(("q1", "q2")))}
    stream.add(kind, account, day, user, second=draw(_second), **data)


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    """Up to three accounts' events over nine months, in any order, some told twice."""
    stream = Stream()
    for _ in range(draw(st.integers(0, 6))):
        draw(_burst(stream))
    for _ in range(draw(st.integers(0, 14))):
        draw(_fact(stream))
    shuffle = random.Random(draw(st.integers(0, 2**32)))
    stream.lines += shuffle.sample(stream.lines, k=len(stream.lines) // 4)
    shuffle.shuffle(stream.lines)
    return stream
