"""Slack: an alert as a Block Kit card within Slack's limits, and what an incoming webhook's answer means.

Customers' text goes into ``plain_text`` objects, which know no markup; what must be ``mrkdwn`` is escaped. Lengths
are UTF-16 units, the stricter way to count, and cuts fall between code points.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alerts.delivery import Delivery, ErrorKind, Message, Outcome
from alerts.rules.title import formatted
from alerts.values import Kind

MAX_HEADER = 150
MAX_SECTION = 3_000
MAX_FIELD = 300  # Slack takes 2,000; a label and its value should fit a line or two
MAX_PLAYBOOK = 1_000
MAX_TEXT = 200  # the fallback, what a phone shows; escaping may make it five times as long
MAX_LINES = 10  # comparisons, or rules in a summary; the others are counted
MAX_LINE = 200

_MARKS = {
    "critical": ("🔴", "Critical"),
    "high": ("🟠", "High"),
    "medium": ("🟡", "Medium"),
    "low": ("🔵", "Low"),
    "info": ("⚪", "Info"),
}
_RESOLVED = ("🟢", "Resolved")
_REASONS = {
    "condition_true": "the condition holds",
    "severity_up": "it got worse",
    "condition_false": "the condition no longer holds",
    "not_applicable": "what it was about no longer exists",
    "cannot_tell": "nothing can be said for four weeks",
    "churned": "the account has churned",
    "rule_removed": "the rule was removed",
    "manual": "resolved by hand",
}
# Angle brackets make Slack's commands and links. Plain text needs no entities, so look-alikes take their place there.
_LOOK_ALIKE = str.maketrans({"<": "‹", ">": "›"})
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# A zero-width space keeps a mark from touching the word that it would make bold.
_UNMARKED = str.maketrans({mark: f"\u200b{mark}\u200b" for mark in "*_~`"})
# Brackets are replaced anyway, and these read better.
_COMPARED = {"<": "below", "<=": "≤", ">": "above", ">=": "≥", "==": "=", "!=": "≠"}
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")

Block = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SlackChannel:
    """An incoming webhook. ``environment`` heads every card; ``kinds`` says how to write each metric's numbers."""

    name: str
    url: str = field(repr=False)
    environment: str = ""
    kinds: Mapping[str, Kind] = field(default_factory=dict, repr=False)
    kind: str = "slack"

    def compose(self, delivery: Delivery, now: int) -> Message:
        """The card, as JSON."""
        data = json.loads(delivery.payload)
        if "incident" in data:
            card = incident_card(data, environment=self.environment)
        elif delivery.kind == "alert.summary":
            card = summary_card(data, environment=self.environment)
        else:
            card = alert_card(data, environment=self.environment, kinds=self.kinds)
        return Message(
            self.url, {"content-type": "application/json; charset=utf-8"}, json.dumps(card).encode()
        )

    def read(self, outcome: Outcome) -> Outcome:
        """Success is the word ``ok``, or JSON whose ``ok`` is true: Slack also refuses under HTTP 200."""
        if outcome.error is not None or outcome.status_code is None or not 200 <= outcome.status_code < 300:
            return outcome
        if says_ok(outcome.body):
            return outcome
        return Outcome(
            outcome.latency_ms, outcome.status_code, ErrorKind.NOT_OK, outcome.retry_after, outcome.body
        )


def says_ok(body: str) -> bool:
    """Whether the body of a 2xx is Slack's yes."""
    text = body.strip()
    if text.lower() == "ok":
        return True
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and answer.get("ok") is True


def alert_card(
    data: Mapping[str, Any], *, environment: str = "", kinds: Mapping[str, Kind] | None = None
) -> Block:
    """One alert: what, the number against its threshold, since when, owner, renewal, what to do, and where to look."""
    account = data.get("account") or {}
    resolved = data.get("status") == "resolved"
    mark, word = _RESOLVED if resolved else _MARKS.get(str(data.get("severity")), ("⚪", "Alert"))
    place = f"[{environment}] " if environment else ""
    who = account.get("name") or account.get("id") or "?"
    headline = f"{place}{mark} {word}: {data.get('title') or data.get('rule')}"
    blocks = [
        _header(headline),
        _table([("Account", str(who)), *_rows(data, account, resolved)]),
    ]
    lines = _comparisons(data.get("evidence") or {}, kinds or {})
    if lines:
        blocks.append(_section("\n".join(_shown(lines))))
    playbook = data.get("playbook") or {}
    if playbook.get("action") and not resolved:
        due = f" (due {_day(data['due_at'])})" if data.get("due_at") else ""
        blocks.append(_section(f"To do{due}: {playbook['action']}", MAX_PLAYBOOK))
    links = data.get("links") or {}
    blocks += _links([("Open the alert", links.get("alert")), ("Open the account", links.get("account"))])
    blocks.append(
        {"type": "context", "elements": [plain(f"rule {data.get('rule')} · {data.get('id')}", MAX_FIELD)]}
    )
    return _card(f"{headline} — {who}", blocks)


def summary_card(data: Mapping[str, Any], *, environment: str = "") -> Block:
    """What was already true when accounts were judged for the first time: counts, and where to look."""
    place = f"[{environment}] " if environment else ""
    found, accounts = int(data.get("alerts", 0)), int(data.get("accounts", 0))
    headline = f"{place}{_count(found, 'alert')} on {_count(accounts, 'account')} from the start"
    severities = [
        f"{_MARKS.get(name, ('⚪', name))[0]} {count:,} {name}"
        for name, count in (data.get("by_severity") or {}).items()
    ]
    rules = [f"{count:,} × {rule}" for rule, count in (data.get("by_rule") or {}).items()]
    blocks: list[Block] = [_header(headline)]
    if severities:
        blocks.append(_section("   ".join(severities)))
    if rules:
        blocks.append(_section("\n".join(_shown(rules))))
    blocks.append(
        _section(
            "Told once, since it was true before anybody looked. What changes from now on is told one by one."
        )
    )
    blocks += _links([("Open the alerts", (data.get("links") or {}).get("alerts"))])
    return _card(headline, blocks)


def incident_card(data: Mapping[str, Any], *, environment: str = "") -> Block:
    """A source that fell silent, or flows again: what happened, what it means, and where to look."""
    told = data.get("incident") or {}
    place = f"[{environment}] " if environment else ""
    mark = _RESOLVED[0] if told.get("status") == "closed" else "🔇"
    headline = f"{place}{mark} {told.get('title') or told.get('source')}"
    blocks: list[Block] = [_header(headline), _section(str(told.get("detail") or ""))]
    blocks += _links([("Open the sources", (data.get("links") or {}).get("sources"))])
    return _card(headline, blocks)


def plain(text: str, limit: int) -> Block:
    """A text object without markup or emoji codes, never empty, cut to ``limit``."""
    return {
        "type": "plain_text",
        "text": cut(clean(text).translate(_LOOK_ALIKE), limit) or "–",
        "emoji": False,
    }


def escaped(text: str) -> str:
    """Text that ``mrkdwn`` shows as it is: no entity, link, mention or emphasis can come of it."""
    return clean(text).translate(_ENTITIES).translate(_UNMARKED)


def clean(text: str) -> str:
    """Without what tampers with the line around it: control characters, changes of direction, halves of pairs."""
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if category == "Cs":
            kept.append("\ufffd")
        elif category == "Cc" or character in "\u2028\u2029":
            kept.append("\n" if character == "\n" else " ")
        elif character not in _BIDI:
            kept.append(character)
    return "".join(kept).strip()


def cut(text: str, limit: int) -> str:
    """At most ``limit`` UTF-16 units, cut between code points, with an ellipsis where something is missing."""
    if _units(text) <= limit:
        return text
    room, kept = limit - 1, []
    for character in text:
        room -= _units(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + "…"


def _rows(data: Mapping[str, Any], account: Mapping[str, Any], resolved: bool) -> list[tuple[str, str]]:
    rows = [("Owner", str(account.get("owner") or "nobody"))]
    rows.append(("Renewal", _renewal(account.get("renewal_date"), account.get("renewal_in_days"))))
    if data.get("fired_at"):
        rows.append(("Since", _minute(str(data["fired_at"]))))
    if resolved:
        reason = _REASONS.get(str(data.get("reason")), str(data.get("reason") or ""))
        rows.append(("Resolved", f"{_minute(str(data.get('resolved_at') or ''))} {reason}".strip()))
    elif data.get("reason") == "severity_up":
        rows.append(("Change", _REASONS["severity_up"]))
    return rows


def _renewal(day: Any, in_days: Any) -> str:
    if not day:
        return "none on file"
    if not isinstance(in_days, int):
        return str(day)
    if in_days == 0:
        return f"{day} (today)"
    return f"{day} ({_count(in_days, 'day')})" if in_days > 0 else f"{day} ({_count(-in_days, 'day')} ago)"


def _comparisons(evidence: Mapping[str, Any], kinds: Mapping[str, Kind]) -> list[str]:
    """Each comparison of the rule on a line: the number, and what it is held against."""
    leaves = evidence.get("conditions")
    lines = []
    for leaf in leaves if isinstance(leaves, list) else []:
        if isinstance(leaf, Mapping) and "metric" in leaf:
            kind = kinds.get(str(leaf["metric"]))
            value = (
                _value(kind, leaf.get("value"))
                if leaf.get("value") is not None
                else leaf.get("status", "unknown")
            )
            op = _COMPARED.get(str(leaf.get("op")), str(leaf.get("op")))
            test = f"{'not ' if leaf.get('negated') else ''}{op} {_value(kind, leaf.get('threshold'))}"
            if isinstance(
                tried := leaf.get("test"), Mapping
            ):  # what is asked is whether chance could have done it
                test = f"{'not ' if leaf.get('negated') else ''}significant at {tried.get('level')}"
            lines.append(f"{leaf['metric']} is {value}   (threshold: {test})")
    ends = evidence.get("clears")
    if isinstance(ends, Mapping) and ends.get("text"):
        lines.append(f"ends with: {ends['text']}")
    return lines


def _value(kind: Kind | None, value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_value(kind, each) for each in value)
    number = isinstance(value, int | float)
    if kind is not None and (number or kind in {Kind.TEXT, Kind.MONEY}):
        return formatted(kind, value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(lines: Sequence[str]) -> list[str]:
    shown = [cut(clean(line).replace("\n", " "), MAX_LINE) for line in lines[:MAX_LINES]]
    return shown if len(lines) <= MAX_LINES else [*shown, f"…and {len(lines) - MAX_LINES} more"]


def _table(rows: Sequence[tuple[str, str]]) -> Block:
    """Labels and values side by side: Slack sets fields in two columns, at most ten."""
    fields: list[Block] = []
    for label, value in rows[:5]:
        fields += [{"type": "mrkdwn", "text": f"*{label}*"}, plain(value.replace("\n", " "), MAX_FIELD)]
    return {"type": "section", "fields": fields}


def _header(text: str) -> Block:
    return {"type": "header", "text": plain(text.replace("\n", " "), MAX_HEADER)}


def _section(text: str, limit: int = MAX_SECTION) -> Block:
    return {"type": "section", "text": plain(text, limit)}


def _links(links: Sequence[tuple[str, Any]]) -> list[Block]:
    # Link buttons would make Slack call the app that owns the message, and an incoming webhook has none.
    shown = [
        f"<{link.replace('&', '&amp;')}|{label}>"
        for label, link in links
        if isinstance(link, str) and _linkable(link)
    ]
    if not shown:
        return []
    return [{"type": "section", "text": {"type": "mrkdwn", "text": "   ".join(shown), "verbatim": True}}]


def _linkable(link: str) -> bool:
    # A longer or stranger one could break out of the link's brackets, or the section's limit.
    return (
        len(link) <= 1_000
        and link.startswith(("http://", "https://"))
        and link.isascii()
        and link.isprintable()
        and not any(character in link for character in "<>| \"'`")
    )


def _card(text: str, blocks: list[Block]) -> Block:
    fallback = escaped(cut(clean(text).replace("\n", " "), MAX_TEXT))
    return {"text": fallback, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False, "blocks": blocks}


def _minute(instant: str) -> str:
    return f"{instant[:10]} {instant[11:16]} UTC" if len(instant) >= 16 else instant


def _day(instant: Any) -> str:
    return str(instant)[:10]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
