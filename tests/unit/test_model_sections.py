"""What numbers rest on, out of the configuration file: read whole, or refused with its line and the nearest name."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

from alerts.configuration import load_configuration, read_configuration
from alerts.metrics.catalogue import CATALOGUE
from alerts.model import Bands, HealthModel, HealthTerms, Model, Segment
from consumers.errors import ConfigurationError

WHOLE = """
    core_features: [reports, exports, dashboards]
    country: DE
    currency: EUR
    sources:
      bellwether.logins: {expected_gap: 3d}
      crm: {expected_gap: 1w2d}
    health:
      weights: {product: 0.5, satisfaction: 0}
      engagement:
        weights: {logins: 2, depth: 0.5}
        targets: {logins: 4, breadth: 0.65, depth: 12.5}
      bands: {green_above: 75, red_below: 42.5}
      segments:
        - match: {size: [enterprise, mid], tier: gold}
          engagement: {targets: {logins: 2}}
        - match: {touch: tech}
          weights: {relationship: 0}
          bands: {red_below: 30}
"""


def read(text):
    return read_configuration(dedent(text), "conf.yaml", CATALOGUE)


def test_a_file_that_says_nothing_of_it_has_the_model_of_the_metrics():
    assert read("").model == load_configuration(None, CATALOGUE).model == Model()
    terms = Model().health.terms
    assert terms.engagement == (1_000,) * 4
    assert terms.targets == (5_000, 800, 20_000, 800)
    assert terms.weights == (400, 200, 250, 150)
    assert terms.bands == Bands(7_000, 4_000)


def test_features_country_currency_and_sources_are_read():
    model = read(WHOLE).model
    assert model.core_features == ("reports", "exports", "dashboards")
    assert (model.country, model.currency) == ("DE", "EUR")
    day = 86_400_000_000
    assert model.expected_gaps == {"bellwether.logins": 3 * day, "crm": 9 * day}
    assert read("country: US-CA").model.country == "US-CA"


def test_weights_targets_and_bands_are_read_and_what_is_left_out_stays():
    health = read(WHOLE).model.health
    mine = HealthTerms(
        engagement=(2_000, 1_000, 500, 1_000),
        targets=(4_000, 650, 12_500, 800),
        weights=(500, 200, 250, 0),
        bands=Bands(7_500, 4_250),
    )
    assert health.terms == mine


def test_a_segment_is_like_the_rest_but_for_what_it_says():
    health = read(WHOLE).model.health
    large, tech = health.segments
    assert large.match == {"size": {"enterprise", "mid"}, "tier": {"gold"}}
    assert large.terms.targets == (2_000, 650, 12_500, 800)
    assert large.terms.engagement == health.terms.engagement
    assert tech.terms.weights == (500, 200, 0, 0)
    assert tech.terms.bands == Bands(7_500, 3_000)


REFUSED = [
    ("core_feature: [a]\n", '1:1: unknown field "core_feature" in the file: did you mean "core_features"?'),
    ("core_features: []\n", "1:16: core_features is empty"),
    ("core_features: [a, b, a]\n", '1:23: "a" is here twice, first in line 1'),
    (f"core_features: [{'x' * 129}]\n", "1:17: the name of a feature has at most 128 characters"),
    ("core_features: {a: b}\n", "1:16: core_features must be text"),
    ("country: germany\n", "1:10: country is an ISO code such as DE, or with a subdivision, US-CA"),
    ("country: NO\n", "1:10: country must be text (put it in quotes)"),  # YAML's no
    ("currency: euro\n", "1:11: currency is an ISO code of three capital letters"),
    (
        "sources: {a: {expect_gap: 3d}}\n",
        '1:15: unknown field "expect_gap" in `a`: did you mean "expected_gap"?',
    ),
    ("sources:\n  a: {}\n", "2:6: a source needs `expected_gap`"),
    ("sources:\n  a: {expected_gap: 3 days}\n", "2:21: expected_gap: a length of time looks like"),
    ("sources:\n  a: {expected_gap: 0d}\n", "2:21: expected_gap: a source may be silent for longer"),
    ("sources:\n  a: 3d\n", "2:6: a must hold fields"),
    ("health: {weigths: {}}\n", '1:10: unknown field "weigths" in `health`: did you mean "weights"?'),
    (
        "health: {weights: {produkt: 1}}\n",
        '1:20: unknown field "produkt" in `weights`: did you mean "product"?',
    ),
    ("health: {weights: {product: -1}}\n", "1:29: product must be a number from 0 to 100,000"),
    ("health: {weights: {product: 1e3}}\n", "1:29: product must be a number"),
    ("health: {weights: {product: .inf}}\n", "1:29: product must be a number"),
    ("health: {weights: {product: '1'}}\n", "1:29: product must be a number"),
    ("health: {weights: {product: 0.3333}}\n", "1:29: product has at most 3 decimals"),
    (
        "health:\n  weights: {product: 0, support: 0, relationship: 0, satisfaction: 0}\n",
        "2:12: every weight is 0",
    ),
    ("health: {engagement: {targets: {logins: 0}}}\n", "1:41: logins must be above 0"),
    (
        "health: {engagement: {target: {}}}\n",
        'unknown field "target" in `engagement`: did you mean "targets"?',
    ),
    ("health: {bands: {green_above: 101}}\n", "1:31: green_above must be a number from 0 to 100"),
    ("health: {bands: {green_above: 70.125}}\n", "1:31: green_above has at most 2 decimals"),
    ("health: {bands: {green_above: 30}}\n", "1:31: red_below must not be above green_above"),
    ("health: {bands: {green_above: 60, red_below: 61}}\n", "red_below must not be above green_above"),
    ("health: {segments: {size: smb}}\n", "1:20: segments must be a list"),
    ("health:\n  segments:\n    - weights: {product: 1}\n", "3:7: a segment needs `match`"),
    ("health:\n  segments:\n    - match: {}\n", "3:14: match is empty"),
    (
        "health:\n  segments:\n    - match: {sise: smb}\n",
        'unknown field "sise" in `match`: did you mean "size"?',
    ),
    ("health:\n  segments:\n    - match: {size: 5}\n", "3:21: size must be text (put it in quotes)"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[each[1][:50] for each in REFUSED])
def test_a_mistake_is_refused_with_its_line(text, message):
    with pytest.raises(ConfigurationError) as refused:
        read(text)
    assert message in str(refused.value)
    assert str(refused.value).startswith("conf.yaml:")


def test_the_version_changes_with_every_number_of_it():
    versions = {
        read(text).version
        for text in (
            WHOLE,
            WHOLE.replace("DE", "AT"),
            WHOLE.replace("EUR", "USD"),
            WHOLE.replace("exports, ", ""),
            WHOLE.replace("3d", "4d"),
            WHOLE.replace("product: 0.5", "product: 0.501"),
            WHOLE.replace("12.5", "12.4"),
            WHOLE.replace("42.5", "42.51"),
            WHOLE.replace("tier: gold", "tier: silver"),
            WHOLE.replace("logins: 2}}", "logins: 3}}"),
        )
    }
    assert len(versions) == 10


def test_a_model_made_by_hand_tells_what_it_is():
    health = HealthModel(segments=(Segment({"size": frozenset({"b", "a"})}, HealthTerms()),))
    told = Model().with_health(health).describe()
    assert told["health"]["segments"][0]["match"] == {"size": ["a", "b"]}
    assert told["health"]["weights"]["product"] == 400


def test_the_file_of_the_guide_is_read_and_says_what_holds_anyway():
    page = (Path(__file__).parents[2] / "docs" / "health.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    health = read(text).model.health
    assert health.terms == HealthTerms()
    assert [dict(segment.match) for segment in health.segments] == [
        {"size": {"enterprise"}},
        {"touch": {"tech"}, "tier": {"free", "starter"}},
    ]
