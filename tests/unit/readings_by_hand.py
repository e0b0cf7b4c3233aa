"""Readings with values written by hand: no windows, no catalogue's arithmetic, only what a rule would see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from alerts.values import Kind, Metric, Status, Values

Given = Fraction | int | float | bool | str | Status


def metric(name, kind, *, words=(), floor=None):
    """A catalogue entry whose arithmetic nobody calls."""
    return Metric(name, kind, "0", "by hand", compute=_never, default_floor=floor, words=words)


def _never(portfolio, floor):
    raise AssertionError("these readings are made by hand")


def catalogue_of(*metrics):
    """Entries by their names."""
    return {each.name: each for each in metrics}


SMALL = catalogue_of(
    metric("a.ratio", Kind.RATIO, floor=20),
    metric("b.ratio", Kind.RATIO),
    metric("a.count", Kind.COUNT),
    metric("a.days", Kind.DAYS),
    metric("a.flag", Kind.FLAG),
    metric("b.flag", Kind.FLAG),
    metric("a.money", Kind.MONEY),
    metric("a.word", Kind.TEXT, words=("red", "yellow", "green")),
    metric("a.text", Kind.TEXT),
)


@dataclass
class ByHand:
    """``{metric: one value or Status per account}``; ``asked`` remembers the floors that rules asked for, ``parts`` are
    those of some metrics."""

    given: Mapping[str, list[Given]]
    asked: dict[str, int | None] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def size(self):
        return len(next(iter(self.given.values())))

    def values(self, name, floor=None):
        self.asked[name] = floor
        return replace(values_of(self.given[name]), parts=self.parts.get(name, {}))


def values_of(given):
    """The arrays of some values; where a status is given instead, the number is one that would mislead."""
    status = np.array([each if isinstance(each, Status) else Status.OK for each in given], dtype=np.uint8)
    numbers = [_fraction(each) for each in given]
    text = None
    if all(isinstance(each, (str, Status)) for each in given):
        text = np.array([each if isinstance(each, str) else None for each in given], dtype=object)
    return Values(
        np.array([number.numerator for number in numbers], dtype=np.int64),
        np.array([number.denominator for number in numbers], dtype=np.int64),
        status,
        text,
    )


def _fraction(each):
    if isinstance(each, (Status, str)):
        return Fraction(0)
    if isinstance(each, float):
        return Fraction(str(each))
    return Fraction(each)
