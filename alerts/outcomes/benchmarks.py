"""What companies of the same stage reach: the bands of NRR and the yearly targets (METRICS section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from alerts.outcomes.movement import NOBODY, Movement


class Stage(StrEnum):
    """How far a company's funding has come."""

    A = "series_a"
    B = "series_b"
    C = "series_c_plus"


class Level(StrEnum):
    """Where an NRR stands against its stage; ``below_average`` lies between average and warning."""

    STRONG = "strong"
    AVERAGE = "average"
    BELOW_AVERAGE = "below_average"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Bands:
    """NRR in percent: above ``strong``; from ``average`` to ``strong`` inclusive; below ``warning``."""

    strong: int
    average: int
    warning: int

    def level(self, nrr: Fraction) -> Level:
        """Exact: an NRR of precisely the ``strong`` percent is still average."""
        percent = nrr * 100
        if percent > self.strong:
            return Level.STRONG
        if percent >= self.average:
            return Level.AVERAGE
        return Level.WARNING if percent < self.warning else Level.BELOW_AVERAGE


BANDS: Mapping[Stage, Bands] = {
    Stage.A: Bands(105, 95, 90),
    Stage.B: Bands(110, 100, 95),
    Stage.C: Bands(120, 110, 100),
}


@dataclass(frozen=True, slots=True)
class Target:
    """A yearly target in percent: the rate must be above it, or below it. ``size`` restricts it to a company size."""

    rate: str  # of a Movement
    percent: int
    above: bool
    size: str | None = None

    def met(self, rate: Fraction) -> bool:
        """Whether ``rate`` reaches it; to be exactly there is not enough."""
        return rate * 100 > self.percent if self.above else rate * 100 < self.percent


TARGETS = (
    Target("expansion_rate", 15, above=True),
    Target("contraction_rate", 3, above=False),
    Target("churned_mrr_rate", 5, above=False),
    Target("grr", 90, above=True, size="smb"),
    Target("grr", 95, above=True, size="enterprise"),
)


def movement_of(size: str | None, whole: Movement, sizes: Mapping[str | None, Movement]) -> Movement:
    """What a target looks at: everybody, or the accounts of one company size, however its name is capitalised."""
    if size is None:
        return whole
    chosen = [movement for name, movement in sizes.items() if name is not None and name.casefold() == size]
    return sum(chosen, NOBODY)
