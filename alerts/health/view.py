"""An account's health as REST tells it: the score of now, the band it closed in, and what either is made of."""

from __future__ import annotations

from typing import Any

from alerts.health.state import BANDS, disappeared
from alerts.metrics.health import current, health_score, remembered, scored
from alerts.model import COMPONENTS
from alerts.portfolio import Portfolio
from alerts.values import Status

HELD, DISAPPEARED = "held", "disappeared"


def health_view(portfolio: Portfolio, index: int) -> dict[str, Any]:
    """``{"score", "band", "coverage", "components"}`` of the account at ``index``, in JSON's types.

    Of each component: its ``value`` as it counts, ``status``, its ``weight`` as a share of 1, and ``kept_closes``, the
    day closes for which it has had no value of its own. The status is that of the metric, or ``held`` while the last
    value counts on, or ``disappeared`` when it no longer does.
    """
    found = scored(portfolio)
    status = portfolio.once(("health", "status"), lambda: health_score(portfolio, None).status)
    stands = status[index] == Status.OK.value
    return {
        "score": int(found.points[index]) / 100 if stands else None,
        "band": BANDS[int(remembered(portfolio)["band"][index])],
        "coverage": int(found.coverage[index]) / 10_000,
        "components": {name: _component(portfolio, index, place) for place, name in enumerate(COMPONENTS)},
    }


def _component(portfolio: Portfolio, index: int, place: int) -> dict[str, Any]:
    components, found, records = current(portfolio).components, scored(portfolio), remembered(portfolio)
    value, weights = int(found.values[index, place]), components.weights[index]
    status = Status(int(components.status[index, place])).word
    if status != Status.OK.word and disappeared(records)[index, place]:
        status = DISAPPEARED
    elif found.held[index, place]:
        status = HELD
    return {
        "value": None if value < 0 else value / 100,
        "status": status,
        "weight": round(int(weights[place]) / int(weights.sum()), 4),
        "kept_closes": int(records["missing"][index, place]),
    }
