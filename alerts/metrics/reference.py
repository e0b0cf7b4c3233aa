"""The reference of all metrics and of the shipped rules, written from the catalogue and the rules:

python -m alerts.metrics.reference > docs/metrics.md
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby

from alerts.metrics.catalogue import CATALOGUE
from alerts.rules.loader import default_rules
from alerts.rules.rule import Rule
from alerts.values import Kind, Metric, Status

_INTRO = """\
# Metrics

Every number that rules compare, that REST shows and that an alert carries as its evidence, under one name. A
stranger with the raw events and this page must get the same number. *Written by `python -m
alerts.metrics.reference`; a test keeps it current.* Section numbers are those that the code cites as METRICS.

## 1. How to read them

**Days** are civil days in the organisation's zone; an event belongs to the day of its `occurred_at`. `D` is
the last complete day: yesterday while the clock runs, the day itself when history is replayed. `today` is the
day of the judgement: `D+1` live, `D` in a replay. `[D-27..D]` has both its ends: 28 days.

**Trend windows** hold complete days only, so that half of today never looks like a decline. **Recency
windows** end `today`, which can only count in the account's favour. **Activity** is any login, used feature
or ended session.

**Ratios are exact**: a fall from 25 to 20 logins *is* a fifth, and `<= -0.20` holds. Only what is displayed
is rounded.

**Fed by** names the [families](events.md#types) of events that a metric counts, and the types of no family
that it rests on. **Floor** is the least baseline at which a ratio stands.

**Every value has a status**, and no rule fires on anything but `ok`. A comparison with `not_applicable` is
false; with any other status it cannot be told. Where several would fit, the first of these that holds is
given:

"""

# Statuses from the strongest statement to the weakest, as alerts.metrics.standing decides.
_ORDER = (
    (
        Status.NOT_APPLICABLE,
        "something else that is known rules the question out (no renewal ahead, a weekly product)",
    ),
    (Status.UNKNOWN, "the portfolio never received the events that could tell: never fed is not absent"),
    (
        Status.NOT_APPLICABLE,
        "the events come, and this account has nothing of the kind (never bought a seat)",
    ),
    (Status.UNKNOWN, "this account never showed any activity"),
    (Status.STALE_SOURCE, "the events stopped coming: the silence is ours, not the customer's"),
    (Status.INSUFFICIENT_HISTORY, "the account has not been seen for as long as the windows need"),
    (Status.NOT_APPLICABLE, "all was seen, and nobody was there to count"),
    (Status.LOW_VOLUME, "the baseline is under the metric's floor: a ratio of small counts is noise"),
)

_SECTIONS = {
    "2.1": "Login decline",
    "2.2": "Gone dark",
    "2.3": "Seat utilization",
    "2.4": "Stickiness",
    "2.5": "Feature adoption",
    "2.6": "Executive sponsor",
    "2.7": "Champion",
    "2.8": "Renewal",
    "2.9": "Business review before the renewal",
    "2.10": "Escalations",
    "2.11": "Sentiment",
    "2.12": "Account attributes",
    "3.1": "Engagement score",
    "3.2": "Health score",
    "3.3": "First value, integrations, tickets",
}

# Types of no family, whose absence tells nothing and gives no status, and what subscriptions say beside their MRR: what
# rests on each. An ending ``.`` stands for all metrics that begin so.
_SCORES = (
    "engagement.score",
    "engagement.band",
    "health.score",
    "health.band",
    "health.days_in_band",
    "health.coverage",
    "health.product",
)
_TELLS = {
    "account.updated": (
        "logins.change_28d_adjusted",  # country
        "engagement.dau_mau",  # cadence
        "features.",  # core features
        "renewal.",
        "qbr.missing",  # renewal, touch
        "sentiment.overdue",  # size
        "account.size",
        "account.tier",
        "account.channel",
        "account.use_case",
        "account.touch",
        "account.lifecycle",
        "account.usage_cadence",
        "account.term_months",
        "account.owner",
        "ttfv.days",  # start, success milestone
        *_SCORES,  # core features, segment
    ),
    "user.updated": (  # who is deactivated
        "seats.utilization",
        "seats.active",
        "seats.unused",
        "seats.utilization_change_28d",
        "champion.",
        "health.relationship",
        *_SCORES,
    ),
    "subscription.changed": (
        "renewal.",
        "qbr.missing",
        "seats.",
        *_SCORES,
    ),  # renewal dates, seats that ended
    "sentiment.rated": (
        "sentiment.",
        "health.score",
        "health.band",
        "health.days_in_band",
        "health.relationship",
    ),
    "touchpoint.logged": ("sentiment.overdue",),
}

_ELSEWHERE = """
## 4. Outcomes

Retention, churn and surveys of all customers: [outcomes.md](outcomes.md). They are no metrics, and no rule reads them.

## 5. Portfolio views

The intervention queue, health and the week's review: [portfolio.md](portfolio.md). An account's
[risk level](alerts.md#risk-level) is the highest severity among its firing alerts.

## 6. Shipped rules

What `bellwether rules list` shows without a configuration. [rules.md](rules.md) says how to read a condition and how to
change, add or remove a rule.

| rule | opens when | severity | due | what to do |
| --- | --- | --- | --- | --- |
"""
_SILENCE = """
## 7. Silence that is ours

When a source of activity counts as silent, and what then waits: [operations.md](operations.md#silence).
"""

_KINDS = {
    Kind.RATIO: "ratio",
    Kind.COUNT: "count",
    Kind.DAYS: "days",
    Kind.POINTS: "points of 100",
    Kind.FLAG: "true or false",
    Kind.TEXT: "text",
    Kind.MONEY: "money",
}


def reference() -> str:
    """The page, as it is in ``docs/metrics.md``."""
    parts = [_INTRO, *(f"{place}. `{status.word}`: {why}\n" for place, (status, why) in enumerate(_ORDER, 1))]
    rules = default_rules(CATALOGUE)
    by_section = sorted(CATALOGUE.values(), key=lambda metric: _place(metric.section))
    for section, metrics in groupby(by_section, key=lambda metric: metric.section):
        parts.append(f"\n## {section} {_SECTIONS[section]}\n")
        parts += [_entry(metric, rules) for metric in metrics]
    return "".join([*parts, _ELSEWHERE, *map(_row, rules), _SILENCE])


def _row(rule: Rule) -> str:
    playbook = rule.playbook
    return f"| `{rule.id}` | `{rule.when}` | {rule.severity} | {playbook.due} | {playbook.action} |\n"


def _entry(metric: Metric, rules: Iterable[Rule]) -> str:
    text = re.sub(r" ?\(METRICS [\d.]+\)", "", inspect.getdoc(metric.compute) or "")
    paragraphs = [" ".join(part.split()) for part in text.replace("``", "`").split("\n\n")]
    return f"\n### `{metric.name}`\n\n" + "\n\n".join([*paragraphs, " · ".join(_notes(metric, rules))]) + "\n"


def _notes(metric: Metric, rules: Iterable[Rule]) -> Iterator[str]:
    yield f"*{_KINDS[metric.kind]}*"
    if metric.words:
        yield f"one of {_code(metric.words)}"
    if metric.default_floor is not None:
        yield f"floor {metric.default_floor}, a rule may set its own"
    if feeds := [*metric.reads, *(f"`{kind}`" for kind in _TELLS if _rests_on(metric.name, kind))]:
        yield f"fed by {', '.join(feeds)}"
    readers = [rule.id for rule in rules if metric.name in rule.metrics]
    if readers:
        yield f"read by {_code(readers)}"


def _rests_on(name: str, kind: str) -> bool:
    return any(name == told or (told.endswith(".") and name.startswith(told)) for told in _TELLS[kind])


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _place(section: str) -> tuple[int, ...]:
    return tuple(int(number) for number in section.split("."))


if __name__ == "__main__":
    sys.stdout.write(reference())
