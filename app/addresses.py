"""Which addresses a message may go to: the guard against being sent to one's own network (SSRF).

An address is judged twice: as it is written, when it is configured, and as it resolves, when a connection is made.
Messages never repeat the address: they are shown to people who may not know it.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from consumers.errors import ConfigurationError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Not globally routable, or not one receiver: IANA's special-purpose registry. Written out, since what ipaddress
# calls global differs between releases of Python.
_NOT_GLOBAL_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_PRIVATE_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_NOT_GLOBAL_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")  # Teredo and kin, examples, 6to4
)
_PRIVATE_V6 = tuple(ipaddress.IPv6Network(network) for network in ("::1/128", "fc00::/7"))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Clouds answer here with credentials; these two lie within private ranges, which a setting may open.
_METADATA = frozenset({ipaddress.ip_address("100.100.100.200"), ipaddress.ip_address("fd00:ec2::254")})

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.IGNORECASE)
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)
_PRIVATE_SUFFIXES = (
    "localhost",
    "local",
    "internal",
    "localdomain",
    "home.arpa",
    "lan",
    "intranet",
    "private",
)
# Ports below 1024 belong to other protocols, whose servers may take a request for something else.
_HTTP_PORTS = frozenset({80, 443})

_PUBLIC_ONLY = (
    "the address is private or reserved\n"
    "use a public one, or set BELLWETHER_ALLOW_PRIVATE_DESTINATIONS=true for receivers in your own network"
)


def reachable(address: IPAddress, *, allow_private: bool = False) -> bool:
    """Whether messages may go to this address: globally routable, or private where that is allowed."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        inner = address.ipv4_mapped
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return reachable(inner, allow_private=allow_private)
        known = address in _GLOBAL_V6 and not any(address in network for network in _NOT_GLOBAL_V6)
        private = any(address in network for network in _PRIVATE_V6)
    else:
        known = not any(address in network for network in _NOT_GLOBAL_V4)
        private = any(address in network for network in _PRIVATE_V4)
    return (known or (allow_private and private)) and address not in _METADATA


def check_url(url: str, *, allow_private: bool = False) -> SplitResult:
    """The parts of a destination's address, if it may be sent to. Raises ConfigurationError, without repeating it.

    Refused are other schemes than http and https, credentials in the address, hosts and numbers in forms that
    programs read differently (``127.1``, ``0x7f.1``, ``2130706433``, a percent sign, letters outside ASCII), ports of
    other protocols, and hosts that are private by name or number. What the name resolves to is checked at each
    connection.
    """
    if not url.isascii() or not url.isprintable() or any(character in url for character in ' \\"<>^`{|}'):
        raise ConfigurationError(
            "the address has characters that no URL has\npercent-encode them; write an international host as xn--…"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError("the address is not a URL\nwrite https://host/path") from None
    if parts.scheme not in {"http", "https"}:
        raise ConfigurationError("the address is neither http nor https\nwrite https://host/path")
    if "@" in parts.netloc:
        raise ConfigurationError(
            "the address has a user name or password\nput secrets into `secret`, not the URL"
        )
    if port == 0 or (port is not None and port < 1024 and port not in _HTTP_PORTS and not allow_private):
        raise ConfigurationError(
            "the address names a port of another protocol\nuse 80, 443, or one above 1023"
        )
    _check_host(parts, allow_private)
    return parts


def _check_host(parts: SplitResult, allow_private: bool) -> None:
    host = parts.hostname or ""
    if "[" in parts.netloc:
        literal = _literal(host)
        if literal is None or "%" in host:
            raise ConfigurationError("the address is not a URL\nwrite https://host/path")
    else:
        literal = _check_name(host, allow_private)
    if literal is not None and not reachable(literal, allow_private=allow_private):
        raise ConfigurationError(_PUBLIC_ONLY)


def _check_name(host: str, allow_private: bool) -> IPAddress | None:
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise ConfigurationError("the address has no proper host\nwrite https://host/path")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):  # an IPv4 address, or what wants to be taken for one
        literal = _literal(host)
        if literal is None:
            raise ConfigurationError(
                "the address has a number for a host\nwrite an IPv4 address as four decimals"
            )
        return literal
    private = "." not in host or any(host.endswith(f".{suffix}") for suffix in _PRIVATE_SUFFIXES)
    if private and not allow_private:
        raise ConfigurationError(_PUBLIC_ONLY)
    return None


def _literal(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
