"""The generic webhook's body and signature."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from alerts.alert import Alert, AlertStatus, Reason, Severity
from alerts.delivery import SECOND_US, Delivery, address
from alerts.store import AccountCard
from alerts.webhook import (
    MAX_BODY_BYTES,
    RuleCard,
    WebhookChannel,
    alert_payload,
    body,
    dump,
    sign,
    signing_key,
    summary_payload,
)
from consumers.errors import ConfigurationError

AT = 1_795_341_600 * SECOND_US  # 2026-11-22T10:00:00Z
TODAY = 20_779
SECRET = "whsec_" + base64.b64encode(b"a key of twenty-four byt").decode()
OTHER = "whsec_" + base64.b64encode(b"another of twenty-four b").decode()

ALERT = Alert(
    id="al_1",
    key="k",
    rule="login-decline",
    account_no=1,
    account_id="acme/eu",
    episode=2,
    status=AlertStatus.FIRING,
    severity=Severity.HIGH,
    title="Logins fell 31% in four weeks",
    rule_version="v1",
    updated_at=AT,
    reason=Reason.CONDITION_TRUE,
    seq=3,
    fired_at=AT,
    due_at=AT + 7 * 86_400 * SECOND_US,
    evidence={"conditions": [{"metric": "logins.change_28d", "value": -0.31, "op": "<=", "threshold": -0.2}]},
)
ACCOUNT = AccountCard(1, "acme/eu", "Acme", "ana", renewal_day=TODAY + 41, mrr_cents=123_405)
RULE = RuleCard("Call the champion", "7d", {"team": "cs"})


def payload(**evidence: Any) -> dict[str, Any]:
    return {
        **alert_payload(ALERT, ACCOUNT, RULE, today=TODAY, public_url="https://bell.example/"),
        **evidence,
    }


def queued(data: dict[str, Any], kind: str = "alert.firing") -> Delivery:
    made = address(
        ["crm"],
        kind=kind,
        alert_id="al_1",
        account_id="acme/eu",
        episode=2,
        seq=3,
        payload=dump(data),
        now=AT,
    )
    return made[0]


def test_the_payload_tells_the_alert_its_account_and_what_to_do() -> None:
    assert payload() == {
        "id": "al_1",
        "rule": "login-decline",
        "rule_version": "v1",
        "account": {
            "id": "acme/eu",
            "name": "Acme",
            "owner": "ana",
            "renewal_date": "2027-01-02",
            "renewal_in_days": 41,
            "mrr": "1234.05",
        },
        "severity": "high",
        "status": "firing",
        "title": "Logins fell 31% in four weeks",
        "reason": "condition_true",
        "label": "",
        "episode": 2,
        "seq": 3,
        "baseline": False,
        "fired_at": "2026-11-22T10:00:00Z",
        "resolved_at": None,
        "due_at": "2026-11-29T10:00:00Z",
        "outcome": None,
        "outcome_by": None,
        "outcome_note": None,
        "playbook": {"action": "Call the champion", "due": "7d"},
        "labels": {"team": "cs"},
        "evidence": {"conditions": [{"metric": "logins.change_28d", "value": -0.31, "op": "<=", "threshold": -0.2}]},
        "links": {
            "account": "https://bell.example/v1/accounts/acme%2Feu/risk",
            "alert": "https://bell.example/v1/alerts/al_1",
        },
    }  # fmt: skip


def test_the_body_is_type_timestamp_and_data() -> None:
    told = json.loads(body("alert.firing", AT, payload()))
    assert told == {"type": "alert.firing", "timestamp": "2026-11-22T10:00:00Z", "data": payload()}


def test_an_account_of_which_nothing_is_known_is_told_with_nulls() -> None:
    told = alert_payload(ALERT, AccountCard(1, "acme"), RuleCard(), today=TODAY, public_url="")
    assert told["account"] == {
        "id": "acme", "name": None, "owner": None, "renewal_date": None, "renewal_in_days": None, "mrr": None
    }  # fmt: skip
    assert told["playbook"] is None


def test_evidence_that_is_too_long_is_cut_and_says_so() -> None:
    told = json.loads(
        body("alert.firing", AT, payload(evidence={"users": [f"user-{no}" for no in range(9_000)]}))
    )
    assert told["data"]["evidence"]["truncated"] is True
    assert told["data"]["evidence"]["users"][-1] == "…and 8950 more"
    assert told["data"]["title"] == "Logins fell 31% in four weeks"


def test_what_does_not_fit_at_all_is_told_thin_with_the_links() -> None:
    told = json.loads(
        body("alert.firing", AT, payload(labels={f"label-{no}": "x" * 100 for no in range(500)}))
    )["data"]
    assert told["truncated"] is True
    assert (told["id"], told["seq"], told["account"]["id"]) == ("al_1", 3, "acme/eu")
    assert told["links"]["alert"] == "https://bell.example/v1/alerts/al_1"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(max_size=9), json_values, max_size=4),
    st.text(st.characters(), max_size=20),
    st.sampled_from([1, 100, 1_000, 5_000]),
)
def test_the_body_stays_under_20_kb_whatever_customers_write(
    evidence: dict[str, Any], name: str, times: int
) -> None:
    data = payload(evidence={**evidence, "names": [name] * times}, title=name * times)
    data["account"]["name"] = name * times
    sent = body("alert.updated", AT, json.loads(dump(data)))
    assert len(sent) <= MAX_BODY_BYTES
    assert json.loads(sent)["data"]["id"] == "al_1"


@given(json_values)
def test_a_stored_payload_is_always_json_that_everybody_can_read(value: Any) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(dump({"value": value}), parse_constant=refuse)


def test_the_signature_is_what_standard_webhooks_verify_and_holds_the_attempts_time() -> None:
    now = datetime.now(UTC)
    channel = WebhookChannel("crm", "https://crm.example/hook", (SECRET,))
    delivery = queued(payload())
    first, second = (
        channel.compose(delivery, int(now.timestamp()) * SECOND_US + wait) for wait in (0, 5 * SECOND_US)
    )
    for message in (first, second):
        told = Webhook(SECRET).verify(message.body, dict(message.headers))
        assert told["data"]["id"] == "al_1"
        assert message.headers["webhook-id"] == delivery.webhook_id
    assert first.body == second.body
    assert int(second.headers["webhook-timestamp"]) == int(first.headers["webhook-timestamp"]) + 5


def test_the_signature_agrees_with_the_published_test_vector() -> None:
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = sign([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330 * SECOND_US, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.integers(0, 10_000))
def test_one_flipped_bit_breaks_the_signature(position: int) -> None:
    now = int(datetime.now(UTC).timestamp()) * SECOND_US
    message = WebhookChannel("crm", "https://crm.example", (SECRET,)).compose(queued(payload()), now)
    spoilt = bytearray(message.body)
    spoilt[position % len(spoilt)] ^= 1
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(bytes(spoilt), dict(message.headers))


def test_while_a_secret_rotates_old_and_new_both_verify() -> None:
    now = int(datetime.now(UTC).timestamp()) * SECOND_US
    message = WebhookChannel("crm", "https://crm.example", (SECRET, OTHER)).compose(queued(payload()), now)
    assert message.headers["webhook-signature"].count("v1,") == 2
    for secret in (SECRET, OTHER):
        Webhook(secret).verify(message.body, dict(message.headers))


def test_without_a_secret_the_message_has_an_id_and_no_signature() -> None:
    message = WebhookChannel("crm", "https://crm.example").compose(queued(payload()), AT)
    assert "webhook-signature" not in message.headers
    assert message.headers["webhook-timestamp"] == str(AT // SECOND_US)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", "päßwort", "whsec_****"])
def test_a_secret_that_is_none_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        WebhookChannel("crm", "https://crm.example", (secret,))
    assert len(secret) < 7 or secret not in str(refusal.value)


def test_neither_address_nor_secret_show_in_a_repr() -> None:
    channel = WebhookChannel("crm", "https://crm.example/canary", (SECRET,))
    shown = repr(channel) + repr(channel.compose(queued(payload()), AT))
    assert "canary" not in shown
    assert SECRET[6:] not in shown


def test_the_summary_counts_by_severity_and_by_rule_worst_and_most_first() -> None:
    told = summary_payload(
        "su_1",
        accounts=120,
        by_severity={Severity.LOW: 3, Severity.CRITICAL: 2, Severity.INFO: 0},
        by_rule={"a": 1, "b": 4},
        public_url="https://bell.example",
    )
    assert told["alerts"] == 5
    assert list(told["by_severity"].items()) == [("critical", 2), ("low", 3)]
    assert list(told["by_rule"].items()) == [("b", 4), ("a", 1)]
    sent = json.loads(
        WebhookChannel("crm", "https://crm.example").compose(queued(told, "alert.summary"), AT).body
    )
    assert (sent["type"], sent["data"]) == ("alert.summary", told)
