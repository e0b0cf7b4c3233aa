"""What the organisation says of its product and its customers, and numbers rest on: core features, weights, calendars.

Everything here comes from the configuration file (:mod:`alerts.model_sections`); a model made of nothing is the one of
METRICS. Weights and targets are whole thousandths and bands whole hundredths of a point, so that scores are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

# The four parts of the engagement score and the four inputs of the health score, in the order of METRICS section 3.
PARTS = ("logins", "breadth", "depth", "seats")
COMPONENTS = ("product", "support", "relationship", "satisfaction")
# What segments are told apart by: attributes of METRICS section 2.12 that are words.
SEGMENT_ATTRIBUTES = ("size", "tier", "channel", "use_case", "touch", "lifecycle", "usage_cadence", "country")


@dataclass(frozen=True, slots=True)
class Bands:
    """Edges of the bands in hundredths of a point: green above ``green_above``, red below ``red_below``."""

    green_above: int = 7_000
    red_below: int = 4_000


@dataclass(frozen=True, slots=True)
class HealthTerms:
    """How accounts of one segment are scored. Weights count against each other, in thousandths.

    ``targets`` are where a part reaches 100, in thousandths of its unit: logins per active user and week, core
    features in use per core feature, minutes per active user-day, active users per seat. ``engagement`` and
    ``weights`` are in the order of PARTS and of COMPONENTS.
    """

    engagement: tuple[int, int, int, int] = (1_000, 1_000, 1_000, 1_000)
    targets: tuple[int, int, int, int] = (5_000, 800, 20_000, 800)
    weights: tuple[int, int, int, int] = (400, 200, 250, 150)
    bands: Bands = field(default_factory=Bands)

    def describe(self) -> dict[str, Any]:
        """In JSON's types, for a version and for REST."""
        return {
            "engagement": {"weights": dict(zip(PARTS, self.engagement, strict=True))}
            | {"targets": dict(zip(PARTS, self.targets, strict=True))},
            "weights": dict(zip(COMPONENTS, self.weights, strict=True)),
            "bands": {"green_above": self.bands.green_above, "red_below": self.bands.red_below},
        }


@dataclass(frozen=True, slots=True)
class Segment:
    """Accounts whose attributes are all among the words of ``match``, and how they are scored."""

    match: Mapping[str, frozenset[str]]
    terms: HealthTerms

    def describe(self) -> dict[str, Any]:
        """In JSON's types."""
        return {"match": {name: sorted(words) for name, words in sorted(self.match.items())}} | (
            self.terms.describe()
        )


@dataclass(frozen=True, slots=True)
class HealthModel:
    """How health is scored: the first segment that an account is in, else ``terms``."""

    terms: HealthTerms = field(default_factory=HealthTerms)
    segments: tuple[Segment, ...] = ()

    def describe(self) -> dict[str, Any]:
        """In JSON's types."""
        return {**self.terms.describe(), "segments": [segment.describe() for segment in self.segments]}


@dataclass(frozen=True, slots=True)
class Model:
    """All of it.

    ``core_features`` are the names that adoption is measured by, for accounts without a list of their own. ``country``
    is whose holidays count where an account names none (``DE``, ``US-CA``). ``currency`` is the reporting currency;
    None: the one in which most accounts were told an amount. ``expected_gaps`` says by the name of a source how many
    microseconds without an event are no silence (METRICS section 7).
    """

    core_features: tuple[str, ...] = ()
    country: str | None = None
    currency: str | None = None
    expected_gaps: Mapping[str, int] = field(default_factory=dict)
    health: HealthModel = field(default_factory=HealthModel)

    def describe(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "core_features": list(self.core_features),
            "country": self.country,
            "currency": self.currency,
            "expected_gaps": dict(sorted(self.expected_gaps.items())),
            "health": self.health.describe(),
        }

    def with_health(self, health: HealthModel) -> Model:
        """The same, scored otherwise."""
        return replace(self, health=health)
