"""The one YAML file: rules, destinations, routes, internal users and the model, taken whole or refused with their line.

    extends: defaults
    rules: [...]                      # see alerts.rules.loader
    destinations:
      - {name: cs-slack, type: slack, url_env: CS_SLACK_URL}
      - {name: crm, type: webhook, url: https://crm.example/hooks, secret_file: /run/secrets/crm}
    routes:
      - match: {severity: [critical, high], labels: {team: cs}}
        to: [cs-slack, crm]
    internal_users: ["*@ourcompany.example", "svc-*"]
    core_features: [reports, exports] # this and what else numbers rest on: see alerts.model_sections

Nothing here reads the environment: secrets are references until :meth:`Configuration.targets` is given it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from alerts.alert import Severity
from alerts.destination import CHECKS, Destination, DestinationType, Reference, Secret, Target
from alerts.internal import InternalUsers
from alerts.model import Model
from alerts.model_sections import MODEL_FIELDS, read_model
from alerts.rules.document import MAX_BYTES, Problem, Problems, Section, compose
from alerts.rules.loader import DEFAULTS, RuleSet, read_labels, read_rules
from alerts.rules.nearest import shown, unknown
from alerts.rules.rule import Rule
from alerts.values import Metric
from consumers.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_PATTERNS = 1_000
_LONGEST_PATTERN = 128


@dataclass(frozen=True, slots=True)
class Match:
    """Which alerts a route takes; an empty field asks for nothing. Labels must all be there and equal."""

    severity: frozenset[Severity] = frozenset()
    rule: frozenset[str] = frozenset()
    owner: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """Alerts that match go to ``to``; the routes below are asked too only if ``continue_``."""

    match: Match
    to: tuple[str, ...]
    continue_: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """A whole file, checked. ``version`` changes with anything in it but the secrets that it holds."""

    path: str
    rules: tuple[Rule, ...]
    destinations: tuple[Destination, ...] = ()
    routes: tuple[Route, ...] = ()
    internal_users: InternalUsers = field(default_factory=InternalUsers)
    model: Model = field(default_factory=Model)
    version: str = field(init=False)

    def __post_init__(self) -> None:
        """Derive the version."""
        content = {
            "rules": [rule.describe() for rule in self.rules],
            "destinations": [
                [each.name, each.type, each.url.spelt, each.secret.spelt if each.secret else None]
                for each in self.destinations
            ],
            "routes": [
                [
                    sorted(route.match.severity),
                    sorted(route.match.rule),
                    sorted(route.match.owner),
                    dict(route.match.labels),
                    route.to,
                    route.continue_,
                ]
                for route in self.routes
            ],
            "internal_users": self.internal_users.patterns,
            "model": self.model.describe(),
        }
        text = json.dumps(content, sort_keys=True)
        object.__setattr__(self, "version", hashlib.sha256(text.encode()).hexdigest()[:16])

    def rule(self, rule_id: str) -> Rule | None:
        """The rule with this id, if it is in force."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)

    def is_internal(self, user_id: str) -> bool:
        """Whether the user is one of our own and does not count."""
        return self.internal_users.matches(user_id)

    def targets(self, environ: Mapping[str, str], read_file: Callable[[str], str]) -> tuple[Target, ...]:
        """The destinations with their secrets. Raises ConfigurationError with the file:line of one that is missing."""
        return tuple(destination.resolve(environ, read_file) for destination in self.destinations)


def load_configuration(path: Path | None, catalogue: Mapping[str, Metric]) -> Configuration:
    """The file at ``path``, or the shipped rules for None. Raises ConfigurationError."""
    if path is None:
        return read_configuration("", DEFAULTS, catalogue)
    return read_configuration(_text_of(path), str(path), catalogue)


def read_configuration(text: str, path: str, catalogue: Mapping[str, Metric]) -> Configuration:
    """The text of a file; ``path`` is its name in messages. Raises ConfigurationError with the first problem."""
    problems = Problems()
    configuration = _read(text, path, catalogue, problems)
    if problems.found:
        raise problems.refusal()
    return configuration


def problems_in(path: Path, catalogue: Mapping[str, Metric]) -> list[Problem]:
    """Everything that is wrong with a file, in its order. Raises ConfigurationError if it cannot be read at all."""
    problems = Problems()
    _read(_text_of(path), str(path), catalogue, problems)
    return sorted(problems.found)


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigurationError(f"{path}:1: larger than {MAX_BYTES // 1024:,} KiB")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error.strerror}\nset BELLWETHER_CONFIG to a rule file, or to nothing"
        ) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: not UTF-8 text") from None


def _read(text: str, path: str, catalogue: Mapping[str, Metric], problems: Problems) -> Configuration:
    node = compose(text, path, problems)
    if node is None:
        node = yaml.MappingNode("tag:yaml.org,2002:map", [])  # an empty file: the shipped rules
    if not isinstance(node, yaml.MappingNode):
        known = ", ".join(("rules", "destinations", "routes", "internal_users", *MODEL_FIELDS))
        problems.at(node, f"the file must hold fields: {known}")
        return Configuration(path, ())
    root = Section(node, "the file", problems)
    rules = read_rules(root, catalogue, problems)
    destinations = _destinations(root, problems)
    routes = [
        _route(section, rules, destinations, problems) for section in root.sections("routes", "route") or []
    ]
    internal_users = _internal_users(root, problems)
    model = read_model(root, problems)
    root.finish()
    return Configuration(
        path,
        rules.rules,
        tuple(found for found in destinations.values() if found is not None),
        tuple(routes),
        internal_users,
        model,
    )


def _destinations(root: Section, problems: Problems) -> dict[str, Destination | None]:
    """By name, in their order; None under the name of one that is wrong, so that routes may still speak of it."""
    found: dict[str, Destination | None] = {}
    lines: dict[str, int] = {}
    for number, section in enumerate(root.sections("destinations", "destination") or []):
        name = section.text("name", limit=64)
        if name is None:
            section.need("name", "a destination needs a name")
            name = f"\n{number}"  # no route can mean it
        elif not _NAME.fullmatch(name):
            section.wrong(
                "name", f'"{shown(name)}" is no name: letters, digits, - _ . and a letter or digit first'
            )
        elif name in lines:
            section.wrong("name", f'destination "{name}" is here twice, first in line {lines[name]}')
        lines.setdefault(name, section.line)
        found[name] = _destination(section, name, problems)
    return found


def _destination(section: Section, name: str, problems: Problems) -> Destination | None:
    before = len(problems.found)
    kind = section.choice("type", DestinationType)
    section.need("type", "a destination needs a type: slack or webhook")
    url = _reference(section, "url")
    secret = None
    if kind == DestinationType.WEBHOOK:
        secret = _reference(section, "secret", "webhook")
    elif kind == DestinationType.SLACK:
        for extra in _spellings("secret"):
            if section.ask(extra) is not None:
                section.wrong(extra, "a Slack destination has no secret: its url is one")
    else:
        for extra in _spellings("secret"):
            section.ask(extra)
    section.finish()
    if url is None or kind is None or len(problems.found) > before:
        return None
    return Destination(name, DestinationType(kind), url, secret)


def _spellings(what: str) -> tuple[str, str, str]:
    return what, f"{what}_env", f"{what}_file"


def _reference(section: Section, what: str, kind: str = "destination") -> Reference | None:
    """The one of ``url``, ``url_env`` and ``url_file`` that is there, checked if it is the secret itself."""
    names = _spellings(what)
    given = [name for name in names if section.ask(name) is not None]
    if len(given) != 1:
        choice = f"{names[0]}, {names[1]} or {names[2]}"
        section.wrong(given[1] if given else what, f"a {kind} needs one of {choice}")
        return None
    inline = (
        " ".join(text for text, _ in section.texts(what) or [])
        if _many(section, what)
        else section.text(what)
    )
    variable, file = section.text(names[1]), section.text(names[2])
    if not (inline or variable or file):
        return None
    if variable is not None and not _VARIABLE.fullmatch(variable):
        section.wrong(names[1], f"{names[1]} is the name of a variable, such as CS_SLACK_URL")
        return None
    secret = Secret(inline) if inline else None
    if secret is not None and (wrong := CHECKS[what](secret)):
        section.wrong(what, wrong)
    return Reference(what, section.place(given[0]), secret, variable, file)


def _many(section: Section, what: str) -> bool:
    """Whether this is a list of keys: while one is changed for another, both sign."""
    return what == "secret" and isinstance(section.ask(what), yaml.SequenceNode)


def _route(section: Section, rules: RuleSet, destinations: Collection[str], problems: Problems) -> Route:
    match = section.section("match")
    to = section.texts("to", least=1) or []
    section.need("to", "a route needs `to`: the destinations that hear of it")
    for name, node in to:
        if name not in destinations:
            problems.at(
                node, unknown("destination", name, [each for each in destinations if "\n" not in each])
            )
    continue_ = section.flag("continue") or False
    section.finish()
    return Route(
        Match() if match is None else _match(match, rules, problems),
        tuple(dict.fromkeys(name for name, _ in to)),
        continue_,
    )


def _match(section: Section, rules: RuleSet, problems: Problems) -> Match:
    severities = section.texts("severity") or []
    for word, node in severities:
        if word not in list(Severity):
            problems.at(node, unknown("severity", word, Severity))
    rule_ids = section.texts("rule") or []
    for rule_id, node in rule_ids:
        if rule_id not in rules.ids:
            problems.at(node, unknown("rule", rule_id, rules.ids))
    owners = section.texts("owner") or []
    labels = read_labels(section, problems)
    section.finish()
    return Match(
        frozenset(Severity(word) for word, _ in severities if word in list(Severity)),
        frozenset(rule_id for rule_id, _ in rule_ids),
        frozenset(owner for owner, _ in owners),
        labels,
    )


def _internal_users(root: Section, problems: Problems) -> InternalUsers:
    patterns = root.texts("internal_users") or []
    for pattern, node in patterns:
        if not pattern.strip("*"):
            problems.at(node, "this leaves out everybody")
        elif len(pattern) > _LONGEST_PATTERN:
            problems.at(node, f"a user id has at most {_LONGEST_PATTERN} characters")
    if len(patterns) > _MOST_PATTERNS:
        root.wrong("internal_users", f"more than {_MOST_PATTERNS:,} patterns")
    return InternalUsers(tuple(dict.fromkeys(pattern for pattern, _ in patterns)))
