"""Where alerts go, and the addresses and keys for it: secrets that never show in a repr, a message or a trace.

A secret stands in the file, in a variable or in a file of its own. Reading it is a second step, with the environment as
an argument, so that a rule file can be checked where its secrets are not.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from consumers.errors import ConfigurationError

MASK = "****"
_KEY_PREFIX = "whsec_"
_KEY_BYTES = (16, 64)
_MOST_KEYS = 3
_LONGEST_URL = 2_000


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Secret:
    """Text that only :meth:`reveal` shows."""

    _text: str

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        """Compared in constant time."""
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)


class DestinationType(StrEnum):
    """How a destination is spoken to."""

    SLACK = "slack"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class Reference:
    """A secret, or where to find it: exactly one of the three. ``place`` is file:line, for messages."""

    what: str
    place: str
    inline: Secret | None = None
    variable: str | None = None
    file: str | None = None

    def resolve(self, environ: Mapping[str, str], read_file: Callable[[str], str]) -> Secret:
        """The secret itself, white space around it cut. Raises ConfigurationError, never showing what was read."""
        secret = self.inline or Secret(self._read(environ, read_file).strip())
        if not secret.reveal():
            raise ConfigurationError(f"{self.place}: {self.what}_{self._found_in} is not set, or empty")
        if wrong := CHECKS[self.what](secret):
            raise ConfigurationError(f"{self.place}: {wrong}")
        return secret

    def _read(self, environ: Mapping[str, str], read_file: Callable[[str], str]) -> str:
        if self.variable is not None:
            return environ.get(self.variable, "")
        try:
            return read_file(self.file or "")
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ConfigurationError(
                f"{self.place}: {self.what}_{self._found_in} cannot be read: {reason}"
            ) from None

    @property
    def _found_in(self) -> str:
        return f"file: {self.file}" if self.variable is None else f"env: {self.variable}"

    @property
    def spelt(self) -> str:
        """Where it comes from: ``inline``, ``env:NAME``, ``file:PATH``."""
        if self.variable is not None:
            return f"env:{self.variable}"
        return "inline" if self.file is None else f"file:{self.file}"


@dataclass(frozen=True, slots=True)
class Target:
    """A destination with its secrets in hand: an address, and the keys that sign what a webhook gets."""

    name: str
    type: DestinationType
    url: Secret
    secrets: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True)
class Destination:
    """One entry of ``destinations``. A webhook has a ``secret`` that signs what is sent; Slack has none."""

    name: str
    type: DestinationType
    url: Reference
    secret: Reference | None = None

    def resolve(self, environ: Mapping[str, str], read_file: Callable[[str], str]) -> Target:
        """With its secrets read and checked. Raises ConfigurationError."""
        url = self.url.resolve(environ, read_file)
        keys = self.secret.resolve(environ, read_file).reveal().split() if self.secret else []
        return Target(self.name, self.type, url, tuple(Secret(key) for key in keys))


def url_problem(url: Secret) -> str | None:
    """What is wrong with an address, without showing it; None if nothing is."""
    text = url.reveal()
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "url is not an address"
    if parts.scheme not in {"https", "http"} or not host:
        return "url must begin with https:// (or http://) and name a host"
    if parts.username is not None or parts.password is not None:
        return "url must not hold a user name or password"
    if len(text) > _LONGEST_URL or not text.isascii() or not text.isprintable() or " " in text:
        return f"url must be at most {_LONGEST_URL:,} plain characters without spaces"
    return None


def decode_key(text: str) -> bytes:
    """The bytes of a signing key, ``whsec_`` and base64. Raises ConfigurationError, which does not repeat the key."""
    encoded = text.removeprefix(_KEY_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    least, most = _KEY_BYTES
    if not least <= len(key) <= most:
        raise ConfigurationError(
            f"secret must be {_KEY_PREFIX} and {least} to {most} bytes in base64: openssl rand -base64 24"
        )
    return key


def keys_problem(secret: Secret) -> str | None:
    """What is wrong with the signing keys (more than one while they are changed), without showing them."""
    keys = secret.reveal().split()
    if len(keys) > _MOST_KEYS:
        return f"secret holds more than {_MOST_KEYS} keys: remove the oldest"
    try:
        for key in keys:
            decode_key(key)
    except ConfigurationError as error:
        return str(error)
    return None


CHECKS: Mapping[str, Callable[[Secret], str | None]] = {"url": url_problem, "secret": keys_problem}
