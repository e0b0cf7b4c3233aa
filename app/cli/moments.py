"""Instants as a person types them: RFC 3339, or a duration from now on or back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from consumers.errors import ConfigurationError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def later(text: str, now: int) -> str:
    """``text`` as RFC 3339; a duration counts from ``now`` (epoch microseconds) on."""
    return _moment(text, now, 1)


def earlier(text: str, now: int) -> str:
    """``text`` as RFC 3339; a duration counts back from ``now``."""
    return _moment(text, now, -1)


def _moment(text: str, now: int, direction: int) -> str:
    number, unit = text[:-1], text[-1:].lower()
    if number.isascii() and number.isdigit() and len(number) < 8 and unit in _SECONDS:
        span = timedelta(seconds=int(number) * _SECONDS[unit])
        moment = _EPOCH + timedelta(microseconds=now) + direction * span
    else:
        try:
            moment = datetime.fromisoformat(text.upper())
        except ValueError:
            raise ConfigurationError(_advice(text)) from None
        if moment.tzinfo is None:
            raise ConfigurationError(_advice(text))
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _advice(text: str) -> str:
    return f"{text!r} is neither an instant nor a duration\nwrite 2026-11-22T10:00:00Z, or 3d, 12h, 2w"
