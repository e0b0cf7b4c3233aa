"""Where messages may go: forty ways to write an address that must not be reached, and the good ones."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.destination import DestinationType, Secret, Target
from app.addresses import check_url, reachable
from app.channels import open_channels
from consumers.errors import ConfigurationError

FORBIDDEN = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://127.000.000.001/",
    "http://127.0.0.1./",
    "http://0/",
    "http://0.0.0.0/",
    "http://10.0.0.8/",
    "http://100.64.0.1/",
    "http://100.100.100.200/",
    "http://169.254.169.254/latest/meta-data/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://192.0.0.192/",
    "http://192.0.2.7/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::]/",
    "http://[::1]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::1]/",
    "http://[2001:db8::1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[fec0::1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    "http://[5f00::1]/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://api.localhost/",
    "http://receiver/",
    "http://printer.local/",
    "http://metadata.google.internal/",
    "http://user@example.com/",
    "http://user:word@example.com/",
    "http://example.com@127.0.0.1/",
    "http://example.com:25/",
    "http://example.com:22/",
    "http://example.com:0/",
    "http://example.com:99999/",
    "http://１２７.０.０.１/",
    "http://ⓛocalhost/",
    "http://127.0.0.1%2f@example.com/",
    "http://127%2e0%2e0%2e1/",
    "http://exa mple.com/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com\n.evil.example/",
    "\thttp://example.com/",
    "http:///hook",
    "http://",
    "//example.com/",
    "example.com/hook",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com:70/",
    "http://a..b/",
    "http://[::1/",
    "http://[v1.x]/",
    "",
]

ALLOWED = [
    "https://hooks.slack.com/services/T0/B0/x",
    "http://example.com",
    "https://example.com:8443/hook?key=1;2#part",
    "https://xn--bcher-kva.example/",
    "http://93.184.216.34/",
    "http://[2606:2800:220:1::1]/",
    "http://[::ffff:93.184.216.34]/",
    "http://[64:ff9b::5db8:d822]/",
    "https://my_service.example.com/",
]

PRIVATE = [
    "http://127.0.0.1:8080/",
    "http://localhost:9000/",
    "http://10.1.2.3/",
    "http://[::1]:8080/",
    "http://[fc00::1]/",
    "http://crm.default.svc.cluster.local:8080/",
    "http://receiver/",
]

# Not even where private receivers are allowed: odd forms, metadata, and what is nobody's network.
NEVER = [
    "http://127.1/",
    "http://2130706433/",
    "http://169.254.169.254/",
    "http://100.100.100.200/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1]/",
    "http://0.0.0.0/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://user@127.0.0.1/",
    "http://[64:ff9b::a9fe:a9fe]/",
]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_an_address_that_leads_inside_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        check_url(url)
    for word in ("127", "169.254", "evil", "passwd", "metadata"):
        assert word not in str(refusal.value)
    assert len(str(refusal.value).splitlines()) <= 2


@pytest.mark.parametrize("url", ALLOWED)
def test_a_public_address_is_taken(url: str) -> None:
    assert check_url(url).netloc


@pytest.mark.parametrize("url", PRIVATE)
def test_private_receivers_are_taken_where_they_are_allowed(url: str) -> None:
    assert check_url(url, allow_private=True).netloc


@pytest.mark.parametrize("url", NEVER)
def test_some_addresses_are_refused_even_where_private_ones_are_allowed(url: str) -> None:
    with pytest.raises(ConfigurationError):
        check_url(url, allow_private=True)


@given(st.ip_addresses())
def test_nothing_is_reachable_that_python_knows_to_be_not_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if reachable(address) and getattr(address, "ipv4_mapped", None) is None:
        assert address.is_global or address in ipaddress.ip_network("64:ff9b::/96")
        assert not address.is_multicast
    assert not reachable(address) or reachable(address, allow_private=True)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_an_ipv6_coat_is_judged_by_itself(address: ipaddress.IPv4Address) -> None:
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    translated = ipaddress.IPv6Address(f"64:ff9b::{address}")
    assert reachable(mapped) == reachable(translated) == reachable(address)


def test_a_configured_destination_is_checked_before_anything_is_sent() -> None:
    bad = Target("crm", DestinationType.WEBHOOK, Secret("http://169.254.169.254/canary"))
    with pytest.raises(
        ConfigurationError, match=r"^destination crm: the address is private or reserved"
    ) as refusal:
        open_channels([bad])
    assert "canary" not in str(refusal.value)


def test_each_kind_of_destination_gets_its_channel() -> None:
    targets = [
        Target("chat", DestinationType.SLACK, Secret("https://hooks.slack.com/services/x")),
        Target(
            "crm",
            DestinationType.WEBHOOK,
            Secret("https://crm.example/hook"),
            (Secret("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"),),
        ),
    ]
    channels = open_channels(targets, environment="staging")
    assert {name: channel.kind for name, channel in channels.items()} == {"chat": "slack", "crm": "webhook"}
