"""Settings: what is accepted, what is refused and with which words, and that no secret can be read off them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery import Telling
from app.clock import Clock
from app.settings import SECRETS, Dedup, Settings, variable_name
from consumers.errors import ConfigurationError

CANARY = "canary-4f1b"


def load(**variables: str) -> Settings:
    return Settings.load({f"BELLWETHER_{name}": value for name, value in variables.items()}, dotenv=None)


def refusal(**variables: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(**variables)
    lines = str(caught.value).splitlines()
    assert 1 <= len(lines) <= 2
    return str(caught.value)


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = load()
    assert settings.database_url == "sqlite:///bellwether.db"
    assert (settings.host, settings.port, settings.public_url) == ("127.0.0.1", 8000, "http://127.0.0.1:8000")
    assert settings.delivery is Telling.LIVE
    assert settings.dedup is Dedup.PARTITION
    assert settings.kafka_group_id == "bellwether"
    assert settings.topic_prefix == "bellwether."
    assert settings.retention_activity == settings.retention_audit == timedelta(days=400)
    assert settings.retention_dead_letters == timedelta(days=30)
    assert settings.retention_deliveries == timedelta(days=90)
    assert settings.retention_journal == timedelta(days=7)
    assert settings.now is None
    assert not settings.allow_private_destinations


def test_settings_built_by_name_read_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BELLWETHER_PORT", "9001")
    assert Settings().port == 8000
    assert Settings.load(dotenv=None).port == 9001


def test_an_empty_variable_is_an_absent_one() -> None:
    assert load(PORT="", ADMIN_KEY=" ").port == 8000
    assert load(ADMIN_KEY=" ").admin_key is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("400d", timedelta(days=400)),
        ("400", timedelta(days=400)),
        ("36h", timedelta(hours=36)),
        ("2W", timedelta(weeks=2)),
        ("90s", timedelta(seconds=90)),
    ],
)
def test_a_retention_is_a_duration_or_a_number_of_days(written: str, meant: timedelta) -> None:
    assert load(RETENTION_JOURNAL=written).retention_journal == meant


@pytest.mark.parametrize("written", ["0", "0d", "-1d", "a week", "1.5d", "1y", "5300w"])
def test_a_retention_of_nothing_or_in_unknown_units_is_refused(written: str) -> None:
    assert "such as 400d" in refusal(RETENTION_JOURNAL=written)


@given(st.integers(min_value=1, max_value=5_000), st.sampled_from("smhdw"))
def test_a_duration_shown_reads_back_as_the_same_duration(count: int, unit: str) -> None:
    before = load(RETENTION_AUDIT=f"{count}{unit}")
    after = load(RETENTION_AUDIT=before.shown()["BELLWETHER_RETENTION_AUDIT"])
    assert before.retention_audit == after.retention_audit


def test_now_is_an_instant_with_an_offset_in_microseconds() -> None:
    expected = 1_795_341_600_000_000
    assert load(NOW="2026-11-22T10:00:00Z").now == expected
    assert load(NOW="2026-11-22T11:00:00+01:00").now == expected
    assert load(NOW="2026-11-22T10:00:00Z").shown()["BELLWETHER_NOW"] == "2026-11-22T10:00:00Z"
    for wrong in ("2026-11-22T10:00:00", "yesterday", "1795341600"):
        assert "RFC 3339" in refusal(NOW=wrong)


def test_a_frozen_clock_stands_still_while_the_real_one_goes_on() -> None:
    clock = Clock(frozen_at=1_000)
    assert clock.now_us() == 1_000
    assert clock.real_us() > 1_600_000_000_000_000
    assert Clock().now_us() >= clock.real_us() - 1_000_000


def test_a_misspelled_variable_is_refused_with_the_nearest_name() -> None:
    assert "did you mean BELLWETHER_DATABASE_URL?" in refusal(DATABSE_URL="sqlite:///x.db")
    assert "did you mean BELLWETHER_RETENTION_DEAD_LETTERS?" in refusal(RETENTION_DEADLETTERS="3d")
    assert "bellwether config show" in refusal(QQQ="1")


def test_the_links_of_a_kubernetes_service_are_not_settings() -> None:
    links = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "80",
        "PORT_8000_TCP_ADDR": "10.0.0.1",
        "PORT_8000_TCP": "x",
    }
    assert load(**links).port == 8000
    assert "enableServiceLinks" in refusal(PORT="tcp://10.0.0.1:8000")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "eighty", "integer"),
        ("PORT", "70000", "65535"),
        ("DELIVERY", "lve", "'off', 'shadow' or 'live'"),
        ("TIMEZONE", "Mars/Olympus", "IANA zone"),
        ("TIMEZONE", "../etc/passwd", "IANA zone"),
        ("PUBLIC_URL", "bellwether.example", "http"),
        ("PUBLIC_URL", "https://user:pw@host", "http"),
        ("HOST", "0.0.0.0:8000", "without port"),
        ("ALLOW_PRIVATE_DESTINATIONS", "perhaps", "boolean"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(name: str, value: str, words: str) -> None:
    said = refusal(**{name: value})
    assert said.startswith(f"BELLWETHER_{name} is ")
    assert words in said


def test_dotenv_fills_what_the_process_leaves_open_and_is_named_when_wrong(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("BELLWETHER_PORT=9001\nBELLWETHER_HOST=::1\nOTHER=1\n")
    settings = Settings.load({"BELLWETHER_PORT": "9002"}, dotenv=dotenv)
    assert (settings.port, settings.host, settings.public_url) == (9002, "::1", "http://[::1]:9002")
    dotenv.write_text("BELLWETHER_PORT=x\n")
    with pytest.raises(ConfigurationError, match=r"\.env"):
        Settings.load({}, dotenv=dotenv)


def test_a_secret_may_come_from_a_file_but_not_from_two_places(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{CANARY}\n")
    key = load(ADMIN_KEY_FILE=str(path)).admin_key
    assert key is not None
    assert key.get_secret_value() == CANARY
    assert "both set" in refusal(ADMIN_KEY_FILE=str(path), ADMIN_KEY="x")
    assert "No such file" in refusal(ADMIN_KEY_FILE=str(tmp_path / "none"))
    path.write_text("\n")
    assert "is empty" in refusal(ADMIN_KEY_FILE=str(path))
    assert "is not a setting" in refusal(PORT_FILE=str(path))


def test_no_secret_is_in_the_repr_in_what_is_shown_or_in_a_refusal() -> None:
    variables = {field.upper(): CANARY for field in SECRETS}
    variables["DATABASE_URL"] = f"postgresql://bellwether:{CANARY}@db/bellwether"
    settings = Settings(**{name.lower(): value for name, value in variables.items()})  # type: ignore[arg-type]
    assert CANARY not in repr(settings)
    assert CANARY not in str(settings.shown())
    assert set(settings.secret_values()) == {CANARY}
    assert CANARY not in refusal(**variables, PORT="x")
    assert CANARY not in refusal(DATABASE_URL=f"postgresql://bellwether:{CANARY}@db/bellwether", PORT="x")


KAFKA = {"KAFKA_BOOTSTRAP_SERVERS": "one:9092, two:9093"}
SASL = {"KAFKA_SASL_MECHANISM": "scram-sha-512", "KAFKA_SASL_USERNAME": "me", "KAFKA_SASL_PASSWORD": CANARY}


def test_kafka_is_reached_as_the_settings_say() -> None:
    plain = load(**KAFKA)
    assert plain.kafka
    assert plain.kafka_client().bootstrap_servers == ["one:9092", "two:9093"]
    assert plain.kafka_client().security_protocol == "PLAINTEXT"
    told = load(**KAFKA, **SASL, KAFKA_SECURITY_PROTOCOL="sasl_ssl", KAFKA_GROUP_ID="other").kafka_client()
    assert (told.sasl_mechanism, told.sasl_username, told.group_id) == ("SCRAM-SHA-512", "me", "other")
    assert told.sasl_password == CANARY
    assert CANARY not in repr(told)
    assert told.arguments()["ssl_check_hostname"] is True
    lax = load(**KAFKA, KAFKA_SECURITY_PROTOCOL="SSL", KAFKA_SSL_CHECK_HOSTNAME="false").kafka_client()
    assert lax.arguments()["ssl_check_hostname"] is False
    assert not load().kafka


@pytest.mark.parametrize(
    "wrong",
    [
        {**KAFKA, "KAFKA_SECURITY_PROTOCOL": "SASL_SSL"},
        {**KAFKA, "KAFKA_SECURITY_PROTOCOL": "SASL_SSL", **SASL, "KAFKA_SASL_MECHANISM": "GSSAPI"},
        {**KAFKA, "KAFKA_SECURITY_PROTOCOL": "SSL", **SASL},
        {**KAFKA, **SASL},
        {**KAFKA, "KAFKA_SSL_CAFILE": "/ca.pem"},
        {**KAFKA, "KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CAFILE": "/not/there.pem"},
        {**KAFKA, "KAFKA_SECURITY_PROTOCOL": "TLS"},
        {"KAFKA_BOOTSTRAP_SERVERS": "broker"},
        {**KAFKA, "TOPIC_PREFIX": "a/b"},
        SASL,
    ],
)
def test_what_cannot_work_together_is_refused_and_never_made_less_safe(wrong: dict[str, str]) -> None:
    said = refusal(**wrong)
    assert said.startswith("BELLWETHER_")
    assert len(said.splitlines()) == 2
    assert CANARY not in said


def test_an_encryption_key_is_accepted_ahead_of_its_time() -> None:
    assert load(ENCRYPTION_KEY=CANARY).encryption_key is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_without_a_key_this_machine_may_listen_to_itself(host: str) -> None:
    load(HOST=host).check_bind()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "bellwether.example", "localhost.example"])
def test_without_a_key_nobody_else_is_listened_to(host: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no API key"):
        load(HOST=host).check_bind()
    load(HOST=host, ADMIN_KEY=CANARY).check_bind()
    load(HOST=host).check_bind(keys_exist=True)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1  # type: ignore[misc]  # mypy knows it too


def test_every_variable_is_shown_under_its_name() -> None:
    assert list(load().shown()) == [variable_name(field) for field in Settings.model_fields]
