"""The metric reference in docs/ is the one that the catalogue writes."""

from __future__ import annotations

from pathlib import Path

from alerts.metrics.catalogue import CATALOGUE
from alerts.metrics.reference import reference
from alerts.values import Status

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_reference_is_current() -> None:
    assert PAGE.read_text() == reference(), "run: python -m alerts.metrics.reference > docs/metrics.md"


def test_the_reference_names_every_metric_and_every_status() -> None:
    page = reference()
    for name in CATALOGUE:
        assert f"### `{name}`" in page
    for status in Status:
        assert f"`{status.word}`" in page


def test_every_metric_says_which_section_defines_it_and_what_it_is() -> None:
    for metric in CATALOGUE.values():
        assert metric.compute.__doc__, metric.name
        assert f"METRICS {metric.section}" in metric.compute.__doc__, metric.name
        assert "METRICS" not in metric.summary
