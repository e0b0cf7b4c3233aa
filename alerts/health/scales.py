"""By what each account is scored: the terms of its segment, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alerts.arrays import IntArray
from alerts.model import HealthModel, HealthTerms, Segment
from alerts.portfolio import Portfolio


@dataclass(frozen=True, slots=True)
class Scales:
    """For n accounts: weights and targets in thousandths, n × 4, and the edges of the bands in hundredths, n.

    Columns are in the order of ``alerts.model.PARTS`` and of ``COMPONENTS``.
    """

    engagement: IntArray
    targets: IntArray
    weights: IntArray
    green_above: IntArray
    red_below: IntArray


def scales(portfolio: Portfolio, model: HealthModel) -> Scales:
    """Those of each account: of the first segment that it is in, else the model's own."""
    all_terms = [model.terms, *(segment.terms for segment in model.segments)]
    return _picked(all_terms, segment_numbers(portfolio, model.segments))


def segment_numbers(portfolio: Portfolio, segments: tuple[Segment, ...]) -> IntArray:
    """0 where no segment matches, else the number of the first that does."""
    places = np.zeros(portfolio.size, dtype=np.int64)
    for number, segment in reversed(list(enumerate(segments, 1))):
        within = np.ones(portfolio.size, dtype=np.bool_)
        for name, words in segment.match.items():
            told = portfolio.attribute(name)
            within &= np.fromiter((word in words for word in told), dtype=np.bool_, count=portfolio.size)
        places[within] = number
    return places


def _picked(terms: list[HealthTerms], places: IntArray) -> Scales:
    def column(values: Sequence[tuple[int, ...]] | Sequence[int]) -> IntArray:
        picked: IntArray = np.array(values, dtype=np.int64)[places]
        return picked

    return Scales(
        engagement=column([each.engagement for each in terms]),
        targets=column([each.targets for each in terms]),
        weights=column([each.weights for each in terms]),
        green_above=column([each.bands.green_above for each in terms]),
        red_below=column([each.bands.red_below for each in terms]),
    )
