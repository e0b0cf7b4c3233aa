"""The inbox as a page, whole in itself: Slack cards as Slack shows them, and signed requests as they came."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import DictLoader, Environment
from markupsafe import Markup, escape

from app.demo.received import Received

_FILES = resources.files("app.demo").joinpath("templates")
STYLE = _FILES.joinpath("inbox.css").read_text(encoding="utf-8")
SCRIPT = _FILES.joinpath("inbox.js").read_text(encoding="utf-8")

_OWN_STYLE, _OWN_SCRIPT = Markup(STYLE), Markup(SCRIPT)  # noqa: S704 - files of this package

# In the order in which a receiver looks at them.
_SIGNED = ("webhook-id", "webhook-timestamp", "webhook-signature")
_SHOWN = ("content-type", "user-agent", *_SIGNED)

_LINK = re.compile(r"<(https?://[^<>|\s]+)\|([^<>]*)>")
_BOLD = re.compile(r"(?<![\w*\u200b])\*(?![\s*\u200b])([^*\n]+?)(?<![\s\u200b])\*(?![\w*])")
# Drawn by the page, since not every machine has a font for them.
_DOTS = {"🔴": "red", "🟠": "orange", "🟡": "yellow", "🔵": "blue", "⚪": "grey", "🟢": "green"}
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))


def page(messages: Sequence[Received], *, service_url: str) -> str:
    """The whole page, newest message first."""
    return _TEMPLATES.get_template("inbox.html").render(
        messages=messages,
        service_url=service_url,
        style=_OWN_STYLE,
        script=_OWN_SCRIPT,
    )


def card(message: Received) -> str:
    """One message, for a page that is already open."""
    return _TEMPLATES.get_template("card.html").render(message=message)


def mrkdwn(text: str) -> Markup:
    """Slack's markup, as far as our cards use it: links, bold words and the three entities. All else is text."""
    pieces, at = Markup(), 0
    for link in _LINK.finditer(text):
        pieces += _bold(text[at : link.start()])
        pieces += Markup('<a href="{}" rel="noreferrer">{}</a>').format(_plain(link[1]), _plain(link[2]))
        at = link.end()
    return pieces + _bold(text[at:])


def _bold(text: str) -> Markup:
    pieces, at = Markup(), 0
    for found in _BOLD.finditer(text):
        pieces += escape(_plain(text[at : found.start()]))
        pieces += Markup("<b>{}</b>").format(_plain(found[1]))
        at = found.end()
    return pieces + escape(_plain(text[at:]))


def _plain(text: str) -> str:
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    return text


def _blocks(body: Any) -> list[Mapping[str, Any]]:
    """The blocks of a card; none of what is no card."""
    blocks = body.get("blocks") if isinstance(body, Mapping) else None
    return [each for each in blocks if isinstance(each, Mapping)] if isinstance(blocks, list) else []


def _text(element: Any) -> Markup:
    """A text object of Block Kit."""
    if not isinstance(element, Mapping):
        return Markup()
    text = str(element.get("text", ""))
    shown = mrkdwn(text) if element.get("type") == "mrkdwn" else escape(text)
    for mark, colour in _DOTS.items():
        shown = shown.replace(mark, Markup('<i class="dot {}"></i>').format(colour))
    return shown


def _indented(body: Any) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False)


def _headers(message: Received) -> list[tuple[str, str, bool]]:
    """Those worth reading, and whether the signature is made of them."""
    return [(name, message.headers[name], name in _SIGNED) for name in _SHOWN if name in message.headers]


def _environment() -> Environment:
    names = ("inbox.html", "card.html")
    files = {name: _FILES.joinpath(name).read_text(encoding="utf-8") for name in names}
    environment = Environment(loader=DictLoader(files), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(blocks=_blocks, block_text=_text, indented=_indented, headers=_headers)
    return environment


_TEMPLATES = _environment()
