"""Who hears of an alert: routes in their order, the first match wins unless it says to continue.

Routes are whatever looks like :class:`Route`; the configuration's own dataclasses do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Match(Protocol):
    """What a route asks of an alert. An empty part asks nothing; of the others, every one must fit."""

    @property
    def severity(self) -> Collection[str]:
        """Any of these severities."""

    @property
    def rule(self) -> Collection[str]:
        """Any of these rules."""

    @property
    def owner(self) -> Collection[str]:
        """Any of these account owners."""

    @property
    def labels(self) -> Mapping[str, str]:
        """All of these labels of the rule, with these values."""


class Route(Protocol):
    """Where alerts that match go, and whether later routes are asked too."""

    @property
    def match(self) -> Match:
        """Which alerts."""

    @property
    def to(self) -> Sequence[str]:
        """Names of destinations."""

    @property
    def continue_(self) -> bool:
        """Whether the routes below are tried as well."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What routes look at in an alert."""

    rule: str
    severity: str
    owner: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def recipients(routes: Sequence[Route], destinations: Sequence[str], subject: Subject) -> tuple[str, ...]:
    """The destinations for an alert, each once. Without any route configured: all of them."""
    if not routes:
        return tuple(dict.fromkeys(destinations))
    chosen: dict[str, None] = {}
    for route in routes:
        if not matches(route.match, subject):
            continue
        chosen.update(dict.fromkeys(route.to))
        if not route.continue_:
            break
    return tuple(name for name in chosen if name in destinations)


def matches(match: Match, subject: Subject) -> bool:
    """Whether every part of the match that asks something fits."""
    return (
        (not match.severity or subject.severity in match.severity)
        and (not match.rule or subject.rule in match.rule)
        and (not match.owner or (subject.owner is not None and subject.owner in match.owner))
        and all(subject.labels.get(name) == value for name, value in match.labels.items())
    )
