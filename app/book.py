"""The configuration in force, whole: rules, who hears of them, and the channels that reach them. Swapped at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from alerts.announcement import Announcer
from alerts.configuration import Configuration, Match, Route, load_configuration
from alerts.delivery import Channel
from alerts.destination import DestinationType, Secret, Target
from alerts.metrics.catalogue import CATALOGUE
from alerts.rulebook import Rulebook
from alerts.rules.rule import Rule
from alerts.webhook import RuleCard
from app.channels import open_channels
from app.settings import Settings
from consumers.errors import ConfigurationError

SLACK_SHORTCUT = "slack"  # the destination that BELLWETHER_SLACK_WEBHOOK_URL makes


@dataclass(frozen=True, slots=True)
class Page:
    """One reading of the configuration. ``channels`` is empty where nothing may be sent."""

    configuration: Configuration
    rulebook: Rulebook
    channels: Mapping[str, Channel]

    @property
    def destinations(self) -> dict[str, str]:
        """The kind of each destination, by name."""
        return {name: channel.kind for name, channel in self.channels.items()}


class Book:
    """The page in force. Thread-safe: whoever reads holds one page, a reload turns to the next or leaves it."""

    def __init__(self, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        """Reads the first page. Raises ConfigurationError."""
        self._settings = settings
        self._environ = os.environ if environ is None else environ
        self._turning = threading.Lock()
        self.page = self._read()

    def reload(self, prepare: Callable[[Page], None] = lambda _page: None) -> Page:
        """Read again and turn to that page, once ``prepare`` has seen it; on any error of either the page in force
        stays. Raises ConfigurationError, and what ``prepare`` raises."""
        with self._turning:
            page = self._read()
            prepare(page)
            self.page = page
            return page

    @property
    def configuration(self) -> Configuration:
        """What the file says."""
        return self.page.configuration

    @property
    def rulebook(self) -> Rulebook:
        """What is judged and told."""
        return self.page.rulebook

    def _read(self) -> Page:
        settings = self._settings
        configuration = load_configuration(settings.config, CATALOGUE)
        targets = [*configuration.targets(self._environ, _read_file), *_shortcut(settings, configuration)]
        channels = open_channels(
            targets,
            environment=settings.environment,
            kinds={name: metric.kind for name, metric in CATALOGUE.items()},
            allow_private=settings.allow_private_destinations,
        )
        announcer = Announcer(
            telling=settings.delivery,
            destinations=tuple(channels),
            routes=_routes(configuration, settings),
            rules={rule.id: _card(rule) for rule in configuration.rules},
            public_url=settings.public_url,
        )
        return Page(configuration, Rulebook(configuration.rules, announcer, configuration.model), channels)


def _shortcut(settings: Settings, configuration: Configuration) -> list[Target]:
    """The one Slack destination that needs no file."""
    if settings.slack_webhook_url is None:
        return []
    if any(each.name == SLACK_SHORTCUT for each in configuration.destinations):
        raise ConfigurationError(
            f"{configuration.path} has a destination {SLACK_SHORTCUT!r}, and BELLWETHER_SLACK_WEBHOOK_URL makes one\n"
            "rename the one in the file, or unset the variable"
        )
    url = Secret(settings.slack_webhook_url.get_secret_value())
    return [Target(SLACK_SHORTCUT, DestinationType.SLACK, url)]


def _routes(configuration: Configuration, settings: Settings) -> tuple[Route, ...]:
    """The file's routes; everything goes to the shortcut's destination as well."""
    if not configuration.routes or settings.slack_webhook_url is None:
        return configuration.routes
    return (Route(Match(), (SLACK_SHORTCUT,), continue_=True), *configuration.routes)


def _card(rule: Rule) -> RuleCard:
    return RuleCard(rule.playbook.action, rule.playbook.due or "", rule.labels)


def _read_file(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")
