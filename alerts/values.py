"""What a metric says: numbers as exact fractions, each with a status, for many accounts at once.

Arrays have one entry per account of a :class:`~alerts.portfolio.Portfolio`. Numbers are kept as int64 numerator and
denominator, so that thresholds compare exactly (METRICS section 1) and a float appears only on display.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.arrays import BoolArray, IntArray, StatusArray
from alerts.portfolio import Portfolio

__all__ = ["BoolArray", "IntArray", "Kind", "Metric", "Status", "StatusArray", "Values", "plain"]


class Status(IntEnum):
    """Whether a number stands (METRICS section 1). No rule fires on anything but OK.

    With arrays its ``value`` is compared: of a member itself numpy asks for so much that it takes ten times as long.
    """

    OK = 0
    INSUFFICIENT_HISTORY = 1
    LOW_VOLUME = 2
    STALE_SOURCE = 3
    NOT_APPLICABLE = 4
    UNKNOWN = 5

    @property
    def word(self) -> str:
        """The status as REST and evidence spell it: ``ok``, ``low_volume``, …"""
        return self.name.lower()


class Kind(StrEnum):
    """What sort of value a metric has; the rule checker allows only comparisons that make sense for it."""

    RATIO = "ratio"  # a fraction, -0.25
    COUNT = "count"  # an integer
    DAYS = "days"  # an integer number of days
    POINTS = "points"  # a score from 0 to 100, to the hundredth
    FLAG = "flag"  # true or false: numerator 1 or 0
    TEXT = "text"  # one of some words
    MONEY = "money"  # cents in the numerator, 100 in the denominator


@dataclass(frozen=True, slots=True)
class Values:
    """One metric over n accounts.

    ``numerator`` / ``denominator`` (denominator > 0 wherever status is OK) is the value; ``text`` replaces them for
    Kind.TEXT. ``parts`` are the counts that a stranger needs to recompute it, ``windows`` the days they were counted
    over, as inclusive (first, last) days since 1970-01-01.
    """

    numerator: IntArray
    denominator: IntArray
    status: StatusArray
    text: NDArray[np.object_] | None = None
    parts: Mapping[str, IntArray] = field(default_factory=dict)
    windows: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def ok(self) -> BoolArray:
        """Where the number stands."""
        result: BoolArray = self.status == Status.OK.value
        return result


@dataclass(frozen=True, slots=True)
class Metric:
    """One entry of the catalogue: the name that rules, REST and evidence use, and how to compute it.

    ``compute(portfolio, floor)`` gets the volume floor that a rule asked for, or None for ``default_floor``;
    metrics without a floor ignore it. ``reads`` are the event families whose absence makes the value unknown.
    ``counts`` names the two parts whose change the metric is, later one first, where both are counts of events over
    windows of one length: those that ``significant()`` can test. ``terms(portfolio, index)`` is what the configuration
    says that an account's value goes by, for evidence.
    """

    name: str
    kind: Kind
    section: str
    summary: str
    compute: Callable[[Portfolio, int | None], Values]
    default_floor: int | None = None
    words: tuple[str, ...] = ()  # the possible values of a TEXT metric; empty: free text
    reads: tuple[str, ...] = ()
    counts: tuple[str, str] | None = None
    terms: Callable[[Portfolio, int], dict[str, Any]] | None = None

    @property
    def leads(self) -> bool:
        """Whether it is a leading indicator; attributes (METRICS 2.12) indicate nothing by themselves."""
        return self.section.startswith("2.") and self.section != "2.12"


def plain(metric: Metric, values: Values, index: int) -> Any:
    """The value at ``index`` as JSON shows it: float, int, bool or str; None unless its status is OK."""
    if values.status[index] != _OK:
        return None
    if values.text is not None:
        return values.text[index]
    kind, numerator = metric.kind, int(values.numerator[index])
    if kind is _FLAG:
        return bool(numerator)
    if kind in _WHOLE:
        return numerator
    if kind is _MONEY:
        return f"{'-' if numerator < 0 else ''}{abs(numerator) // 100}.{abs(numerator) % 100:02d}"
    return numerator / int(values.denominator[index])


# Asked for by the million: an enum's members take longer to find than all the rest.
_OK = int(Status.OK)
_FLAG, _MONEY, _WHOLE = Kind.FLAG, Kind.MONEY, (Kind.COUNT, Kind.DAYS)
