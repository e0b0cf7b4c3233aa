"""The demo's inbox takes, verifies, shows: and customers' text stays text."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from alerts.delivery import Delivery
from alerts.slack import SlackChannel, alert_card, says_ok
from alerts.webhook import WebhookChannel
from app.demo.inbox import MOST_BYTES, Inbox, create_app
from app.demo.page import card, mrkdwn
from app.demo.received import To

NAME = "Moss <script>alert('hi')</script> *Studios* & <!channel>"
SERVICE = "http://127.0.0.1:8000"
DATA = {
    "id": "al_1",
    "rule": "champion-departed",
    "account": {"id": "moss", "name": NAME, "owner": "CS North", "renewal_date": None},
    "severity": "critical",
    "status": "firing",
    "title": "The champion is gone",
    "links": {"alert": f"{SERVICE}/v1/alerts/al_1?a=1&b=2"},
}


class Client:
    """Asks an application without a socket."""

    def __init__(self, app: Starlette) -> None:
        self.app = app

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9000") as client:
                return await client.request(method, path, **given)

        return asyncio.run(ask())

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.request("GET", path, **given)

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.request("POST", path, **given)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def client(inbox: Inbox) -> Client:
    return Client(create_app(inbox, SERVICE))


def signed(
    inbox: Inbox, *, secret: str | None = None, webhook_id: str = "msg_1"
) -> tuple[bytes, dict[str, str]]:
    """A request as the notifier would send it now."""
    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    delivery = Delivery("crm", "alert.firing", "al_1", "moss", 1, webhook_id, json.dumps(DATA), now, now)
    message = WebhookChannel("crm", "http://x", (secret or inbox.secret,)).compose(delivery, now)
    return message.body, dict(message.headers)


class Text(HTMLParser):
    """The tags of a page, and its text as a browser shows it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_signed_request_is_verified_and_answered_with_success(inbox: Inbox, client: Client) -> None:
    body, headers = signed(inbox)
    assert client.post("/webhook", content=body, headers=headers).status_code == 200
    message = client.get("/messages").json()["messages"][0]
    assert message["verified"] is True
    assert message["to"] == "webhook"
    assert message["body"]["type"] == "alert.firing"
    assert message["headers"]["webhook-id"] == "msg_1"
    assert "Signature verified" in client.get("/").text


@pytest.mark.parametrize("change", ["body", "secret", "signature", "timestamp", "no headers"])
def test_whatever_does_not_match_its_signature_is_refused_and_shown_as_such(
    inbox: Inbox, client: Client, change: str
) -> None:
    body, headers = signed(inbox, secret="whsec_AAAAAAAAAAAAAAAAAAAAAAAA" if change == "secret" else None)
    if change == "body":
        body = body.replace(b"critical", b"low")
    if change == "signature":
        headers["webhook-signature"] = "v1,junk"
    if change == "timestamp":
        headers["webhook-timestamp"] = "junk"
    if change == "no headers":
        headers = {}
    assert client.post("/webhook", content=body, headers=headers).status_code == 401
    assert client.get("/messages").json()["messages"][0]["verified"] is False
    assert "Signature does not match" in client.get("/").text


def test_a_request_that_comes_again_is_known_by_its_id(inbox: Inbox, client: Client) -> None:
    for _ in range(2):
        body, headers = signed(inbox)
        client.post("/webhook", content=body, headers=headers)
    assert [each["repeat"] for each in client.get("/messages").json()["messages"]] == [False, True]


def test_slack_is_answered_ok_under_its_secret_address_only(inbox: Inbox, client: Client) -> None:
    answer = client.post(inbox.slack_path, json=alert_card(DATA))
    assert says_ok(answer.text)
    assert client.post("/slack/other", json={}).status_code == 404
    assert SlackChannel("s", "http://x").kind == inbox.after(0)[0].to == To.SLACK


def test_the_page_needs_nothing_from_outside(inbox: Inbox, client: Client) -> None:
    client.post(inbox.slack_path, json=alert_card(DATA))
    answer = client.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    shown = Text(answer.text)
    assert not {"img", "link", "iframe"} & set(shown.tags)
    assert shown.tags.count("script") == 1
    assert "src=" not in answer.text
    assert all(link.startswith(("/", SERVICE)) for link in shown.links)


def test_customers_text_is_text_in_cards_and_requests(inbox: Inbox, client: Client) -> None:
    client.post(inbox.slack_path, json=alert_card(DATA))
    body, headers = signed(inbox)
    client.post("/webhook", content=body, headers=headers)
    for answer in client.get("/feed?after=0").json()["cards"]:
        shown = Text(answer["html"])
        assert "script" not in shown.tags
        assert "*Studios*" in shown.text
        assert "b" not in shown.tags or "Studios" not in answer["html"].split("<b>")[1]


def test_a_card_looks_like_slacks(inbox: Inbox) -> None:
    html = card(inbox.take_slack(json.dumps(alert_card(DATA)).encode(), {}))
    assert '<i class="dot red"></i> Critical: The champion is gone' in html
    assert "<b>Account</b>" in html
    assert Text(html).links == [f"{SERVICE}/v1/alerts/al_1?a=1&b=2"]


def test_a_page_that_is_open_gets_only_what_is_new(inbox: Inbox, client: Client) -> None:
    for _ in range(3):
        client.post(inbox.slack_path, json=alert_card(DATA))
    assert [each["number"] for each in client.get("/feed?after=1").json()["cards"]] == [2, 3]
    assert len(client.get("/feed?after=junk").json()["cards"]) == 3


def test_another_sites_name_for_this_machine_reads_nothing(client: Client) -> None:
    assert client.get("/messages", headers={"host": "evil.example"}).status_code == 400


def test_a_body_without_end_is_not_kept(inbox: Inbox, client: Client) -> None:
    assert client.post("/webhook", content=b"x" * (MOST_BYTES + 1)).status_code == 413
    assert client.post(inbox.slack_path, content=b"x" * (MOST_BYTES + 1)).status_code == 413
    assert inbox.after(0) == []


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"7", b'{"blocks": 7}', b'{"blocks": [{"type": "header"}]}']
)
def test_whatever_comes_can_be_shown(inbox: Inbox, client: Client, body: bytes) -> None:
    client.post("/webhook", content=body)
    client.post(inbox.slack_path, content=body)
    assert client.get("/").status_code == 200


def test_waiting_ends_when_the_message_comes(inbox: Inbox) -> None:
    sender = threading.Timer(0.05, lambda: inbox.take_slack(b"{}", {}))
    sender.start()
    assert inbox.wait_for(lambda kept: len(kept) == 1, 10.0)
    sender.join()
    assert not inbox.wait_for(lambda kept: len(kept) == 2, 0.0)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("*Owner*", "<b>Owner</b>"),
        ("a*b*c", "a*b*c"),
        ("\u200b*\u200bstars\u200b*\u200b", "\u200b*\u200bstars\u200b*\u200b"),
        ("&lt;b&gt; &amp;amp;", "&lt;b&gt; &amp;amp;"),
        (
            "<https://a.example/?x=1&amp;y=2|See> *it*",
            '<a href="https://a.example/?x=1&amp;y=2" rel="noreferrer">See</a> <b>it</b>',
        ),
        ("<javascript:alert(1)|x>", "&lt;javascript:alert(1)|x&gt;"),
    ],
)
def test_markup_is_read_as_slack_reads_it(text: str, html: str) -> None:
    assert mrkdwn(text) == html


@given(st.text(st.characters(codec="utf-8") | st.sampled_from(list("<>|*&\"' \n")), max_size=60))
def test_markup_never_makes_other_tags_than_its_own(text: str) -> None:
    assert set(Text(str(mrkdwn(text))).tags) <= {"b", "a"}
