"""Every BELLWETHER_* variable, checked once at the start: a frozen value that everything else is built from.

``Settings(...)`` takes what it is given by name and reads nothing; :meth:`Settings.load` reads the process's
environment, ``.env`` and secrets' files.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from alerts.delivery import Telling
from app import environment
from app.environment import DOTENV, PREFIX, Variable
from consumers.errors import ConfigurationError
from consumers.kafka.client import MECHANISMS, PROTOCOLS, KafkaClient

REDACTED = "********"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SPAN = re.compile(r"(\d{1,10})\s*([smhdw]?)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "": 86_400}
_TOPIC_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,200}")
# Up to the last '@', and in the query: a password may hold what an address may not, and is no less a secret for it.
_ADDRESS_PASSWORD = re.compile(r"(?<=://)([^:@/]*:)(.+)(?=@)|(?<=[?&])(password=)([^&#]+)")


class Dedup(StrEnum):
    """Over which stretch an event id counts once."""

    PARTITION = "partition"
    SERVICE = "service"


def _span(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = _SPAN.fullmatch(value.strip().lower())
    if match is None or not 0 < int(match[1]) * _SECONDS[match[2]] <= 36_500 * 86_400:
        raise ValueError("write a duration such as 400d, 36h or 400 (days), at most 100 years")
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def _instant(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    advice = "write an RFC 3339 instant with its offset, such as 2026-11-22T10:00:00Z"
    try:
        moment = datetime.fromisoformat(value.strip().upper())
    except ValueError:
        raise ValueError(advice) from None
    if moment.tzinfo is None:
        raise ValueError(advice)
    return (moment - _EPOCH) // timedelta(microseconds=1)


Span = Annotated[timedelta, BeforeValidator(_span)]
Instant = Annotated[int, BeforeValidator(_instant)]


class Settings(BaseSettings):
    """The configuration of one process. Secrets are SecretStr, and no secret is in its repr."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False
    )

    database_url: str = Field(
        "sqlite:///bellwether.db", repr=False, description="sqlite:///FILE or postgresql://USER@HOST/NAME"
    )
    config: Path | None = Field(None, description="rules, destinations, routes; empty: the shipped defaults")
    kafka_bootstrap_servers: str = Field("", description="host:port, several with commas; empty: no Kafka")
    kafka_security_protocol: str = Field("PLAINTEXT", description=", ".join(PROTOCOLS))
    kafka_sasl_mechanism: str = Field("", description=", ".join(MECHANISMS))
    kafka_sasl_username: str = ""
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_cafile: Path | None = None
    kafka_ssl_certfile: Path | None = None
    kafka_ssl_keyfile: Path | None = None
    kafka_ssl_password: SecretStr | None = None
    kafka_ssl_check_hostname: bool = Field(True, description="a broker's certificate must bear its name")
    kafka_group_id: str = Field("bellwether", min_length=1, max_length=200)
    kafka_instance_id: str = Field(
        "", max_length=200, description="one consumer's own name: restarted under it, it goes on at once"
    )
    kafka_fast_batches: bool = Field(False, description="read values straight from the record batches")
    timezone: str = Field("UTC", description="the zone of the days; another one needs db rebuild")
    delivery: Telling = Field(Telling.LIVE, description="off, shadow or live")
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535, description="0: any free one")
    probe_port: int | None = Field(
        None, ge=1, le=65535, description="every role answers /livez and /readyz there; empty: no such port"
    )
    public_url: str = Field("", validate_default=True, description="links in messages; from host and port")
    environment: str = Field("", max_length=64, description="a name shown on every message and page")
    encryption_key: SecretStr | None = Field(None, description="accepted; nothing is stored encrypted yet")
    topic_prefix: str = Field("bellwether.", description="before the names of the seven topics")
    dedup: Dedup = Dedup.PARTITION
    retention_activity: Span = timedelta(days=400)
    retention_dead_letters: Span = timedelta(days=30)
    retention_deliveries: Span = timedelta(days=90)
    retention_journal: Span = timedelta(days=7)
    retention_audit: Span = timedelta(days=400)
    admin_key: SecretStr | None = Field(None, description="the first API key")
    metrics_token: SecretStr | None = Field(None, description="opens /metrics and nothing else")
    now: Instant | None = Field(None, description="freezes today and the moment of judgement")
    slack_webhook_url: SecretStr | None = Field(None, description="one Slack destination for everything")
    allow_private_destinations: bool = Field(False, description="webhooks may go to private addresses")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given by name: the environment comes in through :meth:`load`, with its origin known."""
        return (init_settings,)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, dotenv: Path | None = DOTENV) -> Settings:
        """From ``environ`` (default: this process's), then ``dotenv``. Raises ConfigurationError."""
        variables = environment.read(
            os.environ if environ is None else environ,
            dotenv,
            names=[variable_name(field) for field in cls.model_fields],
            secrets=[variable_name(field) for field in SECRETS],
        )
        given: dict[str, Any] = {field_name(name): each.value.strip() for name, each in variables.items()}
        try:
            settings = cls(**given)
        except ValidationError as error:
            raise ConfigurationError(_explain(error, variables)) from None
        settings.check_in_force()
        return settings

    @field_validator("kafka_security_protocol", "kafka_sasl_mechanism", mode="before")
    @classmethod
    def _in_capitals(cls, word: Any) -> Any:
        return word.upper() if isinstance(word, str) else word

    @field_validator("topic_prefix")
    @classmethod
    def _topic_prefix(cls, prefix: str) -> str:
        if not _TOPIC_PREFIX.fullmatch(prefix):
            raise ValueError("write letters, digits, dots, - and _, at most 200: Kafka takes no others")
        return prefix

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            return ZoneInfo(name).key
        except (KeyError, ValueError, OSError):
            raise ValueError("write an IANA zone such as Europe/Berlin") from None

    @field_validator("host")
    @classmethod
    def _bare_host(cls, host: str) -> str:
        bare = host.removeprefix("[").removesuffix("]")
        if not bare or re.search(r"[\s/@]|:\d+$", host if "::" not in host else ""):
            raise ValueError("write a host name or address without port or path")
        return bare

    @field_validator("public_url")
    @classmethod
    def _plain_url(cls, url: str, info: Any) -> str:
        if not url:
            host, port = info.data.get("host", "127.0.0.1"), info.data.get("port", 8000)
            return f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url):
            raise ValueError("write http:// or https://, a host, and nothing after the path")
        return url.rstrip("/")

    @property
    def zone(self) -> ZoneInfo:
        """The organisation's zone, in which days begin and end."""
        return ZoneInfo(self.timezone)

    @property
    def loopback(self) -> bool:
        """Whether the service listens only to this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def check_in_force(self) -> None:
        """What cannot work together must not be found out later. Raises ConfigurationError."""
        if self.kafka:
            self.kafka_client()
        elif idle := [field for field in _OF_KAFKA if getattr(self, field)]:
            raise ConfigurationError(
                f"{variable_name(idle[0])} is set, but BELLWETHER_KAFKA_BOOTSTRAP_SERVERS is not\n"
                "set that as well, or unset it: events come through the embedded journal now"
            )

    @property
    def kafka(self) -> bool:
        """Whether events come through Kafka."""
        return bool(self.kafka_servers)

    @property
    def kafka_servers(self) -> list[str]:
        """The bootstrap servers, each host:port."""
        return [each.strip() for each in self.kafka_bootstrap_servers.split(",") if each.strip()]

    def kafka_client(self) -> KafkaClient:
        """How to reach Kafka, and as whom. Raises ConfigurationError for what cannot work together."""

        def text(path: Path | None) -> str | None:
            return None if path is None else str(path)

        def shown(secret: SecretStr | None) -> str | None:
            return None if secret is None else secret.get_secret_value()

        try:
            return KafkaClient(
                bootstrap_servers=self.kafka_servers,
                security_protocol=self.kafka_security_protocol,
                sasl_mechanism=self.kafka_sasl_mechanism or None,
                sasl_username=self.kafka_sasl_username or None,
                sasl_password=shown(self.kafka_sasl_password),
                ssl_cafile=text(self.kafka_ssl_cafile),
                ssl_certfile=text(self.kafka_ssl_certfile),
                ssl_keyfile=text(self.kafka_ssl_keyfile),
                ssl_password=shown(self.kafka_ssl_password),
                ssl_check_hostname=self.kafka_ssl_check_hostname,
                group_id=self.kafka_group_id,
                instance_id=self.kafka_instance_id,
            )
        except ConfigurationError as error:
            raise ConfigurationError(f"BELLWETHER_KAFKA_*: {error}") from None

    def check_bind(self, *, keys_exist: bool = False) -> None:
        """Without any API key only this machine may ask. Raises ConfigurationError for any other bind."""
        if self.loopback or self.admin_key is not None or keys_exist:
            return
        raise ConfigurationError(
            f"BELLWETHER_HOST is {self.host}, and there is no API key: anybody could read and write\n"
            "set BELLWETHER_ADMIN_KEY, or run: bellwether keys create, or bind 127.0.0.1"
        )

    def shown(self) -> dict[str, str]:
        """Every variable with its value as text, secrets masked: what `config show` prints."""
        return {
            variable_name(field): _shown(field, getattr(self, field)) for field in type(self).model_fields
        }

    def secret_values(self) -> tuple[str, ...]:
        """The secrets themselves, for the log's redaction."""
        held = [getattr(self, field) for field in SECRETS]
        secrets = [value.get_secret_value() for value in held if isinstance(value, SecretStr)]
        passwords = [found[2] or found[4] for found in _ADDRESS_PASSWORD.finditer(self.database_url)]
        return (*secrets, *passwords, *(unquote(each) for each in passwords))


SECRETS = (
    "database_url",
    "kafka_sasl_password",
    "kafka_ssl_password",
    "encryption_key",
    "admin_key",
    "metrics_token",
    "slack_webhook_url",
)


# What only a connection to Kafka needs: a lone one is a typo somewhere else.
_OF_KAFKA = (
    "kafka_sasl_mechanism",
    "kafka_sasl_username",
    "kafka_sasl_password",
    "kafka_ssl_cafile",
    "kafka_ssl_certfile",
    "kafka_ssl_keyfile",
    "kafka_ssl_password",
)


def variable_name(field: str) -> str:
    """The environment variable of a field: ``port`` → ``BELLWETHER_PORT``."""
    return f"{PREFIX}{field.upper()}"


def field_name(variable: str) -> str:
    """The field of an environment variable: ``BELLWETHER_PORT`` → ``port``."""
    return variable.removeprefix(PREFIX).lower()


def _shown(field: str, value: Any) -> str:
    match value:
        case SecretStr():
            shown = REDACTED
        case bool():
            shown = str(value).lower()
        case timedelta():
            shown = _span_text(value)
        case int() if field == "now":
            shown = (_EPOCH + timedelta(microseconds=value)).isoformat().replace("+00:00", "Z")
        case str() if field == "database_url":
            shown = _ADDRESS_PASSWORD.sub(lambda found: f"{found[1] or found[3]}{REDACTED}", value)
        case _:
            shown = "" if value is None else str(value)
    return shown


def _span_text(span: timedelta) -> str:
    for letter, unit in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1))):
        if span % unit == timedelta():
            return f"{span // unit}{letter}"
    return f"{span // timedelta(seconds=1)}s"


def _explain(error: ValidationError, variables: Mapping[str, Variable]) -> str:
    first, *others = error.errors(include_url=False, include_context=True)
    said = str(first.get("ctx", {}).get("error", first["msg"]))
    if not first["loc"]:
        return said
    field = str(first["loc"][0])
    name = variable_name(field)
    variable = variables.get(name)
    value = REDACTED if field in SECRETS else (variable.value if variable else "")
    if name == "BELLWETHER_PORT" and value.startswith("tcp://"):
        said = "Kubernetes put a service link there: set enableServiceLinks: false, or rename the Service"
    more = f" (and {len(others)} more wrong)" if others else ""
    place = f" ({variable.place})" if variable and variable.place != "environment" else ""
    return f"{name}{place} is {value!r}{more}\n{said[:1].lower()}{said[1:]}"
