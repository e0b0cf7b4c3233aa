"""The rules in force, with all that goes by the same file: whom to tell, and what numbers rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from alerts.announcement import Announcer
from alerts.model import Model
from alerts.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class Rulebook:
    """What is judged and told: one configuration, swapped whole on reload."""

    rules: Sequence[Rule]
    announcer: Announcer = field(default_factory=Announcer)
    model: Model = field(default_factory=Model)
