"""How silence of a source is told: one message when it begins and one when it is over."""

from __future__ import annotations

import json
from dataclasses import replace

from alerts.announcement import Announcer
from alerts.delivery import Delivery, DeliveryStatus, Telling
from alerts.silence import Silence
from alerts.slack import SlackChannel
from alerts.webhook import WebhookChannel

HOUR = 3_600_000_000
BEGUN = Silence(
    7,
    "sender <!channel> *shop*",
    {"logins", "sessions"},
    opened_at=1_795_300_000_000_000,
    newest_at=1_795_200_000_000_000,
    expected_gap=24 * HOUR,
)
ENDED = replace(BEGUN, families=(), closed_at=BEGUN.opened_at + HOUR)


def told(silence: Silence, telling: Telling = Telling.LIVE) -> list[Delivery]:
    return Announcer(telling, ("crm", "slack"), public_url="https://bw.example/").silence(silence, now=1)


def test_every_destination_hears_once_and_of_the_end_after_the_beginning():
    begun, ended = told(BEGUN), told(ENDED)
    assert [each.destination for each in begun] == ["crm", "slack"]
    assert {(each.kind, each.alert_id, each.seq) for each in begun} == {("alert.summary", BEGUN.id, 1)}
    assert {(each.alert_id, each.seq) for each in ended} == {(BEGUN.id, 2)}
    assert len({each.webhook_id for each in [*begun, *ended]}) == 4


def test_shadow_only_records_and_off_does_not():
    assert {each.status for each in told(BEGUN, Telling.SHADOW)} == {DeliveryStatus.SHADOW}
    assert told(BEGUN, Telling.OFF) == []


def test_a_webhook_gets_a_summary_of_no_alerts_with_the_incident_in_it():
    message = WebhookChannel("crm", "https://crm.example").compose(told(BEGUN)[0], 1)
    data = json.loads(message.body)["data"]
    assert (data["accounts"], data["alerts"], data["by_rule"]) == (0, 0, {})
    incident = data["incident"]
    assert (incident["kind"], incident["status"], incident["source"]) == (
        "stale_source",
        "open",
        BEGUN.source,
    )
    assert incident["families"] == ["logins", "sessions"]
    assert incident["expected_gap_s"] == 86_400
    assert incident["closed_at"] is None
    assert data["links"] == {"sources": "https://bw.example/v1/sources"}


def test_slack_shows_a_card_in_which_a_senders_name_is_only_text():
    channel = SlackChannel("slack", "https://hooks.example")
    card = channel.compose(told(BEGUN)[1], 1).body.decode()
    assert "No activity from sender" in card
    assert "<!channel>" not in card
    assert "is not silent any more" in channel.compose(told(ENDED)[1], 1).body.decode()


def test_a_late_reader_of_ours_is_told_as_one():
    late = replace(BEGUN, newest_at=None, expected_gap=None)
    assert late.title.endswith("is read more than an hour late")
    assert late.payload("")["incident"]["newest_event_at"] is None
