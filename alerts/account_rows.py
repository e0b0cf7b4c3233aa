"""What a portfolio is made of: when accounts are judged, and their stored columns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alerts.arrays import IntArray
from alerts.columns import Column
from alerts.model import Model
from consumers.days import Calendar
from consumers.windows import NEVER

Attributes = Callable[[str], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class MedianChange:
    """The median change in logins per business day over the ``accounts`` of which it was known as ``day`` closed."""

    day: int = NEVER
    numerator: int = 0
    denominator: int = 1
    accounts: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """When accounts are judged: ``as_of`` is the last complete day D, ``today`` the day of the judgement.

    ``families`` gives the first day of each family of events over the portfolio; a family that is not in it was never
    received. ``stale`` names the families that are not flowing. ``zone`` is the organisation's, for evidence. ``model``
    is what the configuration says of product and customers. ``median_change`` is that of the whole portfolio at a
    close; None where it was not asked for or never worked out. ``newest()`` gives the instant of the newest event of
    each family of activity, in epoch microseconds; only evidence asks for it.
    """

    as_of: int
    today: int
    zone: str = "UTC"
    families: Mapping[str, int] = field(default_factory=dict)
    stale: frozenset[str] = frozenset()
    model: Model = field(default_factory=Model)
    median_change: MedianChange | None = None
    newest: Callable[[], Mapping[str, int]] = dict

    @classmethod
    def live(
        cls,
        calendar: Calendar,
        now: int,
        *,
        families: Mapping[str, int],
        stale: Collection[str],
        model: Model,
        median_change: MedianChange | None = None,
        newest: Callable[[], Mapping[str, int]] = dict,
    ) -> Moment:
        """That of the instant ``now``: yesterday is complete, today is not."""
        today = calendar.day_of_us(now)
        return cls(today - 1, today, calendar.zone, families, frozenset(stale), model, median_change, newest)


@dataclass(frozen=True, slots=True)
class AccountRows:
    """Stored accounts, column by column, all of one length n: numbers, ids, and the blobs of ``consumers.windows``.

    ``attributes(name)`` gives an account attribute (``owner``, ``size``, …) as n values or None, ``login_maps()`` and
    those below it those of those names, ``health()`` n records of ``alerts.health.state``; all are read only when
    asked for. None stands for nothing in any account. ``moved`` says by how many days each account's days, but for
    those of ``health``, were moved on to be read as of one day.
    """

    nos: Sequence[int]
    account_ids: Sequence[str]
    profiles: Column
    days: Column
    users: Column
    attributes: Attributes
    login_maps: Callable[[], Column]
    moments: Callable[[], Column] | None = None
    features: Callable[[], Column] | None = None
    sessions: Callable[[], Column] | None = None
    health: Callable[[], Any] | None = None
    moved: IntArray | None = None
