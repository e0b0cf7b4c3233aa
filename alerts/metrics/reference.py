"""The reference of all metrics, written from the catalogue:

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
from alerts.values import Kind, Metric, Status

_INTRO = """\
# Metrics

Every number that rules compare, that REST shows and that an alert carries as its evidence, under one name. A
stranger with the raw events and this page must get the same number. *Written by `python -m
alerts.metrics.reference`; a test keeps it current.* Section numbers are those that the code cites.

## 1. How to read them

**Days** are civil days in the organisation's zone; an event belongs to the day of its `occurred_at`. `D` is
the last complete day: yesterday while the clock runs, the day itself when history is replayed. `today` is the
day of the judgement: `D+1` live, `D` in a replay. `[D-27..D]` has both its ends: 28 days.

**Trend windows** hold complete days only, so that half of today never looks like a decline. **Recency
windows** end `today`, which can only count in the account's favour. **Activity** is any login, used feature
or ended session.

**Ratios are exact**: a fall from 25 to 20 logins *is* a fifth, and `<= -0.20` holds. Only what is displayed
is rounded.

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
    by_section = sorted(CATALOGUE.values(), key=lambda metric: _place(metric.section))
    for section, metrics in groupby(by_section, key=lambda metric: metric.section):
        parts.append(f"\n## {section} {_SECTIONS[section]}\n")
        parts += [_entry(metric) for metric in metrics]
    return "".join(parts)


def _entry(metric: Metric) -> str:
    text = re.sub(r" ?\(METRICS [\d.]+\)", "", inspect.getdoc(metric.compute) or "")
    paragraphs = [" ".join(part.split()) for part in text.replace("``", "`").split("\n\n")]
    return f"\n### `{metric.name}`\n\n" + "\n\n".join([*paragraphs, " · ".join(_notes(metric))]) + "\n"


def _notes(metric: Metric) -> Iterator[str]:
    yield f"*{_KINDS[metric.kind]}*"
    if metric.words:
        yield f"one of {_code(metric.words)}"
    if metric.default_floor is not None:
        yield f"floor {metric.default_floor}, a rule may set its own"
    if metric.reads:
        yield f"fed by {', '.join(metric.reads)}"
    readers = [rule.id for rule in default_rules(CATALOGUE) if metric.name in rule.metrics]
    if readers:
        yield f"read by {_code(readers)}"


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _place(section: str) -> tuple[int, ...]:
    return tuple(int(number) for number in section.split("."))


if __name__ == "__main__":
    sys.stdout.write(reference())
