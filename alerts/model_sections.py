"""The sections of the configuration that say what numbers rest on, every field checked, every complaint with its place.

core_features: [reports, exports, dashboards]
country: DE                       # whose holidays count; an account may say otherwise
currency: EUR                     # the reporting currency
sources:
  bellwether.logins: {expected_gap: 3d}
health:
  weights: {product: 0.40, support: 0.20, relationship: 0.25, satisfaction: 0.15}
  engagement:
    weights: {logins: 1, breadth: 1, depth: 1, seats: 1}
    targets: {logins: 5, breadth: 0.8, depth: 20, seats: 0.8}
  bands: {green_above: 70, red_below: 40}
  segments:
    - match: {size: enterprise}
      engagement: {targets: {logins: 3}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import yaml

from alerts.model import (
    COMPONENTS,
    PARTS,
    SEGMENT_ATTRIBUTES,
    Bands,
    HealthModel,
    HealthTerms,
    Model,
    Segment,
)
from alerts.rules.document import Problems, Section
from alerts.rules.durations import LONGEST_US, parse_duration
from alerts.rules.nearest import shown

MODEL_FIELDS = ("core_features", "country", "currency", "sources", "health")

_NUMBERS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]+)?")
_COUNTRY = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_MOST_FEATURES = 500
_MOST_SEGMENTS = 100
_MOST_SOURCES = 1_000
_LONGEST_NAME = 128


def read_model(root: Section, problems: Problems) -> Model:
    """The model that a file describes; what is wrong is noted in ``problems``."""
    core_features = _core_features(root, problems)
    country = root.text("country")
    if country is not None and not _COUNTRY.fullmatch(country):
        root.wrong("country", "country is an ISO code such as DE, or with a subdivision, US-CA")
    currency = root.text("currency")
    if currency is not None and not _CURRENCY.fullmatch(currency):
        root.wrong("currency", "currency is an ISO code of three capital letters, such as EUR")
    return Model(core_features, country, currency, _expected_gaps(root, problems), _health(root, problems))


def _core_features(root: Section, problems: Problems) -> tuple[str, ...]:
    found: dict[str, int] = {}
    for name, node in root.texts("core_features", least=1) or []:
        line = node.start_mark.line + 1
        if len(name) > _LONGEST_NAME:
            problems.at(node, f"the name of a feature has at most {_LONGEST_NAME} characters")
        elif name in found:
            problems.at(node, f'"{shown(name)}" is here twice, first in line {found[name]}')
        found.setdefault(name, line)
    if len(found) > _MOST_FEATURES:
        root.wrong("core_features", f"more than {_MOST_FEATURES} core features")
    return tuple(found)


def _expected_gaps(root: Section, problems: Problems) -> Mapping[str, int]:
    section = root.section("sources")
    if section is None:
        return {}
    gaps = {}
    for name, key, _ in section.pairs():
        if not name.strip() or len(name) > 2 * _LONGEST_NAME - 1:
            problems.at(key, "the name of a source has 1 to 255 characters")
        source = section.section(name)
        if source is None:
            continue
        written = source.text("expected_gap")
        source.need(
            "expected_gap", "a source needs `expected_gap`: how long it may be silent, such as 3d, or never"
        )
        source.finish()
        try:
            gap = None if written is None else LONGEST_US if written == "never" else parse_duration(written)
        except ValueError as error:
            source.wrong("expected_gap", f"expected_gap: {error}")
            continue
        if gap == 0:
            source.wrong("expected_gap", "expected_gap: a source may be silent for longer than nothing")
        elif gap is not None:
            gaps[name] = gap
    if len(gaps) > _MOST_SOURCES:
        root.wrong("sources", f"more than {_MOST_SOURCES:,} sources")
    return gaps


def _health(root: Section, problems: Problems) -> HealthModel:
    section = root.section("health")
    if section is None:
        return HealthModel()
    terms = _terms(section, HealthTerms())
    segments = [_segment(each, terms, problems) for each in section.sections("segments", "segment") or []]
    if len(segments) > _MOST_SEGMENTS:
        section.wrong("segments", f"more than {_MOST_SEGMENTS} segments")
    section.finish()
    return HealthModel(terms, tuple(segments))


def _segment(section: Section, terms: HealthTerms, problems: Problems) -> Segment:
    match: dict[str, frozenset[str]] = {}
    inner = section.section("match")
    section.need("match", "a segment needs `match`, as in `match: {size: enterprise}`")
    if inner is not None:
        for name in SEGMENT_ATTRIBUTES:
            if words := inner.texts(name, least=1):
                match[name] = frozenset(word for word, _ in words)
        inner.finish()
        if not inner.node.value:
            problems.at(inner.node, "match is empty: what holds for all accounts stands above the segments")
    mine = _terms(section, terms)
    section.finish()
    return Segment(match, mine)


def _terms(section: Section, base: HealthTerms) -> HealthTerms:
    """The terms of ``base`` with what the section changes."""
    terms = replace(base, weights=_row(section, "weights", COMPONENTS, base.weights, weights=True))
    engagement = section.section("engagement")
    if engagement is not None:
        weights = _row(engagement, "weights", PARTS, base.engagement, weights=True)
        targets = _row(engagement, "targets", PARTS, base.targets)
        terms = replace(terms, engagement=weights, targets=targets)
        engagement.finish()
    bands = section.section("bands")
    if bands is not None:
        terms = replace(terms, bands=_bands(bands, base.bands))
        bands.finish()
    return terms


_Row = tuple[int, int, int, int]


def _row(section: Section, name: str, fields: Sequence[str], base: _Row, *, weights: bool = False) -> _Row:
    """Four numbers by name, in thousandths; those left out are those of ``base``."""
    inner = section.section(name)
    if inner is None:
        return base
    found = []
    for field, before in zip(fields, base, strict=True):
        number = _thousandths(inner, field)
        if number == 0 and not weights:
            inner.wrong(field, f"{field} must be above 0: a part reaches 100 there")
        found.append(before if number is None else number)
    inner.finish()
    if not any(found):
        section.wrong(name, "every weight is 0: nothing is left to count")
    one, two, three, four = found
    return one, two, three, four


def _bands(section: Section, base: Bands) -> Bands:
    green, red = (_thousandths(section, name, most=100) for name in ("green_above", "red_below"))
    bands = Bands(
        base.green_above if green is None else green // 10, base.red_below if red is None else red // 10
    )
    if bands.red_below > bands.green_above:
        wrong = "green_above" if green is not None else "red_below"
        section.wrong(wrong, "red_below must not be above green_above")
    return bands


def _thousandths(section: Section, name: str, *, most: int = 100_000) -> int | None:
    """A number of at most three decimals (two where it is points of 100), in thousandths; None if absent or wrong."""
    node = section.ask(name)
    if node is None:
        return None
    written = node.value if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS else ""
    if not _NUMBER.fullmatch(written) or Decimal(written) > most:
        section.wrong(name, f"{name} must be a number from 0 to {most:,}, such as 0.8")
        return None
    places = 2 if most == 100 else 3
    exact = Decimal(written).scaleb(places)
    if exact != int(exact):
        section.wrong(name, f"{name} has at most {places} decimals")
        return None
    return int(exact) * (10 if places == 2 else 1)
