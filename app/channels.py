"""From configured destinations to channels that speak to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from alerts.delivery import Channel
from alerts.destination import DestinationType, Target
from alerts.slack import SlackChannel
from alerts.values import Kind
from alerts.webhook import WebhookChannel
from app.addresses import check_url
from consumers.errors import ConfigurationError


def open_channels(
    targets: Iterable[Target],
    *,
    environment: str = "",
    kinds: Mapping[str, Kind] | None = None,
    allow_private: bool = False,
) -> dict[str, Channel]:
    """A channel for each destination, by name.

    ``environment`` heads every card, ``kinds`` says how to write each metric's numbers. Raises ConfigurationError,
    naming the destination and never its address or secret.
    """
    channels: dict[str, Channel] = {}
    for target in targets:
        try:
            check_url(target.url.reveal(), allow_private=allow_private)
            channels[target.name] = _open(target, environment, kinds or {})
        except ConfigurationError as error:
            raise ConfigurationError(f"destination {target.name}: {error}") from None
    return channels


def _open(target: Target, environment: str, kinds: Mapping[str, Kind]) -> Channel:
    match target.type:
        case DestinationType.SLACK:
            return SlackChannel(target.name, target.url.reveal(), environment, kinds)
        case DestinationType.WEBHOOK:
            secrets = tuple(secret.reveal() for secret in target.secrets)
            return WebhookChannel(target.name, target.url.reveal(), secrets)
