"""What a case found: figures beside what they must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.torture.stage import Stage


@dataclass(frozen=True, slots=True)
class Figure:
    """One of them: ``wanted`` is the pass figure in words."""

    name: str
    value: str
    wanted: str
    good: bool

    def __str__(self) -> str:
        return f"{self.name} {self.value}" + (f" ({self.wanted})" if self.wanted else "")


@dataclass(slots=True)
class Result:
    """All of a case. Passed if every figure is good and nothing is broken."""

    figures: list[Figure] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    scaled: str = ""  # what was made smaller than the pass figure asks

    def tell(self, name: str, value: object, wanted: str = "", good: bool = True) -> None:
        """Write a figure down; one without ``wanted`` is only told."""
        shown = f"{value:.2f}" if isinstance(value, float) else str(value)
        self.figures.append(Figure(name, shown, wanted, good))

    def most(self, name: str, value: float, bound: float, unit: str = "") -> None:
        """A figure that must not be above ``bound``."""
        self.tell(f"{name}{f' {unit}' if unit else ''}", value, f"≤ {bound:g}", value <= bound)

    def least(self, name: str, value: float, bound: float, unit: str = "") -> None:
        """A figure that must not be below ``bound``."""
        self.tell(f"{name}{f' {unit}' if unit else ''}", value, f"≥ {bound:g}", value >= bound)

    def exactly(self, name: str, value: object, wanted: object) -> None:
        """A figure that must be ``wanted``."""
        self.tell(name, value, f"= {wanted}", value == wanted)

    def holds(self, broken: list[str]) -> None:
        """Findings of invariants; none is what it takes."""
        self.broken += broken

    @property
    def passed(self) -> bool:
        """Whether the case is survived."""
        return not self.broken and all(figure.good for figure in self.figures)


@dataclass(frozen=True, slots=True)
class Case:
    """A fault, what must be true of it, and the function that brings it about."""

    number: int
    title: str
    run: Callable[[Stage, Result], None]
