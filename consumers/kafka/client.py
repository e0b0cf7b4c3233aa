"""How to reach a Kafka cluster, and as whom: everything that its clients need to connect, checked before any does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from consumers.errors import ConfigurationError

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
GROUP = "bellwether"


@dataclass(frozen=True, slots=True)
class KafkaClient:
    """One cluster and one identity. Raises ConfigurationError when they cannot work; secrets are in no ``repr``.

    ``bootstrap_servers`` are ``host:port``, one that answers is enough. ``sasl_*`` belong to the SASL protocols,
    ``instance_id`` names one member of the group for good: started again under it, it has its partitions back at once.
    ``ssl_*`` (PEM files; none: what the system trusts) to those that end in SSL.
    """

    bootstrap_servers: Sequence[str]
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_password: str | None = field(default=None, repr=False)
    ssl_check_hostname: bool = True
    group_id: str = GROUP
    instance_id: str = ""
    client_id: str = GROUP

    def __post_init__(self) -> None:
        """Check all of it. Raises ConfigurationError, in two lines: what, and what to do."""
        _check_servers(self.bootstrap_servers)
        if self.security_protocol not in PROTOCOLS:
            raise ConfigurationError(
                f"Kafka has no security protocol {self.security_protocol!r}\nuse one of {', '.join(PROTOCOLS)}"
            )
        self._check_sasl()
        self._check_tls()
        for name, value in (("group", self.group_id), ("client", self.client_id)):
            if not value.strip():
                raise ConfigurationError(
                    f"Kafka needs a name for the consumer's {name}\nleave it out for {GROUP!r}"
                )

    @property
    def origin(self) -> str:
        """What a person would call the cluster: its servers."""
        return f"kafka {','.join(self.bootstrap_servers)}"

    def arguments(self) -> Mapping[str, Any]:
        """What every client of kafka-python takes: servers, name, security. Holds the secrets: show it to nobody."""
        secured: dict[str, Any] = {}
        if self.security_protocol.startswith("SASL"):
            secured |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password,
            }
        if self.security_protocol.endswith("SSL"):
            secured |= {
                "ssl_cafile": self.ssl_cafile,
                "ssl_certfile": self.ssl_certfile,
                "ssl_keyfile": self.ssl_keyfile,
                "ssl_password": self.ssl_password,
                "ssl_check_hostname": self.ssl_check_hostname,
            }
        return MappingProxyType(
            {
                "bootstrap_servers": list(self.bootstrap_servers),
                "client_id": self.client_id,
                "security_protocol": self.security_protocol,
                **secured,
            }
        )

    def _check_sasl(self) -> None:
        if not self.security_protocol.startswith("SASL"):
            if self.sasl_mechanism or self.sasl_username or self.sasl_password:
                raise ConfigurationError(
                    f"Kafka's security protocol {self.security_protocol} would send nobody's name or password\n"
                    "use SASL_SSL, or leave out what belongs to SASL"
                )
            return
        if self.sasl_mechanism not in MECHANISMS:
            raise ConfigurationError(
                f"Kafka's SASL mechanism {self.sasl_mechanism!r} is not one that is spoken here\n"
                f"use one of {', '.join(MECHANISMS)}"
            )
        if not (self.sasl_username and self.sasl_password):
            raise ConfigurationError(
                f"Kafka's SASL mechanism {self.sasl_mechanism} needs a user's name and a password\ngive both"
            )

    def _check_tls(self) -> None:
        files = {"CA": self.ssl_cafile, "certificate": self.ssl_certfile, "key": self.ssl_keyfile}
        given = {name: path for name, path in files.items() if path}
        if given and not self.security_protocol.endswith("SSL"):
            raise ConfigurationError(
                f"Kafka's security protocol {self.security_protocol} uses no {' or '.join(given)} file\n"
                "use SSL or SASL_SSL, or leave the files out"
            )
        for name, path in given.items():
            if not Path(path).is_file():
                raise ConfigurationError(
                    f"Kafka's {name} file {path} is not there\ngive the path of a PEM file that can be read"
                )
        if self.ssl_keyfile and not self.ssl_certfile:
            raise ConfigurationError(
                "Kafka's key file is of no use without its certificate\ngive both or neither"
            )


def _check_servers(servers: Sequence[str]) -> None:
    if isinstance(servers, str) or not servers:
        raise ConfigurationError("no Kafka server is named\ngive one or more as host:port")
    for server in servers:
        host, _, port = server.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigurationError(
                f"Kafka server {server!r} is no host:port\nname it like kafka-1.example:9092"
            )
