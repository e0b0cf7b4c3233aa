"""Rules out of the YAML file: every field checked, every complaint with its place, the shipped rules as a base.

``extends: defaults`` keeps the shipped rules; an own rule with a shipped id changes only the fields that it has, and
``disabled: true`` removes the rule. Without ``extends`` a ``rules`` list stands alone; without ``rules`` the shipped
ones do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import yaml

from alerts.alert import Severity
from alerts.rules.bands import overlap
from alerts.rules.condition import Condition
from alerts.rules.document import Problems, Section, compose, text_offset
from alerts.rules.durations import DAY_US, parse_duration
from alerts.rules.expression import spelt_number
from alerts.rules.language import ConditionError
from alerts.rules.nearest import nearest, shown, unknown
from alerts.rules.rule import Mode, Playbook, Rule
from alerts.rules.title import Title
from alerts.values import Metric

DEFAULTS = "defaults.yaml"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_MOST_LABELS = 20
_RENEWAL = "renewal"


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules in force, in the order of the file (shipped ones first), and every id that may be spoken of."""

    rules: tuple[Rule, ...]
    ids: frozenset[str]


def default_text() -> str:
    """The shipped rule file."""
    return resources.files(__package__).joinpath(DEFAULTS).read_text(encoding="utf-8")


def default_rules(catalogue: Mapping[str, Metric]) -> tuple[Rule, ...]:
    """The shipped rules. Raises ConfigurationError if the catalogue lacks a metric that they read."""
    problems = Problems()
    rules = [_Reader(section, catalogue, problems).rule() for section in _shipped(problems).values()]
    if problems.found:
        raise problems.refusal()
    return tuple(rule for rule in rules if rule is not None)


def read_rules(root: Section, catalogue: Mapping[str, Metric], problems: Problems) -> RuleSet:
    """The ``rules`` and ``extends`` of a file; what is wrong is noted in ``problems``."""
    extends = root.choice("extends", ["defaults"])
    own = root.sections("rules", "rule")
    base = _shipped(problems) if extends or "rules" not in root else {}
    merged = dict(base)
    seen: dict[str, int] = {}
    nameless = []
    for number, section in enumerate(own or []):
        name = section.text("id", limit=64)
        if name is None or not _ID.fullmatch(name):
            if name is not None:
                section.wrong(
                    "id", f'"{shown(name)}" is no id: letters, digits, - _ . and a letter or digit first'
                )
            nameless.append(section)
            continue
        if name in seen:
            section.wrong("id", f'rule "{name}" is here twice, first in line {seen[name]}')
            name = f"{name}\n{number}"  # still read for its own problems; no id has a line break
        else:
            seen[name] = section.line
        if _changes_nothing(section, name, base):
            continue
        merged[name] = section.over(base[name]) if name in base else section
    read = [_Reader(section, catalogue, problems).rule() for section in (*merged.values(), *nameless)]
    rules = tuple(rule for rule in read if rule is not None)
    return RuleSet(rules, frozenset(name for name in merged if "\n" not in name))


def _changes_nothing(section: Section, name: str, base: Mapping[str, Section]) -> bool:
    """Whether this is a change to a shipped rule that does not exist, which is noted."""
    if name in base or "when" in section or "\n" in name:
        return False
    if base and nearest(name, base):
        section.wrong("id", unknown("shipped rule", name, base) + " (a rule of your own needs `when`)")
        return True
    if "disabled" in section:
        section.wrong(
            "id", f'there is no rule "{name}" to disable here: `extends: defaults` keeps the shipped ones'
        )
        return True
    return False


def _shipped(problems: Problems) -> dict[str, Section]:
    node = compose(default_text(), DEFAULTS, problems)
    assert isinstance(node, yaml.MappingNode), "the shipped rules are part of the package"
    sections = Section(node, "the file", problems).sections("rules", "rule") or []
    return {section.text("id") or "": section for section in sections}


@dataclass(frozen=True, slots=True)
class _Reader:
    """One entry of ``rules`` being read."""

    section: Section
    catalogue: Mapping[str, Metric]
    problems: Problems

    def rule(self) -> Rule | None:
        """The rule; None if it is disabled or wrong."""
        before = len(self.problems.found)
        section = self.section
        name = section.text("id", limit=64) if "id" in section else None
        disabled = section.flag("disabled")
        when = self._condition("when")
        section.need("id", "a rule needs an id")
        section.need("when", "a rule needs `when`, as in `when: logins.change_28d <= -0.20`")
        resolve_when = self._condition("resolve_when")
        severity = section.choice("severity", Severity) or Severity.MEDIUM
        heading = self._heading(name or "")
        for_us, keep_us, cooldown_us = (
            self._duration(field) for field in ("for", "keep_firing_for", "cooldown")
        )
        playbook = self._playbook()
        labels = read_labels(section, self.problems)
        mode = section.choice("mode", Mode) or Mode.LIVE
        floors = self._floors(when, resolve_when)
        section.finish()
        if when is not None and resolve_when is not None:
            self._check_bands(when, resolve_when)
        if disabled or when is None or heading is None or name is None or len(self.problems.found) > before:
            return None
        return Rule(
            id=name,
            when=when,
            heading=heading,
            severity=Severity(severity),
            resolve_when=resolve_when,
            for_us=for_us,
            keep_firing_for_us=keep_us,
            cooldown_us=cooldown_us,
            playbook=playbook,
            labels=labels,
            floors=floors,
            mode=Mode(mode),
            line=section.line,
        )

    def _condition(self, name: str) -> Condition | None:
        node = self.section.ask(name)
        if node is None or self.section.text(name, limit=10_000) is None:
            return None
        try:
            return Condition.parse(node.value, self.catalogue)
        except ConditionError as error:
            self.problems.at(node, error.message, text_offset(node, error.offset))
            return None

    def _check_bands(self, when: Condition, resolve_when: Condition) -> None:
        both = overlap(when.root, resolve_when.root)
        if both is not None:
            metric = when.metrics[0]
            where = f"{metric} = {spelt_number(both)}"
            self.section.wrong(
                "resolve_when", f"resolve_when holds while when does, at {where}: leave a gap between"
            )

    def _heading(self, name: str) -> Title | None:
        written = self.section.text("title")
        try:
            return Title.parse(written or name.replace("-", " ").capitalize() or "?", self.catalogue)
        except ValueError as error:
            self.section.wrong("title", f"title: {error}")
            return None

    def _duration(self, name: str) -> int:
        written = self.section.text(name)
        try:
            return 0 if written is None else parse_duration(written)
        except ValueError as error:
            self.section.wrong(name, f"{name}: {error}")
            return 0

    def _playbook(self) -> Playbook:
        section = self.section.section("playbook")
        if section is None:
            return Playbook()
        action = section.text("action", limit=1_000)
        due = section.text("due")
        section.finish()
        try:
            days, or_renewal = (None, False) if due is None else _due(due)
        except ValueError as error:
            section.wrong("due", str(error))
            return Playbook()
        return Playbook(action or "", days, or_renewal)

    def _floors(self, *conditions: Condition | None) -> dict[str, int]:
        section = self.section.section("floors")
        if section is None:
            return {}
        reads = {name for condition in conditions if condition for name in condition.metrics}
        floors: dict[str, int] = {}
        for name, key, _ in section.pairs():
            metric = self.catalogue.get(name)
            if metric is None:
                self.problems.at(key, unknown("metric", name, self.catalogue))
            elif metric.default_floor is None:
                self.problems.at(key, f"{name} has no floor to set")
            elif name not in reads and None not in conditions[:1]:
                self.problems.at(key, f"the rule does not read {name}, so a floor for it does nothing")
            elif (floor := section.whole_number(name, least=1, most=1_000_000)) is not None:
                floors[name] = floor
        return floors


def read_labels(section: Section, problems: Problems) -> dict[str, str]:
    """The ``labels`` of a rule or of a route's match."""
    inner = section.section("labels")
    if inner is None:
        return {}
    labels = {}
    for name, key, _ in inner.pairs():
        if not _LABEL.fullmatch(name):
            problems.at(key, f'"{shown(name)}" is no label: letters, digits, - _ . and a letter first')
        elif (value := inner.text(name, limit=200)) is not None:
            labels[name] = value
    if len(labels) > _MOST_LABELS:
        section.wrong("labels", f"more than {_MOST_LABELS} labels")
    return labels


def _due(written: str) -> tuple[int | None, bool]:
    """``7d``, ``14d or renewal``, ``renewal`` as (days, or_renewal)."""
    parts = [part.strip() for part in written.split(" or ")]
    terms = [part for part in parts if part != _RENEWAL]
    if len(parts) - len(terms) > 1 or len(terms) > 1:
        raise ValueError("due looks like 7d, or `14d or renewal` for the earlier of the two")
    if not terms:
        return None, True
    try:
        length = parse_duration(terms[0])
    except ValueError:
        raise ValueError("due looks like 7d, or `14d or renewal` for the earlier of the two") from None
    if length % DAY_US:
        raise ValueError("due counts whole days")
    return length // DAY_US, len(parts) > 1
