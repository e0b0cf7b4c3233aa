"""The metric reference in docs/ is the one that the catalogue writes."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from alerts.metrics.catalogue import CATALOGUE
from alerts.metrics.reference import reference
from alerts.rules.loader import default_rules
from alerts.values import Status
from consumers.events import FAMILY, TYPES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "metrics.md"


@functools.cache
def written() -> str:
    """What the catalogue writes: worked out once."""
    return reference()


def test_the_reference_is_current() -> None:
    assert PAGE.read_text() == written(), "run: python -m alerts.metrics.reference > docs/metrics.md"


def test_the_reference_names_every_metric_and_every_status() -> None:
    page = written()
    for name in CATALOGUE:
        assert f"### `{name}`" in page
    for status in Status:
        assert f"`{status.word}`" in page


def test_every_metric_says_what_feeds_it_and_every_type_of_no_family_feeds_one() -> None:
    page = written()
    entries = page.count("\n### `")
    assert entries == len(CATALOGUE)
    assert page.count(" · fed by ") == entries
    fed = {word for line in re.findall(r" · fed by ([^·\n]*)", page) for word in line.strip().split(", ")}
    assert {name for name, kind in TYPES.items() if FAMILY[kind] is None} == {
        word.strip("`") for word in fed if "." in word
    } - {"subscription.changed"}
    assert {word for word in fed if "." not in word} == set(filter(None, FAMILY.values()))


def test_what_the_reference_calls_a_metric_is_one() -> None:
    families = {name.partition(".")[0] for name in CATALOGUE}
    named = set(re.findall(r"`([a-z]+\.[a-z0-9_]+)`", written())) - set(TYPES)
    assert {name for name in named if name.partition(".")[0] in families} <= set(CATALOGUE)


def test_the_reference_has_every_section_that_code_cites_and_every_shipped_rule() -> None:
    page = written()
    headings = re.findall(r"^## ([\d.]+\d|\d)\.? ", page, re.MULTILINE)
    sources = (
        path.read_text() for floor in ("app", "alerts", "consumers") for path in (ROOT / floor).rglob("*.py")
    )
    cited = {
        number for text in sources for number in re.findall(r"METRICS (?:section )?(\d(?:\.\d+)?)", text)
    }
    missing = {
        number for number in cited if not any(f"{each}.".startswith(f"{number}.") for each in headings)
    }
    assert missing == set()
    for rule in default_rules(CATALOGUE):
        assert f"| `{rule.id}` | `{rule.when}` | {rule.severity} | {rule.playbook.due} | " in page


def test_every_metric_says_which_section_defines_it_and_what_it_is() -> None:
    for metric in CATALOGUE.values():
        assert metric.compute.__doc__, metric.name
        assert f"METRICS {metric.section}" in metric.compute.__doc__, metric.name
        assert "METRICS" not in metric.summary
