"""Settings of Kafka's clients: what cannot work is refused at once, what is secret is shown to nobody."""

from __future__ import annotations

import pytest

from consumers.errors import ConfigurationError
from consumers.kafka.client import KafkaClient


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bootstrap_servers": []}, "no Kafka server"),
        ({"bootstrap_servers": ["kafka"]}, "no host:port"),
        ({"security_protocol": "TLS"}, "no security protocol 'TLS'"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "GUESS"}, "mechanism 'GUESS'"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "u"}, "a password"),
        ({"sasl_username": "u"}, "nobody's name"),
        ({"ssl_cafile": "/ca.pem"}, "uses no CA file"),
        ({"security_protocol": "SSL", "ssl_cafile": "/not/there.pem"}, "is not there"),
        ({"group_id": " "}, "name for the consumer's group"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_two_lines(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        KafkaClient(**{"bootstrap_servers": ["kafka:9092"], **options})  # type: ignore[arg-type]
    assert len(str(refused.value).splitlines()) == 2


def test_secrets_are_shown_to_nobody() -> None:
    client = KafkaClient(
        ["kafka:9092"],
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="bellwether",
        sasl_password="canary-1",
        ssl_password="canary-2",
    )
    assert "canary" not in repr(client)
    assert client.arguments()["sasl_plain_password"] == "canary-1"
