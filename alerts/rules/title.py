"""The one line that a person reads first: text with ``{metric}`` in it, formatted by the metric's kind.

    {logins.change_28d}          -25.4%
    {logins.change_28d:abs}      25.4%      without its sign, for "fell by"
    {logins.change_28d:signed}   +12%
    {activity.dormant_days}      16 days
    {seats.purchased}            1,200

``{{`` and ``}}`` are braces. A value that does not stand reads ``n/a``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from alerts.rules.nearest import unknown
from alerts.values import Kind, Metric

MAX_CHARACTERS = 200
MISSING = "n/a"

_STYLES = ("abs", "signed")
_NUMBERS = frozenset({Kind.RATIO, Kind.COUNT, Kind.DAYS, Kind.POINTS})
_MAX_WORD = 80  # a customer's own text in a title is cut there


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Where a metric's value goes."""

    metric: str
    kind: Kind
    style: str = ""


@dataclass(frozen=True, slots=True)
class Title:
    """A title as it was written, and its parts."""

    text: str
    parts: tuple[str | Placeholder, ...]

    @classmethod
    def parse(cls, text: str, catalogue: Mapping[str, Metric]) -> Title:
        """Raises ValueError, saying what is wrong, for a placeholder that could not be filled."""
        if len(text) > MAX_CHARACTERS or not text.isprintable() or not text.strip():
            raise ValueError(f"a title is one line of 1 to {MAX_CHARACTERS} characters")
        try:
            pieces = list(Formatter().parse(text))
        except ValueError:
            raise ValueError("a single { or }: write a metric as {name}, a brace as {{ or }}") from None
        parts: list[str | Placeholder] = []
        for literal, name, style, conversion in pieces:
            if literal:
                parts.append(literal)
            if name is not None:
                if conversion:
                    raise ValueError(f"a placeholder has no !{conversion}")
                parts.append(_placeholder(name, style or "", catalogue))
        return cls(text, tuple(parts))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics whose values it shows, each once."""
        return tuple(dict.fromkeys(part.metric for part in self.parts if isinstance(part, Placeholder)))

    def render(self, values: Mapping[str, Any]) -> str:
        """The title with plain values (see :func:`alerts.values.plain`); one that is missing or None reads ``n/a``."""
        return "".join(
            part if isinstance(part, str) else formatted(part.kind, values.get(part.metric), part.style)
            for part in self.parts
        )


def _placeholder(name: str, style: str, catalogue: Mapping[str, Metric]) -> Placeholder:
    metric = catalogue.get(name)
    if metric is None:
        raise ValueError(unknown("metric", name, catalogue) if name else "an empty placeholder {}")
    if style and style not in _STYLES:
        raise ValueError(unknown("style", style, _STYLES))
    if style and metric.kind not in _NUMBERS:
        raise ValueError(f"{name} has no sign: leave :{style} out")
    return Placeholder(name, metric.kind, style)


def formatted(kind: Kind, value: Any, style: str = "") -> str:
    """One plain value as people read it: a ratio in percent with at most one decimal, days with their word."""
    if value is None:
        return MISSING
    match kind:
        case Kind.FLAG:
            return "yes" if value else "no"
        case Kind.TEXT:
            return "".join(char for char in str(value)[:_MAX_WORD] if char.isprintable())
        case Kind.MONEY:
            return str(value)
        case _:
            return _number(kind, value, style)


def _number(kind: Kind, value: Any, style: str) -> str:
    shown = abs(value) if style == "abs" else value
    sign = "+" if style == "signed" and shown > 0 else ""
    match kind:
        case Kind.RATIO:
            percent = round(shown * 100, 1) or 0.0  # no -0
            return f"{sign}{percent:,.1f}".removesuffix(".0") + "%"
        case Kind.DAYS:
            return f"{sign}{shown:,} {'day' if abs(shown) == 1 else 'days'}"
        case Kind.POINTS:
            return f"{sign}{shown:.2f}".rstrip("0").removesuffix(".")
        case _:
            return f"{sign}{shown:,}"
